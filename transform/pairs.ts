import type { Units } from '../pipeline/money.js';
import { formatAmount } from '../pipeline/money.js';

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
