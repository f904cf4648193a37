import type { Units } from '../pipeline/shared/money.js';
import { divide, formatAmount } from '../pipeline/shared/money.js';
import type { Dimension } from '../pipeline/staging/manifest.js';
import type { Place, Terms } from './columns.js';
import { addAmount, checkLength, createTerms, keyReader, metricOf, valueOf } from './columns.js';
import { columnOf } from '../pipeline/staging/answers.js';
import { coded, constant } from '../pipeline/staging/batch.js';
import type { ColumnValues, Decimals } from '../pipeline/staging/batch.js';
import { createDecimals } from './decimals.js';
import type { Group, StagedExtraction } from './staged-pages.js';
import { costPages } from './staged-pages.js';

/** What AWS says of an extraction's usage types, apart from the rows themselves. */
export interface UsageTypes {
  /** The services of a usage type; none for an unknown one. */
  servicesOf(usageType: string): ReadonlySet<string>;
  /** Adds a row's cost to those that are compared with AWS's own figures. */
  addRow(row: RowCost): void;
  /** Adds what AWS says of a usage type and an account. */
  addAccount(said: Omit<RowCost, 'service'>): void;
  pairs(): Iterable<Pair>;
}

export interface RowCost {
  usageType: string;
  service: string;
  account: string;
  currency: string;
  units: Units;
}

/** Both dimensions of the first question of the detail by usage type. */
const groupBy: readonly Dimension[] = ['USAGE_TYPE', 'SERVICE'];

/**
 * Reads which services each usage type has, and what AWS says of each of those pairs.
 * @throws {DataError} when a page is missing, altered or wrong.
 */
export async function readUsageTypes(
  extraction: StagedExtraction,
  signal: AbortSignal,
): Promise<UsageTypes> {
  const services = new Map<string, Set<string>>();
  const none: ReadonlySet<string> = new Set();
  const pairs: Pair[] = [];
  /** Currency → usage type → service or account. */
  const [byService, byAccount] = [newPlaces(), newPlaces()];
  const pairOf = (pair: Omit<Pair, 'said' | 'found' | 'rows'>): Pair => {
    const { usageType, service, account, currency } = pair;
    const ofType = inner(inner(service === null ? byAccount : byService, currency), usageType);
    const other = service ?? account ?? '';
    let known = ofType.get(other);
    if (known === undefined) {
      pairs.push((known = { ...pair, said: 0n, found: 0n, rows: 0 }));
      ofType.set(other, known);
    }
    return known;
  };
  for await (const { where, content } of costPages(extraction, 'usage-type-service', signal)) {
    const keyOf = keyReader(content, groupBy);
    const [usageTypeOf, serviceOf] = [keyOf('USAGE_TYPE'), keyOf('SERVICE')];
    const groups = content.ResultsByTime.flatMap(({ Groups = [] }) => Groups);
    for (const [index, group] of groups.entries()) {
      const place = { where, row: index + 1 };
      const usageType = usageTypeOf(group, place);
      const service = serviceOf(group, place);
      const { units, unit: currency } = valueOf(group, 'UnblendedCost', place);
      services.set(usageType, (services.get(usageType) ?? new Set()).add(service));
      pairOf({ usageType, service, account: null, currency }).said += units;
    }
  }
  const isShared = (usageType: string): boolean => services.get(usageType)?.size !== 1;
  const addTo = (pair: Pair, units: Units): void => {
    pair.found += units;
    pair.rows++;
  };
  return {
    servicesOf: (usageType) => services.get(usageType) ?? none,
    addRow({ usageType, service, account, currency, units }) {
      addTo(pairOf({ usageType, service, account: null, currency }), units);
      // What is not shared has its rows from the very answer that it would be compared with.
      if (isShared(usageType))
        addTo(pairOf({ usageType, service: null, account, currency }), units);
    },
    addAccount({ usageType, account, currency, units }) {
      pairOf({ usageType, service: null, account, currency }).said += units;
    },
    pairs: () => pairs,
  };
}

type Places = Map<string, Map<string, Map<string, Pair>>>;

function newPlaces(): Places {
  return new Map();
}

function inner<T>(outer: Map<string, Map<string, T>>, key: string): Map<string, T> {
  let found = outer.get(key);
  if (found === undefined) outer.set(key, (found = new Map<string, T>()));
  return found;
}

/** What AWS says of a usage type together with a service, or with an account, and what the rows say. */
export interface Pair {
  usageType: string;
  /** One of the two is null. */
  service: string | null;
  account: string | null;
  currency: string;
  /** AWS's own UnblendedCost of the pair, and the rows' sum. */
  said: Units;
  found: Units;
  rows: number;
}

/** The pair whose rows lie furthest from AWS's own figure. */
export interface PairDifference {
  usageType: string;
  service: string | null;
  account: string | null;
  currency: string;
  /** AWS's figure minus the rows' sum, as plain decimal. */
  difference: string;
}

/**
 * AWS gives amounts to the tenth fraction digit, each group rounded by itself: n rows and their pair may
 * be so many units of 10^-18 apart, and yet be the same cost.
 */
function rounding(rows: number): Units {
  return BigInt(rows + 1) * 10n ** 8n;
}

/** How many pairs were compared, and the largest difference beyond what rounding explains, if any. */
export function comparePairs(pairs: Iterable<Pair>): {
  compared: number;
  largest: PairDifference | null;
} {
  let compared = 0;
  let most: Units = 0n;
  let largest: Pair | undefined;
  for (const pair of pairs) {
    compared++;
    const apart = pair.said > pair.found ? pair.said - pair.found : pair.found - pair.said;
    if (apart <= rounding(pair.rows) || apart <= most) continue;
    most = apart;
    largest = pair;
  }
  if (largest === undefined) return { compared, largest: null };
  const { usageType, service, account, currency, said, found } = largest;
  const difference = formatAmount(said - found);
  return { compared, largest: { usageType, service, account, currency, difference } };
}

/** The columns of a page's rows that tell quantities; constants in the detail by service. */
export interface UsageColumns {
  /**
   * Appends a row.
   * @returns whether digits past the 18th were dropped.
   * @throws {DataError} naming file and row of a group without an exact quantity.
   */
  add(group: Group, place: Place): boolean;
  /** The columns since the last call, by name. @param amounts the rows' Amount. */
  take(amounts: Decimals): Readonly<Record<string, ColumnValues>>;
}

/** The texts of the column Unit, for all pages of a slice. */
export function unitTerms(): Terms {
  const unit = columnOf('consumption', 'Unit');
  return createTerms((text, place) => {
    checkLength(unit, text, place);
  });
}

/** What the detail by service has for quantities. */
export const noUsage: Readonly<Record<string, ColumnValues>> = {
  Quantity: constant(null),
  Unit: constant('N/A'),
  UnitPrice: constant(null),
  DiscountedAmount: constant(null),
};

/** @param capacity Rows of the page to make room for. */
export function createUsageColumns(units: Terms, capacity: number): UsageColumns {
  const quantities = createDecimals(capacity);
  const prices = createDecimals(capacity);
  const codes = new Uint32Array(capacity);
  let rows = 0;
  return {
    add(group, place) {
      const { amount, unit } = metricOf(group, 'UsageQuantity', place);
      codes[rows++] = units.of(unit, place).index;
      return addAmount(quantities, amount, place);
    },
    take(amounts) {
      const Quantity = quantities.take();
      for (let row = 0; row < rows; row++) {
        const unit = units.texts[codes[row] ?? 0] ?? '';
        prices.addUnits(unitPrice(amounts.units(row) ?? 0n, Quantity.units(row) ?? 0n, unit));
      }
      const Unit = coded(units.texts, codes.subarray(0, rows));
      return { Quantity, Unit, UnitPrice: prices.take() };
    },
  };
}

/** Only a quantity of a known unit has a price, and only a cost, not a credit. */
function unitPrice(amount: Units, quantity: Units, unit: string): Units | null {
  if (quantity <= 0n || amount < 0n || unit === 'N/A' || unit === '') return null;
  return divide(amount, quantity);
}
