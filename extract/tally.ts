import { DataError } from '../pipeline/errors.js';
import type { NamedTotals, Totals } from '../pipeline/money.js';
import { addTo, addToNamed, fits, PRECISION, SCALE } from '../pipeline/money.js';
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

/**
 * Adds one group's costs. Quantities are left out: their units differ from group to group.
 * @throws {DataError} when a sum gets more digits than a database's.
 */
export function addAmounts(tally: Tally, amounts: Amounts): void {
  tally.groups++;
  for (const [metric, { units, unit }] of amounts) {
    if (metric === 'UsageQuantity') continue;
    if (metric === 'UnblendedCost') addTo(tally.totals, unit, units);
    else addToNamed(tally.metrics, metric, unit, units);
    const totals = metric === 'UnblendedCost' ? tally.totals : tally.metrics.get(metric);
    if (fits(totals?.get(unit) ?? 0n)) continue;
    throw new DataError(
      `the sum of ${metric} in ${unit} does not fit DECIMAL(${PRECISION},${SCALE})`,
    );
  }
}
