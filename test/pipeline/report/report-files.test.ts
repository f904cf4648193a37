import { writeFileSync } from 'node:fs';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import type { ReportRequest, WrittenMonth } from '../../../pipeline/report/report-files.js';
import { makeReports } from '../../../pipeline/report/report-files.js';
import { DataError, UsageError } from '../../../pipeline/shared/errors.js';
import { parseAmount } from '../../../pipeline/shared/money.js';
import { parseMonth, shiftMonth } from '../../../pipeline/shared/month.js';
import {
  exportKey,
  extractionManifestKey,
  transformManifestKey,
} from '../../../pipeline/staging/layout.js';
import { readTransformManifest } from '../../../pipeline/staging/manifest.js';
import { localStaging } from '../../../pipeline/staging/local.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import { copyFiles } from '../../support/exports.js';
import { setEnvironment } from '../../support/extract.js';
import { temporaryFolder } from '../../support/load-fixture.js';
import { plainLook } from '../../support/report-data.js';
import { stageSlice } from '../../support/staged-slice.js';
import { startBuckets } from '../staging/s3-buckets.js';

const { bucketFor } = await startBuckets(test);
const october = parseMonth('2026-10');
const [acme, brill, corto] = ['000456789012', '000456789013', '000456789014'] as const;

interface Place {
  staging: Staging;
  folder: string;
  /** Stages a month of an organization: account and amount each. */
  stage: (
    month: string,
    organization: string,
    costs: Record<string, string>,
    extraction?: string,
  ) => Promise<void>;
  make: (request?: Partial<ReportRequest>) => Promise<WrittenMonth[]>;
  read: (...path: string[]) => Promise<string>;
}

async function place(t: ExecutionContext): Promise<Place> {
  const root = await temporaryFolder(t);
  const staging = localStaging(join(root, 'staging'));
  const folder = join(root, 'report');
  return {
    ...{ staging, folder },
    async stage(month, organization, costs, extraction) {
      const rows = Object.entries(costs).map(([Reference, amount]) => ({
        ...{ Reference, TenantName: `Name of ${Reference}`, Amount: parseAmount(amount).units },
      }));
      const slice = { month: parseMonth(month), organization };
      const content = { customers: rows, consumption: rows };
      await stageSlice(staging, slice, content, extraction === undefined ? {} : { extraction });
    },
    make: (request = {}) =>
      makeReports({
        ...{ staging, folder, look: plainLook, months: undefined, organizations: undefined },
        ...{ customers: undefined, formats: ['html'], groups: [], configured: [] },
        ...{ provisionalDays: 10, now: () => new Date('2026-11-15T06:00:00Z') },
        signal: new AbortController().signal,
        ...request,
      }),
    read: (...path) => readFile(join(folder, ...path), 'utf8'),
  };
}

/** What a page says to machines. */
function blockOf(page: string): { currencies: { total: string; customers: [string, string][] }[] } {
  const [, json = ''] =
    /<script id="figures" type="application\/json">([^<]*)<\/script>/.exec(page) ?? [];
  return JSON.parse(json) as ReturnType<typeof blockOf>;
}

test('the last transformed month is shown, on a folder as on S3, with the same figures', async (t) => {
  const { stage, make, read, staging } = await place(t);
  await stage('2026-09', 'oab', { [acme]: '10.5' });
  await stage('2026-10', 'oab', { [acme]: '12.000000000000000001', [brill]: '-0.0000000001' });
  await stage('2026-10', 'internal', { [corto]: '3' });
  const [written, ...others] = await make();
  t.deepEqual(others, []);
  t.like(written, {
    month: '2026-10',
    page: 'index.html',
    workbook: null,
    statements: 3,
    gaps: [],
  });
  t.deepEqual(written?.files.toSorted(), [
    ...[acme, brill, corto].map((account) => `customers/${account}.html`),
    'index.html',
  ]);
  const [usd] = blockOf(await read('2026-10', 'index.html')).currencies;
  t.is(usd?.total, '14.999999999900000001');
  t.deepEqual(usd?.customers, [
    [acme, '12.000000000000000001'],
    [corto, '3'],
    [brill, '-0.0000000001'],
  ]);
  const bucket = bucketFor();
  await copyFiles(staging, bucket.staging, '');
  const page = await read('2026-10', 'index.html');
  await make({ staging: bucket.staging });
  t.is(await read('2026-10', 'index.html'), page);
});

test('several months are each a report; a month without exports is an error, one before it a gap', async (t) => {
  const { stage, make, folder, read } = await place(t);
  for (const month of ['2026-06', '2026-07', '2026-09', '2026-10'])
    await stage(month, 'oab', { [acme]: month.slice(-2) });
  const months = [shiftMonth(october, -1), october];
  t.deepEqual(
    (await make({ months })).map(({ month }) => month),
    months,
  );
  t.deepEqual((await readdir(folder)).sort(), months);
  const page = await read('2026-10', 'index.html');
  t.true(page.includes('August') || page.includes('2026-08'));
  await t.throwsAsync(make({ months: [parseMonth('2026-08')] }), {
    instanceOf: DataError,
    message: 'there are no exports of 2026-08',
  });
  await t.throwsAsync(make({ staging: localStaging(join(folder, 'none')) }), {
    instanceOf: DataError,
    message: /no month is transformed yet/,
  });
});

test('what is missing or stale is marked with its reason and the command that mends it', async (t) => {
  const { stage, make, staging, read } = await place(t);
  await stage('2026-09', 'oab', { [acme]: '1' });
  await stage('2026-09', 'spp', { [brill]: '2' });
  await stage('2026-10', 'oab', { [acme]: '3' });
  const [written] = await make({ configured: ['internal'] });
  t.deepEqual(
    written?.gaps.map(({ organization, state, reason, command }) => [
      ...[organization, state, reason, command],
    ]),
    [
      ...[
        [
          'internal',
          'missing',
          'is not there: nothing of it is staged',
          'npx pipeline run --month 2026-10 --organization internal',
        ],
        [
          'spp',
          'missing',
          'is not there: nothing of it is staged',
          'npx pipeline run --month 2026-10 --organization spp',
        ],
      ],
    ],
  );
  const page = await read('2026-10', 'index.html');
  t.regex(page, /nothing of it is staged/);
  // A fetch that was never transformed, and a newer one.
  const empty = new Uint8Array();
  const fetched = (organization: string, extraction: string): Promise<boolean> =>
    staging.write(extractionManifestKey({ month: october, organization }, extraction), empty);
  await fetched('spp', '20261108T060000Z');
  await fetched('oab', '20261109T070000Z');
  const [again] = await make();
  t.like(again, { state: 'provisional' });
  t.deepEqual(
    again?.gaps.map(({ organization, state, reason }) => [organization, state, reason]),
    [
      [
        'oab',
        'stale',
        'was fetched again on 2026-11-09 07:00 UTC; these are the figures of 2026-11-01 02:03 UTC',
      ],
      ['spp', 'missing', 'was fetched on 2026-11-08 06:00 UTC, but not transformed'],
    ],
  );
});

test('some organizations alone: the page says which are left out, and their statements stay', async (t) => {
  const { stage, make, folder, read } = await place(t);
  for (const month of ['2026-09', '2026-10']) {
    await stage(month, 'oab', { [acme]: '3' });
    await stage(month, 'spp', { [brill]: '4' });
  }
  await make();
  const [written] = await make({ organizations: ['oab'] });
  t.deepEqual(
    written?.gaps.map(({ organization, state, reason }) => [organization, state, reason]),
    [['spp', 'missing', 'was left out: other organizations were chosen']],
  );
  const page = await read('2026-10', 'index.html');
  t.regex(page, /was left out: other organizations were chosen/);
  t.is(blockOf(page).currencies[0]?.total, '3');
  // The two months are both without it, and so can be compared.
  t.notRegex(page, /is without/);
  t.deepEqual((await readdir(join(folder, '2026-10', 'customers'))).sort(), [
    ...[`${acme}.html`, `${brill}.html`],
  ]);
});

test('altered exports are an error, and a gap where they are only compared with', async (t) => {
  const { stage, make, staging, folder } = await place(t);
  await stage('2026-09', 'oab', { [acme]: '1' });
  await stage('2026-10', 'oab', { [acme]: '3' });
  await make();
  const alter = (month: string): Promise<boolean> =>
    staging.write(
      exportKey('parquet', 'consumption', { month: parseMonth(month), organization: 'oab' }),
      new TextEncoder().encode('PAR1 nothing PAR1'),
    );
  await alter('2026-09');
  const [written] = await make();
  t.deepEqual(written?.gaps, []);
  const page = await readFile(join(folder, '2026-10', 'index.html'), 'utf8');
  t.regex(page, /There are no figures of 2026-09/);
  t.regex(page, /oab cannot be read: the file is not the one of the manifest/);
  // Whole files of which the manifest says something else.
  const slice = { month: october, organization: 'oab' };
  const manifest = (await readTransformManifest(staging, slice))?.bytes;
  const text = Buffer.from(manifest ?? []).toString();
  await staging.write(
    transformManifestKey(slice),
    Buffer.from(text.replace('"USD": "3"', '"USD": "4"')),
  );
  await t.throwsAsync(make(), { instanceOf: DataError, message: /add up to .*"3".*says .*"4"/ });
  await staging.write(transformManifestKey(slice), Buffer.from(text));
  await alter('2026-10');
  await t.throwsAsync(make(), { instanceOf: DataError, message: /is not the one of the manifest/ });
  t.is(await readFile(join(folder, '2026-10', 'index.html'), 'utf8'), page);
  await staging.write(
    transformManifestKey({ month: october, organization: 'oab' }),
    new TextEncoder().encode('{}'),
  );
  await t.throwsAsync(make(), { instanceOf: DataError, message: /not one of this version's/ });
});

test('single statements are made by account or by name, and leave all else as it is', async (t) => {
  const { stage, make, folder } = await place(t);
  await stage('2026-10', 'oab', { [acme]: '1', [brill]: '2', [corto]: '3' });
  const groups = [{ name: 'Acme & Sons', accounts: [acme, brill] }];
  const file = `customers/acme-sons-${acme}.html`;
  for (const name of ['Acme & Sons', acme, brill]) {
    const [written] = await make({ groups, customers: [name] });
    t.deepEqual(written?.files, [file], name);
  }
  t.deepEqual((await readdir(join(folder, '2026-10'))).sort(), ['customers', 'reported.json']);
  await t.throwsAsync(make({ groups, customers: ['999999999999'] }), {
    instanceOf: UsageError,
    message: 'there is no customer 999999999999 in 2026-10',
  });
  // Whoever is a group's account no longer has a statement of their own, once all are made again.
  await make();
  await make({ groups });
  t.deepEqual((await readdir(join(folder, '2026-10', 'customers'))).sort(), [
    `${corto}.html`,
    `acme-sons-${acme}.html`,
  ]);
  await t.throwsAsync(make({ organizations: ['nobody'] }), {
    instanceOf: UsageError,
    message: /staged of nobody/,
  });
});

test('what AWS changed since the last statement stands in the next one', async (t) => {
  const { stage, make, read } = await place(t);
  const at = (instant: string): Partial<ReportRequest> => ({ now: () => new Date(instant) });
  const isCorrected = async (month: string, account: string): Promise<boolean> =>
    (await read(month, 'customers', `${account}.html`)).includes('Corrected since');
  await stage('2026-10', 'oab', { [acme]: '100.25', [brill]: '7' }, '20261102T000000Z');
  await make(at('2026-11-02T06:00:00Z'));
  t.false(await isCorrected('2026-10', acme));
  // The same fetch again changes nothing.
  await make(at('2026-11-03T06:00:00Z'));
  t.false(await isCorrected('2026-10', acme));
  await stage('2026-10', 'oab', { [acme]: '99.75', [brill]: '7' }, '20261108T000000Z');
  for (const day of ['08', '09', '10']) {
    await make(at(`2026-11-${day}T06:00:00Z`));
    const page = await read('2026-10', 'customers', `${acme}.html`);
    t.regex(page, /Corrected since/);
    for (const amount of ['100.25', '99.75', '0.50']) t.true(page.includes(amount), amount);
    t.false(await isCorrected('2026-10', brill));
  }
  // AWS changes October once more, after it was reported: November's statement says so.
  await stage('2026-10', 'oab', { [acme]: '99.75', [brill]: '9' }, '20261120T000000Z');
  await stage('2026-11', 'oab', { [acme]: '1', [brill]: '1' }, '20261202T000000Z');
  await make(at('2026-12-02T06:00:00Z'));
  t.true(await isCorrected('2026-11', brill));
  t.false(await isCorrected('2026-11', acme));
  // Without the record nothing is known to have been told; one that was altered is an error.
  await rm(join((await make())[0]?.folder ?? '', '..', '2026-10', 'reported.json'));
  await make(at('2026-12-03T06:00:00Z'));
  t.false(await isCorrected('2026-11', brill));
});

test('whose accounts are others now is no case of a correction; one that left earlier stays in the trend', async (t) => {
  const { stage, make, read } = await place(t);
  await stage('2026-07', 'oab', { [acme]: '1', [brill]: '20' });
  for (const month of ['2026-08', '2026-09', '2026-10'])
    await stage(month, 'oab', { [acme]: '1', [corto]: '5' });
  const name = 'Acme';
  const file = `acme-${acme}.html`;
  await make({ groups: [{ name, accounts: [acme, brill] }] });
  t.true((await read('2026-10', 'customers', file)).includes('21'));
  await make({ groups: [{ name, accounts: [acme, corto] }] });
  t.false((await read('2026-10', 'customers', file)).includes('Corrected since'));
  // A part of it is missing, then it is all there: nothing that AWS would have changed.
  await stage('2026-09', 'spp', { [brill]: '7' });
  const groups = [{ name: 'All', accounts: [acme, brill, corto] }];
  await make({ groups });
  await stage('2026-10', 'spp', { [brill]: '7' });
  await make({ groups });
  t.false((await read('2026-10', 'customers', `all-${acme}.html`)).includes('Corrected since'));
});

test('an account that moved between organizations: a part of its cost is never a whole, nor a correction', async (t) => {
  const { stage, make, read, staging } = await place(t);
  const statement = (month = '2026-10'): Promise<string> =>
    read(month, 'customers', `${acme}.html`);
  await stage('2026-08', 'oab', { [acme]: '100', [brill]: '1' });
  await stage('2026-08', 'spp', { [corto]: '1' });
  await stage('2026-09', 'oab', { [acme]: '40', [brill]: '1' });
  await stage('2026-09', 'spp', { [acme]: '60', [corto]: '1' });
  await stage('2026-10', 'oab', { [brill]: '1' });
  await stage('2026-10', 'spp', { [acme]: '100', [corto]: '1' });
  await make({ months: ['2026-08', '2026-09', '2026-10'].map(parseMonth) });
  t.notRegex(await statement(), /Corrected since|not whole/);
  // Without the former organization the months that it had are not known; the others are.
  await make({ organizations: ['spp'] });
  t.notRegex(await statement(), /Corrected since|not whole|>60\.00</);
  t.regex(await statement(), />100\.00</);
  // The month of the move: the statement says that it is a part, and is not remembered as what was told.
  await make({ months: [parseMonth('2026-09')], organizations: ['spp'] });
  t.regex(await statement('2026-09'), /not whole.*Not all figures of 000456789012 are there/);
  await make({ months: [parseMonth('2026-09')] });
  t.notRegex(await statement('2026-09'), /Corrected since|not whole/);
  // Nor is a month known that cannot be read where it may have been.
  await staging.write(
    exportKey('parquet', 'consumption', { month: parseMonth('2026-08'), organization: 'oab' }),
    new TextEncoder().encode('PAR1 nothing PAR1'),
  );
  await make({ months: [october] });
  t.notRegex(await statement(), /Corrected since/);
});

test('what another process told meanwhile is remembered too', async (t) => {
  const { stage, make, read, folder } = await place(t);
  await stage('2026-10', 'oab', { [acme]: '1', [brill]: '2' });
  await make({ customers: [brill] });
  const record = join(folder, '2026-10', 'reported.json');
  const theirs = await readFile(record);
  await rm(record);
  await make({
    customers: [acme],
    // Asked for when the record was read and nothing is written yet.
    now: () => {
      writeFileSync(record, theirs);
      return new Date('2026-11-15T06:00:00Z');
    },
  });
  const { customers } = JSON.parse(await read('2026-10', 'reported.json')) as {
    customers: [string, unknown][];
  };
  t.deepEqual(customers.map(([customer]) => customer).sort(), [acme, brill]);
});

test('a browser that is missing is said before anything is made', async (t) => {
  const { stage, make, folder } = await place(t);
  await stage('2026-10', 'oab', { [acme]: '1' });
  setEnvironment(t, { CHROMIUM_PATH: join(folder, 'nowhere') });
  await t.throwsAsync(make({ formats: ['html', 'pdf'] }), { message: /CHROMIUM_PATH/ });
  await t.throwsAsync(readdir(folder), { code: 'ENOENT' });
});

test('files of others stay where they are', async (t) => {
  const { stage, make, folder } = await place(t);
  await stage('2026-10', 'oab', { [acme]: '1' });
  const customers = join(folder, '2026-10', 'customers');
  await mkdir(customers, { recursive: true });
  for (const name of ['notes.html', `${brill}.html`]) await writeFile(join(customers, name), '');
  await make();
  t.deepEqual((await readdir(customers)).sort(), [`${acme}.html`, 'notes.html']);
});

test('a record that was altered is an error', async (t) => {
  const { stage, make, folder } = await place(t);
  await stage('2026-10', 'oab', { [acme]: '1' });
  await make();
  await writeFile(join(folder, '2026-10', 'reported.json'), '{"format":1,"customers":[["x"]]}');
  await t.throwsAsync(make(), {
    instanceOf: DataError,
    message: 'the record of what was reported cannot be read',
  });
});

test('what a killed report left is cleared up; a folder that cannot be written is said', async (t) => {
  const { stage, make, folder } = await place(t);
  await stage('2026-10', 'oab', { [acme]: '1' });
  const { self } = await import('../../../pipeline/staging/holder.js');
  const gone = `.aside-${self.machine}.${process.pid}.othertoken`;
  await mkdir(join(folder, '2026-10', gone, 'customers'), { recursive: true });
  await make();
  t.deepEqual((await readdir(join(folder, '2026-10'))).sort(), [
    ...['customers', 'index.html', 'reported.json'],
  ]);
  await writeFile(join(folder, 'file'), '');
  await t.throwsAsync(make({ folder: join(folder, 'file') }), {
    message: /^the report cannot be written/,
  });
  // Linux makes no folders there for anybody, and says so otherwise than of what is not there.
  await t.throwsAsync(make({ folder: '/sys/report' }), {
    message: /^the report cannot be written: (?:EPERM|EACCES|EROFS)/,
  });
});
