import type { Units } from '../pipeline/money.js';
import type { Dimension } from '../pipeline/staging/manifest.js';
import { keyReader, valueOf } from './costs.js';
import type { StagedExtraction } from './pages.js';
import { costPages } from './pages.js';
import type { Pair } from './pairs.js';

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
const byService: readonly Dimension[] = ['USAGE_TYPE', 'SERVICE'];

/**
 * Reads which services each usage type has, and what AWS says of each of those pairs.
 * @throws {DataError} when a page is missing, altered or wrong.
 */
export async function readUsageTypes(
  extraction: StagedExtraction,
  signal: AbortSignal,
): Promise<UsageTypes> {
  const services = new Map<string, Set<string>>();
  const pairs = new Map<string, Pair>();
  const none: ReadonlySet<string> = new Set();
  const pairOf = (pair: Omit<Pair, 'said' | 'found' | 'rows'>): Pair => {
    const key = JSON.stringify([pair.usageType, pair.service, pair.account, pair.currency]);
    let known = pairs.get(key);
    if (known === undefined) pairs.set(key, (known = { ...pair, said: 0n, found: 0n, rows: 0 }));
    return known;
  };
  for await (const { where, content } of costPages(extraction, 'usage-type-service', signal)) {
    const keyOf = keyReader(content, byService);
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
    pairs: () => pairs.values(),
  };
}
