import test from 'ava';
import { addAmounts } from '../../extract/draft.js';
import { followTokens } from '../../extract/organization-source.js';
import type { Asked, FetchedCost, FetchedPage } from '../../extract/pages.js';
import { readAccountsPage, readCostPage, serializeAnswer } from '../../extract/pages.js';
import { DataError, TransientError } from '../../pipeline/shared/errors.js';
import type { Totals } from '../../pipeline/shared/sums.js';
import { noSums } from '../../pipeline/shared/sums.js';
import { parseMonth } from '../../pipeline/shared/month.js';

const period = { TimePeriod: { Start: '2026-10-01', End: '2026-11-01' } };
const asked: Asked = {
  month: parseMonth('2026-10'),
  groupBy: ['SERVICE', 'LINKED_ACCOUNT'],
  metrics: ['UnblendedCost'],
  page: 1,
};
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

function pagesOf(tokens: readonly (string | undefined)[]) {
  const asked: (string | undefined)[] = [];
  const ask = (token: string | undefined): Promise<FetchedPage> => {
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
        ...period,
        Groups: amounts.map(([Amount, Unit], index) => ({
          Keys: ['Amazon EC2', String(index).padStart(12, '0')],
          Metrics: { UnblendedCost: { Amount, Unit } },
        })),
        Estimated: false,
      },
    ],
  });
}

function totalsOf({ groups }: FetchedCost): Totals {
  const tally = noSums();
  for (const { amounts } of groups) addAmounts(tally, amounts);
  return tally.totals;
}

test('a cost page adds up exactly, by currency, credits included', (t) => {
  const page = readCostPage(
    costAnswer(['0.1', 'USD'], ['0.2', 'USD'], ['-1E-10', 'USD'], ['5', 'CNY']),
    'here',
    asked,
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
    { ResultsByTime: [] },
    { ResultsByTime: [period] },
    { ResultsByTime: [{ ...period, Groups: [], Total: {}, Estimated: true }], NextPageToken: '' },
    {
      ResultsByTime: [
        { ...period, Total: { UnblendedCost: { Amount: '0.0000000000', Unit: 'USD' } } },
      ],
    },
  ]) {
    const page = readCostPage(bytes(value), 'here', asked);
    t.like(page, { rows: 0, nextToken: undefined });
    t.is(totalsOf(page).size, 0);
  }
});

test("AWS's own flag makes the page estimated", (t) => {
  const estimated = (Estimated: boolean | undefined) =>
    readCostPage(bytes({ ResultsByTime: [{ ...period, Estimated }] }), 'here', asked).estimated;
  t.true(estimated(true));
  t.false(estimated(false));
  t.false(estimated(undefined));
});

test('an amount that is no number is refused by its group', (t) => {
  const error = t.throws(
    () => readCostPage(costAnswer(['1', 'USD'], ['NaN', 'USD']), 'page 2', asked),
    {
      instanceOf: DataError,
      message: '"NaN" is not a decimal number (group 2 (Amazon EC2, 000000000001))',
    },
  );
  t.is(error.where, 'page 2');
});

test('what is no JSON is refused: truncated, empty, not UTF-8', (t) => {
  const whole = costAnswer(['1', 'USD']);
  for (const content of [whole.subarray(0, -5), new Uint8Array(), Uint8Array.of(0x22, 0xff, 0x22)])
    t.throws(() => readCostPage(content, 'here', asked), { instanceOf: DataError });
});

for (const [what, value] of [
  ['nothing', {}],
  ['null', null],
  ['a list', []],
  ['a text', 'x'],
  ['null for its results', { ResultsByTime: null }],
  ['an error in a success', { __type: 'InternalServerException' }],
  ['a result of nothing', { ResultsByTime: [{}] }],
  ['null for a result', { ResultsByTime: [null] }],
  ['a token and nothing else', { NextPageToken: 'more' }],
  ['a period without an end', { ResultsByTime: [{ TimePeriod: { Start: '2026-10-01' } }] }],
  ['a group without its cost', costs([{ Keys: ['Tax', '000000000001'], Metrics: {} }])],
  ['a group without keys', costs([{ Metrics: { UnblendedCost: { Amount: '1', Unit: 'USD' } } }])],
  ['a number for an amount', costs([cost(1)])],
] as const) {
  test(`not an answer of GetCostAndUsage: ${what}`, (t) => {
    const error = t.throws(() => readCostPage(bytes(value), 'page 2', asked), {
      instanceOf: TransientError,
      message: /^not an answer of GetCostAndUsage: /,
    });
    t.is(error.where, 'page 2');
  });
}

test('a service that calls its success an error is quoted', (t) => {
  const value = { __type: 'InternalServerException' };
  t.throws(() => readCostPage(bytes(value), 'here', asked), {
    message: /^not an answer of GetCostAndUsage: .*\(it says "InternalServerException"\)$/,
  });
  t.throws(() => readAccountsPage(bytes(value), 'here'), {
    message: /^not an answer of ListAccounts: Accounts: .*\(it says "InternalServerException"\)$/,
  });
});

for (const value of [{}, null, [], { Accounts: null }, { Accounts: 'none' }, { Accounts: [null] }])
  test(`not an answer of ListAccounts: ${JSON.stringify(value)}`, (t) => {
    t.throws(() => readAccountsPage(bytes(value), 'here'), {
      instanceOf: TransientError,
      message: /^not an answer of ListAccounts: /,
    });
  });

function cost(Amount: unknown, Unit: unknown = 'USD', keys = ['Tax', '000000000001']): object {
  return { Keys: keys, Metrics: { UnblendedCost: { Amount, Unit } } };
}

function costs(Groups: readonly object[], more: object = {}): object {
  return { ResultsByTime: [{ ...period, Groups, ...more }] };
}

const january = { TimePeriod: { Start: '2025-01-01', End: '2025-02-01' } };
const total = { ...asked, groupBy: [] };
const groups = [cost('1')];
const paid = { UnblendedCost: { Amount: '5', Unit: 'USD' } };

for (const [what, value, question, says] of [
  [
    'another month',
    costs(groups, january),
    asked,
    'the answer tells the cost of 2025-01-01 to 2025-02-01, where 2026-10-01 to 2026-11-01 was asked for',
  ],
  [
    'another month beside the one asked for',
    { ResultsByTime: [period, january] },
    asked,
    /tells the cost of 2025-01-01 to 2025-02-01, where 2026-10-01 to 2026-11-01 was asked/,
  ],
  [
    'a part of the month',
    costs(groups, { TimePeriod: { Start: '2026-10-01', End: '2026-10-02' } }),
    asked,
    /tells the cost of 2026-10-01 to 2026-10-02, where/,
  ],
  [
    'the month twice',
    { ResultsByTime: [period, period] },
    asked,
    'the answer tells the period 2026-10-01 to 2026-11-01 2 times',
  ],
  ['no month, in mid chain', { ResultsByTime: [] }, { ...asked, page: 3 }, /lacks the period/],
  ['no month, and a token', { ResultsByTime: [], NextPageToken: 'x' }, asked, /lacks the period/],
  [
    'a total with groups and an empty Total',
    costs(groups, { Total: {} }),
    total,
    'the answer has 1 groups, where the ungrouped total was asked for',
  ],
  [
    'a total that lacks a metric',
    costs([], { Total: paid }),
    { ...total, metrics: ['UnblendedCost', 'BlendedCost'] },
    'the total has no BlendedCost',
  ],
  [
    'a total in place of groups',
    costs([], { Total: paid }),
    asked,
    'the answer has a total (UnblendedCost 5) and no groups, where SERVICE and LINKED_ACCOUNT were asked for',
  ],
  [
    'groups by something else',
    { ...costs(groups), GroupDefinitions: [{ Key: 'RECORD_TYPE' }, { Key: 'LINKED_ACCOUNT' }] },
    asked,
    'the answer groups by RECORD_TYPE and LINKED_ACCOUNT, where SERVICE and LINKED_ACCOUNT was asked for',
  ],
  [
    'one key too few',
    costs([cost('1', 'USD', ['Tax'])]),
    asked,
    'group 1 (Tax) has 1 keys instead of 2',
  ],
  [
    'an account that is none',
    costs([cost('1'), cost('1', 'USD', ['Tax', '12345'])]),
    asked,
    'group 2 (Tax, 12345) has "12345" for an account id of 12 digits',
  ],
  [
    'the unit __proto__',
    costs([cost('1', '__proto__')]),
    asked,
    'group 1 (Tax, 000000000001) has "__proto__" for a currency of its UnblendedCost',
  ],
  [
    'the unit constructor',
    costs([cost('1', 'constructor')]),
    asked,
    /has "constructor" for a currency/,
  ],
  [
    'the unit toString',
    costs([], { Total: { UnblendedCost: { Amount: '1', Unit: 'toString' } } }),
    total,
    /^the total has "toString" for a currency/,
  ],
  [
    'a unit of 17 letters',
    costs([cost('1', 'A'.repeat(17))]),
    asked,
    /17 characters for Currency, which holds 16/,
  ],
  [
    'a service with NUL',
    costs([cost('1', 'USD', ['a\0b', '000000000001'])]),
    asked,
    /has the character NUL in "a\\u0000b" for Service/,
  ],
  [
    'a service with half a character',
    costs([cost('1', 'USD', ['a\ud800b', '000000000001'])]),
    asked,
    /has half of a surrogate pair in .* for Service/,
  ],
  [
    'a service of 513 characters',
    costs([cost('1', 'USD', ['é'.repeat(513), '000000000001'])]),
    asked,
    /has 513 characters for Service, which holds 512/,
  ],
  [
    'an amount of 21 digits',
    costs([cost(`1${'0'.repeat(20)}`)]),
    asked,
    /does not fit DECIMAL\(38,18\) \(group 1 \(Tax, 000000000001\)\)/,
  ],
  [
    'a name with NUL',
    {
      ...costs(groups),
      DimensionValueAttributes: [{ Value: '000000000001', Attributes: { description: 'a\0' } }],
    },
    asked,
    /the name of account 000000000001 has the character NUL/,
  ],
  [
    'a usage unit with NUL',
    costs([
      { Keys: ['x', '000000000001'], Metrics: { UsageQuantity: { Amount: '1', Unit: '\0' } } },
    ]),
    { ...asked, groupBy: ['USAGE_TYPE', 'LINKED_ACCOUNT'], metrics: ['UsageQuantity'] },
    /has the character NUL in .* for Unit of its UsageQuantity/,
  ],
] as [string, object, Asked, string | RegExp][]) {
  test(`an answer of GetCostAndUsage is refused with ${what}`, (t) => {
    const error = t.throws(() => readCostPage(bytes(value), 'page 2', question), {
      instanceOf: DataError,
      message: says,
    });
    t.is(error.where, 'page 2');
  });
}

test('what looks odd and may be true is taken', (t) => {
  const odd = [
    cost('99999999999999999999.999999999999999999'),
    cost('-1e-7', 'CNY', ['', '000000000001']),
    cost('+1.5', 'N/A', ['tab\tline\nescape\u001b[31mü\u{1f600}', '000000000001']),
    cost('0', 'USD', ['__proto__', '000000000001']),
  ];
  const page = readCostPage(bytes(costs(odd, { Total: {} })), 'here', asked);
  t.is(page.rows, 4);
  t.is(page.groups[3]?.keys[0], '__proto__');
});

test('keys stand in the order that the answer says, whatever was asked for', (t) => {
  const value = {
    ...costs([cost('1', 'USD', ['000000000001', 'Tax'])]),
    GroupDefinitions: [{ Key: 'LINKED_ACCOUNT' }, { Key: 'SERVICE' }],
  };
  const [group] = readCostPage(bytes(value), 'here', asked).groups;
  t.deepEqual(group?.keys, ['Tax', '000000000001']);
});

for (const [what, account, says] of [
  ['no id', {}, 'account 2 has no account id'],
  [
    'an id of 11 digits',
    { Id: '12345678901' },
    /^account 2 \("12345678901"\) has .* for an account id/,
  ],
  [
    'a name with NUL',
    { Id: '000000000001', Name: 'a\0b' },
    /has the character NUL in "a\\u0000b" for TenantName/,
  ],
  [
    'a name of 256 characters',
    { Id: '000000000001', Name: 'é'.repeat(256) },
    /has 256 characters for TenantName/,
  ],
  [
    'half a character',
    { Id: '000000000001', Email: '\udfff' },
    /half of a surrogate pair in .* for Email/,
  ],
  [
    'a state of 33 letters',
    { Id: '000000000001', State: 'A'.repeat(33) },
    /33 characters for Status/,
  ],
  // What the SDK makes of 1e300 seconds.
  [
    'a JoinedTimestamp that is none',
    { Id: '000000000001', JoinedTimestamp: null },
    /has a JoinedTimestamp that is no instant/,
  ],
  [
    'a JoinedTimestamp of the year 275760',
    { Id: '000000000001', JoinedTimestamp: '+275760-09-13T00:00:00.000Z' },
    /no instant of the years 1000 to 9999/,
  ],
  [
    'a JoinedTimestamp of the year 1',
    { Id: '000000000001', JoinedTimestamp: '0001-01-01T00:00:00.000Z' },
    /no instant/,
  ],
] as [string, object, string | RegExp][]) {
  test(`an answer of ListAccounts is refused with ${what}`, (t) => {
    const value = { Accounts: [{ Id: '000000000009', Name: 'fine' }, account] };
    const error = t.throws(() => readAccountsPage(bytes(value), 'page 2'), {
      instanceOf: DataError,
      message: says,
    });
    t.is(error.where, 'page 2');
  });
}
