import test from 'ava';
import { newestUntil, parseMoment } from '../../../pipeline/inspect/restatements.js';
import { UsageError } from '../../../pipeline/shared/errors.js';

test('an extraction, an instant and a date each name a moment', (t) => {
  t.is(parseMoment('20261101T020304Z'), '20261101T020304Z');
  t.is(parseMoment('2026-11-01T02:03:04Z'), '20261101T020304Z');
  t.is(parseMoment('2026-11-01T03:03:04.999+01:00'), '20261101T020304Z');
  t.is(parseMoment('2026-11-01'), '20261101T235959Z');
});

for (const text of ['', 'yesterday', '2026-11', '2026-02-30', '20260230T000000Z', '2026-11-01,b']) {
  test(`"${text}" is no moment`, (t) => {
    t.throws(() => parseMoment(text), { instanceOf: UsageError, message: /neither an extraction/ });
  });
}

test('the newest extraction at or before a moment is meant', (t) => {
  const names = ['20261101T020304Z', '20261108T000000Z', '20261108T235959Z'];
  t.is(newestUntil(names, '20261101T020303Z'), undefined);
  t.is(newestUntil(names, '20261101T020304Z'), names[0]);
  t.is(newestUntil(names, parseMoment('2026-11-07')), names[0]);
  t.is(newestUntil(names, parseMoment('2026-11-08')), names[2]);
});
