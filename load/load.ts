import { DataError, throwIfInterrupted } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { addTo, formatTotals, sameTotals } from '../pipeline/money.js';
import type { OnProgress, Outcome } from '../pipeline/outcome.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import type { Staging } from '../pipeline/staging/staging.js';
import type { Batch } from '../pipeline/staging/tables.js';
import { columnIndex, tableNames } from '../pipeline/staging/tables.js';
import { version } from '../pipeline/version.js';
import type { Database, LoadTransaction, Sums } from './driver.js';
import { newestLoad, recordLoad, singleAmount } from './history.js';
import { readParquet } from './read-parquet.js';
import { countSlice, deleteSlice } from './slice-rows.js';
import type { Source } from './source.js';
import { checkFiles, findSource } from './source.js';
import { instantText } from './values.js';

export interface LoadTask {
  staging: Staging;
  database: Database;
  slice: Slice;
  /** Names the run in the load history. */
  runId: string;
  /** Load even what the database holds already. */
  force: boolean;
  signal: AbortSignal;
  log: Log;
  onProgress: OnProgress;
  now: () => Date;
}

/**
 * Replaces the slice (month and organization) in the database's two tables by what the transform
 * stage left, in one transaction: a reader sees all of the old rows or all of the new ones. Row
 * counts and exact sums are compared with the manifest as sent and as stored before the commit.
 * Does nothing when the newest load of the slice had the same content and its rows are all there.
 * @throws {DataError} when the slice is not transformed, a staged file is not the manifest's, or a
 * count or sum differs. @throws {ConfigurationError} on a missing right. @throws {TransientError}
 * when the database breaks, is full or stays locked. @throws {InterruptedError} on the signal.
 * After every one of them the database is as it was.
 */
export async function load(task: LoadTask): Promise<Outcome> {
  const { staging, database, slice, signal, log } = task;
  throwIfInterrupted(signal);
  const source = await findSource(staging, slice);
  const { manifest } = source;
  const outcome = (state: Outcome['state']): Outcome => ({
    state,
    extraction: manifest.extraction,
    customers: manifest.customers.rows,
    rows: manifest.consumption.rows,
    totals: manifest.consumption.totals,
    requests: 0,
  });
  return database.transact(slice, { signal, log }, async (transaction) => {
    if (!task.force && (await isLoaded(transaction, slice, source))) return outcome('unchanged');
    const started = task.now();
    await checkFiles(staging, source);
    await replaceSlice(task, transaction, source);
    // Once more: a transform may have replaced the files while they were read.
    await checkFiles(staging, source);
    throwIfInterrupted(signal);
    const { dialect, trx } = transaction;
    await recordLoad(trx, {
      Run: task.runId,
      Month: slice.month,
      Organization: slice.organization,
      Extraction: manifest.extraction,
      CustomerRows: manifest.customers.rows,
      ConsumptionRows: manifest.consumption.rows,
      ...singleAmount(manifest.consumption.totals),
      Totals: JSON.stringify(manifest.consumption.totals),
      Source: source.sha256,
      Started: instantText(dialect, started.getTime()),
      Finished: instantText(dialect, task.now().getTime()),
      Version: version,
    });
    return outcome('done');
  });
}

async function isLoaded(
  { trx }: LoadTransaction,
  slice: Slice,
  { manifest, sha256 }: Source,
): Promise<boolean> {
  const newest = await newestLoad(trx, slice);
  return (
    newest?.Source === sha256 &&
    newest.Extraction === manifest.extraction &&
    (await countSlice(trx, 'customers', slice)) === manifest.customers.rows &&
    (await countSlice(trx, 'consumption', slice)) === manifest.consumption.rows
  );
}

async function replaceSlice(
  task: LoadTask,
  transaction: LoadTransaction,
  source: Source,
): Promise<void> {
  const { slice, staging } = task;
  const { manifest } = source;
  const check = (table: TableName, what: string, found: Sums | number): void => {
    const sums = typeof found === 'number' ? { rows: found, totals: undefined } : found;
    const totals = sums.totals === undefined ? undefined : formatTotals(sums.totals);
    const expected = manifest[table].rows;
    const expectedTotals = manifest.consumption.totals;
    if (sums.rows === expected && (totals === undefined || sameTotals(totals, expectedTotals)))
      return;
    const sum = (value: Readonly<Record<string, string>>): string =>
      totals === undefined ? '' : ` with sum ${JSON.stringify(value)}`;
    throw new DataError(
      `${table} ${what}: expected ${expected} rows${sum(expectedTotals)}, found ${sums.rows} rows${sum(totals ?? {})}; nothing was changed`,
      {
        where: `${staging.location}/${source.files[table].key}`,
        next: `run "pipeline run --stage transform --stage load --force --month ${slice.month} --organization ${slice.organization}"`,
      },
    );
  };
  for (const table of tableNames) {
    await deleteSlice(transaction.trx, table, slice);
    const sent: Sums = { rows: 0, totals: new Map() };
    const batches = readParquet(staging, source.files[table], table);
    await transaction.append(table, tallied(task, table, batches, sent, manifest[table].rows));
    check(table, 'as staged', table === 'consumption' ? sent : sent.rows);
  }
  check('customers', 'in the database', await countSlice(transaction.trx, 'customers', slice));
  check('consumption', 'in the database', await transaction.sums(slice));
}

/** Passes batches on, counting and adding up what is sent, and stops between two once interrupted. */
async function* tallied(
  { signal, onProgress }: LoadTask,
  table: TableName,
  batches: AsyncIterable<Batch>,
  sums: Sums,
  expected: number,
): AsyncGenerator<Batch, void, undefined> {
  for await (const batch of batches) {
    for (const piece of pieces(batch)) {
      throwIfInterrupted(signal);
      if (table === 'consumption') addUp(piece, sums);
      sums.rows += piece.length;
      yield piece;
      onProgress(`${table} ${sums.rows} of ${expected} rows`);
    }
  }
  throwIfInterrupted(signal);
}

/** Rows between two looks at the signal: some tenths of a second. */
const PIECE = 10_000;

function* pieces({ length, columns }: Batch): Generator<Batch, void, undefined> {
  for (let start = 0; start < length; start += PIECE) {
    const end = Math.min(start + PIECE, length);
    yield { length: end - start, columns: columns.map((values) => values.slice(start, end)) };
  }
}

function addUp(batch: Batch, sums: Sums): void {
  const amounts = batch.columns[columnIndex('consumption', 'Amount')] ?? [];
  const currencies = batch.columns[columnIndex('consumption', 'Currency')] ?? [];
  for (let row = 0; row < batch.length; row++) {
    addTo(sums.totals, currencies[row] as string, amounts[row] as bigint);
  }
}
