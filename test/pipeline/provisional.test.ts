import test from 'ava';
import { parseMonth } from '../../pipeline/month.js';
import { isProvisional } from '../../pipeline/provisional.js';

test('figures are provisional while estimated, or fetched within the days after the month', (t) => {
  const month = parseMonth('2026-12');
  const at = (fetched: string, estimated = false): boolean =>
    isProvisional({ month, estimated, fetched: new Date(fetched), provisionalDays: 10 });
  t.true(at('2026-12-31T23:59:59Z'));
  t.true(at('2027-01-10T23:59:59.999Z'));
  t.false(at('2027-01-11T00:00:00Z'));
  t.true(at('2027-03-01T00:00:00Z', true));
});
