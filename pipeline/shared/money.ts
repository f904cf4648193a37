import { DataError } from './errors.js';

/** Fraction digits that every amount is kept with, from AWS's text to the database: DECIMAL(38,18). */
export const SCALE = 18;

/** Digits of an amount in all: DECIMAL(38,18). */
export const PRECISION = 38;

/** An exact amount, counted in units of 10^-18 of its currency (or of its usage unit). */
export type Units = bigint;

const decimal = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;
const limit = 10n ** BigInt(PRECISION);
/** 1 of a currency. */
const one = 10n ** BigInt(SCALE);

/** Whether a DECIMAL(38,18) holds it, as amounts and their sums have to be. */
export function fits(units: Units): boolean {
  return units < limit && units > -limit;
}

export interface ParsedAmount {
  units: Units;
  /** Whether digits past the 18th were dropped (rounded half to even). */
  rounded: boolean;
}

/**
 * Reads a decimal text exactly: sign, digits, fraction and exponent, as Cost Explorer writes a
 * MetricValue's Amount. Fraction digits past the 18th round half to even.
 * @throws {DataError} when the text is no decimal number, or needs more than 38 digits.
 */
export function parseAmount(text: string): ParsedAmount {
  const match = decimal.exec(text);
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match ?? [];
  if (match === null || whole.length + fraction.length === 0) {
    throw new DataError(`"${text.slice(0, 60)}" is not a decimal number`);
  }
  const digits = (whole + fraction).replace(/^0+(?=\d)/, '');
  // The number is digits × 10^shift in units of 10^-18.
  const shift = SCALE - fraction.length + Number(exponent);
  if (digits !== '0' && digits.length + shift > PRECISION) {
    throw new DataError(`"${text.slice(0, 60)}" does not fit DECIMAL(${PRECISION},${SCALE})`);
  }
  const { units, rounded } = scale(digits, shift);
  if (!fits(units))
    throw new DataError(`"${text.slice(0, 60)}" does not fit DECIMAL(${PRECISION},${SCALE})`);
  return { units: sign === '-' ? -units : units, rounded };
}

function scale(digits: string, shift: number): ParsedAmount {
  if (digits === '0') return { units: 0n, rounded: false };
  if (shift >= 0) return { units: BigInt(digits + '0'.repeat(shift)), rounded: false };
  const kept = digits.slice(0, shift);
  const dropped = digits.slice(shift).padStart(-shift, '0');
  const units = BigInt(kept === '' ? '0' : kept);
  if (/^0*$/.test(dropped)) return { units, rounded: false };
  const half = '5' + '0'.repeat(dropped.length - 1);
  const up = dropped > half || (dropped === half && units % 2n === 1n);
  return { units: up ? units + 1n : units, rounded: true };
}

/** The character 0. */
const ZERO = 48;

/** Writes an amount in plain notation, without exponent and without trailing zeros: `-12.5`, `0`. */
export function formatAmount(units: Units): string {
  if (units === 0n) return '0';
  const sign = units < 0n ? '-' : '';
  const digits = (units < 0n ? -units : units).toString().padStart(SCALE + 1, '0');
  const point = digits.length - SCALE;
  // A regular expression for the zeros would take as long as the digits.
  let end = digits.length;
  while (end > point && digits.charCodeAt(end - 1) === ZERO) end--;
  const whole = sign + digits.slice(0, point);
  return end === point ? whole : `${whole}.${digits.slice(point, end)}`;
}

/**
 * `a` ÷ `b` to 18 fraction digits, rounded half to even; null where it needs more than 38 digits.
 * @throws {RangeError} when `b` is 0.
 */
export function divide(a: Units, b: Units): Units | null {
  const negative = a < 0n !== b < 0n;
  const dividend = (a < 0n ? -a : a) * one;
  const divisor = b < 0n ? -b : b;
  const quotient = dividend / divisor;
  // Multiplied back: a second division would take twice as long.
  const twice = (dividend - quotient * divisor) * 2n;
  const up = twice > divisor || (twice === divisor && quotient % 2n === 1n);
  const units = up ? quotient + 1n : quotient;
  if (!fits(units)) return null;
  return negative ? -units : units;
}
