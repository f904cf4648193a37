import test from 'ava';
import fc from 'fast-check';
import { UsageError } from '../../../pipeline/shared/errors.js';
import {
  billingPeriod,
  lastCompleteMonth,
  monthOf,
  monthsBetween,
  parseMonth,
  shiftMonth,
  timePeriod,
} from '../../../pipeline/shared/month.js';

const anyMonth = fc
  .date({ min: new Date('1990-01-01'), max: new Date('2190-01-01'), noInvalidDate: true })
  .map((date) => monthOf(date));

test('the last complete month is counted in UTC, over the turn of the year', (t) => {
  t.is(lastCompleteMonth(new Date('2027-01-01T00:00:00Z')), parseMonth('2026-12'));
  t.is(lastCompleteMonth(new Date('2026-12-31T23:59:59.999Z')), parseMonth('2026-11'));
  t.is(lastCompleteMonth(new Date('2026-03-01T00:30:00+02:00')), parseMonth('2026-01'));
});

test('shifting there and back gives the month again, in calendar order', (t) => {
  fc.assert(
    fc.property(anyMonth, fc.integer({ min: 1, max: 500 }), (month, offset) => {
      const later = shiftMonth(month, offset);
      return (
        later > month &&
        shiftMonth(later, -offset) === month &&
        monthsBetween(month, later).length === offset + 1
      );
    }),
  );
  t.is(shiftMonth(parseMonth('2026-01'), -1), parseMonth('2025-12'));
});

test('a time period begins where the month before it ends', (t) => {
  fc.assert(
    fc.property(
      anyMonth,
      (month) => timePeriod(shiftMonth(month, -1)).End === timePeriod(month).Start,
    ),
  );
  t.deepEqual(timePeriod(parseMonth('2026-12')), { Start: '2026-12-01', End: '2027-01-01' });
});

test('the stamp is day 28', (t) => {
  t.is(billingPeriod(parseMonth('2026-02')), '2026-02-28');
});

for (const text of [
  '2026-13',
  '2026-00',
  '2026-1',
  '26-01',
  '2026/01',
  '2026-01-01',
  '',
  '0999-01',
]) {
  test(`"${text}" is no month`, (t) => {
    t.throws(() => parseMonth(text), { instanceOf: UsageError, message: /is not a month/ });
  });
}

test('a range is read forwards only', (t) => {
  t.throws(() => monthsBetween(parseMonth('2026-02'), parseMonth('2026-01')), {
    instanceOf: UsageError,
    message: /lies after/,
  });
  t.deepEqual(
    monthsBetween(parseMonth('2026-11'), parseMonth('2027-02')),
    ['2026-11', '2026-12', '2027-01', '2027-02'].map(parseMonth),
  );
});
