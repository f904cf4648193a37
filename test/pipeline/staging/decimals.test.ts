import test from 'ava';
import fc from 'fast-check';
import { DataError } from '../../../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../../../pipeline/shared/money.js';
import {
  WIDTH,
  compareInt128,
  createDecimals,
  setInt128,
  sumInt128,
  toBigint,
} from '../../../pipeline/staging/decimals.js';

const largest = 10n ** 38n - 1n;

const digits = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom(...Array.from('0123456789')), minLength: min, maxLength: max });

/** Texts of amounts, as AWS writes them and as it does not: the shorter the more usual. */
const texts = fc.oneof(
  fc
    .tuple(fc.constantFrom('', '-'), fc.integer({ min: 0, max: 99_999 }), digits(1, 10))
    .map(([sign, whole, fraction]) => `${sign}${whole}.${fraction}`),
  fc
    .tuple(fc.constantFrom('', '-', '+'), digits(0, 20), fc.constantFrom('', '.'), digits(0, 25))
    .map((parts) => parts.join('')),
  fc
    .tuple(fc.constantFrom('', '-'), digits(1, 12), fc.integer({ min: -40, max: 25 }))
    .map(([sign, mantissa, exponent]) => `${sign}${mantissa}e${exponent}`),
  fc.bigInt({ min: -largest, max: largest }).map(formatAmount),
  fc.constantFrom('0', '-0', '0.0', '-0.000', '00', '0.', '.', '', '-', '-.5', '5.', '1.5 ', '١'),
  fc
    .tuple(fc.constantFrom('', '-'), fc.nat({ max: 2 ** 23 }), digits(1, 18))
    .map(([sign, whole, fraction]) => `${sign}${whole}.${fraction}`),
  fc.constantFrom(
    '4194303.999999999999999999',
    '-4194303.999999999999999999',
    '4194304',
    '-4194304.5',
  ),
  fc.constantFrom('65535.999999999999999999', '65536', '999999999999999.999999999999999999'),
  fc.constantFrom('-65535.999999999999999999', '-65536', '-999999999999999.999999999999999999'),
  fc.constantFrom('4294967296', '18446744073709551616', '18.446744073709551616', '1e-18', '-1e-18'),
);

test('every text comes out as parseAmount and formatAmount say, or is refused in the same words', (t) => {
  fc.assert(
    fc.property(texts, (text) => {
      const decimals = createDecimals(0);
      const attempt = <T>(make: () => T): T | string => {
        try {
          return make();
        } catch (error) {
          t.true(error instanceof DataError);
          return (error as Error).message;
        }
      };
      const expected = attempt(() => parseAmount(text));
      const rounded = attempt(() => decimals.add(text));
      if (typeof expected === 'string') {
        t.is(rounded, expected);
        t.is(decimals.take().texts.length, 0);
        return;
      }
      const taken = decimals.take();
      t.is(rounded, expected.rounded);
      t.deepEqual(taken.texts, [formatAmount(expected.units)]);
      t.is(taken.units(0), expected.units);
    }),
    { numRuns: 5000 },
  );
});

const tenDigits = 10n ** 8n;

/** Any amount, and above all those near what plain numbers hold: ten fraction digits, up to 2^50 of them. */
const amounts = fc.oneof(
  fc.bigInt({ min: -largest, max: largest }),
  fc.bigInt({ min: -(2n ** 51n), max: 2n ** 51n }).map((count) => count * tenDigits),
  fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }).map((count) => count * tenDigits),
  fc.bigInt({ min: -(2n ** 20n), max: 2n ** 20n }).map((count) => count * 10n ** 18n),
  fc
    .tuple(
      fc.constantFrom(0n, 2n ** 50n, -(2n ** 50n), 2n ** 32n, 10n ** 15n, -(10n ** 15n)),
      fc.bigInt({ min: -3n, max: 3n }),
      fc.constantFrom(0n, 1n, -1n, 2n ** 32n, -(2n ** 32n), 5n * 10n ** 7n),
    )
    .map(([near, counts, units]) => (near + counts) * tenDigits + units),
);

test('texts of amounts add up exactly', (t) => {
  fc.assert(
    fc.property(fc.array(amounts, { minLength: 1, maxLength: 60 }), (units) => {
      const decimals = createDecimals();
      for (const value of units) decimals.add(formatAmount(value));
      t.is(
        decimals.take().sum(0, units.length),
        units.reduce((sum, value) => sum + value, 0n),
      );
    }),
    { numRuns: 3000 },
  );
});

test('values of any kind keep their rows, over several batches', (t) => {
  const decimals = createDecimals(2);
  decimals.add('1.5');
  decimals.addUnits(null);
  decimals.addUnits(-largest);
  decimals.add('-0.0000000289');
  const first = decimals.take();
  decimals.add('7');
  const second = decimals.take();
  t.deepEqual(first.texts, ['1.5', null, formatAmount(-largest), '-0.0000000289']);
  t.deepEqual(
    [0, 1, 2, 3].map((row) => first.units(row)),
    [15n * 10n ** 17n, null, -largest, -289n * 10n ** 8n],
  );
  t.deepEqual([second.texts, second.units(0)], [['7'], 7n * 10n ** 18n]);
  t.is(first.bytes.length, 4 * WIDTH);
});

const integers = fc.bigInt({ min: -(2n ** 127n), max: 2n ** 127n - 1n });

test('128-bit integers are written, read, compared and summed as bigints are', (t) => {
  fc.assert(
    fc.property(fc.array(integers, { minLength: 2 }), (values) => {
      const view = new DataView(new ArrayBuffer(values.length * 16));
      values.forEach((value, row) => {
        setInt128(view, row * 16, value);
      });
      t.deepEqual(
        values.map((_, row) => toBigint(view, row * 16)),
        values,
      );
      t.is(
        sumInt128(view, 0, view.byteLength),
        values.reduce((total, value) => total + value),
      );
      const [a = 0n, b = 0n] = values;
      t.is(Math.sign(compareInt128(view, 0, 16)), a < b ? -1 : a > b ? 1 : 0);
      t.is(compareInt128(view, 0, 0), 0);
    }),
  );
});

test('a sum of more values than its numbers could hold is exact', (t) => {
  const rows = 2 ** 21 + 3;
  const view = new DataView(new Uint8Array(rows * 16).fill(0xff).buffer);
  t.is(sumInt128(view, 0, view.byteLength), -BigInt(rows));
  t.is(sumInt128(view, 16, view.byteLength - 16), -BigInt(rows - 2));
});
