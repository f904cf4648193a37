import type { ReadingDatabase } from '../../load/database.js';
import { advice, nextRun, shownNext, subjectOf } from '../shared/commands.js';
import { DataError, UsageError, throwIfInterrupted } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { ServiceDifference, Totals } from '../shared/sums.js';
import { parseAmount } from '../shared/money.js';
import { addTo, formatTotals } from '../shared/sums.js';
import type { Month } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import { formatTable } from '../shared/table.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { rawPrefix } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import { checkDatabase, holdsLoads, loadedSlices, nothingStored } from './reconcile-database.js';
import { checkExports } from './reconcile-exports.js';
import type { Finding, Layer } from './reconcile-findings.js';
import { createReport, layerNames } from './reconcile-findings.js';
import { checkPages } from './reconcile-pages.js';

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
      ...advice('run', { months: missing }, ' first, or name another staging area with --staging'),
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
      ...advice('restore the folder, or fetch it again with', nextRun([], slice)),
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

const head = ['month', 'organization', 'layer', 'customers', 'rows', 'amount', 'figures', 'check'];

/** The result as people read it: each layer's rows and sums, then each finding with what to do. */
export function formatReconciled(results: readonly Reconciled[]): string {
  const rows = results.flatMap((result) =>
    result.layers.map((layer) => [
      result.month,
      result.organization,
      ...figures(layer),
      stateOf(result) ?? '',
      checkOf(result, layer),
    ]),
  );
  const table = formatTable(head, [...rows, ...inAll(results)], ['customers', 'rows', 'amount']);
  const findings = results.flatMap((result) => result.findings);
  return [table, '', summary(results), ...findings.flatMap((one) => ['', describe(one)])].join(
    '\n',
  );
}

function stateOf({ provisional }: Reconciled): 'provisional' | 'final' | undefined {
  return provisional === undefined ? undefined : provisional ? 'provisional' : 'final';
}

function figures({ name, customers, rows, totals }: Layer): string[] {
  const sums = Object.entries(totals ?? {}).map(([currency, amount]) => `${amount} ${currency}`);
  const nothing = totals === undefined ? '' : '0';
  return [
    name,
    customers === undefined ? '' : String(customers),
    rows === undefined ? '' : String(rows),
    sums.length === 0 ? nothing : sums.join(', '),
  ];
}

function checkOf(
  { findings, difference, extraction }: Reconciled,
  { name, totals }: Layer,
): string {
  const count = findings.filter(({ layer }) => layer === name).length;
  const verdict = count === 0 ? 'ok' : `${count} ${count === 1 ? 'finding' : 'findings'}`;
  if (name !== 'AWS total') return verdict;
  if (totals === undefined && count === 0) return extraction === undefined ? '' : 'not asked for';
  const amounts = Object.entries(difference ?? {})
    .filter(([, amount]) => amount !== '0')
    .map(([currency, amount]) => `${amount} ${currency}`);
  return amounts.length === 0 ? verdict : `${verdict}, difference ${amounts.join(', ')}`;
}

/** Each layer's figures over all organizations of a month, where every one of them has some. */
function inAll(results: readonly Reconciled[]): string[][] {
  const months = [...new Set(results.map(({ month }) => month))];
  return months.flatMap((month) => {
    const ofMonth = results.filter((result) => result.month === month);
    if (ofMonth.length < 2) return [];
    return layerNames.map((name) => {
      const layers = ofMonth.map((result) => result.layers.find((layer) => layer.name === name));
      return [month, 'all', ...figures(addUp(name, layers)), '', ''];
    });
  });
}

function addUp(name: Layer['name'], layers: readonly (Layer | undefined)[]): Layer {
  const sum = (values: readonly (number | undefined)[]): number | undefined =>
    values.reduce<number | undefined>(
      (total, value) => (total === undefined || value === undefined ? undefined : total + value),
      0,
    );
  const known = layers.every((layer) => layer?.totals !== undefined);
  const totals: Totals = new Map();
  for (const layer of layers)
    for (const [currency, amount] of Object.entries(layer?.totals ?? {}))
      addTo(totals, currency, parseAmount(amount).units);
  return {
    name,
    customers: sum(layers.map((layer) => layer?.customers)),
    rows: sum(layers.map((layer) => layer?.rows)),
    totals: known ? formatTotals(totals) : undefined,
  };
}

function summary(results: readonly Reconciled[]): string {
  const count = results.reduce((total, { findings }) => total + findings.length, 0);
  const idle = results.reduce(
    (total, { customersWithoutCost = 0 }) => total + customersWithoutCost,
    0,
  );
  const verdict =
    count === 0 ? 'every layer agrees' : `${count} ${count === 1 ? 'finding' : 'findings'}`;
  return `${verdict}; ${results.length} checked, ${idle} customers without cost`;
}

function describe(finding: Finding): string {
  const { month, organization, layer, what, where } = finding;
  const next = shownNext(finding, subjectOf(finding));
  const place = where === undefined ? '' : `\n  where: ${where}`;
  const step = next === undefined ? '' : `\n  next:  ${next}`;
  return `${month} ${organization} ${layer}: ${what}${place}${step}`;
}

/** The result as one JSON document; amounts stay decimal texts, what is not known is null. */
export function reconciledToJson(results: readonly Reconciled[]): unknown {
  return {
    agrees: results.every(({ findings }) => findings.length === 0),
    slices: results.map((result) => ({
      month: result.month,
      organization: result.organization,
      extraction: result.extraction ?? null,
      figures: stateOf(result) ?? null,
      layers: result.layers.map(({ name, customers, rows, totals }) => ({
        layer: name,
        customers: customers ?? null,
        rows: rows ?? null,
        amount: totals ?? null,
      })),
      difference: result.difference ?? null,
      serviceDifferences: result.serviceDifferences ?? null,
      customersWithoutCost: result.customersWithoutCost ?? null,
      findings: result.findings.map((finding) => ({
        layer: finding.layer,
        what: finding.what,
        where: finding.where ?? null,
        next: shownNext(finding, subjectOf(finding)) ?? null,
      })),
    })),
  };
}
