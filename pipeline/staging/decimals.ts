import type { Units } from '../shared/money.js';
import { formatAmount, parseAmount } from '../shared/money.js';
import type { Decimals } from './batch.js';

/** Bytes of a value, as Parquet holds a DECIMAL(38,18): big-endian two's complement. */
export const WIDTH = 16;

/** Gathers the decimals of a batch; it belongs to one column and is used again for the next batch. */
export interface DecimalsBuilder {
  /**
   * Appends an amount as AWS writes it.
   * @returns whether digits past the 18th were dropped (rounded half to even).
   * @throws {DataError} when the text is no decimal number, or needs more than 38 digits.
   */
  add(text: string): boolean;
  /** Appends a value that was computed. */
  addUnits(units: Units | null): void;
  /** What was appended since the last call. */
  take(): Decimals;
}

/** @param capacity Values to make room for; more are taken too. */
export function createDecimals(capacity = 1024): DecimalsBuilder {
  let texts: (string | null)[] = [];
  let view = new DataView(new ArrayBuffer(capacity * WIDTH));

  const offset = (): number => {
    const at = texts.length * WIDTH;
    if (at === view.byteLength) {
      const grown = new Uint8Array(Math.max(WIDTH, 2 * at));
      grown.set(new Uint8Array(view.buffer));
      view = new DataView(grown.buffer);
    }
    return at;
  };
  const addUnits = (units: Units | null): void => {
    const at = offset();
    if (units !== null) setInt128(view, at, units);
    texts.push(units === null ? null : formatAmount(units));
  };

  return {
    add(text) {
      const at = offset();
      const plain = read(text, view, at);
      if (plain !== undefined) {
        texts.push(plain);
        return false;
      }
      const { units, rounded } = parseAmount(text);
      addUnits(units);
      return rounded;
    },
    addUnits,
    take() {
      const taken = decimals(texts, view);
      texts = [];
      view = new DataView(new ArrayBuffer(Math.max(WIDTH, taken.bytes.length)));
      return taken;
    },
  };
}

function decimals(texts: readonly (string | null)[], view: DataView): Decimals {
  return {
    kind: 'decimals',
    texts,
    bytes: new Uint8Array(view.buffer, 0, texts.length * WIDTH),
    units: (row) => (texts[row] == null ? null : toBigint(view, row * WIDTH)),
    sum: (start, end) => sumInt128(view, start * WIDTH, end * WIDTH),
  };
}

const ZERO = 48;
const DOT = 46;
const MINUS = 45;
/** A whole part below it, times a billion, stays exact in a JavaScript number. */
const LARGEST = 2 ** 22;
/** The digits behind the point are read in two halves. */
const HALF_DIGITS = 9;
const POWERS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/**
 * Writes an amount of the usual form (`-45.6346084748`: below 2^22, at most 18 fraction digits) as its bytes.
 * A bigint for every row would take three times as long.
 * @returns its plain notation; `undefined` for any other form, of which nothing is written.
 */
function read(text: string, view: DataView, at: number): string | undefined {
  const { length } = text;
  const negative = text.charCodeAt(0) === MINUS;
  const first = negative ? 1 : 0;
  let dot = first;
  let whole = 0;
  for (; dot < length; dot++) {
    const digit = text.charCodeAt(dot) - ZERO;
    if (digit < 0 || digit > 9) break;
    whole = whole * 10 + digit;
  }
  const digits = dot - first;
  // Leading zeros are not plain; the slow way drops them.
  if (digits === 0 || whole >= LARGEST) return undefined;
  if (digits > 1 && text.charCodeAt(first) === ZERO) return undefined;
  let high = 0;
  let low = 0;
  let end = dot;
  if (dot < length) {
    const count = length - dot - 1;
    if (text.charCodeAt(dot) !== DOT || count === 0 || count > 2 * HALF_DIGITS) return undefined;
    const middle = Math.min(length, dot + 1 + HALF_DIGITS);
    for (let index = dot + 1; index < length; index++) {
      const digit = text.charCodeAt(index) - ZERO;
      if (digit < 0 || digit > 9) return undefined;
      if (index < middle) high = (high * 10 + digit) | 0;
      else low = (low * 10 + digit) | 0;
      if (digit !== 0) end = index + 1;
    }
    if (count < HALF_DIGITS) high *= POWERS[HALF_DIGITS - count] ?? 0;
    else low *= POWERS[2 * HALF_DIGITS - count] ?? 0;
  }
  setProduct(view, at, whole, high, low, negative);
  if (end === length) return negative && length === 2 && whole === 0 ? '0' : text;
  return end === dot && whole === 0 ? '0' : text.slice(0, end);
}

/** 128-bit integers in big-endian two's complement, as Parquet holds a DECIMAL of 38 digits. */

const HALF = 2 ** 16;
const BILLION = 10 ** 9;

/** Reads the integer at a byte of the view. */
export function toBigint(view: DataView, at: number): bigint {
  // Most amounts are in the lower half alone: a bigint in place of four.
  if (view.getInt32(at) === 0 && view.getInt32(at + 4) === 0) return view.getBigUint64(at + 8);
  return (view.getBigInt64(at) << 64n) | view.getBigUint64(at + 8);
}

/** Writes an integer at a byte of the view. */
export function setInt128(view: DataView, at: number, value: bigint): void {
  view.setBigInt64(at, BigInt.asIntN(64, value >> 64n));
  view.setBigUint64(at + 8, BigInt.asUintN(64, value));
}

/**
 * Writes ±((whole × 10^9 + high) × 10^9 + low) without a bigint, in digits to the base 2^16: every product stays
 * below 2^46, and its carry below 2^30.
 * @param whole Below 2^22. @param high Below 10^9. @param low Below 10^9.
 */
function setProduct(
  view: DataView,
  at: number,
  whole: number,
  high: number,
  low: number,
  negative: boolean,
): void {
  const upper = whole * BILLION + high;
  const middle = Math.floor(upper / HALF);
  let product = (upper & 0xffff) * BILLION + low;
  const first = product & 0xffff;
  product = (middle & 0xffff) * BILLION + ((product / HALF) | 0);
  const second = product & 0xffff;
  product = (Math.floor(middle / HALF) & 0xffff) * BILLION + ((product / HALF) | 0);
  const third = product & 0xffff;
  // What is left of 2^52 behind three digits: at most 4 bits.
  product = Math.floor(middle / HALF / HALF) * BILLION + ((product / HALF) | 0);
  const fourth = product & 0xffff;
  const fifth = Math.floor(product / HALF);
  setWords(view, at, 0, fifth, third | (fourth << 16), first | (second << 16), negative);
}

/** Writes the words of a magnitude, the highest first, or their two's complement. */
function setWords(
  view: DataView,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  negative: boolean,
): void {
  if (negative) {
    view.setInt32(at + 12, -w3);
    let carry = w3 === 0 ? 1 : 0;
    view.setInt32(at + 8, ~w2 + carry);
    if (w2 !== 0) carry = 0;
    view.setInt32(at + 4, ~w1 + carry);
    if (w1 !== 0) carry = 0;
    view.setInt32(at, ~w0 + carry);
  } else {
    view.setInt32(at, w0);
    view.setInt32(at + 4, w1);
    view.setInt32(at + 8, w2);
    view.setInt32(at + 12, w3);
  }
}

/** Integers whose words of 32 bits a number adds up exactly: 2^53 / 2^32. */
const FOLD = 2 ** 21;

/** Adds up the integers between two bytes of the view; a bigint for every one would take ten times as long. */
export function sumInt128(view: DataView, start: number, end: number): bigint {
  let total = 0n;
  for (let from = start; from < end; from += FOLD * WIDTH) {
    let [first, second, third, fourth] = [0, 0, 0, 0];
    for (let at = from; at < Math.min(end, from + FOLD * WIDTH); at += WIDTH) {
      first += view.getInt32(at);
      second += view.getUint32(at + 4);
      third += view.getUint32(at + 8);
      fourth += view.getUint32(at + 12);
    }
    total +=
      (BigInt(first) << 96n) + (BigInt(second) << 64n) + (BigInt(third) << 32n) + BigInt(fourth);
  }
  return total;
}

/** Compares the integers at two bytes of the view: below 0, 0 or above 0. */
export function compareInt128(view: DataView, a: number, b: number): number {
  const first = view.getInt32(a) - view.getInt32(b);
  if (first !== 0) return first;
  for (let word = 4; word < 16; word += 4) {
    const difference = view.getUint32(a + word) - view.getUint32(b + word);
    if (difference !== 0) return difference;
  }
  return 0;
}
