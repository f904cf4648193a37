import type { OrganizationSource } from '../../extract/organization-source.js';
import type { ReadingDatabase } from '../../load/database.js';
import { countRows } from '../../load/loads.js';
import type { Absence, KnownOrganizations } from '../run/known-organizations.js';
import { absentSlices, describeAbsence } from '../run/known-organizations.js';
import { price } from '../run/task.js';
import { advice, nextRun, shownCommand, shownNext, subjectOf } from '../shared/commands.js';
import { throwIfInterrupted } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import { parseAmount } from '../shared/money.js';
import type { InvoiceComparison } from '../shared/invoice-comparison.js';
import type { Month } from '../shared/month.js';
import { figuresOf, isProvisional } from '../shared/provisional.js';
import type { Totals } from '../shared/sums.js';
import { addTo, formatTotals } from '../shared/sums.js';
import { amountColumn, formatTable } from '../shared/table.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { rawPrefix } from '../staging/layout.js';
import { describeRefusal } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { checkToday } from './aws-today.js';
import type { TodaysTotal } from './aws-today.js';
import { checkMonths, checkOrganizations } from './chosen.js';
import { invoiceLines } from './invoice-lines.js';
import { keptFiles } from './kept-files.js';
import { checkDatabase, loadedSlices } from './reconcile-database.js';
import { checkExports } from './reconcile-exports.js';
import type { Finding, FindingKind, Layer } from './reconcile-findings.js';
import { createReport, kindsOf, layerNames, remedy } from './reconcile-findings.js';
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
  const results = await inTurn(chosen, request.paid === undefined ? AT_ONCE : 1, (one) => {
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
async function inTurn<T, R>(
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

/** The result as people read it: each layer's rows and sums, then what does not agree with what to do. */
export function formatReconciled({ results, absence, requests }: Reconciliation): string {
  const lines = [
    ...results.flatMap((result) =>
      result.layers.map((layer) => ({ ...result, layer, check: checkOf(result, layer) })),
    ),
    ...inAll(results),
  ];
  const amounts = amountColumn(
    'amount',
    lines.map(({ layer }) => layer.totals),
  );
  const numbers = ['customers', 'rows', amounts.head];
  const head = ['month', 'organization', 'layer', ...numbers, 'check'];
  const rows = lines.map(({ month, organization, layer, check }, index) => [
    ...[month, organization, layer.name],
    ...[layer.customers, layer.rows].map((count) => (count === undefined ? '' : String(count))),
    ...[amounts.cells[index] ?? '', check],
  ]);
  const invoices = invoiceLines(
    results.flatMap(({ invoiced, ...slice }) =>
      invoiced === undefined ? [] : [{ ...slice, invoiced }],
    ),
  );
  return [
    formatTable(head, rows, numbers, { names: ['organization'] }),
    ...results.flatMap(differencesOf),
    ...results.flatMap(marginsOf),
    ...results.flatMap(({ month, organization, staged }) =>
      (staged?.refused ?? []).map((one) => `${month} ${organization}: ${describeRefusal(one)}`),
    ),
    ...(invoices.length === 0 ? [] : ['', ...invoices]),
    '',
    summary(results, absence),
    ...(requests === 0
      ? []
      : [`${plural(requests, 'Cost Explorer request')}, $${price(requests)}`]),
    ...describeAbsence(absence).flatMap((line) => ['', line]),
    ...results.flatMap((result) => (result.findings.length === 0 ? [] : ['', describe(result)])),
  ].join('\n');
}

/** What a layer's line says of it: on the line of AWS's total also when it was asked for, and whether it is final. */
function checkOf({ findings, staged, provisional }: Reconciled, layer: Layer): string {
  const count = findings.filter((finding) => finding.layer === layer.name).length;
  if (count > 0) return plural(count, 'finding');
  if (layer.state === undefined && layer.totals === undefined) return 'not there';
  const isTotal = layer.name === 'AWS total' && staged !== undefined;
  const { state = isTotal ? `ok on ${staged.fetched.slice(0, 10)}` : 'ok' } = layer;
  return isTotal ? `${state}, ${figuresOf(provisional) ?? ''}` : state;
}

function differencesOf({ month, organization, staged }: Reconciled): string[] {
  return Object.entries(staged?.difference ?? {})
    .filter(([, amount]) => amount !== '0')
    .map(
      ([currency, amount]) =>
        `${month} ${organization}: AWS's total of ${staged?.fetched.slice(0, 10) ?? ''} minus the rows is ${amount} ${currency}`,
    );
}

/** What each organization with a cost view earns, exactly. */
function marginsOf({ month, organization, staged }: Reconciled): string[] {
  const margin = staged?.margin;
  if (margin === undefined) return [];
  const { onlyBill, onlyCost } = margin;
  const gaps = `${plural(onlyBill, 'row')} billed without a cost, ${onlyCost} of cost not billed`;
  return Object.entries(margin.margin).map(
    ([currency, earned]) =>
      `${month} ${organization}: billed ${margin.amount[currency] ?? '0'} ${currency} less CostAmount ${margin.cost[currency] ?? '0'} is a margin of ${earned}; ${gaps}`,
  );
}

interface Line extends Slice {
  layer: Layer;
  check: string;
}

/** Each layer's figures over all organizations of a month, where every one of them has some. */
function inAll(results: readonly Reconciled[]): Line[] {
  const months = [...new Set(results.map(({ month }) => month))];
  return months.flatMap((month) => {
    const ofMonth = results.filter((result) => result.month === month);
    if (ofMonth.length < 2) return [];
    return layerNames.flatMap((name) => {
      const layers = ofMonth.map((result) => result.layers.find((layer) => layer.name === name));
      if (layers.every((layer) => layer === undefined)) return [];
      return [{ month, organization: 'all', layer: addUp(name, layers), check: '' }];
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

function summary(results: readonly Reconciled[], absence: Absence): string {
  const sum = (of: (result: Reconciled) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const count = sum(({ findings }) => findings.length);
  const unlisted = sum(({ staged }) => staged?.unlisted ?? 0);
  const days = results.flatMap(({ staged }) => staged?.fetched.slice(0, 10) ?? []).sort();
  const [first = '', last = first] = [days[0], days.at(-1)];
  const since = first === last ? first : `${first} to ${last}`;
  const verdict =
    count > 0 ? plural(count, 'finding') : `every layer agrees with what AWS said on ${since}`;
  const absent = subjectOf(...absence.slices).organizations.length;
  return [
    absent === 0
      ? verdict
      : `${plural(absent, 'organization')} absent; ${count > 0 ? '' : 'of the others '}${verdict}`,
    `; ${results.length} checked`,
    `, ${plural(
      sum((one) => one.customersWithoutCost ?? 0),
      'customer',
    )} without cost`,
    unlisted === 0 ? '' : `, ${unlisted} unlisted (with cost, but not in AWS's list of accounts)`,
  ].join('');
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** What does not agree in one month and organization, and the one command that mends it. */
function describe(result: Reconciled): string {
  const { findings } = result;
  const next = shownNext(remedy(findings), subjectOf(result));
  const lines = findings.flatMap(({ layer, what, where }) => [
    `  ${layer}: ${what}`,
    ...(where === undefined ? [] : [`    where: ${where}`]),
  ]);
  return [
    `${result.month} ${result.organization}: ${plural(findings.length, 'finding')}`,
    ...lines,
    ...(next === undefined ? [] : [`  next:  ${next}`]),
  ].join('\n');
}

/** The result as one JSON document; amounts stay decimal texts, what is not known is null. */
export function reconciledToJson({ results, absence, requests }: Reconciliation): unknown {
  return {
    agrees: isWhole({ results, absence, requests }),
    requests,
    priceUsd: price(requests),
    absent: absence.slices.map((slice) => ({
      month: slice.month,
      organization: slice.organization,
      next: shownCommand(subjectOf(slice)),
    })),
    note: absence.note ?? null,
    slices: results.map((result) => ({
      month: result.month,
      organization: result.organization,
      extraction: result.staged?.extraction ?? null,
      fetched: result.staged?.fetched ?? null,
      figures: figuresOf(result.provisional) ?? null,
      layers: result.layers.map((layer) => layerJson(result, layer)),
      difference: result.staged?.difference ?? null,
      ...(result.staged?.margin === undefined ? {} : { margin: result.staged.margin }),
      moved: result.today?.moved ?? null,
      serviceDifferences: result.staged?.serviceDifferences ?? null,
      refused: result.staged?.refused ?? [],
      customersWithoutCost: result.customersWithoutCost ?? null,
      customersUnlisted: result.staged?.unlisted ?? null,
      invoices: result.invoiced ?? null,
      findings: result.findings.map((finding) => ({
        layer: finding.layer,
        kind: finding.kind,
        what: finding.what,
        where: finding.where ?? null,
        next: shownNext(finding, subjectOf(finding)) ?? null,
      })),
      next: shownNext(remedy(result.findings), subjectOf(result)) ?? null,
    })),
  };
}

/** The kinds of all that was found, of which the exit code is made; an organization that is absent is a fault. */
export function foundKinds({ results, absence }: Reconciliation): FindingKind[] {
  return [
    ...absence.slices.map((): FindingKind => 'fault'),
    ...results.flatMap(({ findings }) => kindsOf(findings)),
  ];
}

function layerJson(result: Reconciled, layer: Layer) {
  const { name, customers, rows, totals } = layer;
  return {
    layer: name,
    customers: customers ?? null,
    rows: rows ?? null,
    amount: totals ?? null,
    check: checkOf(result, layer),
  };
}

/** The layers of that document as rows. */
export function reconciledTable({ results, absence }: Reconciliation) {
  return {
    columns: [
      ...['month', 'organization', 'figures'],
      ...['layer', 'customers', 'rows', 'amount.*', 'check'],
    ],
    rows: results.flatMap((result) =>
      result.layers.map((layer) => ({
        month: result.month,
        organization: result.organization,
        figures: figuresOf(result.provisional) ?? null,
        ...layerJson(result, layer),
      })),
    ),
    notes: [
      summary(results, absence),
      ...describeAbsence(absence),
      ...results.flatMap((result) => (result.findings.length === 0 ? [] : describe(result))),
    ],
  };
}

/** Whether everything agrees, and nothing is absent. */
export function isWhole({ results, absence }: Reconciliation): boolean {
  return absence.slices.length === 0 && results.every(({ findings }) => findings.length === 0);
}
