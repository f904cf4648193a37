import type { Knex } from 'knex';
import { transaction } from '../../load/database-errors.js';
import type { ReadingDatabase } from '../../load/database.js';
import type { Dialect } from '../../load/driver.js';
import { LOADS, newestLoad, newestLoads } from '../../load/history.js';
import type { countRows } from '../../load/loads.js';
import { dueSteps } from '../../load/migrations.js';
import { checkSums } from '../../load/source.js';
import type { StoredRow } from '../../load/values.js';
import { NULL, createWriter, readRows } from '../../load/values.js';
import { advice, nextRun } from '../shared/commands.js';
import { ConfigurationError, DataError } from '../shared/errors.js';
import { parseAmount } from '../shared/money.js';
import type { Sums } from '../shared/sums.js';
import { formatTotals, noSums } from '../shared/sums.js';
import type { CodedColumn, RowBatch } from '../staging/batch.js';
import { codedAt } from '../staging/batch.js';
import type { Slice, TableName } from '../staging/layout.js';
import { columnIndex, tableNames, tables } from '../staging/tables.js';
import type { ExportedFigures } from './reconcile-exports.js';
import type { Layer, Report } from './reconcile-findings.js';
import { textAdder } from './reconcile-findings.js';

/** What the database holds of a slice. */
export interface StoredFigures {
  layer: Layer;
  /** Customers without a row of consumption: normal. */
  withoutCost: number;
}

interface Stored extends Sums {
  references: Set<string>;
}

/**
 * Reads the slice's rows from the database, all from one state of it, and compares each with the
 * Parquet files; looks for cost without a customer.
 * @param rowsOf how many rows a table has of a slice, see `countRows`; `undefined` where the first load has not made
 * the tables yet.
 */
export async function checkDatabase(
  database: ReadingDatabase,
  rowsOf: ReturnType<typeof countRows> | undefined,
  report: Report,
  exported: ExportedFigures | undefined,
): Promise<StoredFigures> {
  if (rowsOf === undefined) {
    reportUnloaded(database, report);
    return { layer: { name: 'database' }, withoutCost: 0 };
  }
  /** Tables that the slice has not, and of which nobody has put anything into the database: most have no breakdowns. */
  const empty = new Set<TableName>();
  for (const table of tableNames)
    if (exported !== undefined && exported.source.files[table] === undefined)
      if ((await rowsOf(table, report.slice)) === 0) empty.add(table);
  const settings: Knex.TransactionConfig =
    database.dialect === 'mysql' ? { isolationLevel: 'repeatable read' } : {};
  return database.ask((knex) =>
    transaction(knex, settings, async (trx) => {
      const current = await isCurrent(trx, database, report, exported);
      const stored = {} as Record<TableName, Stored>;
      for (const table of tableNames) {
        const sums = (stored[table] = { ...noSums(), references: new Set<string>() });
        if (empty.has(table)) continue;
        const rows = counted(table, readRows(trx, table, report.slice), sums);
        await checkTable({ database, report }, current, table, rows, sums);
      }
      const { customers, consumption } = stored;
      reportStrays(database, report, without(consumption.references, customers.references));
      return {
        layer: {
          name: 'database' as const,
          customers: customers.rows,
          rows: consumption.rows,
          totals: formatTotals(consumption.totals),
          state: current === undefined ? 'not compared' : undefined,
        },
        withoutCost: without(customers.references, consumption.references).length,
      };
    }),
  );
}

function without(references: Set<string>, others: Set<string>): string[] {
  return [...references].filter((reference) => !others.has(reference));
}

function reportUnloaded({ location: where }: ReadingDatabase, report: Report): void {
  report.add('unloaded', 'database', 'the month of this organization is staged, but not loaded', {
    where,
    ...advice('run', nextRun(['load'], report.slice)),
  });
}

function reportStrays({ location }: ReadingDatabase, report: Report, strays: string[]): void {
  const [first] = strays;
  if (first === undefined) return;
  report.add(
    'difference',
    'database',
    `cost without a customer: ${strays.length} ${strays.length === 1 ? 'account' : 'accounts'}, first ${first}`,
    {
      where: `${location} customers`,
      ...advice('run', nextRun(['load'], report.slice, '--force')),
    },
  );
}

/** What is exported, if the database is to hold just that; otherwise the report says what to do. */
async function isCurrent(
  trx: Knex,
  database: ReadingDatabase,
  report: Report,
  exported: ExportedFigures | undefined,
): Promise<ExportedFigures | undefined> {
  const newest = await newestLoad(trx, report.slice);
  if (newest === undefined) {
    reportUnloaded(database, report);
    return undefined;
  }
  if (exported === undefined) return undefined;
  const { sha256, manifest } = exported.source;
  if (newest.Source === sha256 && newest.Extraction === manifest.extraction) return exported;
  report.add(
    'unloaded',
    'database',
    `the newest load is of extraction ${newest.Extraction}, and what is staged now (${manifest.extraction}) is not loaded`,
    { where: database.location, ...advice('run', nextRun(['load'], report.slice)) },
  );
  return undefined;
}

/** Passes stored rows on, counting them; what is no amount is left to the comparison of the rows. */
async function* counted(
  table: TableName,
  pieces: AsyncIterable<StoredRow[]>,
  stored: Stored,
): AsyncGenerator<StoredRow[], void, undefined> {
  const reference = columnIndex(table, 'Reference');
  const add = textAdder(table, stored, unitsOf);
  for await (const piece of pieces) {
    for (const { texts } of piece) {
      stored.references.add(texts[reference] ?? '');
      add(texts);
    }
    yield piece;
  }
}

function unitsOf(text: string): bigint | undefined {
  // Most columns of money are empty in most rows: a failed reading of each would take longer than all the rest.
  if (text === NULL) return undefined;
  try {
    return parseAmount(text).units;
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

/** Compares a table's rows with its Parquet file; where that cannot be read, their sums with the manifest. */
async function checkTable(
  { database, report }: { database: ReadingDatabase; report: Report },
  current: ExportedFigures | undefined,
  table: TableName,
  rows: AsyncGenerator<StoredRow[], void, undefined>,
  sums: Sums,
): Promise<void> {
  const where = `${database.location} ${table}`;
  const isReadable =
    current?.intact.includes(table) === true || current?.source.files[table] === undefined;
  if (current === undefined || !isReadable) {
    while ((await rows.next()).done !== true);
    if (current === undefined) return;
    const check = (): void => {
      checkSums(`${table} in the database`, current.source.manifest, table, sums);
    };
    await report.examine('database', check, where, 'difference');
    return;
  }
  const batches = current.rows(table);
  const found = await compareRows(table, database.dialect, batches, rows);
  const kinds = [
    [found.missing, 'staged and missing in the database'],
    [found.foreign, 'in the database and not staged'],
    [found.altered, 'other values in the database than staged'],
  ] as const;
  for (const [kind, what] of kinds) {
    if (kind.rows === 0) continue;
    const count = `${kind.rows} ${kind.rows === 1 ? 'row' : 'rows'}`;
    const load = nextRun(['load'], report.slice, '--force');
    report.add('difference', 'database', `${table}: ${count} ${what}, first ${kind.first}`, {
      where,
      ...advice('find out who changes the table, then run', load),
    });
  }
}

/**
 * The slices that were ever loaded; `undefined` where the first load has not made the tables yet.
 * @throws {ConfigurationError} when they are another version's.
 */
export async function loadedSlices(database: ReadingDatabase): Promise<Slice[] | undefined> {
  return database.ask(async (knex) => {
    if (!(await dueSteps(knex, database.dialect)).tables) return newestLoads(knex);
    if (!(await knex.schema.hasTable(LOADS))) return undefined;
    throw new ConfigurationError("the database's tables are an older version's", {
      where: database.location,
      ...advice('run', nextRun(['load']), ', which upgrades them, then this again'),
    });
  });
}

/** Rows of one kind of difference: how many, and the first of them in words. */
interface Kind {
  rows: number;
  first: string;
}

/**
 * Compares staged rows with stored ones, line by line and value by value; both come in order, a piece
 * at a time.
 * @param stored pieces that are never empty.
 */
async function compareRows(
  table: TableName,
  dialect: Dialect,
  batches: AsyncIterable<RowBatch<CodedColumn>>,
  stored: AsyncIterator<readonly StoredRow[], void, undefined>,
): Promise<Record<'missing' | 'foreign' | 'altered', Kind>> {
  const [missing, foreign, altered] = [none(), none(), none()];
  let piece: readonly StoredRow[] = [];
  let at = 0;
  /** Takes the stored rows before a staged line, which are foreign; then the one at that line. */
  const take = async (line: number): Promise<StoredRow | undefined> => {
    for (;;) {
      if (at === piece.length) {
        const next = await stored.next();
        if (next.done === true) return undefined;
        piece = next.value;
        at = 0;
      }
      const candidate = piece[at];
      if (candidate === undefined || candidate.line > line) return undefined;
      at++;
      if (candidate.line === line) return candidate;
      add(foreign, () => describe(table, candidate));
    }
  };
  const write = createWriter(table, dialect, NULL);
  let line = 0;
  for await (const batch of batches) {
    const columns = write(batch);
    for (let row = 0; row < batch.length; row++) {
      line++;
      const texts = columns.map((column) =>
        column.kind === 'constant' ? column.value : codedAt(column, row),
      );
      const same = await take(line);
      if (same === undefined) add(missing, () => describe(table, { line, texts }));
      else compare(table, texts, same, altered);
    }
  }
  await take(Infinity);
  return { missing, foreign, altered };
}

function none(): Kind {
  return { rows: 0, first: '' };
}

function add(kind: Kind, describeRow: () => string): void {
  if (kind.rows++ === 0) kind.first = describeRow();
}

function compare(
  table: TableName,
  staged: readonly string[],
  { line, texts }: StoredRow,
  altered: Kind,
): void {
  const index = staged.findIndex((text, column) => text !== texts[column]);
  if (index < 0) return;
  add(altered, () => {
    const name = tables[table][index]?.name ?? '';
    return `${describe(table, { line, texts: staged })}: ${name} is ${quote(texts[index])} instead of ${quote(staged[index])}`;
  });
}

function quote(text: string | undefined): string {
  return text === undefined || text === NULL ? 'null' : JSON.stringify(text.slice(0, 80));
}

/** What a row's cost is for, by table. */
const subjects: Partial<Record<TableName, readonly string[]>> = {
  consumption: ['Service', 'Category'],
  breakdowns: ['Dimension', 'Value'],
  invoices: ['InvoiceId'],
};

function describe(table: TableName, { line, texts }: StoredRow): string {
  const value = (name: string): string => texts[columnIndex(table, name)] ?? '';
  const subject = (subjects[table] ?? []).map(value).filter((text) => text !== 'N/A');
  const amount = table === 'customers' ? [] : [`${value('Amount')} ${value('Currency')}`];
  return [`line ${line}`, `account ${value('Reference')}`, ...subject, ...amount].join(', ');
}
