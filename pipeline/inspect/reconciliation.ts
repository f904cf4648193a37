import type { ReadingDatabase } from '../../load/database.js';
import { advice, nextRun, shownNext, subjectOf } from '../shared/commands.js';
import { throwIfInterrupted } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import { parseAmount } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { figuresOf, isProvisional } from '../shared/provisional.js';
import type { Totals } from '../shared/sums.js';
import { addTo, formatTotals } from '../shared/sums.js';
import { amountOf, formatTable } from '../shared/table.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { rawPrefix } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import { checkMonths, checkOrganizations } from './chosen.js';
import { checkDatabase, loadedSlices } from './reconcile-database.js';
import { checkExports } from './reconcile-exports.js';
import type { Finding, Layer } from './reconcile-findings.js';
import { createReport, layerNames } from './reconcile-findings.js';
import type { StagedFigures } from './reconcile-pages.js';
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
  /** What the staged pages say; undefined where their manifest cannot be read. */
  staged?: StagedFigures | undefined;
  /** Whether AWS may still change the figures. */
  provisional?: boolean | undefined;
  /** None where nothing is staged. */
  layers: readonly Layer[];
  customersWithoutCost?: number;
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
  const stagedMonths = staged.map(({ month }) => month);
  checkMonths(staging.location, stagedMonths, months);
  const loaded = await loadedSlices(database);
  const keyOf = ({ month, organization }: Slice): string => `${month} ${organization}`;
  const slices = new Map(staged.map((slice) => [keyOf(slice), { slice, isStaged: true }]));
  for (const slice of loaded ?? [])
    if (stagedMonths.includes(slice.month) && !slices.has(keyOf(slice)))
      slices.set(keyOf(slice), { slice, isStaged: false });
  checkOrganizations(
    [...slices.values()].map(({ slice }) => slice.organization),
    organizations,
  );
  const results: Reconciled[] = [];
  // One after the other: each needs memory for some thousand rows, and nothing else waits for it.
  for (const [, { slice, isStaged }] of [...slices].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (organizations?.includes(slice.organization) === false) continue;
    throwIfInterrupted(signal);
    results.push(
      isStaged
        ? await reconcileSlice(request, slice, loaded !== undefined)
        : nothingStaged(staging, slice),
    );
  }
  return results;
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
  return { ...slice, layers: [], findings: report.findings };
}

async function reconcileSlice(
  { staging, database, tolerance, provisionalDays, signal }: ReconcileRequest,
  slice: Slice,
  holdsTables: boolean,
): Promise<Reconciled> {
  const report = createReport(slice);
  const staged = await checkPages(staging, report, tolerance, signal);
  const exported = await checkExports(staging, report, staged);
  const stored = await checkDatabase(staging, database, holdsTables, report, exported);
  return {
    ...slice,
    staged,
    provisional: staged && isProvisional({ ...slice, provisionalDays, ...staged }),
    layers: [
      staged?.aws ?? { name: 'AWS total' },
      staged?.pages ?? { name: 'staged pages' },
      exported?.parquet ?? { name: 'Parquet' },
      exported?.csv ?? { name: 'CSV' },
      stored.layer,
    ],
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
      figuresOf(result.provisional) ?? '',
      checkOf(result, layer),
    ]),
  );
  const table = formatTable(head, [...rows, ...inAll(results)], ['customers', 'rows', 'amount']);
  const findings = results.flatMap((result) => result.findings);
  return [table, '', summary(results), ...findings.flatMap((one) => ['', describe(one)])].join(
    '\n',
  );
}

function figures({ name, customers, rows, totals }: Layer): string[] {
  return [
    name,
    customers === undefined ? '' : String(customers),
    rows === undefined ? '' : String(rows),
    totals === undefined ? '' : amountOf(totals),
  ];
}

function checkOf({ findings, staged }: Reconciled, { name, totals }: Layer): string {
  const count = findings.filter(({ layer }) => layer === name).length;
  const verdict = count === 0 ? 'ok' : plural(count, 'finding');
  if (name !== 'AWS total') return verdict;
  if (totals === undefined && count === 0) return staged === undefined ? '' : 'not asked for';
  const apart = Object.entries(staged?.difference ?? {}).filter(([, amount]) => amount !== '0');
  return apart.length === 0
    ? verdict
    : `${verdict}, difference ${amountOf(Object.fromEntries(apart))}`;
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
  const idle = results.reduce((total, one) => total + (one.customersWithoutCost ?? 0), 0);
  const verdict = count === 0 ? 'every layer agrees' : plural(count, 'finding');
  return `${verdict}; ${results.length} checked, ${idle} customers without cost`;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
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
      extraction: result.staged?.extraction ?? null,
      figures: figuresOf(result.provisional) ?? null,
      layers: result.layers.map(({ name, customers, rows, totals }) => ({
        layer: name,
        customers: customers ?? null,
        rows: rows ?? null,
        amount: totals ?? null,
      })),
      difference: result.staged?.difference ?? null,
      serviceDifferences: result.staged?.serviceDifferences ?? null,
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
