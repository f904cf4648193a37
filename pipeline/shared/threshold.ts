import { UsageError } from './errors.js';
import type { Units } from './money.js';
import { SCALE, formatAmount, parseAmount } from './money.js';
import { printable } from './printable.js';

/** From which size on a difference is news: a share of what was before, or an amount of one currency. */
export type Threshold =
  | { readonly percent: Units; readonly currency?: undefined }
  | { readonly amount: Units; readonly currency: string };

/** An amount before and after, `undefined` where there was none. */
export interface Movement {
  before: Units | undefined;
  after: Units | undefined;
  currency: string;
}

const written = /^(\d+(?:\.\d+)?) ?(%|[A-Za-z]{3})$/;

/**
 * Reads a threshold: `20%`, `0.5%`, `100USD`.
 * @param where the flag or setting that it stands in.
 * @throws {UsageError} on any other text, and on a number that DECIMAL(38,18) does not hold exactly.
 */
export function parseThreshold(text: string, where: string): Threshold {
  const [, number = '', unit = ''] = written.exec(text) ?? [];
  const parsed = number === '' ? undefined : exactly(number);
  if (parsed === undefined) {
    throw new UsageError(`"${printable(text.slice(0, 80))}" is not a threshold`, {
      where,
      next: 'write a share as 20% or an amount as 100USD, with a point for decimals: 0.5%',
    });
  }
  return unit === '%' ? { percent: parsed } : { amount: parsed, currency: unit.toUpperCase() };
}

function exactly(number: string): Units | undefined {
  const [whole = '', fraction = ''] = number.split('.');
  // So many digits before the point, and so many behind it, are what parseAmount takes without a loss.
  if (whole.length > SCALE || fraction.length > SCALE) return undefined;
  return parseAmount(number).units;
}

/** As it is written: `20%`, `100USD`. */
export function thresholdText(threshold: Threshold): string {
  return threshold.currency === undefined
    ? `${formatAmount(threshold.percent)}%`
    : `${formatAmount(threshold.amount)}${threshold.currency}`;
}

/**
 * Whether a movement reaches every threshold, exactly. What did not move reaches none. Any movement is a
 * hundred percent and more of nothing. An amount is a threshold for its own currency alone: a movement in a currency that
 * nobody thought of is not hidden by it.
 */
export function reaches(movement: Movement, thresholds: readonly Threshold[]): boolean {
  const before = movement.before ?? 0n;
  const moved = size((movement.after ?? 0n) - before);
  if (moved === 0n) return false;
  return thresholds.every((threshold) => {
    if (threshold.currency === undefined)
      return moved * HUNDRED >= size(before) * threshold.percent;
    return threshold.currency !== movement.currency || moved >= threshold.amount;
  });
}

/** 100 % in units. */
const HUNDRED = 100n * 10n ** BigInt(SCALE);

function size(units: Units): Units {
  return units < 0n ? -units : units;
}
