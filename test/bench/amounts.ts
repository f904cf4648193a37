import type { Random } from '../../fixtures/demo/random.js';

/** An amount of at most 10 fraction digits, as its text and as two safe integers. */
export interface Amount {
  text: string;
  /** Signed whole part. */
  whole: number;
  /** Signed fraction, counted in 10^-10. */
  fraction: number;
}

const zero: Amount = { text: '0', whole: 0, fraction: 0 };

/**
 * Draws a cost as Cost Explorer writes it: mostly 10 fraction digits without trailing zeros; of 100,
 * three are zero, seven are tiny, four are credits, fifteen have whole cents.
 */
export function drawAmount(random: Random): Amount {
  const kind = random.below(100);
  if (kind < 3) return zero;
  const tiny = kind < 10;
  const whole = tiny ? 0 : random.below(magnitudes[random.below(magnitudes.length)] ?? 1);
  const fraction = tiny
    ? random.below(5000)
    : kind < 25
      ? random.below(100) * 1e8
      : random.below(100_000) * 100_000 + random.below(100_000);
  if (whole === 0 && fraction === 0) return zero;
  const negative = random.below(100) < 4;
  const text = `${negative ? '-' : ''}${whole}${fractionText(fraction)}`;
  return negative ? { text, whole: -whole, fraction: -fraction } : { text, whole, fraction };
}

/** Bounds of the whole part, the small ones more often. */
const magnitudes = [1, 1, 10, 10, 100, 100, 1000, 1000, 5000, 20_000];

function fractionText(fraction: number): string {
  if (fraction === 0) return '';
  let digits = String(fraction + 1e10);
  while (digits.endsWith('0')) digits = digits.slice(0, -1);
  return `.${digits.slice(1)}`;
}
