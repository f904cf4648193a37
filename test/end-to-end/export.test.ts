import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parse } from 'csv-parse/sync';
import { parseMonth, timePeriod } from '../../pipeline/shared/month.js';
import type { Month } from '../../pipeline/shared/month.js';
import type { Finished } from '../support/cli.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { literal, query } from '../support/duckdb.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { readSpreadsheet } from '../support/spreadsheet.js';
import { temporaryStaging } from '../support/staging.js';
import { run } from '../support/transform.js';

const acme = '000000000012';
const months = ['2026-08', '2026-09', '2026-10'].map(parseMonth);
/** Names that a spreadsheet, XML, a terminal or a shell takes for something else; two accounts share the last one. */
const names = ['=1+1', '<b>&"x"</b>\u0001', '\u001b[2J', "O'Neil", 'Twin', 'twin'];
const idOf = (index: number): string => String(index + 13).padStart(12, '0');
/** More digits than a number of 64 bits holds. */
const exact = '1234567890.123456789012345678';

async function stage(
  staging: Awaited<ReturnType<typeof temporaryStaging>>,
  month: Month,
  organization: string,
  name = 'Acme Corp',
): Promise<void> {
  const slice = { month, organization };
  const listed = names.map((Name, index) => ({ Id: idOf(index), Name, State: 'ACTIVE' }));
  const groups = [
    group('Amazon Simple Storage Service', acme, month === '2026-10' ? exact : '2.5'),
    group('Tax', acme, '-0.0000000012'),
    ...names.map((_, index) => group('Tax', idOf(index), '1')),
  ];
  const answer = costAnswer(groups, {
    ResultsByTime: [{ TimePeriod: timePeriod(month), Total: {}, Groups: groups }],
  });
  await makeExtraction(staging, slice, {
    accounts: [{ Accounts: [{ Id: acme, Name: name, State: 'ACTIVE' }, ...listed] }],
    costs: [answer],
  });
  await run(staging, { slice });
}

async function world(t: ExecutionContext) {
  const staging = await temporaryStaging(t);
  for (const month of months) await stage(staging, month, 'oab');
  await stage(staging, months[2]!, 'internal', 'Acme before');
  const folder = await temporaryFolder(t);
  const exported = (...args: string[]): Promise<Finished> =>
    pipeline(['export', ...args, '--staging', staging.location], { cwd: folder });
  return { staging, folder, exported };
}

const range = ['--from', '2026-08', '--to', '2026-10'];

test('one customer of three months and two organizations, as CSV, Parquet and spreadsheet', async (t) => {
  const { folder, exported } = await world(t);
  const expected = [
    ['2026-08', 'oab', 'Acme Corp', 'Amazon Simple Storage Service', '2.5'],
    ['2026-08', 'oab', 'Acme Corp', 'Tax', '-0.0000000012'],
    ['2026-09', 'oab', 'Acme Corp', 'Amazon Simple Storage Service', '2.5'],
    ['2026-09', 'oab', 'Acme Corp', 'Tax', '-0.0000000012'],
    ['2026-10', 'internal', 'Acme before', 'Amazon Simple Storage Service', exact],
    ['2026-10', 'internal', 'Acme before', 'Tax', '-0.0000000012'],
    ['2026-10', 'oab', 'Acme Corp', 'Amazon Simple Storage Service', exact],
    ['2026-10', 'oab', 'Acme Corp', 'Tax', '-0.0000000012'],
  ];
  const total = '2469135785.246913573224691356';
  for (const format of ['csv', 'parquet', 'xlsx']) {
    const { code, stdout, stderr } = await exported('--customer', acme, ...range, `acme.${format}`);
    t.deepEqual([code, stderr], [0, '']);
    t.is(
      stdout.split('\n')[0],
      `acme.${format}: 8 rows of 1 customer, 2026-08 to 2026-10, ${total} USD`,
    );
    t.regex(stdout, /provisional.*: 2026-10$/m);
  }
  const file = (format: string): string => join(folder, `acme.${format}`);
  const csv = parse(await readFile(file('csv'), 'utf8'), {
    columns: true,
    record_delimiter: '\r\n',
  });
  const columns = ['month', 'Organization', 'TenantName', 'Service', 'Amount'];
  const picked = (rows: readonly object[]): unknown[][] =>
    rows.map((row) => columns.map((column) => (row as Record<string, unknown>)[column]));
  t.deepEqual(picked(csv as object[]), expected);
  const parquet = await query(
    `SELECT * REPLACE (regexp_replace(Amount::VARCHAR, '\\.?0+$', '') AS Amount) FROM read_parquet(${literal(file('parquet'))})`,
  );
  t.deepEqual(picked(parquet), expected);
  t.deepEqual(
    new Set(parquet.map(({ Reference, BillingPeriod }) => [Reference, BillingPeriod].join())),
    new Set(months.map((month) => `${acme},${month}-28`)),
  );
  const sheet = await readSpreadsheet(file('xlsx'));
  t.deepEqual(
    sheet.map((row) =>
      [...columns.slice(0, -1), 'Amount, exact'].map((column) => row[column]?.value),
    ),
    expected,
  );
  for (const row of sheet) {
    t.is(row['Reference']?.type, 'text');
    t.is(row['Reference']?.value, acme);
    t.is(row['Amount, exact']?.type, 'text');
    t.is(row['Amount']?.type, 'n');
    t.is(Number(row['Amount']?.value), Number(row['Amount, exact']?.value));
    // 4 is the format of numbers with two decimals in the reader's own land, 49 that of texts.
    t.is(row['Amount']?.format, '4');
    t.is(row['TenantName']?.format, '49');
    t.is(row['BillingPeriod']?.type, 'n');
    t.regex(row['BillingPeriod']?.format ?? '', /yyyy\\-mm\\-dd/);
    // Columns without any number are left out.
    t.false('Quantity' in row);
  }
  // 2026-10-28 is day 46,323 since 1899-12-30.
  t.is(sheet.at(-1)?.['BillingPeriod']?.value, '46323');
});

test('one organization, with names that are something else to a spreadsheet', async (t) => {
  const { folder, exported } = await world(t);
  for (const format of ['xlsx', 'csv', 'parquet']) {
    const args = ['--organization', 'oab', '--month', '2026-10', '--json', `oab.${format}`];
    const { code, stdout } = await exported(...args);
    t.is(code, 0);
    t.like(JSON.parse(stdout), {
      format,
      rows: 8,
      customers: 7,
      organizations: ['oab'],
      provisional: ['2026-10'],
    });
  }
  const sheet = await readSpreadsheet(join(folder, 'oab.xlsx'));
  const texts = new Set(
    sheet.map((row) => row['TenantName']).map((cell) => `${cell?.type} ${cell?.value}`),
  );
  t.true(texts.has('text =1+1'));
  t.true(texts.has("text O'Neil"));
  const rows = await query(
    `SELECT DISTINCT TenantName FROM read_parquet(${literal(join(folder, 'oab.parquet'))})`,
  );
  t.deepEqual(
    rows.map(({ TenantName }) => String(TenantName)).sort(),
    ['Acme Corp', ...names].sort(),
  );
});

test('a file that lacks an organization, or tells older figures, says so', async (t) => {
  const { staging, exported } = await world(t);
  const whole = await exported('--month', '2026-10', 'rows.csv');
  t.notRegex(whole.stdout, /older figures|absent/);
  await makeExtraction(
    staging,
    { month: parseMonth('2026-10'), organization: 'oab' },
    { extraction: '20261120T020304Z' },
  );
  const { code, stdout } = await exported(...range, 'rows.csv');
  t.is(code, 0);
  t.regex(
    stdout,
    /^2026-10 oab: fetched again since .* older figures; .*"node .* run --stage transform,load --month 2026-10 --organization oab .*", then export again$/m,
  );
  t.regex(
    stdout,
    /^2026-09 internal: absent from the file, though the months around have it; fetch with "node .* run --month 2026-09 --organization internal .*", then export again$/m,
  );
  t.like(JSON.parse((await exported(...range, '--json', 'rows.csv')).stdout), {
    stale: [{ month: '2026-10', organization: 'oab' }],
    absent: [{ month: '2026-09', organization: 'internal' }],
  });
  const chosen = await exported(...range, '--organization', 'oab', 'rows.csv');
  t.notRegex(chosen.stdout, /absent/);
});

test('a customer by name, whatever its case and whenever it had that name', async (t) => {
  const { exported } = await world(t);
  for (const name of ['acme corp', 'Acme before'])
    t.regex(
      (await exported('--customer', name, ...range, '--format', 'parquet', 'rows')).stdout,
      /^rows: 8 rows of 1 customer/,
    );
});

test('what cannot be exported is said, and leaves the file as it was', async (t) => {
  const { folder, exported, staging } = await world(t);
  await writeFile(join(folder, 'x.csv'), 'before');
  await mkdir(join(folder, 'folder.csv'));
  for (const [args, code, message] of [
    [
      ['--customer', acme, '--from', '2026-07', '--to', '2026-08', 'x.csv'],
      1,
      /nothing is exported for 2026-07/,
    ],
    [
      ['--organization', 'internal', ...range, 'x.csv'],
      1,
      /2026-08 is not exported for internal.*--organization internal/,
    ],
    [
      ['--customer', '000000000099', ...range, 'x.csv'],
      2,
      /no customer of these months is "000000000099"/,
    ],
    [
      ['--customer', 'acme', ...range, 'x.csv'],
      2,
      /no customer .*"acme".* give an account id: 000000000012 \(Acme/,
    ],
    [
      ['--customer', 'TWIN', ...range, 'x.csv'],
      2,
      /several accounts are named "TWIN".*000000000017 \(Twin\), 000000000018 \(twin\)/,
    ],
    [
      ['--customer', acme, '--from', '2026-10', '--to', '2026-08', 'x.csv'],
      2,
      /--from 2026-10 lies after --to 2026-08/,
    ],
    [[...range, 'x.txt'], 2, /does not tell the kind of the file.*\.xlsx/],
    [[...range], 2, /no file is named.*customer\.xlsx/],
    [[...range, 'folder.csv'], 1, /a folder has that name/],
    [[...range, 'missing/x.csv'], 1, /cannot be written \(ENOENT\)/],
  ] as const) {
    const { code: found, stderr, stdout } = await exported(...args);
    t.is(found, code, stderr);
    t.regex(stderr, message);
    t.is(stdout, '');
  }
  await staging.remove('parquet/consumption/month=2026-10/oab.parquet');
  const { code, stderr } = await exported('--customer', acme, ...range, 'x.csv');
  t.is(code, 1);
  t.regex(stderr, /the file of the manifest is missing/);
  t.is(await readFile(join(folder, 'x.csv'), 'utf8'), 'before');
  t.deepEqual(
    (await readdir(folder)).filter((name) => name.endsWith('.tmp')),
    [],
  );
});

test('a month that is fetched and not transformed is no empty month', async (t) => {
  const { exported, staging } = await world(t);
  await staging.remove('manifests/month=2026-09/oab.json');
  const { code, stderr } = await exported('--customer', acme, ...range, '--format', 'csv', 'x');
  t.is(code, 1);
  t.notRegex(stderr, /--format/);
  t.regex(
    stderr,
    /2026-09 is not exported for oab.*--stage transform --month 2026-09 --organization oab/,
  );
});
