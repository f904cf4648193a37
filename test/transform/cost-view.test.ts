import test from 'ava';
import { z } from 'zod';
import { DataError } from '../../pipeline/shared/errors.js';
import { readTransformManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { literal, query } from '../support/duckdb.js';
import { COST_VIEW, costAnswer, group, makeExtraction } from '../support/extraction.js';
import { temporaryStaging } from '../support/staging.js';
import { pathOf, run, slice } from '../support/transform.js';

/** The rows in the file's own order, as text. */
async function rowsOf(
  staging: Staging,
  format: 'parquet' | 'parquet-basic' = 'parquet',
): Promise<(string | null)[][]> {
  const rows = await query(
    `SELECT Reference, Service, Amount::VARCHAR AS Amount, CostAmount::VARCHAR AS CostAmount, Currency, Estimated::VARCHAR AS Estimated
     FROM read_parquet(${literal(pathOf(staging, format, 'consumption'))})`,
  );
  const plain = (value: unknown): string | null =>
    z
      .string()
      .nullable()
      .parse(value)
      ?.replace(/\.?0+$/, '') ?? null;
  return rows.map((row) => [
    ...['Reference', 'Service'].map((name) => String(row[name])),
    ...['Amount', 'CostAmount'].map((name) => plain(row[name])),
    ...['Currency', 'Estimated'].map((name) => String(row[name])),
  ]);
}

const bill = [
  costAnswer([
    group('EC2', '000000000012', '10.000000000000000001'),
    group('S3', '000000000012', '2.5'),
  ]),
  costAnswer([group('EC2', '000000000013', '4'), group('Tax', '000000000013', '0.7', 'EUR')]),
];
const names = {
  DimensionValueAttributes: [
    { Value: '000000000014', Attributes: { description: 'Only in the cost view' } },
    { Value: '000000000013', Attributes: { description: 'Named by the cost view' } },
  ],
};
const paid = [
  costAnswer([group('EC2', '000000000013', '-1.5'), group('Tax', '000000000013', '0.3')], names),
  costAnswer(
    [
      group('EC2', '000000000012', '7.000000000000000002'),
      group('Glue', '000000000014', '1.0000000000000000005'),
    ],
    {},
    true,
  ),
];

test('a cost stands beside the service and account that it is of, in its currency; what has no bill comes last', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { costs: bill, costView: paid });
  const outcome = await run(staging, { parquet: 'basic' });
  t.like(outcome, { rows: 6, unlisted: 3, customers: 3 });
  const expected = [
    ['000000000012', 'EC2', '10.000000000000000001', '7.000000000000000002', 'USD', 'false'],
    ['000000000012', 'S3', '2.5', null, 'USD', 'false'],
    ['000000000013', 'EC2', '4', '-1.5', 'USD', 'false'],
    // The same service in another currency is another cost.
    ['000000000013', 'Tax', '0.7', null, 'EUR', 'false'],
    ['000000000013', 'Tax', '0', '0.3', 'USD', 'false'],
    ['000000000014', 'Glue', '0', '1', 'USD', 'true'],
  ];
  t.deepEqual(await rowsOf(staging), expected);
  const basic = await rowsOf(staging, 'parquet-basic');
  t.deepEqual(
    basic.map(([account, service, , cost]) => [account, service, cost === null]),
    expected.map(([account, service, , cost]) => [account, service, cost === null]),
  );
  const { manifest } = (await readTransformManifest(staging, slice))!;
  t.deepEqual(manifest.consumption.costView, { onlyBill: 2, onlyCost: 2 });
  t.deepEqual(manifest.consumption.totals, { EUR: '0.7', USD: '16.500000000000000001' });
  t.deepEqual(manifest.consumption.columns, {
    CostAmount: { EUR: '0', USD: '6.800000000000000002' },
  });
  t.is(manifest.consumption.rounded, 1);
  const customers = await query(
    `SELECT Reference, TenantName, Status FROM read_parquet(${literal(pathOf(staging, 'parquet', 'customers'))}) ORDER BY 1`,
  );
  t.deepEqual(
    customers.map(({ TenantName }) => TenantName),
    ['', 'Named by the cost view', 'Only in the cost view'],
  );
});

test('without a cost view the column is empty, and without a bill every row is of the cost view', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { costs: bill });
  await run(staging);
  t.true((await rowsOf(staging)).every(([, , , cost]) => cost === null));
  const other = await temporaryStaging(t);
  await makeExtraction(other, slice, { costView: paid });
  t.like(await run(other), { rows: 4, totals: {} });
  t.deepEqual(
    (await rowsOf(other)).map(([, , amount]) => amount),
    ['0', '0', '0', '0'],
  );
  // Both answers without a group, as of a month before the first customer.
  const empty = await temporaryStaging(t);
  await makeExtraction(empty, slice, { costView: [costAnswer([])] });
  t.like(await run(empty), { rows: 0 });
});

test('a cost view of other accounts than are billed is warned of: its margins tell nothing', async (t) => {
  const staging = await temporaryStaging(t);
  const others = [costAnswer([group('EC2', '999999999999', '3')])];
  await makeExtraction(staging, slice, { costs: bill, costView: others });
  const warnings: string[] = [];
  const silence = (): void => undefined;
  const warn = (...args: unknown[]): void => void warnings.push(String(args.at(-1)));
  await run(staging, { log: { debug: silence, info: silence, warn, error: silence } });
  t.deepEqual(warnings, [
    `nothing in the cost view ${COST_VIEW} is of an account and service that is billed: margins tell nothing, check costViewArn`,
  ]);
});

const faults: Record<string, [Parameters<typeof makeExtraction>[2], RegExp]> = {
  'a service that is there twice': [
    { costView: [paid[0]!, costAnswer([group('Tax', '000000000013', '0.3')])] },
    /^row 1 repeats service "Tax" of account 000000000013, which row 2 of .*\/cost-view-00001\.json has already$/,
  ],
  'a cost of no account': [
    { costView: [costAnswer([group('Tax', '13', '0.3')])] },
    /^row 1 has "13" for an account id of 12 digits$/,
  ],
  'a cost that is no number': [
    {
      costView: [costAnswer([group('EC2', '000000000012', '1,5')])],
      manifest: { costView: { groups: 1, totals: { USD: '1.5' } } },
    },
    /^row 1 has a wrong amount: "1,5"/,
  ],
  'another sum': [
    { costView: paid, manifest: { costView: { groups: 4, totals: { USD: '6.8' } } } },
    /add up to {"CostAmount":{"EUR":"0","USD":"6\.8000000000000000\d+"}}, their manifest says {"CostAmount":{"USD":"6\.8"}}$/,
  ],
  'another number of groups': [
    { costView: paid, manifest: { costView: { groups: 3, totals: { USD: '6.8' } } } },
    /the pages hold 4 groups of the cost view, the manifest says 3/,
  ],
  'pages that nobody asked for': [
    { costView: paid, manifest: { costView: undefined } },
    /the pages hold 4 groups of the cost view, the manifest says 0/,
  ],
};

for (const [name, [answers, message]] of Object.entries(faults))
  test(`a staged cost view is refused with ${name}`, async (t) => {
    const staging = await temporaryStaging(t);
    await makeExtraction(staging, slice, { costs: bill, ...answers });
    await t.throwsAsync(run(staging), { instanceOf: DataError, message });
  });
