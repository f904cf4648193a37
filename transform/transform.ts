import pLimit from 'p-limit';
import { definitionOf } from '../pipeline/shared/dimensions.js';
import { ConfigurationError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import { difference, formatSums, noSums } from '../pipeline/shared/sums.js';
import { billingPeriod } from '../pipeline/shared/month.js';
import type { OnProgress, Outcome } from '../pipeline/shared/outcome.js';
import { printable } from '../pipeline/shared/printable.js';
import { version } from '../pipeline/shared/version.js';
import type { CurrentOf } from '../pipeline/staging/extractions.js';
import type { ExportFormat, Slice, TableName } from '../pipeline/staging/layout.js';
import { exportFormats, exportKey, transformManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest, TransformManifest } from '../pipeline/staging/manifest.js';
import {
  billedRows,
  outcomeOf,
  readTransformManifest,
  serializeManifest,
} from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { columnOf, tableColumns, tableNames } from '../pipeline/staging/tables.js';
import type { BreakdownTallies } from './breakdowns.js';
import { addedUp, breakdownBatches } from './breakdowns.js';
import { checkBreakdowns, checkTally, readAwsTotal, readServiceDifferences } from './checks.js';
import type { Stamp } from './columns.js';
import type { ConsumptionTally } from './consumption.js';
import { consumptionBatches, emptyTally } from './consumption.js';
import type { ListedElsewhere } from './customer-rows.js';
import {
  addUnlisted,
  customersBatch,
  findsTheSame,
  lookElsewhere,
  readCustomers,
  seesTheSame,
} from './customer-rows.js';
import { openExports } from './exports.js';
import { invoicesBatches } from './invoice-rows.js';
import type { FinishedExtraction } from './staged-pages.js';
import { currentExtraction } from './staged-pages.js';

export interface TransformTask {
  staging: Staging;
  slice: Slice;
  /** The current extractions of the month, in which names of accounts are looked for that this one does not list. */
  current: CurrentOf;
  /** The rows' Tag. */
  tag: string;
  /** `basic` writes the plain-typed Parquet files too; the standard ones are always written. */
  parquet: 'standard' | 'basic';
  /** Days after the month's end in which its figures are provisional. */
  provisionalDays: number;
  /** Make the tables even where nothing changed. */
  force: boolean;
  signal: AbortSignal;
  log: Log;
  onProgress: OnProgress;
  now: () => Date;
}

/** Rows from which on a slice waits for its turn. */
const LONG = 50_000;

/**
 * Long slices are made one after the other: side by side in one thread they take as long, and hold the pages and
 * dictionaries of all of them at once (1,000,000 rows in four slices: 4.9 s of CPU and 300 MiB, in turn 4.2 s
 * and 180 MiB).
 */
const turns = pLimit(1);

/** What the stage works from, and the manifest of tables that making them again would not change. */
export interface TransformDecision {
  manifest: ExtractionManifest;
  recipe: Recipe;
  /** Whether no tables were made before, as far as manifests tell. */
  isFirst: boolean;
  /** `undefined`: the tables have to be made. */
  former: TransformManifest | undefined;
  /** Whether only files are to be made again that were lost, so that the tables stay what they were. */
  restores: boolean;
}

/**
 * Decides from what is staged alone whether there is anything to make.
 * @throws {DataError} when nothing is staged, or a manifest cannot be read.
 */
export async function decideTransform(
  task: Pick<TransformTask, 'staging' | 'slice' | 'tag' | 'parquet' | 'force'>,
): Promise<TransformDecision> {
  const { staging, slice, tag } = task;
  checkTag(tag);
  const { manifest, source } = await currentExtraction(staging, slice);
  const formats: ExportFormat[] = ['parquet', 'csv'];
  if (task.parquet === 'basic') formats.push('parquet-basic');
  const names: readonly TableName[] = tableNames.filter(
    (table) =>
      (table !== 'breakdowns' || manifest.scope.by.length > 0) &&
      (table !== 'invoices' || manifest.invoices !== null),
  );
  const { extraction } = manifest;
  const recipe: Recipe = { extraction, source, tag, tables: names, formats };
  const found = task.force ? undefined : await readTransformManifest(staging, slice);
  const same = found !== undefined && isMadeBy(found.manifest, recipe) ? found.manifest : undefined;
  const isThere = same !== undefined && (await isWhole(staging, slice, recipe, same));
  return {
    manifest,
    recipe,
    isFirst: !task.force && found === undefined,
    former: isThere ? same : undefined,
    restores: same !== undefined && !isThere,
  };
}

/**
 * What the stage would say of a slice whose tables and manifest it would leave as they are; `undefined`: it has
 * something to do.
 * @throws {DataError} when nothing is staged, or a manifest cannot be read.
 */
export async function nothingToMake(
  task: Omit<TransformTask, 'signal' | 'log' | 'onProgress' | 'now'>,
): Promise<Outcome | undefined> {
  const { former } = await decideTransform(task);
  if (former === undefined || !(await seesTheSame(task, former))) return undefined;
  return outcomeOf('unchanged', former, task.provisionalDays);
}

/**
 * Makes the tables of a slice from its current extraction, from staged files alone: Parquet and CSV,
 * then the manifest. On any failure the former files stay as they are.
 * @throws {DataError} when nothing is staged, or a staged file is missing, altered or wrong.
 */
export async function transform(task: TransformTask): Promise<Outcome> {
  const { staging, slice } = task;
  const { manifest, recipe, former, isFirst } = await decideTransform(task);
  if (former !== undefined && (await findsTheSame(task, former)))
    return outcomeOf('unchanged', former, task.provisionalDays);
  const make = (): Promise<TransformManifest> =>
    makeTables(task, { staging, slice, manifest }, recipe, isFirst);
  const made = await (manifest.groups < LONG ? make() : turns(make));
  return outcomeOf('done', made, task.provisionalDays);
}

function checkTag(tag: string): void {
  const { length = Infinity } = columnOf('customers', 'Tag');
  if (tag.length > length) {
    throw new ConfigurationError(`the tag "${tag.slice(0, 20)}…" is too long`, {
      next: `give the organization a tag of at most ${length} characters`,
    });
  }
}

async function makeTables(
  task: TransformTask,
  extraction: FinishedExtraction,
  recipe: Recipe,
  isFirst: boolean,
): Promise<TransformManifest> {
  const { staging, slice, tag, signal } = task;
  const stamp: Stamp = {
    tag,
    billingPeriod: billingPeriod(slice.month),
    organization: slice.organization,
  };
  const hadFiles = !isFirst || (await isThere(staging, exportKey('parquet', 'customers', slice)));
  const exports = await openExports(staging, slice, recipe.tables, recipe.formats);
  try {
    const customers = await readCustomers(extraction, signal);
    const tally = emptyTally();
    const tallies: BreakdownTallies = new Map();
    const invoiced = emptyTally();
    for await (const batch of consumptionBatches(extraction, stamp, tally, signal)) {
      await exports.write('consumption', batch);
      const { groups } = extraction.manifest;
      task.onProgress(`${tally.rows} of ${groups} rows`, tally.rows / groups);
    }
    checkTally(extraction, tally);
    for await (const batch of breakdownBatches(extraction, stamp, tallies, signal))
      await exports.write('breakdowns', batch);
    checkBreakdowns(extraction, tallies);
    const split = addedUp(tallies);
    for await (const batch of invoicesBatches(extraction, stamp, invoiced, signal))
      await exports.write('invoices', batch);
    const awsTotal = await readAwsTotal(extraction, signal);
    const services = await readServiceDifferences(extraction, tally.services, signal);
    const { totals } = formatSums(tally);
    const named = new Map([...split.accounts, ...tally.accounts]);
    const unlisted = [...named.keys()].filter((id) => !customers.has(id)).sort();
    const { found, look } = await lookElsewhere(task, unlisted);
    addUnlisted(customers, named, found);
    await exports.write('customers', customersBatch(customers, stamp));
    throwIfInterrupted(signal);
    const files = await exports.close({
      customers: { ...noSums(), rows: customers.size },
      consumption: tally,
      breakdowns: split,
      invoices: invoiced,
    });
    if (hadFiles) await removeOthers(staging, slice, recipe);

    const manifest: TransformManifest = {
      format: 1,
      version,
      month: slice.month,
      organization: slice.organization,
      extraction: recipe.extraction,
      source: recipe.source,
      finished: task.now().toISOString(),
      tag,
      estimated: extraction.manifest.estimated,
      columns: tableColumns(),
      scope: extraction.manifest.scope,
      refused: extraction.manifest.refused,
      awsTotal: awsTotal?.totals ?? null,
      difference: awsTotal === null ? null : difference(awsTotal.totals, totals),
      awsMetrics: awsTotal?.metrics ?? {},
      ...(services === undefined ? {} : { serviceDifferences: services }),
      fetched: extraction.manifest.finished,
      customers: {
        rows: customers.size,
        unlisted: unlisted.length,
        ...(look === undefined ? {} : { elsewhere: look }),
        files: files.customers,
      },
      consumption: {
        ...formatSums(tally),
        rounded: tally.rounded,
        pairs: tally.pairs,
        ...(tally.costView === undefined ? {} : { costView: tally.costView }),
        files: files.consumption,
      },
      ...(recipe.tables.includes('breakdowns')
        ? {
            breakdowns: {
              ...formatSums(split),
              rounded: split.rounded,
              dimensions: [...tallies].map(([dimension, one]) => ({
                dimension,
                ...formatSums(one),
                values: one.values,
              })),
              files: files.breakdowns,
            },
          }
        : {}),
    };
    if (recipe.tables.includes('invoices'))
      manifest.invoices = { ...formatSums(invoiced), rounded: 0, files: files.invoices };
    await staging.write(transformManifestKey(slice), serializeManifest(manifest));
    report(task, manifest, found, tally.severalRegions);
    reportViews(task, manifest, named.size);
    return manifest;
  } catch (error) {
    await exports.abort();
    throw error;
  }
}

/** Most usage types that a warning names. */
const NAMED = 10;

/**
 * Removes files of tables and formats that are not made any more; they would be older than the rest. There are none where
 * the first file that `openExports` completes was never there.
 */
async function removeOthers(
  staging: Staging,
  slice: Slice,
  recipe: Pick<Recipe, 'tables' | 'formats'>,
): Promise<void> {
  const others = exportFormats.flatMap((format) =>
    tableNames
      .filter((table) => !(recipe.formats.includes(format) && recipe.tables.includes(table)))
      .map((table) => exportKey(format, table, slice)),
  );
  await Promise.all(others.map((key) => staging.remove(key)));
}

function report(
  { log }: TransformTask,
  { customers, consumption, breakdowns, scope }: TransformManifest,
  elsewhere: ReadonlyMap<string, ListedElsewhere>,
  severalRegions: ConsumptionTally['severalRegions'],
): void {
  if (consumption.rounded > 0) {
    log.warn(
      `amounts with more than 18 fraction digits, rounded half to even: ${consumption.rounded}`,
    );
  }
  if (severalRegions.size > 0) {
    const named = [...severalRegions].slice(0, NAMED).map(([usageType, regions]) => {
      return `${JSON.stringify(usageType)} (${regions.size === 0 ? 'AWS tells none' : [...regions].sort().join(', ')})`;
    });
    const more = severalRegions.size - named.length;
    log.warn(
      `usage types of several regions within an account, whose rows have the Region N/A: ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
    );
  }
  for (const { dimension, rows, values } of breakdowns?.dimensions ?? []) {
    const { Type, Key } = definitionOf(dimension);
    if (Type === 'DIMENSION' || rows === 0 || values > 0) continue;
    const what =
      Type === 'TAG'
        ? `is the tag key ${JSON.stringify(Key)} spelled so, and activated as a cost allocation tag in the payer's billing console since before this month?`
        : `do the rules of the cost category ${JSON.stringify(Key)} hold for this month?`;
    log.warn({ dimension }, `AWS gives no cost a value of ${printable(dimension)}: ${what}`);
  }
  if (customers.unlisted > 0 && scope.listAccounts) {
    log.info(
      `accounts with consumption that the organization does not list: ${customers.unlisted}`,
    );
  }
  if (elsewhere.size > 0) {
    const places = new Set([...elsewhere.values()].map(({ organization }) => organization));
    log.info(`of those, named as ${[...places].join(', ')} lists them: ${elsewhere.size}`);
  }
}

/** Says which billing view tells of other accounts than those it is held against: nothing else would show it. */
function reportViews(
  { log }: TransformTask,
  { customers, consumption, scope }: TransformManifest,
  accounts: number,
): void {
  const { billingViewArn, costViewArn, listAccounts } = scope;
  if (billingViewArn !== null && listAccounts && accounts > 0 && customers.unlisted === accounts)
    log.warn(
      `no account of the billing view ${billingViewArn} is in the organization's list: it is another payer's, so that customers have the names that Cost Explorer tells; with listAccounts false the organization's own accounts are none of them`,
    );
  const { onlyBill = 0, onlyCost = 0 } = consumption.costView ?? {};
  const billed = billedRows({ consumption });
  if (billed > 0 && onlyCost > 0 && onlyBill === billed)
    log.warn(
      `nothing in the cost view ${costViewArn ?? ''} is of an account and service that is billed: margins tell nothing, check costViewArn`,
    );
}

/** What the tables of a slice are made from. */
export interface Recipe {
  extraction: string;
  /** sha256 of the extraction's manifest. */
  source: string;
  tag: string;
  tables: readonly TableName[];
  formats: readonly ExportFormat[];
}

/** Whether the tables that a transform manifest tells of were made by the same recipe. */
function isMadeBy(manifest: TransformManifest, recipe: Recipe): boolean {
  return (
    manifest.extraction === recipe.extraction &&
    manifest.source === recipe.source &&
    manifest.tag === recipe.tag &&
    // A version with other columns.
    manifest.columns === tableColumns()
  );
}

/** Whether just the files of the recipe are there, each in the length that the manifest says. */
async function isWhole(
  staging: Staging,
  slice: Slice,
  recipe: Recipe,
  manifest: TransformManifest,
): Promise<boolean> {
  const files = tableNames.flatMap((table) => manifest[table]?.files ?? []);
  const wanted = recipe.formats.flatMap((format) =>
    recipe.tables.map((table) => exportKey(format, table, slice)),
  );
  if (wanted.length !== files.length || !wanted.every((key) => files.some((f) => f.key === key)))
    return false;
  for (const file of files) if ((await sizeOf(staging, file.key)) !== file.bytes) return false;
  return true;
}

/** Whether a file is there: in a bucket that is asked for cheaper by reading than by listing. */
async function isThere(staging: Staging, key: string): Promise<boolean> {
  for await (const _chunk of (await staging.read(key)) ?? []) return true;
  return false;
}

async function sizeOf(staging: Staging, key: string): Promise<number | undefined> {
  for await (const file of staging.list(key)) if (file.key === key) return file.size;
  return undefined;
}
