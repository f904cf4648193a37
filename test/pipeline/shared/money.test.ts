import test from 'ava';
import fc from 'fast-check';
import { DataError } from '../../../pipeline/shared/errors.js';
import { SCALE, divide, formatAmount, parseAmount } from '../../../pipeline/shared/money.js';

const limit = 10n ** 38n;
const anyUnits = fc.bigInt({ min: -limit + 1n, max: limit - 1n });

test('what is printed is read back to the last digit', (t) => {
  t.notThrows(() => {
    fc.assert(
      fc.property(anyUnits, (units) => {
        const parsed = parseAmount(formatAmount(units));
        return parsed.units === units && !parsed.rounded;
      }),
    );
  });
});

test('amounts are printed plainly: no exponent, no trailing zeros, no negative zero', (t) => {
  fc.assert(
    fc.property(
      anyUnits,
      (units) =>
        /^(0|-?(0|[1-9]\d*)(\.\d*[1-9])?)$/.test(formatAmount(units)) &&
        formatAmount(units) !== '-0',
    ),
  );
  t.is(formatAmount(-12_500_000_000_000_000_000n), '-12.5');
  t.is(formatAmount(1n), '0.000000000000000001');
});

test('an exponent moves the point, exactly', (t) => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 10n ** 12n }),
      fc.integer({ min: -6, max: 6 }),
      (digits, exponent) => {
        const plain = digits * 10n ** BigInt(SCALE + exponent);
        return (
          parseAmount(`${digits}e${exponent}`).units === plain &&
          parseAmount(`-${digits}E${exponent}`).units === -plain
        );
      },
    ),
  );
  t.is(parseAmount('1.2E-7').units, 120_000_000_000n);
});

test('samples as AWS writes them', (t) => {
  t.is(formatAmount(parseAmount('-0.0000000289').units), '-0.0000000289');
  t.is(formatAmount(parseAmount('45.6346084748').units), '45.6346084748');
  t.is(parseAmount('0').units, 0n);
  t.is(parseAmount('-0').units, 0n);
  t.is(parseAmount('007.50').units, parseAmount('7.5').units);
  t.is(parseAmount('.5').units, parseAmount('+5e-1').units);
});

test('digits past the 18th round half to even, and say so', (t) => {
  const unit = (text: string): [bigint, boolean] => {
    const { units, rounded } = parseAmount(text);
    return [units, rounded];
  };
  t.deepEqual(unit('0.0000000000000000005'), [0n, true]);
  t.deepEqual(unit('0.0000000000000000015'), [2n, true]);
  t.deepEqual(unit('0.0000000000000000025'), [2n, true]);
  t.deepEqual(unit('0.00000000000000000250001'), [3n, true]);
  t.deepEqual(unit('-0.0000000000000000035'), [-4n, true]);
  t.deepEqual(unit('0.0000000000000000010'), [1n, false]);
  t.deepEqual(unit('1e-400'), [0n, true]);
});

test('rounding never moves an amount by more than half a unit, ties to even', (t) => {
  t.notThrows(() => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 30n }),
        fc.integer({ min: 1, max: 10 }),
        (digits, extra) => {
          const text = `${digits}e-${SCALE + extra}`;
          const divisor = 10n ** BigInt(extra);
          const { units, rounded } = parseAmount(text);
          const distance = digits - units * divisor;
          const twice = distance < 0n ? -distance * 2n : distance * 2n;
          return twice < divisor
            ? rounded === (distance !== 0n)
            : twice === divisor && units % 2n === 0n && rounded;
        },
      ),
    );
  });
});

for (const text of [
  '',
  '.',
  '-',
  'NaN',
  'Infinity',
  '1,5',
  '1.2.3',
  '0x10',
  ' 1',
  '1 ',
  'e5',
  '1e',
  '١',
]) {
  test(`"${text}" is no amount`, (t) => {
    t.throws(() => parseAmount(text), {
      instanceOf: DataError,
      message: /is not a decimal number/,
    });
  });
}

for (const text of [
  '1e21',
  '100000000000000000000',
  '9'.repeat(400),
  '1e9999',
  '99999999999999999999.9999999999999999996',
]) {
  test(`${text.slice(0, 30)} does not fit`, (t) => {
    t.throws(() => parseAmount(text), {
      instanceOf: DataError,
      message: /does not fit DECIMAL\(38,18\)/,
    });
  });
}

test('the largest amount fits', (t) => {
  t.is(parseAmount('99999999999999999999.999999999999999999').units, limit - 1n);
});

test('a quotient is the nearest to 18 fraction digits, ties to even', (t) => {
  const one = 10n ** 18n;
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(10n ** 28n), max: 10n ** 28n }),
      fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }).filter((b) => b !== 0n),
      (a, b) => {
        const quotient = divide(a, b);
        if (quotient === null) return ((a < 0n ? -a : a) * one) / (b < 0n ? -b : b) >= 10n ** 37n;
        const rest = quotient * b - a * one;
        const twice = (rest < 0n ? -rest : rest) * 2n;
        const divisor = b < 0n ? -b : b;
        return twice < divisor || (twice === divisor && quotient % 2n === 0n);
      },
    ),
  );
  t.is(divide(one, 3n * one), 333_333_333_333_333_333n);
  t.is(divide(1n, 2n * one), 0n);
  t.is(divide(3n, 2n * one), 2n);
  t.is(divide(-3n, 2n * one), -2n);
  t.is(divide(10n ** 37n, 1n), null);
  t.throws(() => divide(one, 0n), { instanceOf: RangeError });
});
