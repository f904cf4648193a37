import { findSource, readTable } from '../../load/source.js';
import type { Source } from '../../load/source.js';
import { stagedOrganizations } from '../run/resources.js';
import { advice } from '../shared/commands.js';
import { DataError, UsageError, throwIfInterrupted } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import type { CodedColumn, RowBatch } from '../staging/batch.js';
import { coded, constant, sliceRows, valueAt } from '../staging/batch.js';
import { billedRows } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import type { Column } from '../staging/tables.js';
import { columnIndex, consumption } from '../staging/tables.js';

/** Which rows are exported: of these months and organizations, those of the customer. */
export interface Choice {
  staging: Staging;
  months: readonly Month[];
  /** `undefined`: every organization that has anything staged in a month. */
  organizations: readonly string[] | undefined;
  /** An account's id, or its whole name as the table customers has it; `undefined`: every customer. */
  customer: string | undefined;
  signal: AbortSignal;
}

/** What is exported, found before the first row is written. */
export interface Found {
  /** One for each month and organization, oldest month first. */
  sources: readonly Source[];
  /** The rows, with the columns of {@link exportColumns}. */
  batches: () => AsyncGenerator<RowBatch<CodedColumn>, void, undefined>;
}

/** What the reseller pays: no customer is to see it. */
const COST = columnIndex('consumption', 'CostAmount');

/**
 * The columns of a file. One of a single customer may be handed on: it has neither CostAmount nor the rows that stand
 * in the cost view alone.
 */
export function columnsOf({ customer }: Pick<Choice, 'customer'>): readonly Column[] {
  return customer === undefined
    ? exportColumns
    : exportColumns.filter(({ name }) => name !== 'CostAmount');
}

/** The columns of consumption, behind those that a file of several months and customers needs to be read alone. */
export const exportColumns: readonly Column[] = [
  {
    name: 'month',
    type: 'string',
    length: 7,
    description: "The billing month, as the staging area's folders are named",
  },
  {
    name: 'TenantName',
    type: 'string',
    length: 255,
    description: "The account's name in that month; '' when AWS no longer gives it",
  },
  ...consumption,
];

/**
 * Finds the exports to read, and the customers in them.
 * @throws {DataError} when a month is not exported. @throws {UsageError} when no account, or more than one, has the
 * name of a customer.
 */
export async function findRows(choice: Choice): Promise<Found> {
  const { staging, signal } = choice;
  const sources: Source[] = [];
  for (const month of choice.months) {
    for (const organization of await organizationsOf(choice, month))
      sources.push(await findSource(staging, { month, organization }));
  }
  const slices: { source: Source; names: ReadonlyMap<string, string> }[] = [];
  for (const source of sources) {
    throwIfInterrupted(signal);
    slices.push({ source, names: await namesOf(staging, source) });
  }
  const { customer } = choice;
  const account = customer === undefined ? undefined : accountOf(customer, slices);
  return {
    sources,
    async *batches() {
      for (const { source, names } of slices) {
        let billed = billedRows(source.manifest);
        for await (const batch of readTable(staging, source, 'consumption')) {
          throwIfInterrupted(signal);
          const own = sliceRows(batch, 0, Math.max(0, Math.min(batch.length, billed)));
          billed -= batch.length;
          const chosen = account === undefined ? batch : withoutCost(rowsOf(own, account));
          if (chosen.length > 0) yield named(chosen, source.manifest.month, names);
        }
      }
    },
  };
}

/** @throws {DataError} when one of the month's organizations is not exported, or the month has none. */
async function organizationsOf(
  { staging, organizations }: Choice,
  month: Month,
): Promise<readonly string[]> {
  const exported = await stagedOrganizations(staging, month, 'manifests');
  const fetched = await stagedOrganizations(staging, month, 'raw');
  const wanted = organizations ?? [...new Set([...exported, ...fetched])].sort();
  const missing = wanted.filter((name) => !exported.includes(name));
  if (wanted.length > 0 && missing.length === 0) return wanted;
  const isFetched = missing.length > 0 && missing.every((name) => fetched.includes(name));
  throw new DataError(
    missing.length === 0
      ? `nothing is exported for ${month}`
      : `${month} is not exported for ${missing.join(', ')}`,
    {
      where: staging.location,
      ...advice(
        isFetched ? 'make the tables with' : 'fetch the month with',
        {
          stages: isFetched ? ['transform'] : ['extract', 'transform'],
          months: [month],
          ...(missing.length === 0 ? {} : { organizations: missing }),
        },
        ', or leave it out with --from and --to or --organization',
      ),
    },
  );
}

/** The slice's accounts and their names. */
async function namesOf(staging: Staging, source: Source): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  const [id, name] = [
    columnIndex('customers', 'Reference'),
    columnIndex('customers', 'TenantName'),
  ];
  for await (const { length, columns } of readTable(staging, source, 'customers'))
    for (let row = 0; row < length; row++)
      names.set(String(valueAt(columns[id], row)), String(valueAt(columns[name], row)));
  return names;
}

/** Most accounts that a message names. */
const NAMED = 5;

/**
 * The account that is meant by its id, or by a name that it has in one of the slices.
 * @throws {UsageError} when there is none, or several have that name.
 */
function accountOf(
  customer: string,
  slices: readonly { names: ReadonlyMap<string, string> }[],
): string {
  // By id and name: an account may have had several names.
  const all = slices.flatMap(({ names }) =>
    [...names].map(([id, name]) => [`${id} ${name}`, { id, name }] as const),
  );
  const listed = [...new Map(all).values()];
  if (listed.some(({ id }) => id === customer)) return customer;
  const wanted = customer.toLowerCase();
  const exact = listed.filter(({ name }) => name.toLowerCase() === wanted);
  const [only, ...others] = new Set(exact.map(({ id }) => id));
  if (only !== undefined && others.length === 0) return only;
  const near =
    exact.length > 0 ? exact : listed.filter(({ name }) => name.toLowerCase().includes(wanted));
  const told = near.slice(0, NAMED).map(({ id, name }) => `${id} (${name})`);
  const more = near.length > NAMED ? ` and ${near.length - NAMED} more` : '';
  throw new UsageError(
    exact.length > 0
      ? `several accounts are named "${customer}"`
      : `no customer of these months is "${customer}"`,
    {
      where: '--customer',
      next:
        told.length === 0
          ? 'give an account id of 12 digits, or the name that the table customers has of it'
          : `give an account id: ${told.join(', ')}${more}`,
    },
  );
}

const REFERENCE = columnIndex('consumption', 'Reference');

/** The rows of an account. */
function rowsOf(batch: RowBatch<CodedColumn>, account: string): RowBatch<CodedColumn> {
  const references = batch.columns[REFERENCE] ?? constant(null);
  if (references.kind === 'constant')
    return references.value === account ? batch : { length: 0, columns: [] };
  const { codes } = references;
  // A value may stand in the list several times.
  const isWanted = references.distinct.map((reference) => reference === account);
  const rows = codes.map((_, row) => row).filter((row) => isWanted[codes[row] ?? 0]);
  return {
    length: rows.length,
    columns: batch.columns.map((column) =>
      column.kind === 'constant'
        ? column
        : coded(
            column.distinct,
            rows.map((row) => column.codes[row] ?? 0),
          ),
    ),
  };
}

/** See {@link columnsOf}. */
function withoutCost({ length, columns }: RowBatch<CodedColumn>): RowBatch<CodedColumn> {
  return { length, columns: columns.filter((_, index) => index !== COST) };
}

/** The rows, with the month and the account's name before their own columns. */
function named(
  { length, columns }: RowBatch<CodedColumn>,
  month: Month,
  names: ReadonlyMap<string, string>,
): RowBatch<CodedColumn> {
  const references = columns[REFERENCE] ?? constant(null);
  const nameOf = (reference: unknown): string => names.get(String(reference)) ?? '';
  const name: CodedColumn =
    references.kind === 'constant'
      ? constant(nameOf(references.value))
      : { ...references, distinct: references.distinct.map(nameOf) };
  return { length, columns: [constant(month), name, ...columns] };
}
