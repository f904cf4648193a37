import { describeAbsence } from '../run/known-organizations.js';
import type { Absence } from '../run/known-organizations.js';
import { price } from '../run/task.js';
import { shownCommand, shownNext, subjectOf } from '../shared/commands.js';
import { parseAmount } from '../shared/money.js';
import { figuresOf } from '../shared/provisional.js';
import type { Totals } from '../shared/sums.js';
import { addTo, formatTotals } from '../shared/sums.js';
import { amountColumn, formatTable } from '../shared/table.js';
import type { Slice } from '../staging/layout.js';
import { describeRefusal } from '../staging/manifest.js';
import { invoiceLines } from './invoice-lines.js';
import type { Layer } from './reconcile-findings.js';
import { layerNames, remedy } from './reconcile-findings.js';
import type { Reconciled, Reconciliation } from './reconciliation.js';
import { isWhole } from './reconciliation.js';

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
