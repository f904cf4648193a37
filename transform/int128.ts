/** 128-bit integers in big-endian two's complement, as Parquet holds a DECIMAL of 38 digits. */

const HALF = 2 ** 16;
const BILLION = 10 ** 9;

/** Reads the integer at a byte of the view. */
export function toBigint(view: DataView, at: number): bigint {
  return (view.getBigInt64(at) << 64n) | view.getBigUint64(at + 8);
}

/** Writes an integer at a byte of the view. */
export function setInt128(view: DataView, at: number, value: bigint): void {
  view.setBigInt64(at, BigInt.asIntN(64, value >> 64n));
  view.setBigUint64(at + 8, BigInt.asUintN(64, value));
}

/** The number's digits to the base 2^16, the lowest first: every product below stays exact. */
const halves = new Int32Array(8);

/**
 * Writes ±((whole × 10^9 + high) × 10^9 + low) without a bigint.
 * @param whole Below 2^50. @param high Below 10^9. @param low Below 10^9.
 */
export function setProduct(
  view: DataView,
  at: number,
  whole: number,
  high: number,
  low: number,
  negative: boolean,
): void {
  halves.fill(0);
  for (let rest = whole, index = 0; rest > 0; rest = Math.floor(rest / HALF)) {
    halves[index++] = rest % HALF;
  }
  multiplyAdd(high);
  multiplyAdd(low);
  setWords(view, at, pair(6), pair(4), pair(2), pair(0), negative);
}

function pair(index: number): number {
  return (halves[index] ?? 0) | ((halves[index + 1] ?? 0) << 16);
}

/** halves × 10^9 + more; a product stays below 2^46, and its carry below 2^30. */
function multiplyAdd(more: number): void {
  let carry = more;
  for (let index = 0; index < 8; index++) {
    const product = (halves[index] ?? 0) * BILLION + carry;
    halves[index] = product & 0xffff;
    carry = (product / HALF) | 0;
  }
}

/** The same for a whole part below 2^16, as nearly all amounts have: ten steps instead of sixteen. */
export function setSmallProduct(
  view: DataView,
  at: number,
  whole: number,
  high: number,
  low: number,
  negative: boolean,
): void {
  const upper = whole * BILLION + high;
  const rest = (upper / HALF) | 0;
  let product = (upper & 0xffff) * BILLION + low;
  const first = product & 0xffff;
  product = (rest & 0xffff) * BILLION + ((product / HALF) | 0);
  const second = product & 0xffff;
  product = (rest >>> 16) * BILLION + ((product / HALF) | 0);
  const third = product & 0xffff;
  const fourth = (product / HALF) | 0;
  setWords(view, at, 0, fourth >>> 16, third | (fourth << 16), first | (second << 16), negative);
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

/** Sums of many integers, whose words are added as JavaScript numbers and folded now and then. */
export interface Int128Sum {
  /** Adds the integers of `rows` rows that begin at a byte of the view. */
  add(view: DataView, at: number): void;
  total(): bigint;
}

/** Words of 32 bits that a number adds up exactly: 2^53 / 2^32. */
const FOLD = 2 ** 21;

export function createSum(): Int128Sum {
  let total = 0n;
  let added = 0;
  let [first, second, third, fourth] = [0, 0, 0, 0];
  const fold = (): void => {
    total +=
      (BigInt(first) << 96n) + (BigInt(second) << 64n) + (BigInt(third) << 32n) + BigInt(fourth);
    first = second = third = fourth = 0;
    added = 0;
  };
  return {
    add(view, at) {
      first += view.getInt32(at);
      second += view.getUint32(at + 4);
      third += view.getUint32(at + 8);
      fourth += view.getUint32(at + 12);
      if (++added === FOLD) fold();
    },
    total() {
      fold();
      return total;
    },
  };
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
