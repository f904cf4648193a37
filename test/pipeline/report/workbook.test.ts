import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { hostileNames } from '../../../fixtures/demo/accounts.js';
import { writeWorkbook } from '../../../pipeline/report/workbook.js';
import { writeXlsx } from '../../../pipeline/report/xlsx.js';
import { formatAmount, parseAmount } from '../../../pipeline/shared/money.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { temporaryFolder } from '../../support/cli.js';
import type { OfficeCell } from '../../support/office.js';
import { convertByOffice, openInOffice, zippedText } from '../../support/office.js';
import { plainLook, sketchReport } from '../../support/report-data.js';

const execute = promisify(execFile);

/** What spreadsheets, XML and CSV may stumble over, beside the names that customers have. */
const names = [
  ...hostileNames,
  '</t></is></c><c><f>1+1</f></c>',
  '"><img onerror=alert(1)>',
  '_x0041_ is no A, nor is _x000D_',
  'bell \u0007, escape \u001b, next line \u0085',
  '\u202eright to left\u202c',
  'half \ud83d a pair',
  '  ',
  '2026-10-28',
  '1,5',
];

/** Amounts of both ends, and of neither; the sum has 28 digits. */
const amounts = names.map((_, index) =>
  [
    '123456789.0123456789',
    '-123456789.0000000001',
    '0.000000000000000001',
    '-0.0000000289',
    '1234.565',
    '0',
    `${index}.1`,
  ].at(index % 7)!,
);

const idOf = (index: number): string => String(index + 7).padStart(12, '0');

const accounts = names.map((name, index) => ({ id: idOf(index), name }));
const rows = amounts.map((amount, index) => ({
  account: idOf(index),
  service: index % 2 === 0 ? '=SUM(A1:A9)' : 'Amazon EC2',
  amount,
  usage: { type: '+BoxUsage', region: 'eu-west-3', unit: 'Hrs', quantity: `${index}.25` },
}));
const report = sketchReport({
  month: parseMonth('2026-10'),
  months: [
    [
      {
        organization: 'oab',
        accounts,
        rows,
        charges: amounts.map((amount, index) => ({ account: idOf(index), type: '@Usage', amount })),
      },
    ],
    [{ organization: 'oab', accounts, rows: rows.slice(3) }],
  ],
});

/** Rows of a sheet below its header, by the columns' titles. */
function table(sheet: OfficeCell[][] | undefined): Map<string, OfficeCell>[] {
  const [head = [], ...body] = sheet ?? [];
  return body.map((cells) => new Map(head.map(({ text }, index) => [text, cells[index]!])));
}

/** Half of a pair of surrogates is no character, and LibreOffice has one way to end a line. */
const asKept = (text: string): string =>
  text.replaceAll(/\p{Surrogate}/gu, '\ufffd').replaceAll('\r\n', '\n');

const total = amounts.reduce((sum, amount) => sum + parseAmount(amount).units, 0n);
const sheets = ['Summary', 'Customers', 'Services', 'Consumption', 'Charges', 'Invoices'];

test('LibreOffice shows an English reader texts as texts, and numbers that add up to the cent', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, '2026-10.xlsx');
  await writeWorkbook(report, { ...plainLook, title: '<A & B>' }, file);
  const found = await openInOffice(file, 'en-US', false);
  t.deepEqual([...found.keys()].sort(), [...sheets].sort());
  for (const sheet of ['Customers', 'Services', 'Consumption', 'Charges']) {
    const body = table(found.get(sheet));
    const exact = body.map((row) => row.get('Amount, exact')!);
    t.true(
      exact.every(({ isText }) => isText),
      sheet,
    );
    t.is(
      exact.reduce((sum, { text }) => sum + parseAmount(text).units, 0n),
      total,
      sheet,
    );
    const numbers = body.map((row) => row.get('Amount')!);
    t.true(
      numbers.every(({ isText }) => !isText),
      sheet,
    );
    const sum = numbers.reduce((all, { text }) => all + Number(text), 0);
    t.is(sum.toFixed(2), Number(formatAmount(total)).toFixed(2), sheet);
  }
  const consumption = table(found.get('Consumption'));
  t.deepEqual(
    consumption.map((row) => row.get('Account')),
    names.map((_, index) => ({ isText: true, text: idOf(index) })),
  );
  t.deepEqual(
    consumption.map((row) => row.get('Account name')),
    names.map((text) => ({ isText: true, text: asKept(text) })),
  );
  t.true(consumption.every((row) => row.get('Service')?.isText));
  const first = consumption[0]!;
  t.deepEqual(first.get('Billing period'), { isText: false, text: '2026-10-28' });
  t.deepEqual(first.get('Quantity'), { isText: false, text: '0.25' });
  t.deepEqual(first.get('Quantity, exact'), { isText: true, text: '0.25' });
  const [summary] = table(found.get('Summary'));
  t.is(summary?.get('Amount, exact')?.text, formatAmount(total));
  t.is(summary?.get("AWS's total less the rows, exact")?.text, '0');
  t.deepEqual(summary?.get('Fetched (UTC)'), { isText: false, text: '2026-11-15 06:01:12' });
});

test('a German reader sees the same with commas, the ids with their zeros', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, '2026-10.xlsx');
  await writeWorkbook(report, plainLook, file);
  const found = await openInOffice(file, 'de-DE', true);
  const consumption = table(found.get('Consumption'));
  t.deepEqual(
    consumption.map((row) => row.get('Account')?.text),
    names.map((_, index) => idOf(index)),
  );
  t.is(consumption[0]?.get('Amount')?.text, '123.456.789,01');
  t.is(consumption[1]?.get('Amount')?.text, '-123.456.789,00');
  t.is(consumption[4]?.get('Amount')?.text, '1.234,57');
  t.is(consumption[0]?.get('Amount, exact')?.text, '123456789.0123456789');
  t.is(consumption[0]?.get('Billing period')?.text, '2026-10-28');
});

test('each sheet has its header fixed, and a filter over all its rows', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, '2026-10.xlsx');
  await writeWorkbook(report, plainLook, file);
  const flat = await convertByOffice(file, 'fods');
  const filters = [
    ...flat.matchAll(
      /target-range-address="\$?'?(\w+)'?\.A1:[^"]*?(\d+)"[^>]*display-filter-buttons="true"/g,
    ),
  ];
  t.deepEqual(
    filters.map(([, sheet, last]) => [sheet, last]),
    [
      ['Summary', '3'],
      ['Customers', String(names.length + 1)],
      ['Services', '3'],
      ['Consumption', String(names.length + 1)],
      ['Charges', String(names.length + 1)],
      ['Invoices', '1'],
    ],
  );
  const bytes = await readFile(file);
  for (const [index, name] of sheets.entries()) {
    const xml = zippedText(bytes, `xl/worksheets/sheet${index + 1}.xml`);
    t.regex(xml, /<pane ySplit="1" topLeftCell="A2" [^>]*state="frozen"\/>/, name);
  }
});

test('a text stays one when its cell is edited: its format is that of texts', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, '2026-10.xlsx');
  await writeWorkbook(report, plainLook, file);
  const bytes = await readFile(file);
  const xml = zippedText(bytes, 'xl/worksheets/sheet4.xml');
  const formats = [...zippedText(bytes, 'xl/styles.xml').matchAll(/<xf numFmtId="(\d+)" xfId/g)];
  for (const text of [idOf(0), '123456789.0123456789', '=SUM(A1:A9)']) {
    const [, style] =
      new RegExp(`<c s="(\\d+)"[^>]*><is><t[^>]*>${text.replaceAll(/[().]/g, '\\$&')}<`).exec(
        xml,
      ) ?? [];
    // 49 is `@`, text (ECMA-376 part 1, 18.8.30).
    t.is(formats[Number(style)]?.[1], '49', text);
  }
});

test('rows that fit no sheet go on in another one', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'long.xlsx');
  const columns = [{ title: 'Number', kind: 'count', width: 10 }] as const;
  const all = Array.from({ length: 25 }, (_, index) => [index]);
  await writeXlsx(
    file,
    { title: 'Long', created: '2026-11-15T06:02:03.000Z' },
    [
      { name: 'Rows', columns, rows: all },
      { name: 'None', columns, rows: [] },
      { name: 'Just', columns, rows: all.slice(0, 10) },
    ],
    10,
  );
  const found = await openInOffice(file, 'en-US', false);
  const numbers = (sheet: string): number[] =>
    table(found.get(sheet)).map((row) => Number(row.get('Number')?.text));
  t.deepEqual([...found.keys()].sort(), ['Just', 'None', 'Rows', 'Rows 2', 'Rows 3']);
  t.deepEqual(
    [...numbers('Rows'), ...numbers('Rows 2'), ...numbers('Rows 3')],
    all.map(([number]) => number),
  );
  t.is(numbers('Rows 3').length, 5);
  t.deepEqual(numbers('None'), []);
  t.is(numbers('Just').length, 10);
});

test('the same report makes the same bytes, in any time zone', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'once.xlsx');
  await writeWorkbook(report, plainLook, file);
  const script = `
    const { writeXlsx } = await import(${JSON.stringify(import.meta.resolve('../../../pipeline/report/xlsx.js'))});
    const columns = [{ title: 'Day', kind: 'date', width: 10 }];
    await writeXlsx(process.argv[1], { title: 'x', created: '2026-11-15T06:02:03.000Z' }, [
      { name: 'Days', columns, rows: [['2026-10-28']] },
    ]);`;
  const made = await Promise.all(
    ['UTC', 'Asia/Tokyo', 'America/Lima'].map(async (zone) => {
      const place = join(folder, `${zone.replace('/', '-')}.xlsx`);
      const words = ['--input-type=module', '-e', script, place];
      await execute(process.execPath, words, { env: { ...process.env, TZ: zone } });
      return readFile(place);
    }),
  );
  t.deepEqual(made[1], made[0]);
  t.deepEqual(made[2], made[0]);
});

test('what fails while it is written fails, and nothing waits', async (t) => {
  const folder = await temporaryFolder(t);
  const columns = [{ title: 'Text', kind: 'text', width: 10 }] as const;
  const properties = { title: 'x', created: '2026-11-15T06:02:03.000Z' };
  const missing = join(folder, 'not/there.xlsx');
  await t.throwsAsync(writeWorkbook(report, plainLook, missing), { code: 'ENOENT' });
  // A device on which there is no room for a single byte.
  await t.throwsAsync(writeWorkbook(report, plainLook, '/dev/full'), { code: 'ENOSPC' });
  const file = join(folder, 'broken.xlsx');
  const broken = function* (): Generator<string[]> {
    yield ['one'];
    throw new RangeError('no more');
  };
  await t.throwsAsync(writeXlsx(file, properties, [{ name: 'Broken', columns, rows: broken() }]), {
    instanceOf: RangeError,
    message: 'no more',
  });
  t.true((await stat(file)).isFile());
});
