import type { Knex } from 'knex';
import { z } from 'zod';
import { checkSums, emptySums, expectedSums } from '../../load/check-sums.js';
import { transaction } from '../../load/database-errors.js';
import type { Sums } from '../../load/driver.js';
import { LOADS, newestLoad } from '../../load/history.js';
import { isOutdated } from '../../load/migrate.js';
import type { ReadingDatabase } from '../../load/reading.js';
import type { StoredRow } from '../../load/read-rows.js';
import { NULL, readRows } from '../../load/read-rows.js';
import { readParquet } from '../../load/read-parquet.js';
import { ConfigurationError, DataError } from '../errors.js';
import { addTo, addToNamed, formatTotals, parseAmount } from '../money.js';
import { isMonth } from '../month.js';
import type { Month } from '../month.js';
import type { Slice, TableName } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import type { Batch } from '../staging/tables.js';
import { columnIndex, furtherMoney, tableNames } from '../staging/tables.js';
import { compareRows } from './compare-rows.js';
import type { ExportedFigures } from './exports.js';
import type { Layer, Report } from './findings.js';
import { flagsOf } from './findings.js';

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
 */
export async function checkDatabase(
  staging: Staging,
  database: ReadingDatabase,
  report: Report,
  exported: ExportedFigures | undefined,
): Promise<StoredFigures> {
  const settings: Knex.TransactionConfig =
    database.dialect === 'mysql' ? { isolationLevel: 'repeatable read' } : {};
  return database.ask((knex) =>
    transaction(knex, settings, async (trx) => {
      const current = await isCurrent(trx, database, report, exported);
      const stored: Record<TableName, Stored> = {
        customers: empty(),
        consumption: empty(),
        charges: empty(),
      };
      for (const table of tableNames) {
        const rows = tallied(table, readRows(trx, table, report.slice), stored[table]);
        const isIntact = current?.intact.includes(table) ?? false;
        const isEmpty = current !== undefined && current.source.files[table] === undefined;
        if (current !== undefined && (isIntact || isEmpty)) {
          await compareTable(staging, database, report, current, table, rows);
        } else {
          while ((await rows.next()).done !== true);
          if (current !== undefined) {
            const { manifest } = current.source;
            await report.examine(
              'database',
              () => {
                checkSums(`${table} in the database`, manifest, table, stored[table]);
              },
              `${database.location} ${table}`,
            );
          }
        }
      }
      const { customers, consumption } = stored;
      findStrays(database, report, stored);
      return {
        layer: {
          name: 'database' as const,
          customers: customers.rows,
          rows: consumption.rows,
          totals: formatTotals(consumption.totals),
        },
        withoutCost: without(customers.references, consumption.references).length,
      };
    }),
  );
}

/** What a database without tables holds of a slice. */
export function nothingStored({ location }: ReadingDatabase, report: Report): StoredFigures {
  reportUnloaded(location, report);
  return { layer: { name: 'database' }, withoutCost: 0 };
}

function reportUnloaded(where: string, report: Report): void {
  report.add('database', 'the month of this organization is staged, but not loaded', {
    where,
    next: `run "pipeline run --stage load ${flagsOf(report.slice)}"`,
  });
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
    reportUnloaded(database.location, report);
    return undefined;
  }
  if (exported === undefined) return undefined;
  const { sha256, manifest } = exported.source;
  if (newest.Source === sha256 && newest.Extraction === manifest.extraction) return exported;
  report.add(
    'database',
    `the newest load is of extraction ${newest.Extraction}, and what is staged now (${manifest.extraction}) is not loaded`,
    {
      where: database.location,
      next: `run "pipeline run --stage load ${flagsOf(report.slice)}"`,
    },
  );
  return undefined;
}

function empty(): Stored {
  return { ...emptySums(), references: new Set() };
}

/** Passes stored rows on, counting them; what is no amount is left to the comparison of the rows. */
async function* tallied(
  table: TableName,
  pieces: AsyncIterable<StoredRow[]>,
  stored: Stored,
): AsyncGenerator<StoredRow[], void, undefined> {
  const position = (name: string): number => columnIndex(table, name);
  const reference = position('Reference');
  const amount = table === 'customers' ? -1 : position('Amount');
  const currency = table === 'customers' ? -1 : position('Currency');
  const further = furtherMoney(table).map((name) => [name, position(name)] as const);
  for await (const piece of pieces) {
    for (const { texts } of piece) {
      stored.rows++;
      stored.references.add(texts[reference] ?? '');
      if (amount < 0) continue;
      const units = unitsOf(texts[amount] ?? '');
      if (units !== undefined) addTo(stored.totals, texts[currency] ?? '', units);
      for (const [name, index] of further) {
        const value = texts[index] ?? NULL;
        const sum = value === NULL ? undefined : unitsOf(value);
        if (sum !== undefined) addToNamed(stored.columns, name, texts[currency] ?? '', sum);
      }
    }
    yield piece;
  }
}

function unitsOf(text: string): bigint | undefined {
  try {
    return parseAmount(text).units;
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

async function compareTable(
  staging: Staging,
  { dialect, location }: ReadingDatabase,
  report: Report,
  { source }: ExportedFigures,
  table: TableName,
  rows: AsyncGenerator<StoredRow[], void, undefined>,
): Promise<void> {
  const file = source.files[table];
  const { rows: expected } = expectedSums(source.manifest, table);
  const batches = file === undefined ? noBatches() : readParquet(staging, file, table, expected);
  const found = await compareRows(table, dialect, batches, rows);
  const kinds = [
    [found.missing, 'staged and missing in the database'],
    [found.foreign, 'in the database and not staged'],
    [found.altered, 'other values in the database than staged'],
  ] as const;
  for (const [kind, what] of kinds) {
    if (kind.rows === 0) continue;
    const count = `${kind.rows} ${kind.rows === 1 ? 'row' : 'rows'}`;
    report.add('database', `${table}: ${count} ${what}, first ${kind.first}`, {
      where: `${location} ${table}`,
      next: `find out who changes the table, then run "pipeline run --stage load --force ${flagsOf(report.slice)}"`,
    });
  }
}

/** The rows of a table that was not made. */
async function* noBatches(): AsyncGenerator<Batch, void, undefined> {
  // Nothing to hand out.
}

function without(references: Set<string>, others: Set<string>): string[] {
  return [...references].filter((reference) => !others.has(reference));
}

function findStrays(
  database: ReadingDatabase,
  report: Report,
  { customers, consumption }: Record<TableName, Stored>,
): void {
  const strays = without(consumption.references, customers.references);
  if (strays.length === 0) return;
  report.add(
    'database',
    `cost without a customer: ${strays.length} ${strays.length === 1 ? 'account' : 'accounts'}, first ${strays[0] ?? ''}`,
    {
      where: `${database.location} customers`,
      next: `run "pipeline run --stage load --force ${flagsOf(report.slice)}"`,
    },
  );
}

const loaded = z.array(
  z.object({
    Month: z.string().refine(isMonth, 'is not a month'),
    Organization: z.string(),
  }),
);

/**
 * Whether the database holds the tables; the first load makes them.
 * @throws {ConfigurationError} when they are another version's.
 */
export async function holdsLoads(database: ReadingDatabase): Promise<boolean> {
  return database.ask(async (knex) => {
    if (!(await isOutdated(knex, database.dialect))) return true;
    if (!(await knex.schema.hasTable(LOADS))) return false;
    throw new ConfigurationError("the database's tables are an older version's", {
      where: database.location,
      next: 'run "pipeline run --stage load", which upgrades them, then this again',
    });
  });
}

/** The months' slices that were ever loaded. */
export async function loadedSlices(
  database: ReadingDatabase,
  months: readonly Month[],
): Promise<Slice[]> {
  const answer: unknown = await database.ask((knex) =>
    knex(LOADS)
      .whereIn('Month', [...months])
      .distinct('Month', 'Organization'),
  );
  return loaded
    .parse(answer)
    .map(({ Month: month, Organization: organization }) => ({ month, organization }));
}
