import { addTo, formatTotals, parseAmount } from '../money.js';
import type { Totals } from '../money.js';
import type { Reconciled } from './reconcile.js';
import { formatTable } from '../report.js';
import type { Finding, Layer } from './findings.js';
import { layerNames } from './findings.js';

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

function describe({ month, organization, layer, what, where, next }: Finding): string {
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
      findings: result.findings.map(({ layer, what, where, next }) => ({
        layer,
        what,
        where: where ?? null,
        next: next ?? null,
      })),
    })),
  };
}
