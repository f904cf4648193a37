import type { Month } from '../shared/month.js';
import { timePeriod } from '../shared/month.js';
import type { TableName } from './layout.js';
import type { Dimension } from './manifest.js';
import type { Column } from './tables.js';
import { columnIndex, tables } from './tables.js';

/**
 * What an answer of AWS must be to be believed. The extract stage asks it of every answer before it is staged,
 * the transform stage once more of what is staged.
 */

/** The declared column of that name. */
export function columnOf(table: TableName, name: string): Column {
  const column = tables[table][columnIndex(table, name)];
  if (column === undefined) throw new Error(`${table} has no column ${name}`);
  return column;
}

/** SQLite ends a text at NUL, and UTF-8 cannot hold half of a surrogate pair; all else is kept everywhere. */
const lost = /[\0\p{Cs}]/u;

/**
 * What keeps a text from a column, as `has 300 characters for Service, which holds 255`: cutting it, or
 * letting a database cut it, would change the data unseen. Lengths count characters, as databases do, not
 * UTF-16 units.
 */
export function textFault({ name, length = Infinity }: Column, text: string): string | undefined {
  const alien = lost.exec(text)?.[0];
  if (alien !== undefined) {
    const what = alien === '\0' ? 'the character NUL' : 'half of a surrogate pair';
    return `has ${what} in ${JSON.stringify(text.slice(0, 60))} for ${name}`;
  }
  if (text.length <= length) return undefined;
  const characters = Array.from(text).length;
  return characters <= length
    ? undefined
    : `has ${characters} characters for ${name}, which holds ${length}`;
}

/** What keeps a text from being an account id as AWS gives it: 12 digits, leading zeros kept. */
export function accountIdFault(id: string): string | undefined {
  return /^\d{12}$/.test(id)
    ? undefined
    : `has ${JSON.stringify(id.slice(0, 40))} for an account id of 12 digits`;
}

const currencyColumn = columnOf('consumption', 'Currency');

/** What keeps a text from being the unit of a cost: a currency's code, such as `USD`. */
export function currencyFault(unit: string): string | undefined {
  return /^[A-Z][A-Z0-9/]*$/.test(unit)
    ? textFault(currencyColumn, unit)
    : `has ${JSON.stringify(unit.slice(0, 40))} for a currency`;
}

/** The columns that hold the values of a dimension; those of others are only kept as they are. */
const dimensionColumns: Readonly<Partial<Record<Dimension, Column>>> = {
  SERVICE: columnOf('consumption', 'Service'),
  USAGE_TYPE: columnOf('consumption', 'Category'),
  RECORD_TYPE: columnOf('charges', 'RecordType'),
};

/** What keeps a group's key from being a value of the dimension. */
export function keyFault(dimension: Dimension, key: string): string | undefined {
  if (dimension === 'LINKED_ACCOUNT') return accountIdFault(key);
  return textFault(
    dimensionColumns[dimension] ?? { name: dimension, type: 'string', description: '' },
    key,
  );
}

const nameColumn = columnOf('customers', 'TenantName');

/** What keeps a value's description, beside the groups, from being an account's name; other dimensions' values are of no use. */
export function descriptionFault(value: string, description: string): string | undefined {
  return accountIdFault(value) === undefined ? textFault(nameColumn, description) : undefined;
}

/** An account of ListAccounts, every member of which is optional in AWS's model. */
export interface ListedAccount {
  Id?: string | undefined;
  Name?: string | undefined;
  Email?: string | undefined;
  State?: string | undefined;
  Status?: string | undefined;
  /** ISO 8601; the SDK makes null of a number that is no instant. */
  JoinedTimestamp?: unknown;
}

/** Years as every database holds them (MySQL, DATETIME: 1000 to 9999). */
const instant = /^[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** Whether a text is an instant in ISO 8601 that every database holds. */
export function isInstant(text: string): boolean {
  return instant.test(text) && !Number.isNaN(Date.parse(text));
}

/** What keeps an account from being a customer. */
export function accountFault(account: ListedAccount): string | undefined {
  const { Id, Name = '', Email = '', State, Status, JoinedTimestamp: joined } = account;
  if (Id === undefined) return 'has no account id';
  return (
    accountIdFault(Id) ??
    textFault(nameColumn, Name) ??
    textFault(columnOf('customers', 'Email'), Email) ??
    textFault(columnOf('customers', 'Status'), State ?? Status ?? '') ??
    (joined === undefined || (typeof joined === 'string' && isInstant(joined))
      ? undefined
      : 'has a JoinedTimestamp that is no instant of the years 1000 to 9999')
  );
}

/** A part of an answer of GetCostAndUsage, with the period that it tells. */
interface Timed {
  TimePeriod: { Start: string; End: string };
}

/**
 * What keeps the parts of a page from telling the month's cost: asked for one month as a whole, AWS answers with
 * exactly that period, once a page. Only where the whole answer is a single page may it be left out, as for a
 * month without cost.
 */
export function periodFault(
  results: readonly Timed[],
  month: Month,
  isSinglePage: boolean,
): string | undefined {
  const asked = timePeriod(month);
  const wanted = `${asked.Start} to ${asked.End}`;
  const other = results.find(
    ({ TimePeriod: { Start, End } }) => Start !== asked.Start || End !== asked.End,
  );
  if (other !== undefined) {
    const { Start, End } = other.TimePeriod;
    return `tells the cost of ${Start.slice(0, 40)} to ${End.slice(0, 40)}, where ${wanted} was asked for`;
  }
  if (results.length > 1) return `tells the period ${wanted} ${results.length} times`;
  if (results.length === 0 && !isSinglePage)
    return `lacks the period ${wanted}, though it is one of several pages`;
  return undefined;
}
