import test from 'ava';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { isProvisional } from '../../../pipeline/shared/provisional.js';

const at = (fetched: string, changes: object = {}): boolean =>
  isProvisional({
    month: parseMonth('2026-12'),
    estimated: false,
    fetched,
    provisionalDays: 10,
    ...changes,
  });

test('figures fetched before the month was over for so many days, in UTC, are provisional', (t) => {
  t.true(at('2026-12-15T12:00:00Z'));
  t.true(at('2027-01-01T00:00:00Z'));
  t.true(at('2027-01-10T23:59:59.999Z'));
  t.false(at('2027-01-11T00:00:00.000Z'));
  t.true(at('2027-01-11T00:00:00.000Z', { provisionalDays: 11 }));
  t.true(at('2026-12-31T23:59:59.999Z', { provisionalDays: 0 }));
  t.false(at('2027-01-01T00:00:00.000Z', { provisionalDays: 0 }));
});

test('what AWS calls estimated is provisional however old it is', (t) => {
  t.true(at('2028-01-01T00:00:00Z', { estimated: true }));
});
