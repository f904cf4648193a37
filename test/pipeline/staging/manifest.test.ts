import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { DataError } from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { plainScope } from '../../../pipeline/shared/scope.js';
import { survey } from '../../../pipeline/staging/extractions.js';
import {
  extractionManifestKey,
  extractionPrefix,
  transformManifestKey,
} from '../../../pipeline/staging/layout.js';
import { localStaging } from '../../../pipeline/staging/local.js';
import type { ExtractionManifest, TransformManifest } from '../../../pipeline/staging/manifest.js';
import {
  costQuery,
  readExtractionManifest,
  readTransformManifest,
  serializeManifest,
} from '../../../pipeline/staging/manifest.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import { tableColumns } from '../../../pipeline/staging/tables.js';

const slice = { month: parseMonth('2026-10'), organization: 'oab' };
const extraction = '20261101T020304Z';
const sha256 = 'ab'.repeat(32);

const extracted: ExtractionManifest = {
  format: 1,
  version: '0.1.0',
  month: slice.month,
  organization: 'oab',
  extraction,
  started: '2026-11-01T02:03:04.000Z',
  finished: '2026-11-01T02:03:09.500Z',
  requests: { ListAccounts: 2, GetCostAndUsage: 1 },
  pages: [
    { file: 'accounts-00001.json', bytes: 10, sha256, rows: 3 },
    { file: 'cost-and-usage-00001.json', bytes: 10, sha256, rows: 4 },
    { file: 'cost-and-usage-00002.json', bytes: 10, sha256, rows: 3 },
  ],
  accounts: 3,
  groups: 7,
  totals: { EUR: '-0.000000000000000001', USD: '12.5' },
  metrics: {},
  scope: plainScope,
  queries: [costQuery],
  breakdowns: [],
  awsTotal: null,
  awsMetrics: {},
  refused: [],
  estimated: false,
};

const transformed: TransformManifest = {
  format: 1,
  version: '0.1.0',
  month: slice.month,
  organization: 'oab',
  extraction,
  source: sha256,
  finished: '2026-11-01T02:04:00.000Z',
  tag: 'aws-oab',
  refused: [],
  estimated: true,
  columns: tableColumns(),
  scope: plainScope,
  awsTotal: null,
  difference: null,
  awsMetrics: {},
  fetched: '2026-11-01T02:03:09.500Z',
  customers: { rows: 3, unlisted: 1, files: [] },
  consumption: {
    rows: 7,
    totals: { USD: '12.5' },
    columns: {},
    rounded: 0,
    pairs: null,
    files: [{ key: 'csv/consumption/month=2026-10/oab.csv', bytes: 9, sha256 }],
  },
};

async function stagingFor(t: ExecutionContext): Promise<Staging> {
  const folder = await mkdtemp(join(tmpdir(), 'manifest-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return localStaging(folder);
}

test('manifests come back as they were written, with their bytes', async (t) => {
  const staging = await stagingFor(t);
  t.is(await readExtractionManifest(staging, slice, extraction), undefined);
  t.is(await readTransformManifest(staging, slice), undefined);
  const bytes = [serializeManifest(extracted), serializeManifest(transformed)] as const;
  await staging.write(extractionManifestKey(slice, extraction), bytes[0]);
  await staging.write(transformManifestKey(slice), bytes[1]);
  const [first, second] = [
    await readExtractionManifest(staging, slice, extraction),
    await readTransformManifest(staging, slice),
  ];
  t.deepEqual(first?.manifest, extracted);
  t.deepEqual(second?.manifest, transformed);
  t.deepEqual([...first!.bytes], [...bytes[0]]);
  t.deepEqual([...second!.bytes], [...bytes[1]]);
});

test('people can read a manifest: indented, and with a last line end', (t) => {
  const text = Buffer.from(serializeManifest(extracted)).toString();
  t.true(text.startsWith('{\n  "format": 1,\n'));
  t.true(text.endsWith('\n}\n'));
});

test('what is no manifest is an error that names the file, the fault and the way out', async (t) => {
  const staging = await stagingFor(t);
  const key = extractionManifestKey(slice, extraction);
  const good = JSON.parse(Buffer.from(serializeManifest(extracted)).toString()) as object;
  const bad: [Uint8Array, RegExp][] = [
    [Buffer.alloc(0), /not JSON/],
    [serializeManifest(extracted).subarray(0, 100), /not JSON/],
    [Buffer.from([0x22, 0xff, 0x22]), /not JSON/],
    ...[
      ['{}', /format/],
      ['[]', /expected object/],
      ['null', /expected object/],
    ].map(([text, message]): [Uint8Array, RegExp] => [
      Buffer.from(text as string),
      message as RegExp,
    ]),
    ...Object.entries({
      format: 2,
      month: '2026-13',
      started: 'yesterday',
      accounts: -1,
      groups: 1.5,
      pages: [{ file: 'a', bytes: 1, sha256: 'short', rows: 1 }],
      totals: { USD: 12.5 },
      estimated: 'no',
    }).map(([name, value]): [Uint8Array, RegExp] => [
      Buffer.from(JSON.stringify({ ...good, [name]: value })),
      new RegExp(name),
    ]),
  ];
  for (const [bytes, message] of bad) {
    await staging.write(key, bytes);
    const error = await t.throwsAsync(
      readExtractionManifest(staging, slice, extraction),
      { instanceOf: DataError, message },
      Buffer.from(bytes).toString(),
    );
    t.is(error.where, `${staging.location}/${key}`);
    t.regex(error.next ?? '', /--stage extract --force/);
  }
  await staging.write(transformManifestKey(slice), Buffer.from('{'));
  const error = await t.throwsAsync(readTransformManifest(staging, slice), {
    instanceOf: DataError,
  });
  t.regex(error.next ?? '', /--stage transform --force/);
});

test('an extraction is finished once it has its manifest; the newest comes last', async (t) => {
  const staging = await stagingFor(t);
  t.deepEqual((await survey(staging, slice)).finished, []);
  const names = ['20261103T000000Z', '20261101T020304Z', '20261102T235959Z'];
  for (const name of names) {
    await staging.write(`${extractionPrefix(slice, name)}accounts-00001.json`, Buffer.from('{}'));
  }
  t.deepEqual((await survey(staging, slice)).finished, []);
  for (const name of names.slice(0, 2)) {
    await staging.write(extractionManifestKey(slice, name), serializeManifest(extracted));
  }
  const other = { month: slice.month, organization: 'oab2' };
  await staging.write(extractionManifestKey(other, names[2]!), serializeManifest(extracted));
  t.deepEqual((await survey(staging, slice)).finished, [names[1], names[0]]);
});
