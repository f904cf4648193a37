import type { Units } from '../pipeline/money.js';
import { SCALE } from '../pipeline/money.js';

const SPACE = 0x20;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** Digits that are added up as plain numbers: so many of them, as often as `FOLD`, stay below 2^53. */
const DIGITS = 10;
const FOLD = 100_000;
const powers = Array.from({ length: DIGITS + 1 }, (_, digits) => 10 ** digits);

/**
 * Adds up amounts in plain notation, exactly.
 * @param amounts separated by single spaces.
 * @param parse reads what is longer than ten digits before or after the point, or no amount.
 */
export function sumTexts(amounts: string, parse: (amount: string) => Units): Units {
  let units = 0n;
  let whole = 0;
  let fraction = 0;
  let added = 0;
  const fold = (): void => {
    units +=
      BigInt(whole) * 10n ** BigInt(SCALE) + BigInt(fraction) * 10n ** BigInt(SCALE - DIGITS);
    whole = fraction = added = 0;
  };
  for (let start = 0; start <= amounts.length;) {
    const negative = amounts.charCodeAt(start) === MINUS;
    const first = negative ? start + 1 : start;
    const point = digitsEnd(amounts, first);
    const hasPoint = amounts.charCodeAt(point) === POINT;
    const end = hasPoint ? digitsEnd(amounts, point + 1) : point;
    const wholes = point - first;
    const fractions = hasPoint ? end - point - 1 : 0;
    const ends = end === amounts.length || amounts.charCodeAt(end) === SPACE;
    if (ends && wholes > 0 && wholes <= DIGITS && fractions <= DIGITS) {
      const sign = negative ? -1 : 1;
      whole += sign * digitsAt(amounts, first, point);
      if (fractions > 0) {
        fraction += sign * digitsAt(amounts, point + 1, end) * (powers[DIGITS - fractions] ?? 1);
      }
      if (++added === FOLD) fold();
      start = end + 1;
      continue;
    }
    const space = amounts.indexOf(' ', start);
    const stop = space < 0 ? amounts.length : space;
    units += parse(amounts.slice(start, stop));
    start = stop + 1;
  }
  fold();
  return units;
}

function digitsEnd(text: string, start: number): number {
  let at = start;
  for (let code = text.charCodeAt(at); code >= ZERO && code <= ZERO + 9;) {
    code = text.charCodeAt(++at);
  }
  return at;
}

function digitsAt(text: string, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) value = value * 10 + text.charCodeAt(at) - ZERO;
  return value;
}
