import test from 'ava';
import fc from 'fast-check';
import { h } from 'preact';
import { renderToString } from 'preact-render-to-string';
import { formatOf } from '../../../pipeline/report/amounts.js';
import { Earnings } from '../../../pipeline/report/earnings.js';
import type { MarginRow } from '../../../pipeline/report/margins.js';
import { addMargins } from '../../../pipeline/report/margins.js';

const units = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n });
const row: fc.Arbitrary<MarginRow> = fc
  .record({
    organization: fc.constantFrom('oab', 'internal', '__proto__'),
    customer: fc.nat(5),
    service: fc.nat(5),
    amount: fc.oneof(units, fc.constant(0n)),
    cost: fc.option(fc.oneof(units, fc.constant(0n))),
    isOnlyCost: fc.boolean(),
  })
  .map((one) => (one.isOnlyCost ? { ...one, amount: 0n, cost: one.cost ?? 1n } : one));

const sum = <T>(all: Iterable<T>, of: (one: T) => bigint): bigint =>
  [...all].reduce((total, one) => total + of(one), 0n);

test('Σ margins is Σ amount − Σ cost, over all, by organization and by customer', (t) => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 80 }), (rows) => {
      const { total, organizations, customers, gaps } = addMargins(rows);
      const expected = sum(rows, ({ amount }) => amount) - sum(rows, ({ cost }) => cost ?? 0n);
      const margin = (one: { amount: bigint; cost: bigint }): bigint => one.amount - one.cost;
      t.is(margin(total), expected);
      t.is(sum(organizations.values(), margin), expected);
      t.is(sum(customers.values(), margin), expected);
      for (const [customer, sums] of customers) {
        const own = rows.filter((one) => one.customer === customer);
        t.is(
          sums.amount,
          sum(own, ({ amount }) => amount),
        );
        t.is(
          sums.cost,
          sum(own, ({ cost }) => cost ?? 0n),
        );
      }
      // What has no other side is exactly what is left when all that has both is taken away.
      const both = rows.filter(({ cost, isOnlyCost }) => cost !== null && !isOnlyCost);
      const apart = sum(gaps, ({ side, units: of }) => (side === 'bill' ? of : -of));
      t.is(apart, expected - sum(both, ({ amount, cost }) => amount - (cost ?? 0n)));
    }),
  );
});

test('a service is a gap of its customer once a side, and what is nothing is none', (t) => {
  const one = { organization: 'oab', customer: 0, service: 3, isOnlyCost: false };
  const { gaps } = addMargins([
    { ...one, amount: 5n, cost: null },
    { ...one, amount: 7n, cost: null },
    { ...one, amount: 0n, cost: null, service: 4 },
    { ...one, amount: 9n, cost: 0n, service: 5 },
    { ...one, amount: 0n, cost: -2n, isOnlyCost: true },
    { ...one, amount: 0n, cost: 0n, isOnlyCost: true, service: 6 },
  ]);
  t.deepEqual(gaps, [
    { customer: 0, service: 3, side: 'bill', units: 12n },
    { customer: 0, service: 3, side: 'cost', units: -2n },
  ]);
});

test('a page tells the largest gaps, and where all of them are', (t) => {
  const margin = { amount: '0', cost: '0', margin: '0', ratio: null };
  const pageOf = (count: number): string => {
    const gaps = Array.from({ length: count }, (_, index) => ({
      ...{ id: '000000000012', name: 'a', file: 'a', service: `gap-${index}-`, amount: '1' },
      side: 'bill' as const,
    }));
    const margins = { customers: [], organizations: [], total: margin, without: [], gaps };
    const format = formatOf({ locale: 'en', currency: 'code' });
    const section = { currency: 'USD', customers: [] };
    return renderToString(h(Earnings, { section, margins, number: 1, format }));
  };
  const whole = pageOf(1000);
  t.true(whole.includes('gap-999-'));
  t.false(whole.includes('Margin gaps'));
  const large = pageOf(1001);
  t.true(large.includes('1,001 services') && large.includes('gap-999-'));
  t.false(large.includes('gap-1000-'));
  t.regex(large, /the largest 1,000; all stand in the workbook/);
});
