import type { Units } from '../pipeline/money.js';
import { formatAmount, parseAmount } from '../pipeline/money.js';
import { setInt128, setProduct, setSmallProduct, toBigint } from './int128.js';

/** Bytes of a value, as Parquet holds a DECIMAL(38,18): big-endian two's complement. */
export const WIDTH = 16;

/** A column of exact decimals in both forms that files need. */
export interface Decimals {
  readonly kind: 'decimals';
  /** A value's plain notation, as `formatAmount` writes it; null where there is none. */
  readonly texts: readonly (string | null)[];
  /** {@link WIDTH} bytes a row, in units of 10^-18; zeros where there is no value. */
  readonly bytes: Uint8Array;
  /** The value of a row in units of 10^-18. */
  units(row: number): Units | null;
}

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
  };
}

const ZERO = 48;
const DOT = 46;
const MINUS = 45;
/** Digits that a part of an amount may have for its value to be exact in a JavaScript number. */
const WHOLE_DIGITS = 15;
const HALF_DIGITS = 9;
const SMALL = 2 ** 16;
const POWERS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/**
 * Writes an amount of the usual form (`-45.6346084748`: at most 15 digits, then at most 18) as its bytes.
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
  if (digits === 0 || digits > WHOLE_DIGITS) return undefined;
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
  if (whole < SMALL) setSmallProduct(view, at, whole, high, low, negative);
  else setProduct(view, at, whole, high, low, negative);
  if (end === length) return negative && length === 2 && whole === 0 ? '0' : text;
  return end === dot && whole === 0 ? '0' : text.slice(0, end);
}
