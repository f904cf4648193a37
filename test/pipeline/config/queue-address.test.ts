import test from 'ava';
import fc from 'fast-check';
import { parseQueueUrl, queueAddress, queuePlace } from '../../../pipeline/config/queue-address.js';
import { UsageError } from '../../../pipeline/shared/errors.js';

test('host, port, user, database and TLS, with what holds where they are left out', (t) => {
  const plain = { host: 'redis', port: 6379, user: undefined, database: 0, tls: false };
  t.deepEqual(parseQueueUrl('redis://redis'), plain);
  t.deepEqual(parseQueueUrl('redis://redis/'), plain);
  t.deepEqual(parseQueueUrl('rediss://a%40b@redis:6380/12'), {
    host: 'redis',
    port: 6380,
    user: 'a@b',
    database: 12,
    tls: true,
  });
  t.is(parseQueueUrl('redis://[::1]:7000').host, '::1');
});

test('what is shown of an address reads back as it, but for the user', (t) => {
  fc.assert(
    fc.property(
      fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
      fc.integer({ min: 1, max: 65_535 }),
      fc.nat({ max: 99_999 }),
      fc.boolean(),
      fc.string({ minLength: 1, unit: 'grapheme' }),
      (host, port, database, tls, user) => {
        const location = parseQueueUrl(
          `${tls ? 'rediss' : 'redis'}://${host.includes(':') ? `[${host}]` : host}:${port}/${database}`,
        );
        t.deepEqual(parseQueueUrl(queuePlace(location)), location);
        const named = { ...location, user };
        t.deepEqual(parseQueueUrl(queueAddress(named)), named);
        t.false(queuePlace(named).includes('@'));
        t.is(location.port, port);
        t.is(location.database, database);
      },
    ),
  );
});

for (const [wrong, message] of [
  ['redis', /unknown form/],
  ['http://pass-w0rd', /unknown form/],
  ['redis://', /unknown form|names no host/],
  ['redis://host:pass-w0rd', /unknown form/],
  ['redis://user:pass-w0rd@host', /holds a password/],
  ['redis://:pass-w0rd@host/0', /holds a password/],
  ['redis://host/pass-w0rd', /is no number/],
  ['redis://host/-1', /is no number/],
  ['redis://host/0/1', /is no number/],
  ['redis://host/0?pass-w0rd=1', /options/],
  ['redis://host/0#pass-w0rd', /options/],
  ['redis://%pass-w0rd@host', /percent-encoded/],
] as const) {
  test(`${wrong} is refused without being repeated`, (t) => {
    const error = t.throws(() => parseQueueUrl(wrong), { instanceOf: UsageError });
    t.regex(error.message, message);
    t.truthy(error.next);
    t.notRegex(error.message + String(error.next), /pass-w0rd/);
  });
}
