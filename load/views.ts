import type { Knex } from 'knex';
import { z } from 'zod';
import { deniedRight } from './database-errors.js';
import type { Dialect } from './driver.js';
import { LOADS } from './history.js';
import type { Step } from './schema.js';
import {
  checkColumns,
  foreignTable,
  indexName,
  joinKey,
  never,
  numberColumn,
  sqliteStatements,
} from './schema.js';
import { tables } from '../pipeline/staging/tables.js';

/**
 * What queries and dashboards read in place of the tables. A view that is declared otherwise later needs a
 * step of its own that makes it anew.
 */

/** A view: the expression of each column by its name, in order, and what they are taken from. */
interface View {
  name: string;
  columns: Readonly<Record<string, string>>;
  from: string;
}

/** SQLite's view of single rows: each cost with its month and the account's name, and numbers in place of exact texts. */
const COSTS = 'costs';

/** The steps that make the views, each known by its name for ever; they come after those of the tables. */
export function viewSteps(dialect: Dialect): readonly Step[] {
  return viewsOf(dialect).map((view) => ({
    name: `001_${view.name}`,
    down: never,
    up: (knex: Knex) => (dialect === 'mysql' ? makeMysql : makeSqlite)(knex, view),
  }));
}

function viewsOf(dialect: Dialect): readonly View[] {
  const words = dialect === 'mysql' ? mysql : sqlite;
  return [
    // MySQL has exact decimals: there the join with the names is all that it would save.
    ...(dialect === 'sqlite' ? [costs()] : []),
    {
      name: 'customer_month',
      columns: { ...month, ...customer(words), Currency: 'm.Currency', ...amounts(words) },
      from: withNames(words, sums(words, ['Reference'])),
    },
    {
      name: 'service_month',
      columns: { ...month, Service: 'm.Service', Currency: 'm.Currency', ...amounts(words) },
      from: sums(words, ['Service']),
    },
    {
      name: 'organization_month',
      columns: { ...month, Currency: 'm.Currency', ...amounts(words) },
      from: sums(words, []),
    },
    {
      name: 'movement',
      columns: {
        ...month,
        ...customer(words),
        Service: 'm.Service',
        Currency: 'm.Currency',
        Kind: `CASE WHEN m.PreviousAmount = 0 THEN ${words.word('appeared')} WHEN m.Amount = 0 THEN ${words.word('vanished')} ELSE ${words.word('changed')} END`,
        ...amounts(words),
      },
      // Where the month before is not loaded, PreviousAmount is null, and so is the comparison.
      from: `${withNames(words, sums(words, ['Reference', 'Service']))} WHERE m.Amount <> m.PreviousAmount`,
    },
    loadState(words),
  ];
}

/** How the two kinds of SQL say the same. */
interface Words {
  /** A month's stamp, of its text `2026-10`. */
  readonly stamp: (month: string) => string;
  /** The stamp of the month before. */
  readonly before: (stamp: string) => string;
  /** The text of the month before. */
  readonly monthBefore: (month: string) => string;
  /** Whether two values are the same, or both null. */
  readonly same: (one: string, other: string) => string;
  /** A column of money in a form that adds up. */
  readonly money: (column: string) => string;
  /** A sum of money, or a difference of two. */
  readonly rounded: (sum: string) => string;
  /** A text to group by: those alike, and no others. */
  readonly alike: (column: string) => string;
  /** A word of the view's own. */
  readonly word: (word: string) => string;
  /** What follows customers where they are looked up by {@link joinKey}. */
  readonly lookup: string;
}

const mysql: Words = {
  stamp: (month) => `CAST(CONCAT(${month}, '-28') AS DATE)`,
  before: (stamp) => `${stamp} - INTERVAL 1 MONTH`,
  monthBefore: (month) => `DATE_FORMAT(${mysql.before(mysql.stamp(month))}, '%Y-%m')`,
  same: (one, other) => `${one} <=> ${other}`,
  money: (column) => column,
  rounded: (sum) => sum,
  // The collation takes texts for one that differ in spaces at their end only.
  alike: (column) => `${column}, LENGTH(${column})`,
  // Else a reader whose connection has another character set or collation could not compare it with a text of theirs.
  word: (word) => `_utf8mb4'${word}' COLLATE utf8mb4_bin`,
  // By itself the server reads all accounts of the organization for each of them, where most organizations have few.
  lookup: ` FORCE INDEX (${indexName('customers', joinKey)})`,
};

const sqlite: Words = {
  stamp: (month) => `(${month} || '-28')`,
  before: (stamp) => `date(${stamp}, '-1 month')`,
  monthBefore: (month) => `substr(${sqlite.before(sqlite.stamp(month))}, 1, 7)`,
  same: (one, other) => `${one} IS ${other}`,
  money: numberColumn,
  // As many digits as AWS gives: what the same amounts add up to in another order is the same, and 0.1 + 0.2 - 0.3 is 0.
  rounded: (sum) => `round(${sum}, 10)`,
  alike: (column) => column,
  word: (word) => `'${word}'`,
  lookup: '',
};

/** The columns that every view of months begins with. */
const month = { BillingPeriod: 'm.BillingPeriod', Organization: 'm.Organization' };

/** An account as the month has it; of one that is gone with its cost, the name that it had the month before. */
function customer({ word }: Words): Record<string, string> {
  return {
    Reference: 'm.Reference',
    TenantName: `COALESCE(a.TenantName, b.TenantName, '')`,
    Status: `COALESCE(a.Status, ${word('gone')})`,
  };
}

function amounts({ rounded }: Words): Record<string, string> {
  return {
    Amount: 'm.Amount',
    PreviousAmount: 'm.PreviousAmount',
    Change: rounded('m.Amount - m.PreviousAmount'),
  };
}

/** The newest load of each month and organization. */
const newest = `SELECT MAX(Id) FROM ${LOADS} GROUP BY Month, Organization`;

/**
 * Which month's rows each loaded month needs: its own, and those of the month before, where that is loaded and
 * its cost was told by the same billing view. A small table: with it in front, a month that a query asks for
 * becomes a range of consumption's primary key, and so does the month before.
 */
function sources(words: Words): string {
  const loads = `(SELECT Month, Organization, BillingViewArn FROM ${LOADS} WHERE Id IN (${newest}))`;
  const isBefore = `p.Month = ${words.monthBefore('l.Month')} AND p.Organization = l.Organization AND ${words.same('p.BillingViewArn', 'l.BillingViewArn')}`;
  const [own, before] = [words.stamp('l.Month'), words.stamp('p.Month')];
  return `SELECT ${own} AS BillingPeriod, l.Organization, ${own} AS Source, CASE WHEN p.Month IS NULL THEN 0 ELSE 1 END AS IsComparable
    FROM ${loads} l LEFT JOIN ${loads} p ON ${isBefore}
    UNION ALL
    SELECT ${own}, l.Organization, ${before}, 1 FROM ${loads} l JOIN ${loads} p ON ${isBefore}`;
}

/**
 * Each month's sums beside those of the month before, as `m`: by organization, currency and the keys. What has
 * rows in one of the two months is there.
 */
function sums(words: Words, keys: readonly ('Reference' | 'Service')[]): string {
  const by = ['Currency', ...keys].map((key) => `c.${key}`);
  const alike = by.flatMap((key) => (key === 'c.Service' ? words.alike(key) : key));
  const amount = `c.${words.money('Amount')}`;
  const sum = (own: string, before: string): string =>
    words.rounded(`SUM(CASE WHEN s.Source = s.BillingPeriod THEN ${own} ELSE ${before} END)`);
  // SQLite takes the tables of a CROSS JOIN in the order in which they stand; elsewhere it is a plain join.
  return `(SELECT s.BillingPeriod, s.Organization, ${by.join(', ')}, ${sum(amount, '0')} AS Amount,
      CASE WHEN MAX(s.IsComparable) = 1 THEN ${sum('0', amount)} END AS PreviousAmount
    FROM (${sources(words)}) s
    CROSS JOIN consumption c ON c.BillingPeriod = s.Source AND c.Organization = s.Organization
    GROUP BY s.BillingPeriod, s.Organization, ${alike.join(', ')}) m`;
}

/** The account in the month as `a`, and in the month before as `b`. */
function withNames({ before, lookup }: Words, from: string): string {
  const join = (alias: string, stamp: string): string =>
    `LEFT JOIN customers ${alias}${lookup} ON ${alias}.Reference = m.Reference AND ${alias}.BillingPeriod = ${stamp} AND ${alias}.Organization = m.Organization`;
  return `${from} ${join('a', 'm.BillingPeriod')} ${join('b', before('m.BillingPeriod'))}`;
}

function loadState({ stamp, money }: Words): View {
  const columns = ['Finished', 'Provisional', 'Detail', 'CustomerRows', 'ConsumptionRows'];
  const further = ['Totals', 'Differences', 'BillingViewArn', 'Extraction', 'Run', 'Version'];
  const plain = (names: readonly string[]): Record<string, string> =>
    Object.fromEntries(names.map((name) => [name, `l.${name}`]));
  return {
    name: 'load_state',
    columns: {
      BillingPeriod: stamp('l.Month'),
      ...plain(['Organization', ...columns, 'Currency']),
      Amount: `l.${money('Amount')}`,
      Difference: `l.${money('Difference')}`,
      ...plain(further),
    },
    from: `${LOADS} l WHERE l.Id IN (${newest})`,
  };
}

function costs(): View {
  const own = tables.consumption.map(({ name, type }): [string, string] => [
    name,
    `c.${type === 'decimal' ? numberColumn(name) : name}`,
  ]);
  return {
    name: COSTS,
    columns: {
      month: 'substr(c.BillingPeriod, 1, 7)',
      TenantName: 'a.TenantName',
      ...Object.fromEntries(own),
    },
    from: `consumption c LEFT JOIN customers a USING (${joinKey.join(', ')})`,
  };
}

function query({ columns, from }: View): string {
  const list = Object.entries(columns).map(([name, of]) => `${of} AS \`${name}\``);
  return `SELECT ${list.join(', ')} FROM ${from}`;
}

async function makeSqlite(knex: Knex, view: View): Promise<void> {
  const statement = `CREATE VIEW \`${view.name}\` AS ${query(view)}`;
  const [found] = await sqliteStatements(knex, view.name);
  if (found === undefined) await knex.raw(statement);
  else if (found !== statement) throw foreignTable(view.name);
}

const kinds = z.tuple([z.array(z.object({ kind: z.string() }))]).rest(z.unknown());

/**
 * Makes a view that reads with the rights of whoever asks it: it needs no user of its own, and shows nobody what they may not
 * see. One that a killed process has made already is known by its columns.
 */
async function makeMysql(knex: Knex, view: View): Promise<void> {
  const [[found]] = kinds.parse(
    await knex.raw(
      'SELECT TABLE_TYPE AS kind FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?',
      [view.name],
    ),
  );
  if (found === undefined)
    await knex.raw(`CREATE SQL SECURITY INVOKER VIEW \`${view.name}\` AS ${query(view)}`);
  else if (found.kind !== 'VIEW') throw foreignTable(view.name);
  else await checkColumns(knex, view.name, Object.keys(view.columns));
}

/** Whether a step failed because this user may not make views. */
export function isRefused(error: unknown): boolean {
  return deniedRight(error) === 'CREATE VIEW';
}

const names = z
  .tuple([z.tuple([z.object({ user: z.string(), name: z.string() })])])
  .rest(z.unknown());

/** The statement by which an administrator of MySQL lets this user make the views. */
export async function viewGrant(knex: Knex): Promise<string> {
  const [[{ user, name }]] = names.parse(
    await knex.raw('SELECT CURRENT_USER() AS user, DATABASE() AS name'),
  );
  const at = user.lastIndexOf('@');
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  return `GRANT CREATE VIEW ON \`${name.replaceAll('`', '``')}\`.* TO ${quoted(user.slice(0, at))}@${quoted(user.slice(at + 1))}`;
}
