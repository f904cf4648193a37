import test from 'ava';
import fc from 'fast-check';
import { UsageError } from '../../../pipeline/shared/errors.js';
import { formatAmount } from '../../../pipeline/shared/money.js';
import type { Threshold } from '../../../pipeline/shared/threshold.js';
import { parseThreshold, reaches, thresholdText } from '../../../pipeline/shared/threshold.js';

const read = (text: string): Threshold => parseThreshold(text, '--threshold');
const units = (whole: number): bigint => BigInt(whole) * 10n ** 18n;

const limit = 10n ** 36n;
const anyUnits = fc.bigInt({ min: -limit + 1n, max: limit - 1n });
const positive = fc.bigInt({ min: 1n, max: limit - 1n });
const currency = fc.constantFrom('USD', 'CNY', 'EUR');
const maybe = fc.option(anyUnits, { nil: undefined });

test('a share and an amount are read, and written back the same', (t) => {
  t.deepEqual(read('20%'), { percent: units(20) });
  t.deepEqual(read('0.5 %'), { percent: units(1) / 2n });
  t.deepEqual(read('100USD'), { amount: units(100), currency: 'USD' });
  t.deepEqual(read('0.01 cny'), { amount: units(1) / 100n, currency: 'CNY' });
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: limit - 1n }), currency, (size, unit) => {
      for (const text of [`${formatAmount(size)}%`, `${formatAmount(size)}${unit}`])
        t.is(thresholdText(read(text)), text);
    }),
  );
});

test('any other text is refused, with how it is written', (t) => {
  const texts = [
    '',
    '20',
    '%',
    'USD',
    '-20%',
    '+1USD',
    '1e3USD',
    '12,5%',
    '1,000USD',
    '$100',
    'USD100',
    '20%%',
  ];
  const tooExact = [`0.${'0'.repeat(18)}1%`, `1${'0'.repeat(18)}USD`];
  for (const text of [...texts, ...tooExact, '20%\u001b[2J', '.5%', '5.%', ' 20%', '100DOLLAR']) {
    const error = t.throws(() => read(text), { instanceOf: UsageError }, text);
    t.is(error.where, '--threshold');
    t.regex(error.next ?? '', /20% .*100USD/);
    t.notRegex(error.message, /\p{Cc}/u);
  }
});

test('a share is reached to the last digit', (t) => {
  t.notThrows(() => {
    fc.assert(
      fc.property(positive, fc.integer({ min: 1, max: 500 }), fc.boolean(), (part, percent, up) => {
        // So that the share is a whole number of units.
        const before = part * 100n;
        const moved = part * BigInt(percent);
        const after = up ? before + moved : before - moved;
        const nearer = up ? after - 1n : after + 1n;
        const wanted = [read(`${percent}%`)];
        return (
          reaches({ before, after, currency: 'USD' }, wanted) &&
          reaches({ before: -before, after: -after, currency: 'USD' }, wanted) &&
          !reaches({ before, after: nearer, currency: 'USD' }, wanted)
        );
      }),
    );
  });
});

test('an amount is reached to the last digit, up and down, in its own currency', (t) => {
  fc.assert(
    fc.property(anyUnits, positive, currency, (before, amount, unit) => {
      const wanted = [{ amount, currency: unit }];
      return [amount, -amount].every((moved) => {
        const nearer = moved < 0n ? moved + 1n : moved - 1n;
        return (
          reaches({ before, after: before + moved, currency: unit }, wanted) &&
          !reaches({ before, after: before + nearer, currency: unit }, wanted) &&
          // Nobody said how much of another currency is news.
          (nearer === 0n || reaches({ before, after: before + nearer, currency: 'JPY' }, wanted))
        );
      });
    }),
  );
  t.pass();
});

test('what did not move reaches nothing, and any movement is any share of nothing', (t) => {
  for (const text of ['0%', '20%', '0USD', '1USD']) {
    t.false(reaches({ before: units(5), after: units(5), currency: 'USD' }, [read(text)]), text);
    t.false(reaches({ before: undefined, after: 0n, currency: 'USD' }, [read(text)]), text);
  }
  for (const percent of ['0%', '100%', '99999%'])
    for (const before of [undefined, 0n])
      t.true(reaches({ before, after: -1n, currency: 'USD' }, [read(percent)]), percent);
  t.true(reaches({ before: units(5), after: undefined, currency: 'USD' }, [read('100%')]));
  t.false(reaches({ before: units(5), after: undefined, currency: 'USD' }, [read('100.1%')]));
});

test('several thresholds have to be reached each', (t) => {
  const both = [read('20%'), read('100USD')];
  const usd = (before: number, after: number) => ({
    before: units(before),
    after: units(after),
    currency: 'USD',
  });
  t.false(reaches(usd(1, 2), both), 'twice as much of little');
  t.false(reaches(usd(10_000, 10_100), both), 'a hundred dollars of much');
  t.true(reaches(usd(500, 600), both));
  fc.assert(
    fc.property(
      maybe,
      maybe,
      currency,
      fc.array(fc.constantFrom('0%', '20%', '1000%', '0USD', '5USD', '5CNY').map(read)),
      (before, after, unit, thresholds) => {
        const movement = { before, after, currency: unit };
        return (
          reaches(movement, thresholds) ===
          ((before ?? 0n) !== (after ?? 0n) && thresholds.every((one) => reaches(movement, [one])))
        );
      },
    ),
  );
});
