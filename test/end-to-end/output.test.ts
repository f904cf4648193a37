import { readdir } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { demoData, organizationData, restate } from '../../fixtures/demo/data.js';
import { charge, costs, units } from '../../fixtures/demo/model.js';
import { csvOf } from '../../pipeline/commands/answer-table.js';
import { commandFlags } from '../../pipeline/commands/command.js';
import { month, world } from '../support/world.js';
import type { World } from '../support/world.js';

type Row = Readonly<Record<string, unknown>>;
/** What a document holds, taken apart where its rows are. */
type Document = Readonly<Record<string, Row[]>>;

const rowsOf = (list: unknown): Row[] => list as Row[];
const within = (outer: Row, list: string): Row[] =>
  rowsOf(outer[list]).map((inner) => ({ ...outer, ...inner }));

/** Each command line that prints a table, with where the rows of its document are. */
const lines: readonly (readonly [line: string, rows: (document: Document) => Row[]])[] = [
  [`run --month ${month} --invoices`, ({ tasks = [] }) => tasks],
  [`run --month ${month} --dry-run`, ({ slices = [] }) => slices],
  [`plan --month ${month}`, ({ slices = [] }) => slices],
  [`plan --from 2026-09`, ({ slices = [] }) => slices],
  [`tasks --month ${month}`, ({ tasks = [] }) => tasks],
  ['status', ({ slices = [] }) => slices],
  [`status --check --month ${month}`, ({ slices = [] }) => slices],
  [
    `changes --month ${month}`,
    ({ organizations = [], ...of }) =>
      organizations.flatMap((one) => within({ ...of, ...one }, 'changes')),
  ],
  [
    `invoices --month ${month}`,
    ({ slices = [] }) => slices.flatMap(({ invoices }) => rowsOf(invoices)),
  ],
  [
    'reconcile',
    ({ slices = [] }) =>
      slices.flatMap(({ month, organization, figures, layers }) =>
        within({ month, organization, figures, layers }, 'layers'),
      ),
  ],
  ['check', ({ checks = [] }) => checks],
  [`customers --month ${month}`, ({ customers = [] }) => customers],
  ['prune --keep 1 --dry-run', ({ extractions = [] }) => extractions],
];

/** Columns that no two runs have alike. */
const TIMES = ['seconds'];

/** A name as AWS takes any: a formula, a line of its own, quotes, a terminal's and a direction's signs. */
const hostile = '=HYPERLINK("http://x"),\u001b[2J\r\n\u202Etxet日本';

/** A month that was fetched twice, the second time with other costs, some in a second currency. */
async function restated(t: ExecutionContext): Promise<World> {
  const data = demoData({
    months: [month],
    organizations: [
      { name: 'oab', accounts: 4 },
      { name: 'internal', accounts: 2 },
    ],
  });
  const { accounts } = organizationData(data, 'oab');
  const [account] = accounts;
  if (account === undefined) throw new Error('no account');
  Object.assign(account, { name: hostile });
  const w = await world(t, { data });
  t.is((await w.run('run', '--month', month, '--invoices')).code, 0);
  restate(data, 'oab', month, (items) => [
    ...items,
    charge(
      { account: account.id, service: '+New "service"', usageType: 'x', region: 'x', day: 1 },
      'Credit',
      costs(units('-98765432109876.0000000001'), 0),
    ),
  ]);
  return w;
}

/** The value of a column in a row of the document, in the words of its head. */
function valueAt(row: unknown, [key, ...rest]: readonly string[]): unknown {
  if (key === undefined || typeof row !== 'object' || row === null) return row;
  return valueAt((row as Row)[key], rest);
}

/** The value as a cell says it. */
function cellOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(cellOf).join('; ');
  if (typeof value === 'string') return value;
  return value === null || value === undefined ? '' : JSON.stringify(value);
}

/** A cell without the apostrophe that keeps a spreadsheet from running it. */
const fused = (cell: string): string => cell.replaceAll(/(^|[;\t|\r\n])'/g, '$1');

function read(csv: string): { head: string[]; rows: string[][] } {
  const [head = [], ...rows] = parse(csv, { record_delimiter: '\r\n' });
  return { head, rows };
}

/** Holds that a command's CSV is its document, row by row and cell by cell. */
function same(t: ExecutionContext, line: string, csv: string, wanted: readonly Row[]): void {
  const { head, rows } = read(csv);
  t.true(head.length > 2, line);
  t.is(rows.length, wanted.length, line);
  for (const [at, row] of wanted.entries())
    for (const [column, name] of head.entries()) {
      if (TIMES.includes(name)) continue;
      const cell = rows[at]?.[column] ?? '(none)';
      t.is(fused(cell), fused(cellOf(valueAt(row, name.split('.')))), `${line}: ${name}`);
      t.notRegex(cell, /^(?!-?[\d.]+$)[=+@-]/, `${line}: ${name} is a formula`);
    }
  // Whatever the document tells of a row that is neither a list nor an object is in the CSV too.
  const told = new Set(head.flatMap((name) => [name, name.split('.', 1)[0]]));
  for (const row of wanted)
    for (const [key, value] of Object.entries(row))
      if (typeof value !== 'object') t.true(told.has(key), `${line}: no column ${key}`);
}

test('the CSV of every command is the rows of its document, exactly', async (t) => {
  const folder = new URL('../../pipeline/commands/', import.meta.url);
  for (const file of await readdir(folder))
    if (file.endsWith('.js')) await import(new URL(file, folder).href);
  const tabular = [...commandFlags].filter(([, flags]) => 'output' in flags).map(([name]) => name);
  const asked = new Set(lines.map(([line]) => line.split(' ', 1)[0] ?? ''));
  t.deepEqual(tabular.sort(), [...asked].sort(), 'a command with --output is not tried here');

  const w = await restated(t);
  // This is what a program reads of the run that has fetched anew, beside what a person is told.
  const again = await w.run('run', '--month', month, '--force', '--invoices', '--output', 'csv');
  t.is(again.code, 0);
  t.is(read(again.stdout).rows.filter(([, , , state]) => state === 'done').length, 6);
  t.regex(again.stderr, /2026-10 oab restated, 1 amount differs/);
  const amounts: string[] = [];
  await Promise.all(
    lines.map(async ([line, rows]) => {
      const words = line.split(' ');
      const json = await w.run(...words, '--output', 'json');
      const csv = await w.run(...words, '--output=csv');
      const short = line === 'status' ? await w.run(...words, '--json') : undefined;
      t.is(csv.code, json.code, `${line}: ${csv.stderr}`);
      if (short !== undefined) t.is(short.stdout, json.stdout);
      const wanted = rows(JSON.parse(json.stdout) as Document);
      t.true(wanted.length > 0, line);
      same(t, line, csv.stdout, wanted);
      const { head, rows: cells } = read(csv.stdout);
      for (const [column, name] of head.entries())
        if (/amount|difference|Amount|before|after/.test(name))
          amounts.push(...cells.map((row) => row[column] ?? ''));
    }),
  );
  // To the last digit, where a number of a machine has lost some.
  t.true(amounts.includes('-98765432109876.0000000001'));
  t.true(amounts.every((text) => text === '' || /^-?\d+(\.\d+)?$/.test(text)));

  w.cloud.faults.push({
    service: 'cost-explorer',
    organization: 'oab',
    kind: 'error',
    code: 'AccessDeniedException',
    status: 400,
    message: '=not for you',
    times: Infinity,
  });
  const broken = ['run', '--month', month, '--force', '--output'];
  const [json, csv] = [await w.run(...broken, 'json'), await w.run(...broken, 'csv')];
  t.deepEqual([json.code, csv.code], [1, 1]);
  const { tasks = [] } = JSON.parse(json.stdout) as Document;
  const failure = tasks.findIndex(({ state }) => state === 'failed');
  const { head, rows } = read(csv.stdout);
  t.regex(rows[failure]?.[head.indexOf('error.message')] ?? '', /not for you/);
  t.is(rows[failure]?.[head.indexOf('resume')], String(tasks[failure]?.['resume']));
});

test('a form is asked for once, and what is wrong is the document of a program', async (t) => {
  const w = await world(t);
  for (const [words, message] of [
    [['status', '--json', '--output', 'csv'], /--json does not go with --output csv/],
    [['status', '--json', '--output', 'table'], /--json does not go with --output table/],
    [['run', '--csv'], /run has no --csv; did you mean --output csv\?/],
    [['report', '--output', 'x'], /report has no --output, .*did you mean --out\?/],
    [['tasks', '--output', 'xml'], /--output is .* one of "table", "lines", "json", "csv"/],
    [['changes', '--month', month, '--output', 'json'], /nothing is staged for 2026-10/],
    [['changes', '--month', month, '--output=json'], /nothing is staged for 2026-10/],
    [['run', '--output', 'csv', '--log-file', '/dev/stdout'], /mix with the result/],
  ] as const) {
    const { code, stdout, stderr } = await w.run(...words);
    t.is(code, words[0] === 'changes' ? 1 : 2, stderr);
    t.regex(stderr, message);
    const isJson = words.some((word) => /^--json$|^json$|=json$/.test(word));
    if (isJson) t.regex((JSON.parse(stdout) as { error: Row }).error['message'] as string, /./);
    else t.is(stdout, '');
  }
  t.is(w.cloud.requests.length, 0);
  const nothing = await w.run('status', '--output', 'csv');
  t.is(read(nothing.stdout).rows.length, 0);
  t.true(nothing.stdout.startsWith('"month","organization",'));
});

/** Texts as hostile as any. */
const text = fc.string({
  unit: fc.constantFrom(
    ...['=', '+', '-', '@', '\t', '\r', '\n', '"', "'", ',', ';', '|', '＝'],
    ...[' ', 'a', '1', '.', '\u001b', '\u009b', '\u202E', '日', '😀'],
  ),
});

test('any text comes back from the CSV, none is a formula, and none obeys a terminal', (t) => {
  fc.assert(
    fc.property(fc.array(fc.record({ a: text, b: fc.record({ c: text }) })), (rows) => {
      const table = { columns: ['a', 'b.c', 'none'], rows };
      const csv = [...csvOf(table, false)].join('');
      const cells = read(csv);
      t.deepEqual(cells.head, ['a', 'b.c', 'none']);
      t.deepEqual(
        cells.rows.map((row) => row.map(fused)),
        rows.map(({ a, b }) => [fused(a), fused(b.c), '']),
      );
      for (const cell of cells.rows.flat())
        if (!/^-?\d+(\.\d+)?$/.test(cell)) t.notRegex(cell, /^[=+\-@\t\r\n＝]/);
      const shown = [...csvOf(table, true)].join('');
      t.notRegex(shown, /[^\P{Cc}\n]|\p{Bidi_Control}/u);
      t.is(shown.split('\n').length, rows.length + 2);
    }),
  );
});

test('every currency is a column, with each amount as it is', (t) => {
  const decimal = fc
    .tuple(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.nat(999_999))
    .map(([whole, part]) => `${whole}.${String(part).padStart(6, '0')}`);
  fc.assert(
    fc.property(
      fc.array(fc.dictionary(fc.constantFrom('USD', 'EUR', 'CNY'), decimal)),
      (amounts) => {
        const rows = amounts.map((amount) => ({ amount }));
        const { head, rows: cells } = read(
          [...csvOf({ columns: ['x', 'amount.*'], rows }, false)].join(''),
        );
        const currencies = [...new Set(amounts.flatMap((one) => Object.keys(one)))].sort();
        t.deepEqual(head, ['x', ...currencies.map((currency) => `amount.${currency}`)]);
        t.deepEqual(
          cells,
          amounts.map((one) => ['', ...currencies.map((currency) => one[currency] ?? '')]),
        );
      },
    ),
  );
});
