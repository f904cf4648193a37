import type { Units } from '../pipeline/shared/money.js';
import { divide, formatAmount } from '../pipeline/shared/money.js';
import type { StagedGroup } from '../pipeline/staging/answers.js';
import { constant, valueAt } from '../pipeline/staging/batch.js';
import type { ColumnValues, Decimals } from '../pipeline/staging/batch.js';
import type { RegionPart } from '../pipeline/staging/layout.js';
import { usageTypeServices } from '../pipeline/staging/manifest.js';
import type { Value } from '../pipeline/staging/tables.js';
import { regionOf } from '../pipeline/staging/tables.js';
import type { Dictionary } from './columns.js';
import { addAmount, createCodes } from './columns.js';
import { createDecimals } from '../pipeline/staging/decimals.js';
import type { FinishedExtraction, Place } from './staged-pages.js';
import { costPages, metricAmount, metricText } from './staged-pages.js';

/** What AWS says of an extraction's usage types, apart from the rows themselves. */
export interface UsageTypes {
  /** The services of a usage type; none for an unknown one. */
  servicesOf(usageType: string): ReadonlySet<string>;
  readonly regions: Regions;
  /** Adds rows' cost to what is compared with AWS's own figures. */
  addRows(rows: BilledRows): void;
  /** Adds what AWS says of a usage type and an account. */
  addAccount(said: { usageType: string; account: string; currency: string; units: Units }): void;
  pairs(): Iterable<Pair>;
}

/** Rows of one usage type, service and currency: those of a page from `start` (included) to `end` (excluded). */
export interface BilledRows {
  usageType: string;
  service: string;
  currency: string;
  start: number;
  end: number;
  /** Of all rows of the page. */
  accounts: readonly string[];
  amounts: Decimals;
}

/**
 * Reads which services and regions each usage type has, and what AWS says of each pair of usage type and service.
 * @throws {DataError} when a page is missing, altered or wrong.
 */
export async function readUsageTypes(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): Promise<UsageTypes> {
  const services = new Map<string, Set<string>>();
  const none: ReadonlySet<string> = new Set();
  const pairs: Pair[] = [];
  const known = { service: new Map() as PairsBy, account: new Map() as PairsBy };
  const pairOf = (
    by: keyof typeof known,
    usageType: string,
    of: string,
    currency: string,
  ): Pair => {
    const ofType = member(known[by], usageType, () => new Map<string, Map<string, Pair>>());
    const inCurrency = member(ofType, currency, () => new Map<string, Pair>());
    return member(inCurrency, of, () => {
      const [service, account] = by === 'service' ? [of, null] : [null, of];
      const pair = { usageType, service, account, currency, said: 0n, found: 0n, rows: 0 };
      pairs.push(pair);
      return pair;
    });
  };
  for await (const page of costPages(extraction, usageTypeServices, signal)) {
    const [usageTypeOf, serviceOf] = [page.keyOf('USAGE_TYPE'), page.keyOf('SERVICE')];
    for (const [index, group] of page.groups.entries()) {
      const place = { where: page.where, row: index + 1 };
      const usageType = usageTypeOf(group, place);
      const service = serviceOf(group, place);
      const { units, unit: currency } = metricAmount(group, 'UnblendedCost', place);
      add(services, usageType, service);
      pairOf('service', usageType, service, currency).said += units;
    }
  }
  const addFound = (pair: Pair, units: Units, rows: number): void => {
    pair.found += units;
    pair.rows += rows;
  };
  return {
    servicesOf: (usageType) => services.get(usageType) ?? none,
    regions: await readRegions(extraction, signal),
    addRows({ usageType, service, currency, start, end, accounts, amounts }) {
      const ofService = pairOf('service', usageType, service, currency);
      addFound(ofService, amounts.sum(start, end), end - start);
      // What is not shared has its rows from the very answer that it would be compared with.
      if (services.get(usageType)?.size === 1) return;
      for (let row = start; row < end; row++) {
        const ofAccount = pairOf('account', usageType, accounts[row] ?? '', currency);
        addFound(ofAccount, amounts.units(row) ?? 0n, 1);
      }
    },
    addAccount({ usageType, account, currency, units }) {
      pairOf('account', usageType, account, currency).said += units;
    },
    pairs: () => pairs,
  };
}

/** Usage type → currency → service or account: of the latter there are many, and of currencies few. */
type PairsBy = Map<string, Map<string, Map<string, Pair>>>;

function member<V>(of: Map<string, V>, key: string, make: () => V): V {
  let value = of.get(key);
  if (value === undefined) of.set(key, (value = make()));
  return value;
}

function add(of: Map<string, Set<string>>, key: string, value: string): void {
  member(of, key, () => new Set<string>()).add(value);
}

/** What AWS says of the regions of an extraction's usage types. */
export interface Regions {
  /** The region of a usage type of a service; where the account decides it, a function of the account. */
  of(usageType: string, service: string): string | ((account: string) => string);
  /** Usage types with rows whose region is not known, with those that an account used them in; none: none is told. */
  readonly several: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Usage type → service or account → regions. */
type RegionsBy = Map<string, Map<string, Set<string>>>;

/**
 * Reads the regions of the usage types. One that has several is told apart by the answers by service, then
 * by those by account: a row's region is the only one that both leave; of several, none is told.
 * @throws {DataError} when a page is missing, altered or wrong.
 */
async function readRegions(extraction: FinishedExtraction, signal: AbortSignal): Promise<Regions> {
  const all = new Map<string, Set<string>>();
  const by: Record<RegionPart, RegionsBy> = { service: new Map(), account: new Map() };
  const several = new Map<string, Set<string>>();
  for (const query of extraction.manifest.queries) {
    const part = /^usage-type-region(?:-(service|account)-\d+)?$/.exec(query.name);
    if (part === null) continue;
    const beside = part[1] as RegionPart | undefined;
    for await (const page of costPages(extraction, query, signal)) {
      const [usageTypeOf, readRegion] = [page.keyOf('USAGE_TYPE'), page.keyOf('REGION')];
      const besideOf = beside && page.keyOf(beside === 'service' ? 'SERVICE' : 'LINKED_ACCOUNT');
      for (const [index, group] of page.groups.entries()) {
        const place = { where: page.where, row: index + 1 };
        const usageType = usageTypeOf(group, place);
        const region = regionOf(readRegion(group, place));
        if (beside === undefined || besideOf === undefined) add(all, usageType, region);
        else {
          const ofType = member(by[beside], usageType, () => new Map<string, Set<string>>());
          add(ofType, besideOf(group, place), region);
        }
      }
    }
  }
  return {
    several,
    of(usageType, service) {
      const regions = by.service.get(usageType)?.get(service) ?? all.get(usageType);
      if (regions === undefined) {
        several.set(usageType, new Set());
        return 'N/A';
      }
      const [only, ...others] = regions;
      if (only !== undefined && others.length === 0) return only;
      return (account) => {
        const here = by.account.get(usageType)?.get(account);
        const [one, ...more] = [...regions].filter((region) => here?.has(region) ?? true);
        if (one !== undefined && more.length === 0) return one;
        for (const region of [one, ...more])
          if (region !== undefined) add(several, usageType, region);
        return 'N/A';
      };
    },
  };
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
  return BigInt(rows + 1) * LAST_DIGIT;
}

const LAST_DIGIT: Units = 10n ** 8n;

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
  add(group: StagedGroup, place: Place): boolean;
  /** The columns by name. @param amounts the rows' Amount. */
  take(amounts: Decimals): Readonly<Record<string, ColumnValues>>;
}

/** What the detail by service has for quantities. */
export const noUsage: Readonly<Record<string, ColumnValues>> = {
  Quantity: constant(null),
  Unit: constant('N/A'),
  UnitPrice: constant(null),
  DiscountedAmount: constant(null),
};

/** @param capacity Rows of the page to make room for. */
export function createUsageColumns(units: Dictionary, capacity: number): UsageColumns {
  const quantities = createDecimals(capacity);
  const prices = createDecimals(capacity);
  const codes = createCodes(units.texts, capacity);
  return {
    add(group, place) {
      const { amount, unit } = metricText(group, 'UsageQuantity', place);
      codes.add(units.of(unit, place).index);
      return addAmount(quantities, amount, place);
    },
    take(amounts) {
      const [Quantity, Unit] = [quantities.take(), codes.take()];
      for (let row = 0; row < Quantity.texts.length; row++) {
        const [amount, quantity] = [amounts.units(row) ?? 0n, Quantity.units(row) ?? 0n];
        prices.addUnits(unitPrice(amount, quantity, valueAt(Unit, row)));
      }
      return { Quantity, Unit, UnitPrice: prices.take() };
    },
  };
}

/** Only a quantity of a known unit has a price, and only a cost, not a credit. */
function unitPrice(amount: Units, quantity: Units, unit: Value): Units | null {
  if (quantity <= 0n || amount < 0n || unit === 'N/A' || unit === '') return null;
  return divide(amount, quantity);
}
