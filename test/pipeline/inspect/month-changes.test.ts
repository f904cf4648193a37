import test from 'ava';
import fc from 'fast-check';
import type {
  Change,
  ChangesRequest,
  OrganizationChanges,
} from '../../../pipeline/inspect/month-changes.js';
import { findChanges, newestUntil, parseMoment } from '../../../pipeline/inspect/month-changes.js';
import { DataError, UsageError } from '../../../pipeline/shared/errors.js';
import { formatAmount } from '../../../pipeline/shared/money.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import type { Answers } from '../../support/extraction.js';
import { costAnswer, group, makeExtraction } from '../../support/extraction.js';
import { temporaryStaging } from '../../support/staging.js';
import { slice } from '../../support/transform.js';

const [first, second] = ['20261102T000000Z', '20261108T000000Z'];
const [a, b, c] = ['000000000001', '000000000002', '000000000003'];

async function compare(
  staging: Staging,
  request: Partial<ChangesRequest> = {},
): Promise<Extract<OrganizationChanges, { until: unknown }>> {
  const { organizations } = await findChanges({
    staging,
    month: slice.month,
    organizations: ['oab'],
    since: undefined,
    until: undefined,
    customer: undefined,
    provisionalDays: 10,
    signal: new AbortController().signal,
    ...request,
  });
  const [found] = organizations;
  if (found === undefined || found.uncompared !== undefined)
    throw new Error(`not compared: ${found?.uncompared}`);
  return found;
}

async function stageBoth(staging: Staging, before: Answers, after: Answers): Promise<void> {
  await makeExtraction(staging, slice, { ...before, extraction: first });
  await makeExtraction(staging, slice, { ...after, extraction: second });
}

const line = ({ account, name, service, currency, change, ...amounts }: Change): string => {
  const { before, after, difference } = amounts;
  const shown = [before, after, difference].map((one) =>
    one === undefined ? '-' : formatAmount(one),
  );
  return [account, name, service, change, ...shown, currency].join('|');
};

test('ties stand in a fixed order, nought is an amount, and another currency another cost', async (t) => {
  const staging = await temporaryStaging(t);
  const before = [
    group('S3', b, '1'),
    group('EC2', b, '1'),
    group('S3', a, '1'),
    group('Tax', a, '0'),
    group('Tax', b, '5', 'EUR'),
    group('Same', c, '1.50'),
  ];
  const after = [
    group('Same', c, '150e-2'),
    group('EC2', b, '-1'),
    group('Tax', b, '5'),
    group('S3', b, '3'),
    group('Tax', c, '0'),
    group('S3', a, '3'),
  ];
  await stageBoth(
    staging,
    {
      accounts: [
        {
          Accounts: [
            { Id: a, Name: 'old a' },
            { Id: b, Name: 'gone' },
          ],
        },
      ],
      costs: [costAnswer(before)],
    },
    {
      accounts: [{ Accounts: [{ Id: a, Name: 'new a' }] }],
      costs: [
        costAnswer(after, {
          DimensionValueAttributes: [{ Value: c, Attributes: { description: 'told by cost' } }],
        }),
      ],
    },
  );
  const { changes, totals } = await compare(staging);
  t.deepEqual(changes.map(line), [
    `${b}|gone|Tax|vanished|5|-|-5|EUR`,
    `${b}|gone|Tax|appeared|-|5|5|USD`,
    `${a}|new a|S3|changed|1|3|2|USD`,
    `${b}|gone|EC2|changed|1|-1|-2|USD`,
    `${b}|gone|S3|changed|1|3|2|USD`,
    `${a}|new a|Tax|vanished|0|-|0|USD`,
    `${c}|told by cost|Tax|appeared|-|0|0|USD`,
  ]);
  t.deepEqual(
    totals.map(({ currency, difference }) => `${formatAmount(difference)} ${currency}`),
    ['-5 EUR', '7 USD'],
  );
});

const units = fc.bigInt({ min: -(10n ** 36n), max: 10n ** 36n });
const costs = fc.uniqueArray(
  fc.record({
    account: fc.constantFrom(a, b, c),
    service: fc.constantFrom('__proto__', 'EC2', 'S3', 'constructor', ''),
    amount: units,
  }),
  { selector: ({ account, service }) => `${account} ${service}` },
);

test('the changes of an organization add up to the difference of its totals, to the last digit', async (t) => {
  await fc.assert(
    fc.asyncProperty(costs, costs, async (before, after) => {
      const staging = await temporaryStaging(t);
      const answer = (rows: typeof before): Answers => ({
        costs: [
          costAnswer(
            rows.map(({ account, service, amount }) =>
              group(service, account, formatAmount(amount)),
            ),
          ),
        ],
      });
      await stageBoth(staging, answer(before), answer(after));
      const { changes, totals } = await compare(staging);
      const sum = changes.reduce((all, { difference }) => all + difference, 0n);
      t.is(sum, totals[0]?.difference ?? 0n);
      const sizes = changes.map(({ difference }) => (difference < 0n ? -difference : difference));
      t.deepEqual(
        sizes,
        sizes.toSorted((x, y) => (x < y ? 1 : x > y ? -1 : 0)),
      );
    }),
    { numRuns: 30 },
  );
});

test('an organization whose run was stopped has nothing to compare', async (t) => {
  const staging = await temporaryStaging(t);
  await staging.write(`raw/month=2026-10/oab/${first}/accounts-00001.json`, Buffer.from('{}'));
  await t.throwsAsync(compare(staging), { message: /it has no finished extraction/ });
});

test('figures that are not those of the manifest are not compared', async (t) => {
  const staging = await temporaryStaging(t);
  const answers = { costs: [costAnswer([group('S3', a, '1')])] };
  await stageBoth(staging, { ...answers, manifest: { totals: { USD: '2' } } }, answers);
  await t.throwsAsync(compare(staging), { instanceOf: DataError, message: /add up to/ });
  await makeExtraction(staging, slice, {
    ...answers,
    extraction: first,
    manifest: { extraction: second },
  });
  await t.throwsAsync(compare(staging), { instanceOf: DataError, message: /another extraction/ });
});

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
