import type { Units } from './money.js';
import { formatAmount, parseAmount } from './money.js';

/** Sums per currency, in the order of first appearance. */
export type Totals = Map<string, Units>;

/** The same as manifests and messages hold them: currency → plain decimal. */
export type TotalsText = Readonly<Record<string, string>>;

/** Rows, and what their columns of money add up to, exactly. */
export interface Sums {
  rows: number;
  /** The column Amount, which is the metric UnblendedCost. */
  totals: Totals;
  /** The other columns of money, or metrics, that hold any value. */
  columns: NamedTotals;
}

/** The same as manifests and messages hold it. */
export interface SumsText {
  rows: number;
  totals: TotalsText;
  columns: ColumnsText;
}

type NamedTotals = Map<string, Totals>;
type ColumnsText = Readonly<Record<string, TotalsText>>;

/** No rows. */
export function noSums(): Sums {
  return { rows: 0, totals: new Map(), columns: new Map() };
}

/**
 * Adds an amount to the sum of its column, or metric, and currency.
 * @returns the new sum.
 */
export function addMoney(sums: Sums, column: string, currency: string, units: Units): Units {
  return column === 'Amount' || column === 'UnblendedCost'
    ? addTo(sums.totals, currency, units)
    : addTo(member(sums.columns, column, newTotals), currency, units);
}

/**
 * Adds an amount to the sum of its currency.
 * @returns the new sum.
 */
export function addTo(totals: Totals, currency: string, units: Units): Units {
  const sum = (totals.get(currency) ?? 0n) + units;
  totals.set(currency, sum);
  return sum;
}

/** The text form, names and currencies sorted. */
export function formatSums({ rows, totals, columns }: Sums): SumsText {
  return {
    rows,
    totals: formatTotals(totals),
    columns: Object.fromEntries(
      sorted(columns).map(([name, ofName]) => [name, formatTotals(ofName)]),
    ),
  };
}

/** Totals as `{ currency: plain decimal }`, currencies sorted. */
export function formatTotals(totals: Totals): Record<string, string> {
  return Object.fromEntries(
    sorted(totals).map(([currency, units]) => [currency, formatAmount(units)]),
  );
}

/** Whether both hold as many rows and the same sums; a column or currency with sum 0 equals an absent one. */
export function sameSums(a: SumsText, b: SumsText): boolean {
  return a.rows === b.rows && sameTotals(a.totals, b.totals) && sameColumns(a.columns, b.columns);
}

/** The same of the columns beside Amount alone. */
export function sameColumns(a: ColumnsText, b: ColumnsText): boolean {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) =>
    sameTotals(ownOf(a, name) ?? {}, ownOf(b, name) ?? {}),
  );
}

/** The same of one column. */
export function sameTotals(a: TotalsText, b: TotalsText): boolean {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every(
    (c) => parseAmount(ownOf(a, c) ?? '0').units === parseAmount(ownOf(b, c) ?? '0').units,
  );
}

/** In words: `12 rows with sum {"USD":"3.5"}`. */
export function describeSums({ rows, totals, columns }: SumsText): string {
  return `${rows} rows with sum ${JSON.stringify({ ...totals, ...columns })}`;
}

/** What `a` holds more than `b`, currency by currency (negative: less), as plain decimals. */
export function difference(a: TotalsText, b: TotalsText): Record<string, string> {
  const totals: Totals = new Map();
  for (const [currency, amount] of Object.entries(a))
    addTo(totals, currency, parseAmount(amount).units);
  for (const [currency, amount] of Object.entries(b))
    addTo(totals, currency, -parseAmount(amount).units);
  return formatTotals(totals);
}

/** The currencies of a difference that is larger than `tolerance`, to either side. */
export function beyond(differences: TotalsText, tolerance: Units): string[] {
  return Object.entries(differences)
    .filter(([, amount]) => size(parseAmount(amount).units) > tolerance)
    .map(([currency]) => currency);
}

/** Sums by service, metric and currency. */
export type ServiceTotals = Map<string, NamedTotals>;

/** Adds an amount to the sum of its service, metric and currency. */
export function addToService(
  services: ServiceTotals,
  service: string,
  metric: string,
  { currency, units }: { currency: string; units: Units },
): void {
  const named = member(services, service, () => new Map<string, Totals>());
  addTo(member(named, metric, newTotals), currency, units);
}

/** What AWS says of a service more than its rows add up to (negative: less), as plain decimal. */
export interface ServiceDifference {
  service: string;
  metric: string;
  currency: string;
  difference: string;
}

/** Where the two differ, the largest difference first. */
export function serviceDifferences(said: ServiceTotals, found: ServiceTotals): ServiceDifference[] {
  const apart: ServiceTotals = new Map();
  for (const { service, metric, currency, units } of each(said))
    addToService(apart, service, metric, { currency, units });
  for (const { service, metric, currency, units } of each(found))
    addToService(apart, service, metric, { currency, units: -units });
  return [...each(apart)]
    .filter(({ units }) => units !== 0n)
    .sort((a, b) => {
      if (size(a.units) !== size(b.units)) return size(a.units) > size(b.units) ? -1 : 1;
      return `${a.service} ${a.metric} ${a.currency}` < `${b.service} ${b.metric} ${b.currency}`
        ? -1
        : 1;
    })
    .map(({ units, ...place }) => ({ ...place, difference: formatAmount(units) }));
}

function* each(services: ServiceTotals) {
  for (const [service, named] of services)
    for (const [metric, totals] of named)
      for (const [currency, units] of totals) yield { service, metric, currency, units };
}

function size(units: Units): Units {
  return units < 0n ? -units : units;
}

function newTotals(): Totals {
  return new Map();
}

function member<T>(map: Map<string, T>, name: string, make: () => T): T {
  let found = map.get(name);
  if (found === undefined) map.set(name, (found = make()));
  return found;
}

function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

/** A member of the record itself: a currency may have the name of what every object inherits. */
function ownOf<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
