import type { Breakdown as Dimension } from '../shared/dimensions.js';
import { definitionOf } from '../shared/dimensions.js';
import type { Units } from '../shared/money.js';
import { formatAmount } from '../shared/money.js';
import type { TransformManifest } from '../staging/manifest.js';
import { barsOf, compareTexts, compareUnits, member, shareOf } from './comparisons.js';
import type { Context } from './context.js';
import { totalOf } from './context.js';
import type * as figures from './figures.js';

/** Most values that a page tells one by one: a tag may have one for each resource, and nobody reads 100,000 lines. */
const MOST_VALUES = 1000;

/** Dimension → value → amount, in codes. */
type Sums = Map<number, Map<number, Units>>;

/**
 * The month by each dimension that was fetched of an organization, or refused.
 * @param currency its code.
 * @param total of the currency, all organizations together.
 */
export function monthBreakdowns(
  { data, broken }: Context,
  currency: number,
  total: Units,
): figures.MonthBreakdown[] {
  const { names, shown } = data;
  const sums: Sums = new Map();
  for (const { rows } of broken)
    for (let row = 0; row < rows.length; row++)
      if (rows.currency[row] === currency) addRow(sums, rows, row);
  const dimensions = new Set(shown.slices.flatMap(({ manifest }) => manifest.scope.by));
  return [...dimensions].sort(byRank).map((dimension) => {
    const without = shown.slices.filter(({ manifest }) => !fetchedOf(manifest).includes(dimension));
    const asked = shown.slices
      .filter((slice) => !without.includes(slice))
      .reduce((sum, { manifest }) => sum + totalOf(manifest, names.textOf(currency)), 0n);
    return {
      ...breakdown(names, dimension, sums.get(names.codeOf(dimension)), { total, asked }),
      without: without.map(({ organization, manifest: { refused } }) => ({
        organization,
        refused: refused.find(({ part }) => part === dimension)?.message ?? null,
      })),
    };
  });
}

/**
 * What is a customer's, by each dimension that was fetched of all of its organizations, but cost categories: those
 * are the payer's own words, maybe about its customers, and statements are handed out.
 * @param index of the customer.
 */
export function customerBreakdowns(
  { data, now, broken }: Context,
  index: number,
  currency: number,
  total: Units,
): figures.Breakdown[] {
  const { names } = data;
  const own = now.filter(({ rowsOf }) => rowsOf(index).length > 0);
  const [first, ...others] = own.map(({ slice }) => fetchedOf(slice.manifest));
  const whole = (first ?? []).filter(
    (one) => definitionOf(one).Type !== 'COST_CATEGORY' && others.every((of) => of.includes(one)),
  );
  const sums: Sums = new Map();
  for (const { rows, rowsOf } of broken)
    for (const row of rowsOf(index)) if (rows.currency[row] === currency) addRow(sums, rows, row);
  return [...whole]
    .sort(byRank)
    .map((dimension) =>
      breakdown(names, dimension, sums.get(names.codeOf(dimension)), { total, asked: total }),
    );
}

function addRow(sums: Sums, rows: Context['broken'][number]['rows'], row: number): void {
  const values = member(sums, rows.dimension[row] ?? 0, () => new Map<number, Units>());
  const value = rows.kind[row] ?? 0;
  values.set(value, (values.get(value) ?? 0n) + (rows.amount.at(row) ?? 0n));
}

function breakdown(
  names: Context['data']['names'],
  dimension: Dimension,
  sums: ReadonlyMap<number, Units> = new Map(),
  { total, asked }: { total: Units; asked: Units },
): figures.Breakdown {
  const sorted = [...sums]
    .map(([code, units]) => ({ name: names.textOf(code), file: null, units }))
    .sort((a, b) => compareUnits(b.units, a.units) || compareTexts(a.name, b.name));
  const sum = sumOf(sorted);
  const told = new Set(sorted.slice(0, MOST_VALUES));
  for (const one of sorted.slice(MOST_VALUES)) if (one.name === '') told.add(one);
  const others = sorted.filter((one) => !told.has(one));
  const amountOf = (units: Units) => ({
    ...{ amount: formatAmount(units), share: shareOf(units, total) },
  });
  return {
    dimension,
    values: [...told].map(({ name, units }) => ({ value: name, ...amountOf(units) })),
    further: others.length === 0 ? null : { count: others.length, ...amountOf(sumOf(others)) },
    top: barsOf(sorted, total),
    rest: formatAmount(asked - sum),
  };
}

function sumOf(values: readonly { units: Units }[]): Units {
  return values.reduce((sum, { units }) => sum + units, 0n);
}

/** Charge types first, then what people make up themselves, then what AWS knows, each by name. */
function byRank(a: Dimension, b: Dimension): number {
  return rankOf(a) - rankOf(b) || compareTexts(a, b);
}

function rankOf(dimension: Dimension): number {
  if (dimension === 'RECORD_TYPE') return 0;
  return { COST_CATEGORY: 1, TAG: 2, DIMENSION: 3 }[definitionOf(dimension).Type];
}

/** The dimensions that a slice has values of: what AWS refused was asked for only. */
function fetchedOf({ scope, refused }: TransformManifest): Dimension[] {
  return scope.by.filter((dimension) => !refused.some(({ part }) => part === dimension));
}
