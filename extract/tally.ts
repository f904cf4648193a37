import type { NamedTotals, Totals } from '../pipeline/money.js';
import { addTo, addToNamed } from '../pipeline/money.js';
import type { Amounts } from './cost-and-usage.js';

/** How many groups there are, and what they add up to. */
export interface Tally {
  groups: number;
  /** UnblendedCost per currency. */
  totals: Totals;
  /** The other cost metrics. */
  metrics: NamedTotals;
}

export function emptyTally(): Tally {
  return { groups: 0, totals: new Map(), metrics: new Map() };
}

/** Adds one group's costs. Quantities are left out: their units differ from group to group. */
export function addAmounts(tally: Tally, amounts: Amounts): void {
  tally.groups++;
  for (const [metric, { units, unit }] of amounts) {
    if (metric === 'UnblendedCost') addTo(tally.totals, unit, units);
    else if (metric !== 'UsageQuantity') addToNamed(tally.metrics, metric, unit, units);
  }
}
