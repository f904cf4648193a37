import type { OrganizationSource } from '../../extract/organization-source.js';
import type { ReadingDatabase } from '../../load/database.js';
import { countRows } from '../../load/loads.js';
import type { Absence, KnownOrganizations } from '../run/known-organizations.js';
import { absentSlices } from '../run/known-organizations.js';
import { advice, nextRun } from '../shared/commands.js';
import { throwIfInterrupted } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { InvoiceComparison } from '../shared/invoice-comparison.js';
import type { Month } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { rawPrefix } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import { checkToday } from './aws-today.js';
import type { TodaysTotal } from './aws-today.js';
import { checkMonths, checkOrganizations } from './chosen.js';
import { keptFiles } from './kept-files.js';
import { checkDatabase, loadedSlices } from './reconcile-database.js';
import { checkExports } from './reconcile-exports.js';
import type { Finding, FindingKind, Layer } from './reconcile-findings.js';
import { createReport, kindsOf } from './reconcile-findings.js';
import { checkInvoices } from './reconcile-invoices.js';
import type { StagedFigures } from './reconcile-pages.js';
import { checkPages } from './reconcile-pages.js';

export interface ReconcileRequest {
  staging: Staging;
  database: ReadingDatabase;
  /** `undefined`: every month that is staged. */
  months: readonly Month[] | undefined;
  /** `undefined`: every organization. */
  organizations: readonly string[] | undefined;
  /** The organizations that should be there. */
  known: KnownOrganizations;
  /** The difference from AWS's total that is taken, in units of 10^-18 of the currency. */
  tolerance: Units;
  /** The same from the invoices, where any is held against them. */
  toleranceInvoice: Units | undefined;
  /** Days after a month's end in which its figures are provisional. */
  provisionalDays: number;
  /** Where AWS's totals of today come from, at $0.01 each; `undefined`: AWS is not asked. */
  paid: ((organization: string) => Promise<OrganizationSource>) | undefined;
  /** Told beforehand how many totals AWS is asked for. */
  onPlan: (requests: number) => void;
  signal: AbortSignal;
  now: () => Date;
}

/** A month of an organization: what each layer holds of it, and what does not agree. */
export interface Reconciled extends Slice {
  /** What the staged pages say; undefined where their manifest cannot be read. */
  staged?: StagedFigures | undefined;
  /** Whether AWS may still change the figures. */
  provisional?: boolean | undefined;
  /** AWS's total of today, where it was asked for. */
  today?: TodaysTotal | undefined;
  /** None where nothing is staged. */
  layers: readonly Layer[];
  customersWithoutCost?: number;
  /** The invoices beside the cost, where the exports can be read. */
  invoiced?: InvoiceComparison | undefined;
  findings: readonly Finding[];
}

/** What became of it all. */
export interface Reconciliation {
  results: readonly Reconciled[];
  /** Organizations that should be there, and are neither staged nor loaded. */
  absence: Absence;
  /** Answers that AWS charges for. */
  requests: number;
}

/**
 * Checks again, from what is staged and what is in the database, that every layer of the chosen months
 * holds the same rows and the same exact sums, and that no organization is absent. Changes nothing and makes no table;
 * AWS is asked only for its totals of today, if it may be paid. A run that works on the same month meanwhile may show
 * as a difference.
 * @throws {DataError} when nothing is staged for a chosen month. @throws {UsageError} on an
 * organization that there is not. @throws {TransientError} and {ConfigurationError} of storage and database,
 * the latter also when the tables are another version's.
 */
export async function reconcile(request: ReconcileRequest): Promise<Reconciliation> {
  const { staging, database, months, organizations, known, signal } = request;
  const everything = (await stagedSlices(staging)).map(({ slice }) => slice);
  const staged = everything.filter(({ month }) => months?.includes(month) ?? true);
  const stagedMonths = [...new Set(staged.map(({ month }) => month))];
  checkMonths(staging.location, stagedMonths, months);
  const loaded = await loadedSlices(database);
  const keyOf = ({ month, organization }: Slice): string => `${month} ${organization}`;
  const slices = new Map(staged.map((slice) => [keyOf(slice), { slice, isStaged: true }]));
  for (const slice of loaded ?? [])
    if (stagedMonths.includes(slice.month) && !slices.has(keyOf(slice)))
      slices.set(keyOf(slice), { slice, isStaged: false });
  const all = [...slices.values()].map(({ slice }) => slice);
  const names = [
    ...all.map(({ organization }) => organization),
    ...known.entries.map(({ name }) => name),
  ];
  checkOrganizations(names, organizations);
  const chosen = [...slices]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, one]) => one)
    .filter(({ slice }) => organizations?.includes(slice.organization) ?? true);
  if (request.paid !== undefined) request.onPlan(chosen.filter(({ isStaged }) => isStaged).length);
  const rowsOf = loaded && countRows(database);
  let requests = 0;
  const onPaid = (): void => {
    requests++;
  };
  const results = await sideBySide(chosen, request.paid === undefined ? AT_ONCE : 1, (one) => {
    throwIfInterrupted(signal);
    return one.isStaged
      ? reconcileSlice(request, one.slice, rowsOf, onPaid)
      : Promise.resolve(nothingStaged(staging, one.slice));
  });
  const there = [...everything, ...all];
  const absence = absentSlices(known, there, stagedMonths, organizations, request.now());
  return { results, absence, requests };
}

/**
 * Slices that are worked on at once: while one waits for the disk or the database, the other goes on. Each needs memory
 * for some thousand rows. With --paid it is one after the other, so that a budget of requests ends where it should.
 */
const AT_ONCE = 2;

/** The results in the items' order. With the first failure no further item is begun; it is thrown when all have ended. */
async function sideBySide<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const left = items.entries();
  let failure: { error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (const [index, item] of left) {
      if (failure !== undefined) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  if (failure !== undefined) throw failure.error;
  return results;
}

function nothingStaged(staging: Staging, slice: Slice): Reconciled {
  const report = createReport(slice);
  report.add(
    'fault',
    'staged pages',
    'the month of this organization is loaded, but nothing of it is staged',
    {
      where: `${staging.location}/${rawPrefix(slice.month, slice.organization)}`,
      ...advice('restore the folder, or fetch it again with', nextRun([], slice)),
    },
  );
  return { ...slice, layers: [], findings: report.findings };
}

async function reconcileSlice(
  request: ReconcileRequest,
  slice: Slice,
  rowsOf: ReturnType<typeof countRows> | undefined,
  onPaid: () => void,
): Promise<Reconciled> {
  const { staging, database, tolerance, provisionalDays, paid, signal } = request;
  const report = createReport(slice);
  const staged = await checkPages(staging, report, tolerance, signal);
  const today =
    paid &&
    staged &&
    (await checkToday(() => paid(slice.organization), report, staged, tolerance, signal, onPaid));
  const files = keptFiles(staging);
  const exported = await checkExports(files, report, staged);
  const stored = await checkDatabase(database, rowsOf, report, exported);
  const invoiced = await checkInvoices(files, report, exported, request.toleranceInvoice);
  return {
    ...slice,
    ...{ staged, today },
    provisional: staged && isProvisional({ ...slice, provisionalDays, ...staged }),
    layers: [
      staged?.aws ?? { name: 'AWS total', state: '' },
      ...(today === undefined ? [] : [today.layer]),
      staged?.pages ?? { name: 'staged pages' },
      exported?.parquet ?? { name: 'Parquet' },
      exported?.csv ?? { name: 'CSV' },
      stored.layer,
    ],
    customersWithoutCost: stored.withoutCost,
    invoiced,
    findings: report.findings,
  };
}

/** The kinds of all that was found, of which the exit code is made; an organization that is absent is a fault. */
export function foundKinds({ results, absence }: Reconciliation): FindingKind[] {
  return [
    ...absence.slices.map((): FindingKind => 'fault'),
    ...results.flatMap(({ findings }) => kindsOf(findings)),
  ];
}

/** Whether everything agrees, and nothing is absent. */
export function isWhole({ results, absence }: Reconciliation): boolean {
  return absence.slices.length === 0 && results.every(({ findings }) => findings.length === 0);
}
