import test from 'ava';
import fc from 'fast-check';
import { formatAmount, parseAmount } from '../../../pipeline/shared/money.js';
import {
  addMoney,
  addTo,
  beyond,
  describeSums,
  difference,
  formatSums,
  formatTotals,
  noSums,
  sameColumns,
  sameSums,
  sameTotals,
} from '../../../pipeline/shared/sums.js';

const limit = 10n ** 38n;
const anyUnits = fc.bigInt({ min: -limit + 1n, max: limit - 1n });

test('Amount and UnblendedCost are the totals, all other columns have their own', (t) => {
  const sums = { ...noSums(), rows: 3 };
  t.is(addMoney(sums, 'UnblendedCost', 'USD', 10n ** 18n), 10n ** 18n);
  t.is(addMoney(sums, 'Amount', 'USD', 5n * 10n ** 17n), 15n * 10n ** 17n);
  addMoney(sums, 'NetAmortizedCost', 'USD', 1n);
  addMoney(sums, 'BlendedCost', 'USD', 2n * 10n ** 18n);
  const text = formatSums(sums);
  t.is(
    JSON.stringify(text),
    '{"rows":3,"totals":{"USD":"1.5"},"columns":{"BlendedCost":{"USD":"2"},"NetAmortizedCost":{"USD":"0.000000000000000001"}}}',
  );
  t.is(
    describeSums({ ...text, columns: { BlendedCost: { USD: '2' } } }),
    '3 rows with sum {"USD":"1.5","BlendedCost":{"USD":"2"}}',
  );
  t.true(sameSums(text, { ...text, columns: { ...text.columns, AmortizedCost: { USD: '0' } } }));
  t.false(sameSums(text, { ...text, rows: 4 }));
  t.false(sameSums(text, { ...text, totals: {} }));
  t.false(sameSums(text, { ...text, columns: {} }));
});

test('totals are kept per currency and compared by value', (t) => {
  const totals = new Map<string, bigint>();
  addTo(totals, 'USD', 2n);
  addTo(totals, 'EUR', 1n);
  addTo(totals, 'USD', -1n);
  t.deepEqual(Object.entries(formatTotals(totals)), [
    ['EUR', '0.000000000000000001'],
    ['USD', '0.000000000000000001'],
  ]);
  t.true(sameTotals({ USD: '1.50', EUR: '0' }, { USD: '1.5' }));
  t.false(sameTotals({ USD: '1.5' }, { USD: '1.5000000001' }));
  t.false(sameTotals({ USD: '1' }, { EUR: '1' }));
  // Names that every object inherits are no sums of it.
  t.false(sameTotals({ constructor: '1' }, {}));
  t.false(sameTotals({}, { toString: '1' }));
  t.true(sameTotals({ valueOf: '0' }, {}));
  t.false(sameColumns({ constructor: { USD: '1' } }, {}));
});

test('a difference added to what was taken away gives the rest, exactly', (t) => {
  fc.assert(
    fc.property(anyUnits, anyUnits, (a, b) => {
      const sum = formatAmount(
        parseAmount(
          difference({ USD: formatAmount(a / 2n) }, { USD: formatAmount(b / 2n) })['USD']!,
        ).units +
          b / 2n,
      );
      return sum === formatAmount(a / 2n);
    }),
  );
  t.deepEqual(difference({ USD: '1' }, { EUR: '2', USD: '1' }), { EUR: '-2', USD: '0' });
  t.deepEqual(difference({}, {}), {});
});

test('only what is larger than the tolerance lies beyond it, to either side', (t) => {
  const tolerance = parseAmount('0.01').units;
  t.deepEqual(beyond({ EUR: '-0.01', GBP: '0.01', USD: '0' }, tolerance), []);
  t.deepEqual(
    beyond({ EUR: '-0.010000000000000001', GBP: '0.010000000000000001', USD: '0.009' }, tolerance),
    ['EUR', 'GBP'],
  );
  t.deepEqual(beyond({ USD: '0.000000000000000001' }, 0n), ['USD']);
});
