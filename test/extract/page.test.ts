import test from 'ava';
import { readAccountsPage } from '../../extract/accounts.js';
import type { CostPage } from '../../extract/cost-and-usage.js';
import { readCostPage } from '../../extract/cost-and-usage.js';
import { addAmounts, emptyTally } from '../../extract/tally.js';
import type { Totals } from '../../pipeline/money.js';
import type { Page } from '../../extract/page.js';
import { followTokens, serializeAnswer } from '../../extract/page.js';
import { DataError } from '../../pipeline/errors.js';

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

function pagesOf(tokens: readonly (string | undefined)[]) {
  const asked: (string | undefined)[] = [];
  const ask = (token: string | undefined): Promise<Page> => {
    asked.push(token);
    const nextToken = tokens[asked.length - 1];
    return Promise.resolve({ content: bytes({}), rows: 0, nextToken });
  };
  return { asked, ask };
}

test('every page is asked for with the token of the one before, and none before it is taken', async (t) => {
  const { asked, ask } = pagesOf(['a', 'b', undefined]);
  const pages = followTokens(ask, [], 'here');
  t.deepEqual(asked, []);
  await pages.next();
  t.deepEqual(asked, [undefined]);
  await pages.next();
  t.deepEqual(asked, [undefined, 'a']);
  await pages.next();
  t.true((await pages.next()).done);
  t.deepEqual(asked, [undefined, 'a', 'b']);
});

test('with given tokens the first page is the one after them', async (t) => {
  const { asked, ask } = pagesOf([undefined]);
  let taken = 0;
  for await (const page of followTokens(ask, ['a', 'b'], 'here')) taken += page.rows + 1;
  t.is(taken, 1);
  t.deepEqual(asked, ['b']);
});

for (const [how, given, tokens, paid] of [
  ['its own', [], ['a', 'a'], 2],
  ['an earlier page', [], ['a', 'b', 'a'], 3],
  ['a page of an earlier run', ['x', 'y'], ['x'], 1],
] as const) {
  test(`a page that repeats the token of ${how} ends the query loudly`, async (t) => {
    const { asked, ask } = pagesOf(tokens);
    const pages = followTokens(ask, given, 'here');
    for (let taken = 1; taken < paid; taken++) await pages.next();
    await t.throwsAsync(pages.next(), {
      instanceOf: DataError,
      message: /same continuation token/,
    });
    t.is(asked.length, paid);
    t.true((await pages.next()).done);
  });
}

test('an answer is serialized without metadata, with ISO 8601 timestamps and members in AWS order', (t) => {
  const content = serializeAnswer({
    $metadata: { requestId: 'x' },
    ...{ NextToken: 't', Accounts: [{ Name: 'Zoë', JoinedTimestamp: new Date(1631121728678) }] },
  });
  t.is(
    new TextDecoder().decode(content),
    '{"NextToken":"t","Accounts":[{"Name":"Zoë","JoinedTimestamp":"2021-09-08T17:22:08.678Z"}]}\n',
  );
});

function costAnswer(...amounts: [string, string][]): Uint8Array {
  return bytes({
    ResultsByTime: [
      {
        Groups: amounts.map(([Amount, Unit], index) => ({
          Keys: ['Amazon EC2', String(index).padStart(12, '0')],
          Metrics: { UnblendedCost: { Amount, Unit } },
        })),
        Estimated: false,
      },
    ],
  });
}

function totalsOf({ groups }: CostPage): Totals {
  const tally = emptyTally();
  for (const { amounts } of groups) addAmounts(tally, amounts);
  return tally.totals;
}

test('a cost page adds up exactly, by currency, credits included', (t) => {
  const page = readCostPage(
    costAnswer(['0.1', 'USD'], ['0.2', 'USD'], ['-1E-10', 'USD'], ['5', 'CNY']),
    'here',
  );
  t.is(page.rows, 4);
  t.deepEqual(
    [...totalsOf(page)],
    [
      ['USD', 299_999_999_900_000_000n],
      ['CNY', 5_000_000_000_000_000_000n],
    ],
  );
  t.is(page.nextToken, undefined);
});

test('an empty month comes in any of its forms', (t) => {
  for (const value of [
    {},
    { ResultsByTime: [] },
    { ResultsByTime: [{}] },
    { ResultsByTime: [{ Groups: [], Total: {}, Estimated: true }], NextPageToken: '' },
  ]) {
    const page = readCostPage(bytes(value), 'here');
    t.like(page, { rows: 0, nextToken: undefined });
    t.is(totalsOf(page).size, 0);
  }
});

test('any estimated result makes the page estimated', (t) => {
  const results = (...flags: (boolean | undefined)[]) =>
    readCostPage(bytes({ ResultsByTime: flags.map((Estimated) => ({ Estimated })) }), 'here');
  t.true(results(false, true).estimated);
  t.false(results(false, undefined).estimated);
});

test('an amount that is no number is refused by its group', (t) => {
  const error = t.throws(() => readCostPage(costAnswer(['1', 'USD'], ['NaN', 'USD']), 'page 2'), {
    instanceOf: DataError,
    message: /"NaN" is not a decimal number \(group Amazon EC2, 000000000001\)/,
  });
  t.is(error.where, 'page 2');
});

test('what is no answer is refused: truncated, not UTF-8, another shape', (t) => {
  const whole = costAnswer(['1', 'USD']);
  for (const content of [
    whole.subarray(0, -5),
    new Uint8Array(),
    Uint8Array.of(0x22, 0xff, 0x22),
    bytes([]),
    bytes({ ResultsByTime: [{ Groups: [{ Keys: ['a', 'b'], Metrics: {} }] }] }),
  ])
    t.throws(() => readCostPage(content, 'here'), { instanceOf: DataError });
  t.throws(() => readAccountsPage(bytes({ Accounts: 'none' }), 'here'), { instanceOf: DataError });
});
