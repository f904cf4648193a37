import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type { LineItem } from '../../fixtures/demo/data.js';
import { demoData, monthData, restate } from '../../fixtures/demo/data.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { billingPeriod } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { columnIndex, regionOf } from '../../pipeline/staging/tables.js';
import { valueAt } from '../../pipeline/staging/batch.js';
import { consumptionBatches, emptyTally } from '../../transform/consumption.js';
import type { FinishedExtraction } from '../../transform/staged-pages.js';
import { MONTH, bench } from '../support/extract.js';
import { querySqlite } from '../support/sqlite.js';
import { world } from '../support/world.js';

const scope = { ...plainScope, detail: 'usage-type' } as const;
const slice = { month: MONTH, organization: 'oab' };

/** Region by `account/service/usage type`, and what is warned of. */
async function regionsOf(extraction: FinishedExtraction) {
  const tally = emptyTally();
  const stamp = { tag: 'aws', billingPeriod: billingPeriod(MONTH), organization: 'oab' };
  const rows = new Map<string, string>();
  const { signal } = new AbortController();
  for await (const { length, columns } of consumptionBatches(extraction, stamp, tally, signal)) {
    for (let row = 0; row < length; row++) {
      const value = (name: string) =>
        String(valueAt(columns[columnIndex('consumption', name)], row));
      rows.set(['Reference', 'Service', 'Category'].map(value).join('/'), value('Region'));
    }
  }
  return { rows, warned: tally.severalRegions };
}

/** The true regions of each row, and of what a filter can tell apart: usage type, with service, with account. */
function truth(items: readonly LineItem[], keyOf: (item: LineItem) => string) {
  const found = new Map<string, Set<string>>();
  for (const item of items) {
    const key = keyOf(item);
    found.set(key, (found.get(key) ?? new Set()).add(regionOf(item.region)));
  }
  return found;
}

const anyItem = fc.record({
  account: fc.constantFrom('000000000001', '000000000002', '000000000003'),
  service: fc.constantFrom('CloudFront', 'S3', 'Lambda'),
  usageType: fc.constantFrom(
    'EU-Out-Bytes',
    'Requests',
    'SoftwareUsage',
    'NoUsageType',
    '__proto__',
  ),
  region: fc.constantFrom('eu-west-1', 'eu-west-3', 'us-east-1', 'qq-new-1', 'global', 'NoRegion'),
});

test.serial(
  'a region that is told is the only one, what service or account tells is told, and the rest is warned of',
  async (t) => {
    const data = demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 2 }] });
    const [model] = monthData(data, 'oab', MONTH).items;
    const { run, manifest, staging, requests } = await bench(t, { data, groupsPerPage: 5 });
    let most = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyItem, { minLength: 1, maxLength: 25 }), async (some) => {
        const items = some.map((item): LineItem => ({ ...model!, ...item }));
        restate(data, 'oab', MONTH, () => items);
        const before = requests('GetCostAndUsage').length;
        const { extraction } = await run({ scope, force: true });
        const extracted = await manifest(extraction);
        const { rows, warned } = await regionsOf({ staging, slice, manifest: extracted });
        const row = truth(items, (item) => `${item.account}/${item.service}/${item.usageType}`);
        const ofType = truth(items, ({ usageType }) => usageType);
        const byService = truth(items, (item) => `${item.service}/${item.usageType}`);
        const byAccount = truth(items, (item) => `${item.account}/${item.usageType}`);
        t.deepEqual([...rows.keys()].sort(), [...row.keys()].sort());
        for (const [key, region] of rows) {
          const [account, service, usageType = ''] = key.split('/');
          const isTold = [
            ofType.get(usageType),
            byService.get(`${service}/${usageType}`),
            byAccount.get(`${account}/${usageType}`),
          ].some((regions) => regions!.size === 1);
          if (isTold) t.deepEqual([...row.get(key)!], [region], key);
          else if (region !== 'N/A') t.deepEqual([...row.get(key)!], [region], key);
          else if (row.get(key)!.size > 1) t.true(warned.has(usageType), key);
        }
        // As few questions as there are regions, by service and by account.
        const asked = extracted.queries.filter(({ name }) => name.startsWith('usage-type-region-'));
        const regions = new Set(items.map((item) => regionOf(item.region))).size;
        t.true(asked.length <= 2 * regions);
        t.true(requests('GetCostAndUsage').length > before);
        most = Math.max(most, asked.length);
      }),
      { numRuns: 30 },
    );
    t.true(most > 2, 'no month had regions to tell apart');
  },
);

test.serial(
  "the tests' month: regions are AWS's own, and one question each tells the two that are not plain",
  async (t) => {
    const { run, manifest, staging, data } = await bench(t, {
      data: demoData({ months: [MONTH] }),
      groupsPerPage: 500,
    });
    const { extraction } = await run({ scope });
    const extracted = await manifest(extraction);
    const { rows } = await regionsOf({ staging, slice, manifest: extracted });
    const { items } = monthData(data, 'oab', MONTH);
    const expected = truth(items, (item) => `${item.account}/${item.service}/${item.usageType}`);
    t.true(rows.size > 1000);
    for (const [key, regions] of expected)
      t.is(rows.get(key), regions.size === 1 ? [...regions][0] : 'N/A', key);
    t.deepEqual(
      extracted.queries.filter(({ name }) => name.startsWith('usage-type-region-')),
      [
        {
          name: 'usage-type-region-service-001',
          groupBy: ['REGION', 'SERVICE'],
          filter: { USAGE_TYPE: ['EU-DataTransfer-Out-Bytes'] },
        },
        {
          name: 'usage-type-region-account-001',
          groupBy: ['REGION', 'LINKED_ACCOUNT'],
          filter: { USAGE_TYPE: ['SoftwareUsage:m5.xlarge'] },
        },
      ],
    );
  },
);

test('what AWS says of a usage type counts, whatever it begins with; what an account used in two regions is warned of', async (t) => {
  const data = demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 4 }] });
  const [model] = monthData(data, 'oab', MONTH).items;
  const item = (usageType: string, service: string, region: string): LineItem => ({
    ...model!,
    usageType,
    service,
    region,
  });
  restate(data, 'oab', MONTH, () => [
    item('Lambda-GB-Second', 'AWS Lambda', 'us-east-1'),
    item('QQQ9-TimedStorage-ByteHrs', 'Amazon Simple Storage Service', 'qq-new-9'),
    item('EU-DataTransfer-Out-Bytes', 'Amazon CloudFront', 'global'),
    item('EU-DataTransfer-Out-Bytes', 'Amazon Simple Storage Service', 'eu-west-1'),
    item('EUW3-Odd', 'AWS Odd', 'eu-central-1'),
    item('MP:Pod', 'Pod', 'eu-west-3'),
    item('MP:Pod', 'Pod', 'us-east-1'),
  ]);
  const { run, folder, charged } = await world(t, { data });
  const ran = await run('run', '--month', MONTH, '--detail', 'usage-type');
  t.is(ran.code, 0, ran.stdout + ran.stderr);
  t.regex(
    ran.stderr,
    /usage types of several regions within an account, whose rows have the Region N\/A: "MP:Pod" \(eu-west-3, us-east-1\)/,
  );
  const rows = querySqlite(
    join(folder, 'billing.sqlite'),
    'SELECT Category, Service, Region, Amount FROM consumption ORDER BY Category, Service',
  );
  const once = formatAmount(model!.costs.UnblendedCost);
  const twice = formatAmount(2n * model!.costs.UnblendedCost);
  t.deepEqual(
    rows.map(({ Category, Service, Region, Amount }) => [Category, Service, Region, Amount]),
    [
      ['EU-DataTransfer-Out-Bytes', 'Amazon CloudFront', 'N/A', once],
      ['EU-DataTransfer-Out-Bytes', 'Amazon Simple Storage Service', 'eu-west-1', once],
      ['EUW3-Odd', 'AWS Odd', 'eu-central-1', once],
      ['Lambda-GB-Second', 'AWS Lambda', 'us-east-1', once],
      ['MP:Pod', 'Pod', 'N/A', twice],
      ['QQQ9-TimedStorage-ByteHrs', 'Amazon Simple Storage Service', 'qq-new-9', once],
    ],
  );
  t.is((await run('reconcile')).code, 0);
  const planned = await run(
    'plan',
    '--month',
    MONTH,
    '--detail',
    'usage-type',
    '--force',
    '--json',
  );
  t.is((JSON.parse(planned.stdout) as { requests: number }).requests, charged());
});
