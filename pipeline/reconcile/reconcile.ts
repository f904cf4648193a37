import type { ReadingDatabase } from '../../load/reading.js';
import { DataError, throwIfInterrupted, UsageError } from '../errors.js';
import type { ServiceDifference, Units } from '../money.js';
import type { Month } from '../month.js';
import { checkDatabase, holdsLoads, loadedSlices, nothingStored } from './database.js';
import { checkExports } from './exports.js';
import type { Finding, Layer } from './findings.js';
import { createReport, flagsOf } from './findings.js';
import { checkPages } from './pages.js';
import { isProvisional } from '../provisional.js';
import { stagedSlices } from '../staged.js';
import type { Slice } from '../staging/layout.js';
import { rawPrefix } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';

export interface ReconcileRequest {
  staging: Staging;
  database: ReadingDatabase;
  /** `undefined`: every month that is staged. */
  months: readonly Month[] | undefined;
  /** `undefined`: every organization. */
  organizations: readonly string[] | undefined;
  /** The difference from AWS's total that is taken, in units of 10^-18 of the currency. */
  tolerance: Units;
  /** Days after a month's end in which its figures are provisional. */
  provisionalDays: number;
  signal: AbortSignal;
}

/** A month of an organization: what each layer holds of it, and what does not agree. */
export interface Reconciled extends Slice {
  extraction: string | undefined;
  /** Whether AWS may still change the figures; undefined where its manifest cannot be read. */
  provisional: boolean | undefined;
  layers: readonly Layer[];
  /** AWS's ungrouped total minus the sum; undefined when it was not asked for or cannot be read. */
  difference: Readonly<Record<string, string>> | undefined;
  /** The services that make it; undefined when AWS was not asked for them. */
  serviceDifferences: readonly ServiceDifference[] | undefined;
  customersWithoutCost: number | undefined;
  findings: readonly Finding[];
}

/**
 * Checks again, from what is staged and what is in the database, that every layer of the chosen months
 * holds the same rows and the same exact sums. Changes nothing, makes no table and contacts no cloud. A run that works
 * on the same month meanwhile may show as a difference.
 * @throws {DataError} when nothing is staged for a chosen month. @throws {UsageError} on an
 * organization that there is not. @throws {TransientError} and {ConfigurationError} of storage and database,
 * the latter also when the tables are another version's.
 */
export async function reconcile(request: ReconcileRequest): Promise<Reconciled[]> {
  const { staging, database, months, organizations, signal } = request;
  const staged = (await stagedSlices(staging, months)).map(({ slice }) => slice);
  checkMonths(request, staged);
  const known = [...new Set(staged.map(({ month }) => month))];
  const all = [...staged];
  const isLoaded = await holdsLoads(database);
  for (const slice of isLoaded ? await loadedSlices(database, known) : [])
    if (!all.some((one) => isSame(one, slice))) all.push(slice);
  const names = [...new Set(all.map(({ organization }) => organization))].sort();
  const unknown = organizations?.filter((name) => !names.includes(name)) ?? [];
  if (unknown.length > 0) {
    throw new UsageError(`there is no organization ${unknown.join(', ')}`, {
      next: `choose among ${names.join(', ')}`,
    });
  }
  const chosen = all
    .filter(({ organization }) => organizations?.includes(organization) ?? true)
    .sort((a, b) => (`${a.month} ${a.organization}` < `${b.month} ${b.organization}` ? -1 : 1));
  const results: Reconciled[] = [];
  // One after the other: each needs memory for some thousand rows, and nothing else waits for it.
  for (const slice of chosen) {
    throwIfInterrupted(signal);
    results.push(
      staged.some((one) => isSame(one, slice))
        ? await reconcileSlice(request, slice, isLoaded)
        : nothingStaged(staging, slice),
    );
  }
  return results;
}

function isSame(a: Slice, b: Slice): boolean {
  return a.month === b.month && a.organization === b.organization;
}

function checkMonths({ staging, months }: ReconcileRequest, staged: readonly Slice[]): void {
  const missing = months?.filter((month) => !staged.some((slice) => slice.month === month)) ?? [];
  if (staged.length > 0 && missing.length === 0) return;
  throw new DataError(
    `nothing is staged${missing.length === 0 ? '' : ` for ${missing.join(', ')}`}`,
    {
      where: staging.location,
      next: 'run "pipeline run" first, or name another staging area with --staging',
    },
  );
}

function nothingStaged(staging: Staging, slice: Slice): Reconciled {
  const report = createReport(slice);
  report.add(
    'staged pages',
    'the month of this organization is loaded, but nothing of it is staged',
    {
      where: `${staging.location}/${rawPrefix(slice.month, slice.organization)}`,
      next: `restore the folder, or fetch it again with "pipeline run ${flagsOf(slice)}"`,
    },
  );
  return {
    ...slice,
    extraction: undefined,
    provisional: undefined,
    layers: [],
    difference: undefined,
    serviceDifferences: undefined,
    customersWithoutCost: undefined,
    findings: report.findings,
  };
}

async function reconcileSlice(
  { staging, database, tolerance, provisionalDays, signal }: ReconcileRequest,
  slice: Slice,
  isLoaded: boolean,
): Promise<Reconciled> {
  const report = createReport(slice);
  const staged = await checkPages(staging, report, tolerance, signal);
  const exported = await checkExports(staging, report, staged);
  const stored = isLoaded
    ? await checkDatabase(staging, database, report, exported)
    : nothingStored(database, report);
  return {
    ...slice,
    extraction: staged?.extraction,
    provisional:
      staged === undefined
        ? undefined
        : isProvisional({ month: slice.month, provisionalDays, ...staged }),
    layers: [
      staged?.aws ?? { name: 'AWS total' },
      staged?.pages ?? { name: 'staged pages' },
      exported?.parquet ?? { name: 'Parquet' },
      exported?.csv ?? { name: 'CSV' },
      stored.layer,
    ],
    difference: staged?.difference,
    serviceDifferences: staged?.serviceDifferences,
    customersWithoutCost: stored.withoutCost,
    findings: report.findings,
  };
}
