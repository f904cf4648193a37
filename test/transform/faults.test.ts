import { readdir } from 'node:fs/promises';
import test from 'ava';
import type { PipelineError } from '../../pipeline/shared/errors.js';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
  TransientError,
} from '../../pipeline/shared/errors.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { extractionManifestKey } from '../../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../../pipeline/staging/manifest.js';
import { readExtractionManifest, serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { digest } from '../../pipeline/staging/staging.js';
import { literal, query } from '../support/duckdb.js';
import type { Answers } from '../support/extraction.js';
import { costAnswer, group, makeExtraction, splitAnswer } from '../support/extraction.js';
import { temporaryStaging } from '../support/staging.js';
import { pathOf, run, slice, snapshot } from '../support/transform.js';

const folder = 'raw/month=2026-10/oab/20261102T000000Z/';
const good = costAnswer([group('Tax', '000000000012', '1'), group('EC2', '000000000012', '2')]);

interface Fault {
  answers?: Answers;
  /** What happens to the staged files afterwards. */
  damage?: (staging: Staging) => Promise<unknown>;
  /** The file that the error names. */
  file: string;
  message: RegExp;
}

const account = (more: object) => ({ Accounts: [{ Id: '000000000012' }, more] });
/** A good first page, and a second one whose second row is wrong. */
const lastRow = (...groups: object[]): Answers => ({
  costs: [good, costAnswer([group('S3', '000000000012', '3'), ...groups])],
});

/** A group of 1 USD with a further metric. */
const amortized = (Amount: string, service = 'Tax', Unit = 'USD'): object => ({
  Keys: [service, '000000000012'],
  Metrics: { UnblendedCost: { Amount: '1', Unit: 'USD' }, AmortizedCost: { Amount, Unit } },
});
const byMetric = (AmortizedCost: string): Answers => ({
  manifest: {
    scope: { ...plainScope, metrics: ['AmortizedCost'] },
    metrics: { AmortizedCost: { USD: AmortizedCost } },
  },
});

const charges = splitAnswer('RECORD_TYPE', [
  group('Usage', '000000000012', '2.5'),
  group('Tax', '000000000012', '0.5'),
]);
const charged: Answers = { costs: [good], by: { RECORD_TYPE: [charges] } };

const faults: Record<string, Fault> = {
  'a missing page': {
    damage: (staging) => staging.remove(`${folder}cost-and-usage-00002.json`),
    file: 'cost-and-usage-00002.json',
    message: /^a staged page is missing$/,
  },
  'a truncated page': {
    damage: (staging) =>
      staging.write(
        `${folder}cost-and-usage-00002.json`,
        Buffer.from(JSON.stringify(good).slice(0, 50)),
      ),
    file: 'cost-and-usage-00002.json',
    message: /^a staged page has 50 bytes, its manifest says \d+: it was cut or altered$/,
  },
  'an altered amount': {
    damage: (staging) =>
      staging.write(
        `${folder}cost-and-usage-00001.json`,
        Buffer.from(JSON.stringify(good).replace('"2"', '"3"')),
      ),
    file: 'cost-and-usage-00001.json',
    message: /^a staged page was altered: its sha256 is not the one in its manifest$/,
  },
  'a page that is not JSON': {
    answers: { costs: [good, '{"ResultsByTime": ['] },
    file: 'cost-and-usage-00002.json',
    message: /^a staged page is not JSON$/,
  },
  'a page of another shape': {
    answers: { costs: [good, costAnswer([{ Keys: 'Tax' }])] },
    file: 'cost-and-usage-00002.json',
    message: /^a staged page is not AWS's answer: ResultsByTime\[0\]\.Groups\[0\]\.Keys: /,
  },
  'an amount that is a JSON number': {
    answers: lastRow({
      Keys: ['Tax', '1'],
      Metrics: { UnblendedCost: { Amount: 1.5, Unit: 'USD' } },
    }),
    file: 'cost-and-usage-00002.json',
    message: /Groups\[1\]\.Metrics\.UnblendedCost\.Amount: /,
  },
  'a page with other rows than its manifest says': {
    answers: { costs: [good], accounts: [JSON.stringify(account({ Id: '000000000013' }))] },
    file: 'accounts-00001.json',
    message: /^a staged page has 2 rows, its manifest says 0$/,
  },
  'another number of groups': {
    answers: { costs: [good], manifest: { groups: 3 } },
    file: 'manifest.json',
    message: /: ✖ the pages hold 2 groups, the manifest says 3$/,
  },
  'another sum': {
    answers: { costs: [good], manifest: { totals: { USD: '3.000000000000000001' } } },
    file: 'manifest.json',
    message: /add up to {"USD":"3"}, their manifest says {"USD":"3.000000000000000001"}$/,
  },
  'another sum of a further metric': {
    answers: { costs: [costAnswer([amortized('1'), amortized('2', 'EC2')])], ...byMetric('3.5') },
    file: 'manifest.json',
    message:
      /add up to {"AmortizedCost":{"USD":"3"}}, their manifest says {"AmortizedCost":{"USD":"3.5"}}$/,
  },
  'a further metric in another currency': {
    answers: {
      costs: [costAnswer([amortized('1'), amortized('2', 'EC2', 'EUR')])],
      ...byMetric('3'),
    },
    file: 'cost-and-usage-00001.json',
    message: /^row 2 has its AmortizedCost in EUR, its UnblendedCost in USD$/,
  },
  'another number of rows of a breakdown': {
    answers: {
      ...charged,
      manifest: {
        breakdowns: [{ dimension: 'RECORD_TYPE', groups: 1, totals: { USD: '3' }, metrics: {} }],
      },
    },
    file: 'manifest.json',
    message: /the pages hold 2 groups by RECORD_TYPE, the manifest says 1$/,
  },
  'another sum of a breakdown': {
    answers: {
      ...charged,
      manifest: {
        breakdowns: [{ dimension: 'RECORD_TYPE', groups: 2, totals: { USD: '2.9' }, metrics: {} }],
      },
    },
    file: 'manifest.json',
    message:
      /^the staged pages by RECORD_TYPE add up to {"USD":"3"}, their manifest says {"USD":"2.9"}$/,
  },
  'a breakdown that was not asked for': {
    answers: { ...charged, manifest: { breakdowns: [] } },
    file: 'manifest.json',
    message: /its breakdowns are not those that its questions ask for/,
  },
  'a charge type that is there twice': {
    answers: {
      costs: [good],
      by: {
        RECORD_TYPE: [charges, splitAnswer('RECORD_TYPE', [group('Tax', '000000000012', '0.5')])],
      },
    },
    file: 'by-record-type-00002.json',
    message:
      /^row 1 repeats the RECORD_TYPE "Tax" of account 000000000012, which row 2 of .*\/by-record-type-00001\.json has already$/,
  },
  'a charge of an account without its id': {
    answers: {
      costs: [good],
      by: { RECORD_TYPE: [splitAnswer('RECORD_TYPE', [{ Keys: ['Tax'] }])] },
    },
    file: 'by-record-type-00001.json',
    message: /^row 1 has no account id$/,
  },
  'a manifest of another organization': {
    answers: { manifest: { organization: 'internal' } },
    file: 'manifest.json',
    message: /^the manifest belongs to another extraction: 2026-10 of internal/,
  },
  'a manifest of another month': {
    answers: { manifest: { month: parseMonth('2026-09') } },
    file: 'manifest.json',
    message: /^the manifest belongs to another extraction: 2026-09 of oab/,
  },
  'a manifest of another extraction': {
    answers: { manifest: { extraction: '20261101T020304Z' } },
    file: 'manifest.json',
    message: /^the manifest belongs to another extraction: 2026-10 of oab, 20261101T020304Z$/,
  },
  'an amount that is no number': {
    answers: lastRow(group('Tax', '000000000013', '1,50')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has a wrong amount: "1,50" is not a decimal number$/,
  },
  'an amount that is too large': {
    answers: lastRow(group('Tax', '000000000013', '1e20')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has a wrong amount: "1e20" does not fit DECIMAL\(38,18\)$/,
  },
  'a group without amount': {
    answers: lastRow({ Keys: ['Tax', '000000000013'], Metrics: {} }),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has no UnblendedCost$/,
  },
  'an amount without currency': {
    answers: lastRow({
      Keys: ['Tax', '000000000013'],
      Metrics: { UnblendedCost: { Amount: '1' } },
    }),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has an UnblendedCost without its unit$/,
  },
  'a group without keys': {
    answers: lastRow({ Metrics: { UnblendedCost: { Amount: '1', Unit: 'USD' } } }),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has no service$/,
  },
  'a group with one key': {
    answers: lastRow({ Keys: ['Tax'], Metrics: { UnblendedCost: { Amount: '1', Unit: 'USD' } } }),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has no account id$/,
  },
  'a group of a wrong account': {
    answers: lastRow(group('Tax', '12', '1')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has "12" for an account id of 12 digits$/,
  },
  'a service that is too long': {
    answers: lastRow(group('x'.repeat(513), '000000000013', '1')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has 513 characters for Service, which holds 512$/,
  },
  'a currency that is too long': {
    answers: lastRow(group('Tax', '000000000013', '1', 'SEVENTEENLETTERS1')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has 17 characters for Currency, which holds 16$/,
  },
  'a group that is there twice on one page': {
    answers: lastRow(group('S3', '000000000012', '3')),
    file: 'cost-and-usage-00002.json',
    message:
      /^row 2 repeats service "S3" of account 000000000012, which row 1 of .*\/cost-and-usage-00002\.json has already$/,
  },
  'a page that is there twice': {
    answers: { costs: [good, costAnswer([group('S3', '000000000012', '3')]), good] },
    file: 'cost-and-usage-00003.json',
    message:
      /^row 1 repeats service "Tax" of account 000000000012, which row 1 of .*\/cost-and-usage-00001\.json has already$/,
  },
  'an account without id': {
    answers: { accounts: [account({ Name: 'x' })] },
    file: 'accounts-00001.json',
    message: /^row 2 has no account id$/,
  },
  'an account with a wrong id': {
    answers: { accounts: [account({ Id: '1234567890123' })] },
    file: 'accounts-00001.json',
    message: /^row 2 has "1234567890123" for an account id of 12 digits$/,
  },
  'an account with a wrong time': {
    answers: { accounts: [account({ Id: '000000000013', JoinedTimestamp: '2020-02-30' })] },
    file: 'accounts-00001.json',
    message: /^a staged page is not AWS's answer: Accounts\[1\]\.JoinedTimestamp: /,
  },
  'an account with too long a name': {
    answers: { accounts: [account({ Id: '000000000013', Name: 'é'.repeat(256) })] },
    file: 'accounts-00001.json',
    message: /^row 2 has 256 characters for TenantName, which holds 255$/,
  },
  'an unlisted account with too long a name': {
    answers: {
      costs: [
        costAnswer([group('Tax', '000000000013', '1')], {
          DimensionValueAttributes: [
            { Value: '000000000013', Attributes: { description: 'x'.repeat(256) } },
          ],
        }),
      ],
    },
    file: 'cost-and-usage-00001.json',
    message: /^row 1 has 256 characters for TenantName, which holds 255$/,
  },
};

const twenty = '99999999999999999999';
/** The manifest of the second extraction, with its pages changed. */
const relisted =
  (change: (pages: ExtractionManifest['pages']) => ExtractionManifest['pages']) =>
  async (staging: Staging): Promise<unknown> => {
    const second = '20261102T000000Z';
    const found = await readExtractionManifest(staging, slice, second);
    if (found === undefined) throw new Error('no manifest');
    const pages = change(found.manifest.pages);
    const bytes = serializeManifest({ ...found.manifest, pages });
    return staging.write(extractionManifestKey(slice, second), bytes);
  };
const listed: Answers = { costs: [good], accounts: [account({ Id: '000000000013' })] };
const january = { TimePeriod: { Start: '2025-01-01', End: '2025-02-01' }, Groups: [] };
const october = { TimePeriod: { Start: '2026-10-01', End: '2026-11-01' }, Groups: [] };

Object.assign(faults, {
  'a page without results': {
    answers: { costs: [good, '{}'] },
    file: 'cost-and-usage-00002.json',
    message: /^a staged page is not AWS's answer: ResultsByTime: /,
  },
  'a page without accounts': {
    answers: { costs: [good], accounts: ['{}'] },
    file: 'accounts-00001.json',
    message: /^a staged page is not AWS's answer: Accounts: /,
  },
  'a page of another month': {
    answers: { costs: [good, { ResultsByTime: [january] }] },
    file: 'cost-and-usage-00002.json',
    message:
      /^a staged page is not the answer: it tells the cost of 2025-01-01 to 2025-02-01, where 2026-10-01 to 2026-11-01 was asked for$/,
  },
  'a page of the month and another one': {
    answers: { costs: [good, { ResultsByTime: [october, january] }] },
    file: 'cost-and-usage-00002.json',
    message: /it tells the cost of 2025-01-01 to 2025-02-01, where/,
  },
  'a page of no month among several': {
    answers: { costs: [good, { ResultsByTime: [] }] },
    file: 'cost-and-usage-00002.json',
    message: /it lacks the period 2026-10-01 to 2026-11-01, though it is one of several pages$/,
  },
  'a manifest without its pages of accounts': {
    answers: listed,
    damage: relisted((pages) => pages.filter(({ file }) => !file.startsWith('accounts'))),
    file: 'manifest.json',
    message: /: ✖ the pages hold 0 accounts, the manifest says 2$/,
  },
  'a manifest with a page of accounts by another name': {
    answers: listed,
    damage: relisted(([page, ...others]) => [{ ...page!, file: '../../../etc/passwd' }, ...others]),
    file: 'manifest.json',
    message: /: ✖ "..\/..\/..\/etc\/passwd" is no name of a page$/,
  },
  'a manifest that lists a page twice': {
    answers: listed,
    damage: relisted((pages) => [pages[0]!, ...pages]),
    file: 'manifest.json',
    message: /: ✖ "accounts-00001.json" stands where accounts-00002.json belongs$/,
  },
  'a manifest that lists pages of a question that was not asked': {
    answers: listed,
    damage: relisted((pages) => [...pages, { ...pages[0]!, file: 'by-record-type-00001.json' }]),
    file: 'manifest.json',
    message: /"by-record-type-00001.json" answers none of the questions/,
  },
  'a manifest without its pages of cost': {
    answers: listed,
    damage: relisted((pages) => pages.filter(({ file }) => file.startsWith('accounts'))),
    file: 'manifest.json',
    message: /no page answers the question cost-and-usage/,
  },
  'a manifest whose sum is no amount': {
    answers: { ...listed, manifest: { totals: { USD: 'many' } } },
    file: 'manifest.json',
    message: /is no amount/,
  },
  'a currency that every object inherits': {
    answers: lastRow(group('Tax', '000000000013', '1', 'constructor')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has "constructor" for a currency$/,
  },
  'a currency that is every object': {
    answers: lastRow(group('Tax', '000000000013', '1', '__proto__')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has "__proto__" for a currency$/,
  },
  'amounts whose sum is too large': {
    answers: {
      ...lastRow(group('Tax', '000000000013', twenty), group('Tax', '000000000014', twenty)),
      manifest: { totals: {} },
    },
    file: 'cost-and-usage-00002.json',
    message: /^the sum of Amount in USD up to row 3 does not fit DECIMAL\(38,18\)$/,
  },
  'a name with NUL': {
    answers: { accounts: [account({ Id: '000000000013', Name: 'a\0b' })] },
    file: 'accounts-00001.json',
    message: /^row 2 has the character NUL in "a\\u0000b" for TenantName$/,
  },
  'a service with half a character': {
    answers: lastRow(group('a\ud800', '000000000013', '1')),
    file: 'cost-and-usage-00002.json',
    message: /^row 2 has half of a surrogate pair in "a\\ud800" for Service$/,
  },
  'an account of the year 275760': {
    answers: {
      accounts: [account({ Id: '000000000013', JoinedTimestamp: '+275760-09-13T00:00:00.000Z' })],
    },
    file: 'accounts-00001.json',
    message: /^a staged page is not AWS's answer: Accounts\[1\]\.JoinedTimestamp: is no instant$/,
  },
} satisfies Record<string, Fault>);

/** A staging area with finished tables of an older extraction, which every fault must leave alone. */
async function withFormerTables(staging: Staging): Promise<Map<string, string>> {
  await makeExtraction(staging, slice, { costs: [good] });
  await run(staging, { parquet: 'basic' });
  return snapshot(staging);
}

async function formerTablesStay(
  staging: Staging,
  former: Map<string, string>,
): Promise<{ changed: string[]; temporary: string[] }> {
  const now = await snapshot(staging);
  const changed = [...former].filter(([key, content]) => now.get(key) !== content);
  return {
    changed: changed.map(([key]) => key),
    temporary: await readdir(`${staging.location}/.tmp`),
  };
}

const nothing = { changed: [], temporary: [] };

for (const [name, { answers = { costs: [good, good] }, damage, file, message }] of Object.entries(
  faults,
)) {
  test(`stops at ${name}, and the former tables stay`, async (t) => {
    const staging = await temporaryStaging(t);
    const former = await withFormerTables(staging);
    await makeExtraction(staging, slice, { ...answers, extraction: '20261102T000000Z' });
    await damage?.(staging);
    for (const force of [false, true]) {
      const error: PipelineError = await t.throwsAsync(run(staging, { force, parquet: 'basic' }), {
        instanceOf: DataError,
        message,
      });
      t.is(error.where, `${staging.location}/${folder}${file}`);
      t.truthy(error.next);
    }
    t.deepEqual(await formerTablesStay(staging, former), nothing);
  });
}

test('255 characters fit, however many UTF-16 units they take', async (t) => {
  const staging = await temporaryStaging(t);
  const name = '🎉'.repeat(255);
  await makeExtraction(staging, slice, {
    accounts: [{ Accounts: [{ Id: '000000000012', Name: name }] }],
  });
  t.like(await run(staging), { state: 'done', customers: 1 });
});

test('an interrupted run leaves the former tables', async (t) => {
  const staging = await temporaryStaging(t);
  const former = await withFormerTables(staging);
  const more = costAnswer([group('S3', '000000000012', '3')]);
  await makeExtraction(staging, slice, { costs: [good, more], extraction: '20261102T000000Z' });
  const controller = new AbortController();
  await t.throwsAsync(
    run(staging, {
      signal: controller.signal,
      onProgress: () => {
        controller.abort();
      },
    }),
    { instanceOf: InterruptedError },
  );
  t.deepEqual(await formerTablesStay(staging, former), nothing);
});

test('an interruption after the last page leaves the former tables too', async (t) => {
  const staging = await temporaryStaging(t);
  const former = await withFormerTables(staging);
  await makeExtraction(staging, slice, { costs: [good], extraction: '20261102T000000Z' });
  const controller = new AbortController();
  await t.throwsAsync(
    run(staging, {
      signal: controller.signal,
      onProgress: (text) => {
        if (text === '2 of 2 rows') controller.abort();
      },
    }),
    { instanceOf: InterruptedError },
  );
  t.deepEqual(await formerTablesStay(staging, former), nothing);
});

test('the sum of a further metric that agrees is taken', async (t) => {
  const staging = await temporaryStaging(t);
  const costs = [costAnswer([amortized('1'), amortized('2', 'EC2')])];
  await makeExtraction(staging, slice, { costs, ...byMetric('3') });
  t.like(await run(staging), { state: 'done', rows: 2 });
});

test('an account of a charge alone is a customer', async (t) => {
  const staging = await temporaryStaging(t);
  const DimensionValueAttributes = [
    { Value: '000000000099', Attributes: { description: 'Taxed alone' } },
  ];
  await makeExtraction(staging, slice, {
    accounts: [{ Accounts: [{ Id: '000000000012', Name: 'Listed' }] }],
    costs: [good],
    by: {
      RECORD_TYPE: [
        charges,
        {
          ...splitAnswer('RECORD_TYPE', [
            group('Tax', '000000000099', '1'),
            group('Refund', '000000000099', '-1'),
          ]),
          DimensionValueAttributes,
        },
      ],
    },
  });
  t.like(await run(staging), { state: 'done', customers: 2, rows: 2 });
  t.deepEqual(
    await query(
      `SELECT Reference, TenantName, Status FROM read_parquet(${literal(pathOf(staging, 'parquet', 'customers'))}) ORDER BY Reference`,
    ),
    [
      { Reference: '000000000012', TenantName: 'Listed', Status: '' },
      { Reference: '000000000099', TenantName: 'Taxed alone', Status: 'unlisted' },
    ],
  );
});

test('a full disk leaves the former tables, and the next run goes on', async (t) => {
  const staging = await temporaryStaging(t);
  const former = await withFormerTables(staging);
  await makeExtraction(staging, slice, {
    costs: [good],
    accounts: [account({ Id: '000000000013' })],
    extraction: '20261102T000000Z',
  });
  const full: Staging = {
    ...staging,
    async write(key, content, options) {
      if (!key.startsWith('csv/consumption/')) return staging.write(key, content, options);
      for await (const chunk of content as AsyncIterable<Uint8Array>) {
        if (chunk.length > 0) throw new TransientError('the disk is full', { where: key });
      }
      return true;
    },
  };
  await t.throwsAsync(run(full), { instanceOf: TransientError, message: 'the disk is full' });
  t.deepEqual(await formerTablesStay(staging, former), nothing);
  t.like(await run(staging), { state: 'done', customers: 2 });
});

test('a file that cannot be completed leaves the former manifest, and the next run makes all anew', async (t) => {
  const staging = await temporaryStaging(t);
  const former = await withFormerTables(staging);
  await makeExtraction(staging, slice, {
    accounts: [account({ Id: '000000000013' })],
    extraction: '20261102T000000Z',
  });
  const failing: Staging = {
    ...staging,
    async write(key, content, options) {
      if (!key.startsWith('csv/customers/')) return staging.write(key, content, options);
      await digest(content as AsyncIterable<Uint8Array>);
      throw new TransientError('the upload was refused', { where: key });
    },
  };
  await t.throwsAsync(run(failing), { message: 'the upload was refused' });
  const now = await snapshot(staging);
  t.is(now.get('manifests/month=2026-10/oab.json'), former.get('manifests/month=2026-10/oab.json'));
  t.deepEqual(await readdir(`${staging.location}/.tmp`), []);
  t.like(await run(staging), { state: 'done', customers: 2, rows: 0 });
});

test('refuses a tag that the column cannot hold', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { costs: [good] });
  await t.throwsAsync(run(staging, { tag: 'x'.repeat(65) }), { instanceOf: ConfigurationError });
  t.is((await run(staging, { tag: 'x'.repeat(64) })).state, 'done');
});
