import { readFile } from 'node:fs/promises';
import test from 'ava';
import { DataError } from '../../pipeline/shared/errors.js';
import { exportKey, transformManifestKey } from '../../pipeline/staging/layout.js';
import { readTransformManifest, serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { readAll } from '../../pipeline/staging/staging.js';
import { literal, query } from '../support/duckdb.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { temporaryStaging } from '../support/staging.js';
import { pathOf, run, slice, snapshot } from '../support/transform.js';

const accounts = [
  {
    Accounts: [
      {
        Id: '000000000012',
        Name: 'Müller & Söhne',
        Email: 'aws@mueller.example',
        State: 'ACTIVE',
        JoinedTimestamp: '2020-01-02T03:04:05.678Z',
      },
      { Id: '300000000001', Name: 'Old answer', Status: 'SUSPENDED' },
    ],
  },
  { Accounts: [] },
  {
    Accounts: [
      { Id: '000000000012', Name: 'again', State: 'CLOSED' },
      { Id: '200000000001', Name: 'Both', State: 'PENDING_CLOSURE', Status: 'ACTIVE' },
      { Id: '100000000001' },
    ],
  },
];

const costs = [
  costAnswer([
    group('Amazon Simple Storage Service', '300000000001', '0.0000000001'),
    group('Amazon Elastic Compute Cloud - Compute', '000000000012', '45.6346084748'),
  ]),
  costAnswer(
    [
      group('Tax', '000000000012', '-12.5'),
      group('AmazonCloudWatch', '000000000012', '1.2E-7'),
      group('Tax', '999999999999', '0'),
      group('AWS Lambda', '888888888888', '3', 'EUR'),
    ],
    {
      DimensionValueAttributes: [
        { Value: '999999999999', Attributes: { description: 'Left, Ltd' } },
        { Value: '000000000012', Attributes: { description: 'not this one' } },
        { Value: 'Tax', Attributes: { description: 'no account' } },
        { Value: '777777777777' },
      ],
    },
    true,
  ),
];

async function fileOf(staging: Staging, key: string): Promise<string> {
  return readFile(`${staging.location}/${key}`, 'utf8');
}

test('makes both tables, Parquet and CSV, from the staged pages', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { accounts, costs });
  const outcome = await run(staging, { tag: 'aws-oab' });
  t.deepEqual(outcome, {
    state: 'done',
    extraction: '20261101T020304Z',
    provisional: true,
    customers: 6,
    unlisted: 2,
    rows: 6,
    totals: { EUR: '3', USD: '33.1346085949' },
  });

  const customers = await query(
    `SELECT Reference, TenantName, Contact, Email, Tag, Status, epoch_ms(Created)::VARCHAR AS Created, Id,
            BillingPeriod::VARCHAR AS BillingPeriod, Organization
     FROM read_parquet(${literal(pathOf(staging, 'parquet', 'customers'))})`,
  );
  const customer = (Reference: string, TenantName: string, Status: string, more = {}) => ({
    Reference,
    TenantName,
    Contact: '',
    Email: '',
    Tag: 'aws-oab',
    Status,
    Created: null,
    Id: '',
    BillingPeriod: '2026-10-28',
    Organization: 'oab',
    ...more,
  });
  t.deepEqual(customers, [
    customer('000000000012', 'Müller & Söhne', 'active', {
      Email: 'aws@mueller.example',
      Created: String(Date.parse('2020-01-02T03:04:05.678Z')),
    }),
    customer('100000000001', '', ''),
    customer('200000000001', 'Both', 'pending_closure'),
    customer('300000000001', 'Old answer', 'suspended'),
    customer('888888888888', '', 'unlisted'),
    customer('999999999999', 'Left, Ltd', 'unlisted'),
  ]);

  const consumption = await query(
    `SELECT Reference, Service, Amount::VARCHAR AS Amount, Currency, Estimated,
            Quantity IS NULL AND UnitPrice IS NULL AND DiscountedAmount IS NULL AS Nulls,
            Region || Category || SubCategory || Unit || Tag || BillingPeriod || Organization AS Same
     FROM read_parquet(${literal(pathOf(staging, 'parquet', 'consumption'))})`,
  );
  const row = (
    Reference: string,
    Service: string,
    Amount: string,
    Estimated = true,
    Currency = 'USD',
  ) => ({
    Reference,
    Service,
    Amount,
    Currency,
    Estimated,
    Nulls: true,
    Same: 'N/AN/AN/AN/Aaws-oab2026-10-28oab',
  });
  t.deepEqual(consumption, [
    row('300000000001', 'Amazon Simple Storage Service', '0.000000000100000000', false),
    row('000000000012', 'Amazon Elastic Compute Cloud - Compute', '45.634608474800000000', false),
    row('000000000012', 'Tax', '-12.500000000000000000'),
    row('000000000012', 'AmazonCloudWatch', '0.000000120000000000'),
    row('999999999999', 'Tax', '0.000000000000000000'),
    row('888888888888', 'AWS Lambda', '3.000000000000000000', true, 'EUR'),
  ]);

  t.is(
    await fileOf(staging, exportKey('csv', 'customers', slice)),
    [
      '"Reference","TenantName","Contact","Email","Tag","Status","Created","Id","BillingPeriod","Organization"',
      '000000000012,"Müller & Söhne",,aws@mueller.example,aws-oab,active,2020-01-02T03:04:05.678Z,,2026-10-28,oab',
      '100000000001,,,,aws-oab,,,,2026-10-28,oab',
      '200000000001,Both,,,aws-oab,pending_closure,,,2026-10-28,oab',
      '300000000001,Old answer,,,aws-oab,suspended,,,2026-10-28,oab',
      '888888888888,,,,aws-oab,unlisted,,,2026-10-28,oab',
      '999999999999,"Left, Ltd",,,aws-oab,unlisted,,,2026-10-28,oab',
      '',
    ].join('\r\n'),
  );
  t.is(
    (await fileOf(staging, exportKey('csv', 'consumption', slice)))
      .split('\r\n')
      .slice(0, 4)
      .join('\n'),
    [
      '"Reference","Region","Service","Category","SubCategory","Quantity","Unit","UnitPrice","Amount","DiscountedAmount","Tag","BillingPeriod","Organization","Currency","Estimated","AmortizedCost","BlendedCost","NetAmortizedCost","NetUnblendedCost","CostAmount"',
      '300000000001,N/A,Amazon Simple Storage Service,N/A,N/A,N/A,N/A,N/A,0.0000000001,N/A,aws-oab,2026-10-28,oab,USD,false,N/A,N/A,N/A,N/A,N/A',
      '000000000012,N/A,Amazon Elastic Compute Cloud - Compute,N/A,N/A,N/A,N/A,N/A,45.6346084748,N/A,aws-oab,2026-10-28,oab,USD,false,N/A,N/A,N/A,N/A,N/A',
      '000000000012,N/A,Tax,N/A,N/A,N/A,N/A,N/A,-12.5,N/A,aws-oab,2026-10-28,oab,USD,true,N/A,N/A,N/A,N/A,N/A',
    ].join('\n'),
  );
});

test('the manifest says what was made, with the sha256 of every file', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, {
    accounts,
    costs: [costAnswer([group('Tax', '000000000012', '0.1234567890123456785')])],
    manifest: { totals: { USD: '0.123456789012345678' }, estimated: true },
  });
  const warnings: string[] = [];
  const silence = (): void => undefined;
  await run(staging, {
    log: {
      debug: silence,
      info: silence,
      error: silence,
      warn: (message: string) => void warnings.push(message),
    } as never,
  });
  t.deepEqual(warnings, ['amounts with more than 18 fraction digits, rounded half to even: 1']);
  const manifest = (await readTransformManifest(staging, slice))?.manifest;
  t.is(manifest?.extraction, '20261101T020304Z');
  t.is(manifest?.finished, '2026-11-02T00:00:00.000Z');
  t.true(manifest?.estimated);
  t.is(manifest?.consumption.rounded, 1);
  t.deepEqual(manifest?.consumption.totals, { USD: '0.123456789012345678' });
  t.deepEqual(
    manifest?.consumption.files.map(({ key }) => key),
    ['parquet/consumption/month=2026-10/oab.parquet', 'csv/consumption/month=2026-10/oab.csv'],
  );
  const shas = await query(
    [...manifest!.customers.files, ...manifest!.consumption.files]
      .map(
        ({ key, bytes, sha256 }) =>
          `SELECT sha256(content) = ${literal(sha256)} AND size = ${bytes} AS same
           FROM read_blob(${literal(`${staging.location}/${key}`)})`,
      )
      .join(' UNION ALL '),
  );
  t.deepEqual(shas, Array(4).fill({ same: true }));
});

test('keys follow the order of the answer’s GroupBy', async (t) => {
  const staging = await temporaryStaging(t);
  const swapped = costAnswer([group('000000000012', 'Tax', '1')], {
    GroupDefinitions: [
      { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' },
      { Type: 'DIMENSION', Key: 'SERVICE' },
    ],
  });
  const unsaid = costAnswer([group('Tax', '000000000013', '2')], { GroupDefinitions: undefined });
  await makeExtraction(staging, slice, { accounts, costs: [swapped, unsaid] });
  await run(staging);
  t.deepEqual(
    await query(
      `SELECT Reference, Service FROM read_parquet(${literal(pathOf(staging, 'parquet', 'consumption'))})`,
    ),
    [
      { Reference: '000000000012', Service: 'Tax' },
      { Reference: '000000000013', Service: 'Tax' },
    ],
  );
});

const emptyMonths: Record<string, object> = {
  'Groups is empty': costAnswer([]),
  'ResultsByTime is empty': { ResultsByTime: [] },
};
for (const [name, answer] of Object.entries(emptyMonths)) {
  test(`an empty month still gives files with every column: ${name}`, async (t) => {
    const staging = await temporaryStaging(t);
    await makeExtraction(staging, slice, { costs: [answer] });
    const outcome = await run(staging, { parquet: 'basic' });
    t.like(outcome, { state: 'done', customers: 0, rows: 0, totals: {} });
    for (const table of ['customers', 'consumption'] as const) {
      const record = await readFile(pathOf(staging, 'csv', table), 'utf8');
      const header = record.trimEnd().slice(1, -1).split('","');
      for (const format of ['parquet', 'parquet-basic'] as const) {
        const file = literal(pathOf(staging, format, table));
        t.deepEqual(
          (
            await query(`DESCRIBE SELECT * FROM read_parquet(${file}, hive_partitioning = false)`)
          ).map((column) => column.column_name),
          header,
        );
        t.deepEqual(await query(`SELECT count(*)::INT AS n FROM read_parquet(${file})`), [
          { n: 0 },
        ]);
      }
    }
  });
}

test('does nothing when nothing changed, and everything with force, to the same bytes', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { accounts, costs });
  const first = await run(staging, { parquet: 'basic' });
  const made = await snapshot(staging);
  const later = () => new Date('2026-12-01T00:00:00Z');

  const second = await run(staging, { parquet: 'basic', now: later });
  t.deepEqual(second, { ...first, state: 'unchanged' });
  t.deepEqual(await snapshot(staging), made);

  const third = await run(staging, { parquet: 'basic', now: later, force: true });
  t.deepEqual(third, first);
  const remade = await snapshot(staging);
  const manifest = 'manifests/month=2026-10/oab.json';
  t.not(remade.get(manifest), made.get(manifest));
  remade.delete(manifest);
  made.delete(manifest);
  t.is(made.size, 12);
  t.deepEqual(remade, made);
});

test('makes the tables anew when what they are made from, or a file of them, changed', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { accounts, costs });
  t.is((await run(staging)).state, 'done');
  t.is((await run(staging)).state, 'unchanged');

  t.is((await run(staging, { tag: 'other' })).state, 'done');
  t.is((await run(staging, { tag: 'other' })).state, 'unchanged');

  const csv = exportKey('csv', 'customers', slice);
  await staging.write(csv, Buffer.from('cut'));
  t.is((await run(staging, { tag: 'other' })).state, 'done');
  await staging.remove(csv);
  t.is((await run(staging, { tag: 'other' })).state, 'done');
  t.is((await run(staging, { tag: 'other' })).state, 'unchanged');

  await makeExtraction(staging, slice, {
    costs: costs.slice(0, 1),
    extraction: '20261105T000000Z',
  });
  const newer = await run(staging, { tag: 'other' });
  t.like(newer, { state: 'done', extraction: '20261105T000000Z', rows: 2 });

  await makeExtraction(staging, slice, { costs, extraction: '20261105T000000Z' });
  t.like(await run(staging, { tag: 'other' }), { state: 'done', rows: 6 });
});

test('tables of other columns are made anew; a manifest that lacks a member is refused', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { costs });
  const first = await run(staging);
  const manifest = (await readTransformManifest(staging, slice))!.manifest;
  t.is(manifest.fetched, '2026-11-01T02:03:09.000Z');
  const others = serializeManifest({ ...manifest, columns: 'consumption(Reference)' });
  await staging.write(transformManifestKey(slice), others);
  t.deepEqual(await run(staging), first);
  t.deepEqual((await readTransformManifest(staging, slice))?.manifest, manifest);
  for (const member of ['fetched', 'columns', 'scope', 'awsTotal', 'difference', 'awsMetrics']) {
    const kept = Object.entries(manifest).filter(([name]) => name !== member);
    await staging.write(
      transformManifestKey(slice),
      Buffer.from(JSON.stringify(Object.fromEntries(kept))),
    );
    const error = await t.throwsAsync(run(staging), { instanceOf: DataError });
    t.true(error.message.includes(member));
    t.regex(error.next ?? '', /--stage transform .*--force/);
  }
  t.deepEqual(await run(staging, { force: true }), first);
  t.deepEqual((await readTransformManifest(staging, slice))?.manifest, manifest);
});

test('figures fetched long enough after the month are final', async (t) => {
  const staging = await temporaryStaging(t);
  const manifest = { finished: '2026-11-11T00:00:00.000Z' };
  await makeExtraction(staging, slice, { costs, manifest });
  t.false((await run(staging)).provisional);
  t.false((await run(staging)).provisional);
  t.true((await run(staging, { provisionalDays: 11 })).provisional);
  await makeExtraction(staging, slice, { costs, manifest: { ...manifest, estimated: true } });
  t.true((await run(staging)).provisional);
});

test('basic files come and go with the wish for them', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { accounts, costs });
  const basic = async () => [...(await snapshot(staging, 'parquet-basic/')).keys()];

  await run(staging);
  t.deepEqual(await basic(), []);
  t.is((await run(staging, { parquet: 'basic' })).state, 'done');
  t.is((await basic()).length, 2);
  t.is((await run(staging, { parquet: 'basic' })).state, 'unchanged');
  t.is((await run(staging)).state, 'done');
  t.deepEqual(await basic(), []);
});

test('what a run left that was stopped before its manifest goes too, and of a new month nothing is asked for', async (t) => {
  for (const made of [1, 3, 6]) {
    const staging = await temporaryStaging(t);
    await makeExtraction(staging, slice, { accounts, costs });
    let [left, removed] = [made, 0];
    const watched: Staging = {
      ...staging,
      async write(key, content, options) {
        const bytes = content instanceof Uint8Array ? content : await readAll(content);
        if (left-- === 0) throw new Error('stopped');
        return staging.write(key, bytes, options);
      },
      remove(key) {
        removed += 1;
        return staging.remove(key);
      },
    };
    await t.throwsAsync(run(watched, { parquet: 'basic' }), { message: 'stopped' });
    t.is(removed, 0);
    const visible = [...(await snapshot(staging)).keys()].filter((key) => !key.startsWith('raw/'));
    t.is(visible.length, made);
    await run(staging);
    const files = [...(await snapshot(staging)).keys()].filter((key) => !key.startsWith('raw/'));
    t.deepEqual(files.sort(), [
      'csv/consumption/month=2026-10/oab.csv',
      'csv/customers/month=2026-10/oab.csv',
      'manifests/month=2026-10/oab.json',
      'parquet/consumption/month=2026-10/oab.parquet',
      'parquet/customers/month=2026-10/oab.parquet',
    ]);
  }
});

test('an unfinished extraction does not exist', async (t) => {
  const staging = await temporaryStaging(t);
  await staging.write(
    'raw/month=2026-10/oab/20261101T020304Z/accounts-00001.json',
    Buffer.from('{}'),
  );
  const error = await t.throwsAsync(run(staging), { instanceOf: DataError });
  t.is(error.message, 'nothing is staged for 2026-10 of oab');
  t.is(error.next, 'run "pipeline run --stage extract --month 2026-10 --organization oab"');
});

test('reads a page only when the one before it is written', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { accounts, costs });
  const events: string[] = [];
  const watched: Staging = {
    ...staging,
    read(key) {
      if (key.includes('cost-and-usage')) events.push(key.slice(-10));
      return staging.read(key);
    },
  };
  await run(watched, { onProgress: (text) => events.push(text) });
  t.deepEqual(events, ['00001.json', '2 of 6 rows', '00002.json', '6 of 6 rows']);
});
