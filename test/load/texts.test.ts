import test from 'ava';
import fc from 'fast-check';
import { sumTexts } from '../../load/sqlite.js';
import { DataError } from '../../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';

const limit = 10n ** 38n - 1n;
const tenDigits = 10n ** 8n;

/** Any amount, and above all those near what plain numbers hold: ten fraction digits, up to 2^50 of them. */
const amounts = fc.oneof(
  fc.bigInt({ min: -limit, max: limit }),
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
  const parse = (amount: string): bigint => parseAmount(amount).units;
  fc.assert(
    fc.property(fc.array(amounts, { minLength: 1, maxLength: 60 }), (units) => {
      const texts = units.map((value) => formatAmount(value));
      t.is(
        sumTexts(texts.join(' '), parse),
        units.reduce((sum, value) => sum + value, 0n),
      );
    }),
    { numRuns: 3000 },
  );
  // More than are added as plain numbers at once, each with as many digits as these hold.
  const most = '-9999999999.9999999999';
  const rows = 1_000_001;
  t.is(sumTexts(new Array(rows).fill(most).join(' '), parse), parse(most) * BigInt(rows));
});

test('what is no plain amount goes to the parser, as a whole', (t) => {
  const seen: string[] = [];
  const parse = (amount: string): bigint => {
    seen.push(amount);
    return 0n;
  };
  t.is(sumTexts('1 x 1e3  2.5 +4 -.5 1.2.3 .. 12345678901 -', parse), 35n * 10n ** 17n);
  t.deepEqual(seen, ['x', '1e3', '', '+4', '-.5', '1.2.3', '..', '12345678901', '-']);
  t.throws(() => sumTexts('1.5 abc', (amount) => parseAmount(amount).units), {
    instanceOf: DataError,
  });
});
