import type { Knex } from 'knex';
import { advice, nextRun } from '../pipeline/shared/commands.js';
import { isBreakdown, writtenAs } from '../pipeline/shared/dimensions.js';
import { DataError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import type { Units } from '../pipeline/shared/money.js';
import type { OnProgress, Outcome } from '../pipeline/shared/outcome.js';
import type { Sums } from '../pipeline/shared/sums.js';
import { difference, noSums } from '../pipeline/shared/sums.js';
import { printable } from '../pipeline/shared/printable.js';
import { version } from '../pipeline/shared/version.js';
import type { CodedColumn, RowBatch } from '../pipeline/staging/batch.js';
import { addRows, sliceRows } from '../pipeline/staging/batch.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { outcomeOf, tableSums } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { tableNames, tables } from '../pipeline/staging/tables.js';
import { checkDifference } from './aws-difference.js';
import type { Database, LoadTransaction } from './driver.js';
import { instantText } from './driver.js';
import { newestLoad, recordLoad, singleAmount } from './history.js';
import type { Loads } from './loads.js';
import { countDimensions, countListed, countSlice, deleteSlice } from './schema.js';
import type { Source } from './source.js';
import { checkSums, findSource, readTable } from './source.js';

export interface LoadTask {
  staging: Staging;
  database: Database;
  slice: Slice;
  /** Names the run in the load history. */
  runId: string;
  /** The largest difference from AWS's ungrouped total that is taken, in units of 10^-18 of the currency. */
  tolerance: Units;
  /** Days after the month's end in which its figures are provisional. */
  provisionalDays: number;
  /** Load even what the database holds already, unless this very run has loaded it. */
  force: boolean;
  /** Load a month that has lost all its rows or accounts too; without it such a month is refused. */
  acceptEmpty?: boolean | undefined;
  signal: AbortSignal;
  log: Log;
  onProgress: OnProgress;
  now: () => Date;
}

/**
 * Replaces the slice (month and organization) in the database's tables by what the transform
 * stage left, in one transaction: a reader sees all of the old rows or all of the new ones. Row
 * counts and exact sums are compared with the manifest as sent and as stored before the commit.
 * Does nothing when the newest load of the slice had the same content and its rows are all there.
 * @throws {DataError} when the slice is not transformed, a staged file is not the manifest's, AWS's own
 * total differs by more than the tolerance, a count or sum differs, or all rows or accounts that are loaded are gone. @throws {ConfigurationError} on a missing right. @throws {TransientError}
 * when the database breaks, is full or stays locked. @throws {InterruptedError} on the signal.
 * After every one of them the database is as it was.
 */
export async function load(task: LoadTask): Promise<Outcome> {
  const { staging, database, slice, signal, log } = task;
  throwIfInterrupted(signal);
  const source = await findSource(staging, slice);
  const { manifest } = source;
  const outcome = (state: Outcome['state']): Outcome =>
    outcomeOf(state, manifest, task.provisionalDays);
  return database.transact(slice, { signal, log }, async (transaction) => {
    throwIfInterrupted(signal);
    // A run that is given the slice a second time has forced its load already.
    const forcedBy = task.force ? task.runId : undefined;
    if (await isLoaded(transaction.trx, slice, source, forcedBy)) return outcome('unchanged');
    checkDifference(manifest, task.tolerance);
    if (task.acceptEmpty !== true)
      await checkCollapse(database.location, transaction.trx, slice, manifest);
    const started = task.now();
    const { awsTotal, consumption } = manifest;
    const differences = awsTotal == null ? undefined : difference(awsTotal, consumption.totals);
    await replaceSlice(task, transaction, source);
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
      Difference: differences === undefined ? null : singleAmount(differences).Amount,
      Differences: differences === undefined ? null : JSON.stringify(differences),
      Source: source.sha256,
      Started: instantText(dialect, started.getTime()),
      Finished: instantText(dialect, task.now().getTime()),
      Version: version,
      Detail: manifest.scope.detail,
      BillingViewArn: manifest.scope.billingViewArn,
      CostViewArn: manifest.scope.costViewArn,
      Provisional: outcome('done').provisional,
    });
    return outcome('done');
  });
}

/**
 * What the stage would say of a slice that the database holds already; `undefined`: it has something to do.
 * @throws {PipelineError} when it cannot be found out.
 */
export async function nothingToLoad(
  { staging, slice, provisionalDays }: Pick<LoadTask, 'staging' | 'slice' | 'provisionalDays'>,
  loads: Loads,
): Promise<Outcome | undefined> {
  if (loads.isDue) return undefined;
  const source = await findSource(staging, slice);
  if (!(await loads.holds(slice, source))) return undefined;
  return outcomeOf('unchanged', source.manifest, provisionalDays);
}

/**
 * Whether loading would change nothing: the newest load had the same content, and its rows are all there.
 * @param run counts that run's loads alone.
 */
async function isLoaded(
  trx: Knex,
  slice: Slice,
  { manifest, sha256 }: Source,
  run?: string,
): Promise<boolean> {
  const newest = await newestLoad(trx, slice);
  return (
    (run === undefined || newest?.Run === run) &&
    newest?.Source === sha256 &&
    newest.Extraction === manifest.extraction &&
    (await holdsAllRows(trx, slice, manifest))
  );
}

async function holdsAllRows(
  trx: Knex,
  slice: Slice,
  manifest: TransformManifest,
): Promise<boolean> {
  for (const table of tableNames)
    if ((await countSlice(trx, table, slice)) !== tableSums(manifest, table).rows) return false;
  return true;
}

/**
 * Refuses a month that has lost all its rows or accounts: sooner than that AWS took back a month's cost, something
 * answered in its place, or was asked for less.
 * @throws {DataError} with both figures.
 */
async function checkCollapse(
  where: string,
  trx: Knex,
  slice: Slice,
  manifest: TransformManifest,
): Promise<void> {
  const { extraction, customers, consumption } = manifest;
  const figures = [
    {
      what: 'rows of consumption',
      loaded: await countSlice(trx, 'consumption', slice),
      found: consumption.rows,
    },
    {
      what: 'listed accounts',
      loaded: await countListed(trx, slice),
      // Who no longer asks for the list has given it up by name.
      found: manifest.scope.listAccounts ? customers.rows - customers.unlisted : Infinity,
    },
    ...(await lostBreakdowns(trx, slice, manifest)),
  ];
  const gone = figures.filter(({ loaded, found }) => loaded > 0 && found <= 0);
  if (gone.length === 0) return;
  const list = new Intl.ListFormat('en').format(
    gone.map(({ loaded, what }) => `${loaded} ${what}`),
  );
  const { month, organization } = slice;
  const missing = gone.flatMap((figure) => ('flags' in figure ? figure.flags : []));
  // What was not asked for is asked for by name, which takes what is staged of it before it pays for it again.
  const isUnasked = gone.every((figure) => 'flags' in figure && figure.flags.length > 0);
  throw new DataError(
    `${organization}'s ${month} is loaded with ${list}, and extraction ${extraction} has none of them: nothing was changed`,
    {
      where,
      ...advice(
        isUnasked ? 'take them with' : 'fetch the month again with',
        nextRun([], slice, ...(isUnasked ? [] : ['--force']), ...missing),
        ', or, if it is true, load it with --accept-empty',
      ),
    },
  );
}

/**
 * The breakdowns that are loaded, with what the month has of them now, and the flags that ask for them again. One
 * that AWS refuses is told as that, and holds nothing up.
 */
async function lostBreakdowns(
  trx: Knex,
  slice: Slice,
  { breakdowns, scope, refused }: TransformManifest,
) {
  const isRefused = (dimension: string): boolean => refused.some(({ part }) => part === dimension);
  const loaded = [...(await countDimensions(trx, slice))].filter(([one]) => !isRefused(one));
  return loaded.map(([dimension, rows]) => ({
    what: `rows of breakdowns by ${printable(dimension)}`,
    loaded: rows,
    found: breakdowns?.dimensions.find((one) => one.dimension === dimension)?.rows ?? 0,
    flags:
      isBreakdown(dimension) && !scope.by.includes(dimension) ? ['--by', writtenAs(dimension)] : [],
  }));
}

async function replaceSlice(
  { staging, slice, signal, onProgress }: LoadTask,
  transaction: LoadTransaction,
  source: Source,
): Promise<void> {
  const { manifest } = source;
  for (const table of tableNames) {
    await deleteSlice(transaction.trx, table, slice);
    if (source.files[table] === undefined) continue;
    const expected = tableSums(manifest, table);
    const sent = noSums();
    const pieces = counted(table, readTable(staging, source, table), sent, () => {
      throwIfInterrupted(signal);
      if (sent.rows > 0)
        onProgress(`${table} ${sent.rows} of ${expected.rows} rows`, sent.rows / expected.rows);
    });
    await transaction.append(table, pieces);
    checkSums(`${table} as staged`, manifest, table, sent);
  }
  for (const table of tableNames) {
    const stored =
      table === 'customers'
        ? { ...noSums(), rows: await countSlice(transaction.trx, table, slice) }
        : await transaction.sums(table, slice, Object.keys(tableSums(manifest, table).columns));
    checkSums(`${table} in the database`, manifest, table, stored);
  }
}

/** Rows between two calls of `onPiece`: some tenths of a second. */
const PIECE = 10_000;

/**
 * Passes rows on in pieces, adding them to the sums. `onPiece` is called before each piece and after the last; what it
 * throws ends the rows.
 */
async function* counted(
  table: TableName,
  batches: AsyncIterable<RowBatch<CodedColumn>>,
  sums: Sums,
  onPiece: () => void,
): AsyncGenerator<RowBatch<CodedColumn>, void, undefined> {
  for await (const batch of batches) {
    for (let start = 0; start < batch.length; start += PIECE) {
      onPiece();
      const piece = sliceRows(batch, start, Math.min(start + PIECE, batch.length));
      addRows(sums, tables[table], piece.length, (index) => piece.columns[index]);
      yield piece;
    }
  }
  onPiece();
}
