import { DataError } from './errors.js';

/** Fraction digits that every amount is kept with, from AWS's text to the database: DECIMAL(38,18). */
export const SCALE = 18;

/** Digits of an amount in all: DECIMAL(38,18). */
export const PRECISION = 38;

/** An exact amount, counted in units of 10^-18 of its currency (or of its usage unit). */
export type Units = bigint;

const decimal = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;
const limit = 10n ** BigInt(PRECISION);

/** Whether a DECIMAL(38,18) holds it, as amounts and their sums have to be. */
export function fits(units: Units): boolean {
  return units < limit && units > -limit;
}

export interface ParsedAmount {
  units: Units;
  /** Whether digits past the 18th were dropped (rounded half to even). */
  rounded: boolean;
}

/**
 * Reads a decimal text exactly: sign, digits, fraction and exponent, as Cost Explorer writes a
 * MetricValue's Amount. Fraction digits past the 18th round half to even.
 * @throws {DataError} when the text is no decimal number, or needs more than 38 digits.
 */
export function parseAmount(text: string): ParsedAmount {
  const match = decimal.exec(text);
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? [];
  if (match === null || whole.length + fraction.length === 0) {
    throw new DataError(`"${text.slice(0, 60)}" is not a decimal number`);
  }
  const digits = (whole + fraction).replace(/^0+(?=\d)/, '');
  // The number is digits × 10^shift in units of 10^-18.
  const shift = SCALE - fraction.length + Number(exponent);
  if (digits !== '0' && digits.length + shift > PRECISION) {
    throw new DataError(`"${text.slice(0, 60)}" does not fit DECIMAL(${PRECISION},${SCALE})`);
  }
  const { units, rounded } = scale(digits, shift);
  if (!fits(units))
    throw new DataError(`"${text.slice(0, 60)}" does not fit DECIMAL(${PRECISION},${SCALE})`);
  return { units: sign === '-' ? -units : units, rounded };
}

function scale(digits: string, shift: number): ParsedAmount {
  if (digits === '0') return { units: 0n, rounded: false };
  if (shift >= 0) return { units: BigInt(digits + '0'.repeat(shift)), rounded: false };
  const kept = digits.slice(0, shift);
  const dropped = digits.slice(shift).padStart(-shift, '0');
  const units = BigInt(kept === '' ? '0' : kept);
  if (/^0*$/.test(dropped)) return { units, rounded: false };
  const half = '5' + '0'.repeat(dropped.length - 1);
  const up = dropped > half || (dropped === half && units % 2n === 1n);
  return { units: up ? units + 1n : units, rounded: true };
}

/** Writes an amount in plain notation, without exponent and without trailing zeros: `-12.5`, `0`. */
export function formatAmount(units: Units): string {
  if (units === 0n) return '0';
  const negative = units < 0n;
  const digits = (negative ? -units : units).toString().padStart(SCALE + 1, '0');
  const whole = digits.slice(0, -SCALE);
  const fraction = digits.slice(-SCALE).replace(/0+$/, '');
  return `${negative ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

/**
 * `a` ÷ `b` to 18 fraction digits, rounded half to even; null where it needs more than 38 digits.
 * @throws {RangeError} when `b` is 0.
 */
export function divide(a: Units, b: Units): Units | null {
  const negative = a < 0n !== b < 0n;
  const dividend = (a < 0n ? -a : a) * 10n ** BigInt(SCALE);
  const divisor = b < 0n ? -b : b;
  const quotient = dividend / divisor;
  const twice = (dividend % divisor) * 2n;
  const up = twice > divisor || (twice === divisor && quotient % 2n === 1n);
  const units = up ? quotient + 1n : quotient;
  if (!fits(units)) return null;
  return negative ? -units : units;
}

/** Sums per currency, in the order of first appearance. */
export type Totals = Map<string, Units>;

/** Adds an amount to the sum of its currency. */
export function addTo(totals: Totals, currency: string, units: Units): void {
  totals.set(currency, (totals.get(currency) ?? 0n) + units);
}

/** Sums by a further metric or column, and per currency. */
export type NamedTotals = Map<string, Totals>;

/** Adds an amount to the sum of its metric or column, and currency. */
export function addToNamed(named: NamedTotals, name: string, currency: string, units: Units): void {
  const totals: Totals = named.get(name) ?? new Map<string, Units>();
  named.set(name, totals);
  addTo(totals, currency, units);
}

/** Totals as `{ currency: plain decimal }`, currencies sorted: how a manifest holds them. */
export function formatTotals(totals: Totals): Record<string, string> {
  return Object.fromEntries(
    [...totals]
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([currency, units]) => [currency, formatAmount(units)]),
  );
}

/** Named totals as `{ name: { currency: plain decimal } }`, sorted: how a manifest holds them. */
export function formatNamed(named: NamedTotals): Record<string, Record<string, string>> {
  return Object.fromEntries(
    [...named]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, totals]) => [name, formatTotals(totals)]),
  );
}

/** Whether two manifests' named totals hold the same sums; an absent one equals one without sums. */
export function sameNamed(
  a: Readonly<Record<string, Readonly<Record<string, string>>>>,
  b: Readonly<Record<string, Readonly<Record<string, string>>>>,
): boolean {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) =>
    sameTotals(ownOf(a, name) ?? {}, ownOf(b, name) ?? {}),
  );
}

/** Whether two manifests' totals hold the same sums; a currency with sum 0 equals an absent one. */
export function sameTotals(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
): boolean {
  const currencies = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...currencies].every(
    (c) => parseAmount(ownOf(a, c) ?? '0').units === parseAmount(ownOf(b, c) ?? '0').units,
  );
}

/** A member of the record itself: a currency may have the name of what every object inherits. */
function ownOf<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** What `a` holds more than `b`, currency by currency (negative: less), as plain decimals. */
export function difference(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
): Record<string, string> {
  const totals: Totals = new Map();
  for (const [currency, amount] of Object.entries(a))
    addTo(totals, currency, parseAmount(amount).units);
  for (const [currency, amount] of Object.entries(b))
    addTo(totals, currency, -parseAmount(amount).units);
  return formatTotals(totals);
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
  const named: NamedTotals = services.get(service) ?? new Map<string, Totals>();
  services.set(service, named);
  addToNamed(named, metric, currency, units);
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
  for (const [sums, sign] of [
    [said, 1n],
    [found, -1n],
  ] as const)
    for (const [service, named] of sums)
      for (const [metric, totals] of named)
        for (const [currency, units] of totals)
          addToService(apart, service, metric, { currency, units: sign * units });
  const size = (units: Units): Units => (units < 0n ? -units : units);
  return [...apart]
    .flatMap(([service, named]) =>
      [...named].flatMap(([metric, totals]) =>
        [...totals].map(([currency, units]) => ({ service, metric, currency, units })),
      ),
    )
    .filter(({ units }) => units !== 0n)
    .sort((a, b) => {
      if (size(a.units) !== size(b.units)) return size(a.units) > size(b.units) ? -1 : 1;
      return `${a.service} ${a.metric} ${a.currency}` < `${b.service} ${b.metric} ${b.currency}`
        ? -1
        : 1;
    })
    .map(({ units, ...place }) => ({ ...place, difference: formatAmount(units) }));
}

/** The currencies of a difference that is larger than `tolerance`, to either side. */
export function beyond(differences: Readonly<Record<string, string>>, tolerance: Units): string[] {
  return Object.entries(differences)
    .filter(([, amount]) => {
      const { units } = parseAmount(amount);
      return (units < 0n ? -units : units) > tolerance;
    })
    .map(([currency]) => currency);
}
