import type { GetCostAndUsageCommandOutput } from '@aws-sdk/client-cost-explorer';
import test from 'ava';
import { addAmounts } from '../../extract/draft.js';
import { costAndUsage } from '../../extract/organization-source.js';
import type { Asked } from '../../extract/pages.js';
import { readCostPage } from '../../extract/pages.js';
import { requestOf, totalQuery } from '../../extract/questions.js';
import type { Session } from '../../extract/session.js';
import { monthData } from '../../fixtures/demo/data.js';
import { expectedConsumption, expectedTotal } from '../../fixtures/demo/truth.js';
import { DataError, TransientError } from '../../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { formatTotals, noSums } from '../../pipeline/shared/sums.js';
import type { Scope } from '../../pipeline/shared/scope.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { costQuery } from '../../pipeline/staging/manifest.js';
import { sha256Of } from '../../pipeline/staging/staging.js';
import {
  MONTH,
  OTHER_MONTH,
  beforeWrites,
  bench,
  data,
  keysOf,
  textOf,
} from '../support/extract.js';

interface CostAnswer {
  NextPageToken?: string;
  ResultsByTime: {
    Groups: { Keys: [string, string]; Metrics: { UnblendedCost: { Amount: string } } }[];
  }[];
}
interface AccountsAnswer {
  NextToken?: string;
  Accounts: Record<string, string>[];
}

const ascending = (a: string, b: string): number => (a < b ? -1 : 1);

test.serial('a month is staged whole: every account and every group, word for word', async (t) => {
  const { staging, run, manifest, cloud, requests } = await bench(t);
  const outcome = await run();
  const found = await manifest(outcome.extraction);
  const folder = `raw/month=2026-10/oab/${outcome.extraction}/`;

  const accountPages = requests('ListAccounts').length;
  const costPages = requests('GetCostAndUsage').length;
  t.true(accountPages > 7 && costPages > 5);
  t.deepEqual(
    await keysOf(staging),
    [...found.pages.map(({ file }) => file), 'manifest.json', 'scope.json']
      .map((file) => folder + file)
      .sort(ascending),
  );

  const accounts: AccountsAnswer['Accounts'] = [];
  const groups: CostAnswer['ResultsByTime'][number]['Groups'] = [];
  for (const { file, bytes, sha256, rows } of found.pages) {
    const text = await textOf(staging, folder + file);
    t.is(Buffer.byteLength(text), bytes);
    t.is(sha256Of(Buffer.from(text)), sha256);
    t.notRegex(text, /\$metadata|httpStatusCode/);
    const page = JSON.parse(text) as AccountsAnswer & CostAnswer;
    if (file.startsWith('accounts')) {
      t.is(page.Accounts.length, rows);
      accounts.push(...page.Accounts);
    } else {
      const pageGroups = page.ResultsByTime.flatMap((result) => result.Groups);
      t.is(pageGroups.length, rows);
      groups.push(...pageGroups);
    }
  }
  const known = data.organizations.find(({ name }) => name === 'oab')!.accounts;
  const byId = new Map(accounts.map((account) => [account['Id'], account]));
  t.is(accounts.length, 131);
  for (const { id, name, email, state, joined } of known.filter(({ listed }) => listed)) {
    t.like(byId.get(id), { Name: name, Email: email, State: state, JoinedTimestamp: joined });
  }
  t.true(found.pages.some(({ file, rows }) => file.startsWith('accounts') && rows === 0));

  const expected = expectedConsumption(data, 'oab', MONTH);
  const line = (service: string, account: string, amount: bigint) =>
    `${account} ${service} ${formatAmount(amount)}`;
  t.deepEqual(
    groups
      .map(({ Keys: [service, account], Metrics }) =>
        line(service, account, parseAmount(Metrics.UnblendedCost.Amount).units),
      )
      .sort(ascending),
    expected
      .map(({ Service, Reference, Amount }) => line(Service, Reference, Amount))
      .sort(ascending),
  );

  const totals = { USD: formatAmount(expectedTotal(data, 'oab', MONTH)) };
  t.deepEqual(outcome, {
    state: 'done',
    extraction: outcome.extraction,
    provisional: false,
    customers: 131,
    unlisted: 0,
    rows: expected.length,
    totals,
    requests: costPages,
  });
  t.like(found, {
    month: MONTH,
    organization: 'oab',
    extraction: outcome.extraction,
    requests: { ListAccounts: accountPages, GetCostAndUsage: costPages },
    accounts: 131,
    groups: expected.length,
    totals,
    awsTotal: totals,
    estimated: false,
  });
  t.is(requests('AssumeRole').length, 1);
  t.true(cloud.requests.every(({ ok }) => ok));
});

test.serial(
  'Cost Explorer is asked for groups, page by page by its tokens, then for their total',
  async (t) => {
    const { run, requests, staging } = await bench(t);
    const { extraction } = await run();
    const asked = requests('GetCostAndUsage');
    t.deepEqual(asked[0]?.input, {
      TimePeriod: { Start: '2026-10-01', End: '2026-11-01' },
      Granularity: 'MONTHLY',
      Metrics: ['UnblendedCost'],
      GroupBy: [
        { Type: 'DIMENSION', Key: 'SERVICE' },
        { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' },
      ],
    });
    const [total] = asked.splice(-1);
    t.deepEqual(total?.input, {
      TimePeriod: { Start: '2026-10-01', End: '2026-11-01' },
      Granularity: 'MONTHLY',
      Metrics: ['UnblendedCost'],
    });
    for (const [index, { input, token }] of asked.entries()) {
      t.deepEqual(input, requestOf(MONTH, plainScope, costQuery, token));
      if (index === 0) continue;
      const key = `raw/month=2026-10/oab/${extraction}/cost-and-usage-${String(index).padStart(5, '0')}.json`;
      t.is((JSON.parse(await textOf(staging, key)) as CostAnswer).NextPageToken, token);
    }
  },
);

test.serial('a second run asks AWS for nothing and opens no source', async (t) => {
  const { run, cloud, staging } = await bench(t);
  const first = await run();
  const asked = cloud.requests.length;
  const keys = await keysOf(staging);
  const second = await run({
    source: () => {
      throw new Error('opened');
    },
  });
  t.deepEqual(second, { ...first, state: 'unchanged', requests: 0 });
  t.is(cloud.requests.length, asked);
  t.deepEqual(await keysOf(staging), keys);
});

test.serial(
  'force makes a new extraction beside the old one, later even in the same second',
  async (t) => {
    const { run, manifest, staging } = await bench(t);
    const now = () => new Date('2026-11-05T06:07:08.900Z');
    const first = await run({ now });
    const before = await textOf(staging, `raw/month=2026-10/oab/${first.extraction}/manifest.json`);
    const second = await run({ now, force: true });
    const third = await run({ now: () => new Date('2026-11-04T00:00:00Z'), force: true });
    t.deepEqual(
      [first, second, third].map(({ extraction }) => extraction),
      ['20261105T060708Z', '20261105T060709Z', '20261105T060710Z'],
    );
    t.true(second.requests > 0);
    t.is(await textOf(staging, `raw/month=2026-10/oab/${first.extraction}/manifest.json`), before);
    t.is((await manifest(second.extraction)).started, '2026-11-05T06:07:09.000Z');
  },
);

test.serial('a damaged extraction is fetched anew, and the log says so', async (t) => {
  const { run, staging, lines } = await bench(t);
  const first = await run();
  const folder = `raw/month=2026-10/oab/${first.extraction}/`;
  await staging.write(`${folder}cost-and-usage-00002.json`, Buffer.from('{}'));
  const second = await run();
  t.is(second.state, 'done');
  t.true(second.extraction > first.extraction);
  t.true(lines.some((line) => /damaged/.test(line) && /cost-and-usage-00002/.test(line)));
  t.is((await run()).state, 'unchanged');
  await staging.remove(`raw/month=2026-10/oab/${second.extraction}/accounts-00001.json`);
  t.is((await run()).state, 'done');
});

test.serial('months of one organization share one listing and one role', async (t) => {
  const { run, open, requests, manifest, staging } = await bench(t);
  const source = open();
  const slices = [MONTH, OTHER_MONTH].map((month) => ({ month, organization: 'oab' }));
  const outcomes = await Promise.all(slices.map((slice) => run({ slice, source: () => source })));
  const [a, b] = await Promise.all(
    outcomes.map(({ extraction }, index) => manifest(extraction, { slice: slices[index]! })),
  );
  const pages = requests('ListAccounts').length;
  t.is(a!.requests.ListAccounts + b!.requests.ListAccounts, pages);
  t.deepEqual([a!.requests.ListAccounts, b!.requests.ListAccounts].sort(), [0, pages]);
  const listed = (found: typeof a) =>
    found!.pages.filter(({ file }) => file.startsWith('accounts'));
  t.deepEqual(listed(a), listed(b));
  t.is(requests('AssumeRole').length, 1);
  t.is((await keysOf(staging, 'raw/month=2026-09/')).length, b!.pages.length + 2);
});

test.serial('two organizations side by side stay apart', async (t) => {
  const { run } = await bench(t);
  const names = ['oab', 'spp_pm'];
  const outcomes = await Promise.all(
    names.map((organization) => run({ slice: { month: MONTH, organization } })),
  );
  for (const [index, name] of names.entries()) {
    t.like(outcomes[index], {
      rows: expectedConsumption(data, name, MONTH).length,
      totals: { USD: formatAmount(expectedTotal(data, name, MONTH)) },
    });
  }
  t.deepEqual(
    outcomes.map(({ customers }) => customers),
    [131, 23],
  );
});

test.serial('no page is asked for before the one before it is staged', async (t) => {
  const { run, staging, cloud, requests } = await bench(t);
  let staged = 0;
  const watched = beforeWrites(staging, async (key) => {
    if (!key.includes('cost-and-usage')) return;
    staged += 1;
    t.is(requests('GetCostAndUsage').length, staged);
    // A round trip to the same server gives a page that was asked for too early the time to arrive.
    await fetch(`${cloud.vaultUrl}/v1/sys/health`);
    t.is(requests('GetCostAndUsage').length, staged);
  });
  const { requests: paid } = await run({ staging: watched });
  t.is(staged, paid - 1);
});

test.serial('progress tells pages and groups', async (t) => {
  const { run } = await bench(t);
  const told: string[] = [];
  const { rows, requests } = await run({ onProgress: (text) => told.push(text) });
  t.is(told.length, requests);
  t.is(told[0], 'page 1, 60 groups');
  t.is(told.at(-1), `page ${requests}, ${rows} groups`);
});

test.serial('an empty month and an estimated one are told as such', async (t) => {
  const empty = structuredClone(data);
  const months = empty.organizations.find(({ name }) => name === 'oab')!.months;
  months.set(MONTH, { items: [], estimated: true, outsideGroups: 0n });
  const { run, manifest } = await bench(t, { data: empty });
  const outcome = await run();
  t.like(outcome, { state: 'done', customers: 131, rows: 0, totals: {}, requests: 2 });
  t.like(await manifest(outcome.extraction), { estimated: true, awsTotal: { USD: '0' } });
});

test.serial(
  'any page that AWS calls estimated makes the month so, whichever question it answers',
  async (t) => {
    const own = structuredClone(data);
    const month = monthData(own, 'oab', MONTH);
    let estimated: (request: number) => boolean = () => false;
    const { run, manifest, requests } = await bench(t, {
      data: own,
      onRequest: () => {
        month.estimated = estimated(requests('GetCostAndUsage').length);
      },
    });
    const scope: Scope = { ...plainScope, detail: 'usage-type', by: ['RECORD_TYPE'] };
    const isEstimated = async (): Promise<boolean> => {
      const before = requests('GetCostAndUsage').length;
      const { extraction, requests: paid } = await run({ scope, force: true });
      t.is(requests('GetCostAndUsage').length, before + paid);
      return (await manifest(extraction)).estimated;
    };
    t.false(await isEstimated());
    const pages = requests('GetCostAndUsage');
    const questions = new Set(
      pages.map(({ input }) => JSON.stringify({ ...(input as object), NextPageToken: undefined })),
    );
    // Usage types by service, by account, those that several services share, charge types, the total.
    t.true(questions.size >= 5);
    for (const [page, { token }] of pages.entries()) {
      const isFirst = token === undefined;
      const isLast = pages[page + 1]?.token === undefined;
      if (!isFirst && !isLast) continue;
      const before = requests('GetCostAndUsage').length;
      estimated = (count) => count === before + page + 1;
      t.true(await isEstimated(), `page ${page + 1} of ${pages.length}`);
    }
  },
);

test.serial('the ungrouped total is staged word for word, groups or not', async (t) => {
  const lying = structuredClone(data);
  const oab = lying.organizations.find(({ name }) => name === 'oab')!;
  oab.months.get(MONTH)!.outsideGroups = 15n * 10n ** 17n;
  const { run, manifest, staging } = await bench(t, { data: lying });
  const { extraction, totals } = await run();
  const { awsTotal, pages, serviceDifferences } = await manifest(extraction);
  const told = { USD: formatAmount(parseAmount(totals['USD']!).units + 15n * 10n ** 17n) };
  t.deepEqual(awsTotal, told);
  t.like(pages.at(-2), { file: 'total-00001.json', rows: 0 });
  // So far apart, AWS is asked by service too; here no service has what the total has.
  t.is(pages.at(-1)?.file, 'service-00001.json');
  t.deepEqual(serviceDifferences, []);
  const text = await textOf(staging, `raw/month=2026-10/oab/${extraction}/total-00001.json`);
  const page = JSON.parse(text) as { ResultsByTime: { Total: object }[] };
  t.deepEqual(page.ResultsByTime[0]?.Total, {
    UnblendedCost: { Amount: told.USD, Unit: 'USD' },
  });
});

test.serial(
  'without the ungrouped total its request is saved, and the manifest says so',
  async (t) => {
    const { run, manifest, requests } = await bench(t);
    const outcome = await run({ awsTotal: false });
    const asked = requests('GetCostAndUsage');
    t.is(outcome.requests, asked.length);
    t.true(asked.every(({ input }) => 'GroupBy' in (input as object)));
    const { awsTotal, pages } = await manifest(outcome.extraction);
    t.is(awsTotal, null);
    t.false(pages.some(({ file }) => file.startsWith('total')));
  },
);

const period = { TimePeriod: { Start: '2026-10-01', End: '2026-11-01' } };

test('an answer that cannot be read is paid for all the same', async (t) => {
  const cost = { UnblendedCost: { Amount: 'NaN', Unit: 'USD' } };
  const answer: GetCostAndUsageCommandOutput = {
    $metadata: {},
    ResultsByTime: [
      { ...period, Total: cost, Groups: [{ Keys: ['Tax', '1'.repeat(12)], Metrics: cost }] },
    ],
  };
  let answered = answer;
  const session = {
    describe: () => 'here',
    call: () => Promise.resolve(answered),
    close: () => undefined,
  } as unknown as Session;
  const { signal } = new AbortController();
  let paid = 0;
  const onPaid = (): void => {
    paid++;
  };
  for (const [index, [query, given, instanceOf]] of (
    [
      [costQuery, answer, DataError],
      [totalQuery, answer, DataError],
      [costQuery, { $metadata: {} }, TransientError],
    ] as const
  ).entries()) {
    answered = given;
    const question = { month: MONTH, scope: plainScope, query };
    await t.throwsAsync(costAndUsage(session, question, [], signal, onPaid).next(), { instanceOf });
    t.is(paid, index + 1);
  }
});

const askedTotal: Asked = { month: MONTH, groupBy: [], metrics: ['UnblendedCost'], page: 1 };

for (const [what, answer, totals] of [
  ['no result', { ResultsByTime: [] }, {}],
  ['an empty Total', { ResultsByTime: [{ ...period, Total: {}, Groups: [] }] }, {}],
  ['no Total', { ResultsByTime: [{ ...period, Groups: [] }] }, {}],
  [
    'a credit',
    {
      ResultsByTime: [{ ...period, Total: { UnblendedCost: { Amount: '-1.5E-3', Unit: 'EUR' } } }],
    },
    { EUR: '-0.0015' },
  ],
] as const) {
  test(`an ungrouped answer with ${what} is read`, (t) => {
    const page = readCostPage(Buffer.from(JSON.stringify(answer)), 'here', askedTotal);
    const tally = noSums();
    if (page.total !== undefined) addAmounts(tally, page.total);
    t.deepEqual(formatTotals(tally.totals), totals);
  });
}

test('an ungrouped answer without an exact amount is refused', (t) => {
  const Total = { UnblendedCost: { Amount: 'NaN', Unit: 'USD' } };
  const answer = { ResultsByTime: [{ ...period, Total }] };
  t.throws(() => readCostPage(Buffer.from(JSON.stringify(answer)), 'here', askedTotal), {
    instanceOf: DataError,
  });
});
