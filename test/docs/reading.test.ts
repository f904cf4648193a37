import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parse } from 'csv-parse/sync';
import { parseMonth, timePeriod } from '../../pipeline/shared/month.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { pipeline, root } from '../support/cli.js';
import { installPackages } from '../support/debian.js';
import { query } from '../support/duckdb.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { loadSlice, openFor, temporaryStaging } from '../support/load-fixture.js';
import { openServer } from '../support/mariadb.js';
import { querySqlite } from '../support/sqlite.js';
import { run } from '../support/transform.js';
import { codeBlocks } from './sections.js';

/** The recipes of docs/reading.md, run as they stand. Those for pyarrow and polars are run by `npm run test:real`, LibreOffice's by hand. */
const reading = await readFile(join(root, 'docs/reading.md'), 'utf8');
const [september, october] = ['2026-09', '2026-10'].map(parseMonth);
const slices = {
  before: { month: september!, organization: 'oab' },
  old: { month: october!, organization: 'oab' },
  joined: { month: october!, organization: 'internal' },
};

const blocks = (section: string, language: string): string[] =>
  codeBlocks(reading, section, language);

/** Names that readers take for something else, and one of an account that changed payers: 000000000012. */
const names = [
  '007',
  'N/A',
  'NULL',
  'nan',
  '',
  '1.234',
  ' padded ',
  'Left, Ltd',
  'say "x"',
  'two\nlines',
  'a;b',
  'Doe\r',
  'é',
];
const idOf = (index: number): string => String(index + 12).padStart(12, '0');
/** A sum that no float holds. */
const large = '1000000000000.0000000001';

async function stage(t: ExecutionContext): Promise<{ staging: Staging; folder: string }> {
  const staging = await temporaryStaging(t);
  const listed = names.map((Name, index) => ({ Id: idOf(index), Name, State: 'ACTIVE' }));
  const make = async (
    slice: (typeof slices)['old'],
    accounts: readonly object[],
    groups: readonly object[],
  ): Promise<void> => {
    const period = { TimePeriod: timePeriod(slice.month), Total: {}, Groups: groups };
    const costs = [costAnswer(groups, { ResultsByTime: [period] })];
    await makeExtraction(staging, slice, { accounts: [{ Accounts: accounts }], costs });
  };
  await make(slices.joined, listed, [group('Tax', idOf(0), '12.5')]);
  await make(slices.old, listed.slice(1), [
    group('Tax', idOf(0), '0.25'),
    group('AWS Lambda', idOf(0), '3'),
    group('AWS Lambda', idOf(1), large),
  ]);
  await make(slices.before, listed, [
    group('Tax', idOf(0), '100'),
    group('AWS Lambda', idOf(1), '7'),
  ]);
  for (const slice of Object.values(slices)) await run(staging, { slice });
  return { staging, folder: dirname(staging.location) };
}

/** Without trailing zeros, as different readers print them, and with the digits that a number of 64 bits holds. */
function plain(amount: unknown): string {
  const text = String(amount);
  return text === 'null' ? '0' : text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');
}

const rounded = (amount: unknown): number => Number(Number(amount ?? 0).toPrecision(13));

/** What the recipes have to find: each customer's service in September and October … */
const pivot = [
  [idOf(0), 'AWS Lambda', '0', '3'],
  [idOf(0), 'Tax', '100', '12.75'],
  [idOf(1), 'AWS Lambda', '7', large],
];
/** … the costs of October with their names, the largest first … */
const joined = [
  ['oab', 'N/A', 'AWS Lambda', large],
  ['internal', '007', 'Tax', '12.5'],
  ['oab', '007', 'AWS Lambda', '3'],
  ['oab', '007', 'Tax', '0.25'],
];
/** … and who moved most. */
const movers = [
  [idOf(1), '999999999993.0000000001'],
  [idOf(0), '-84.25'],
];
/** Rows of the customer 000000000012. */
const OWN = 4;

/** Sorted by id and service. */
const sorted = (rows: unknown[][]): unknown[][] =>
  rows.sort((a, b) => (String(a.slice(0, 2)) < String(b.slice(0, 2)) ? -1 : 1));

const inNumbers = (rows: readonly (readonly string[])[], texts: number): unknown[][] =>
  rows.map((row) => row.map((value, index) => (index < texts ? value : rounded(value))));

async function ownRows(folder: string, delimiter = ','): Promise<void> {
  const text = await readFile(join(folder, 'customer.csv'), 'utf8');
  const records: Record<string, string>[] = parse(text, { columns: true, delimiter });
  if (records.length !== OWN) throw new Error(`${records.length} rows: ${text}`);
  for (const { Reference } of records)
    if (Reference !== idOf(0)) throw new Error(`a row of ${Reference}`);
}

test('DuckDB: the four recipes, with exact sums, and the CSV files', async (t) => {
  const { folder } = await stage(t);
  const bind = (sql: string): string =>
    sql.replaceAll("'staging/", `'${folder}/staging/`).replace("'customer", `'${folder}/customer`);
  const recipes = blocks('DuckDB', 'sql').map(bind);
  t.is(recipes.length, 5);
  const [byMonth = '', join = '', moved = '', file = '', csv = ''] = recipes;
  t.deepEqual(
    sorted(
      (await query(byMonth)).map((row) => [
        row['Reference'],
        row['Service'],
        plain(row['2026-09']),
        plain(row['2026-10']),
      ]),
    ),
    pivot,
  );
  t.deepEqual(
    (await query(join))
      .filter(({ month }) => month === '2026-10')
      .map((row) => [row['Organization'], row['TenantName'], row['Service'], plain(row['Amount'])]),
    joined,
  );
  t.deepEqual(
    (await query(moved)).map(({ Reference, change }) => [Reference, plain(change)]),
    movers,
  );
  await query(file);
  await ownRows(folder);
  t.deepEqual(
    (await query(csv)).map(({ Organization, Amount }) => [Organization, plain(Amount)]),
    [
      ['internal', '12.5'],
      ['oab', '1000000000110.2500000001'],
    ],
  );
});

test('DuckDB: CSV files of two organizations, of which only the second has quotes within quotes', async (t) => {
  const staging = await temporaryStaging(t);
  // Farther down than DuckDB looks in a second file before it takes the first one's form for its own.
  const accounts = 2500;
  for (const [organization, count, service] of [
    ['internal', 3, 'Tax'],
    ['oab', accounts, 'Pro, "Usage-Based" (Metrics & Logs)'],
  ] as const) {
    const slice = { month: october!, organization };
    const groups = Array.from({ length: count }, (_, index) =>
      group(index === count - 1 ? service : 'AWS Lambda', idOf(index), '1.25'),
    );
    await makeExtraction(staging, slice, { costs: [costAnswer(groups)] });
    await run(staging, { slice });
  }
  const folder = dirname(staging.location);
  const statement = blocks('DuckDB', 'sql').at(-1)!.replace("'staging/", `'${folder}/staging/`);
  t.deepEqual(
    (await query(statement)).map(({ Organization, Amount }) => [Organization, plain(Amount)]),
    [
      ['internal', '3.75'],
      ['oab', String(accounts * 1.25)],
    ],
  );
  // As the page says: without these options the same files cannot be read.
  await t.throwsAsync(query(statement.replace(`, quote = '"', escape = '"'`, '')));
});

/** The customers' names and ids as the CSV files have them, and what the recipes find, as JSON. */
const asked = { pivot: inNumbers(pivot, 2), joined, movers: inNumbers(movers, 1) };

test('pandas: the four recipes, with ids, N/A, texts and exact sums as the CSV files have them', async (t) => {
  const python = '/usr/bin/python3';
  const reason = await installPackages(`${python} -c "import pandas"`, 'python3-pandas');
  t.is(reason, undefined, 'this test needs pandas: apt-get install python3-pandas');
  const { folder } = await stage(t);
  // The first block reads the Parquet files, which takes pyarrow.
  const [, csv = '', recipes = ''] = blocks('pandas', 'python');
  const script = `${csv}
${recipes}
import json, sys
own = read("customers").query("Organization == 'internal'")
october = costs[costs["month"] == "2026-10"].sort_values("Amount", ascending=False)
json.dump({
  "pivot": [[key[0], key[2], float(row.get("2026-09", 0)), float(row["2026-10"])] for key, row in by_month.iterrows()],
  "joined": [[row.Organization, row.TenantName, row.Service, format(row.Amount, "f")] for row in october.itertuples()],
  "movers": [[key[0], float(value)] for key, value in movers.items()],
  "regions": consumption["Region"].value_counts().to_dict(),
  "ids": own["Reference"].tolist(), "names": own["TenantName"].tolist(),
}, sys.stdout)`;
  const { stdout } = await promisify(execFile)(python, ['-c', script], { cwd: folder });
  const found = JSON.parse(stdout) as typeof asked;
  t.deepEqual({ ...found, pivot: numbered(found.pivot, 2), movers: numbered(found.movers, 1) }, {
    ...asked,
    regions: { 'N/A': 6 },
    ids: names.map((_, index) => idOf(index)),
    names,
  } as unknown as typeof asked);
  await ownRows(folder);
});

const numbered = (rows: unknown[][], texts: number): unknown[][] =>
  rows.map((row) => row.map((value, index) => (index < texts ? value : rounded(value))));

test('R: the four recipes', async (t) => {
  const reason = await installPackages('command -v Rscript', 'r-base-core');
  t.is(reason, undefined, 'this test needs R: apt-get install r-base-core');
  const { folder } = await stage(t);
  const [recipe = ''] = blocks('R', 'r');
  await writeFile(
    join(folder, 'recipe.R'),
    `${recipe}
options(digits = 15)
october <- costs[costs$month == "2026-10", ]
october <- october[order(-october$Amount), ]
show <- function(kind, ...) cat(paste(kind, ..., sep = "\\t"), sep = "\\n")
show("pivot", rownames(by_month), by_month[, "2026-09"], by_month[, "2026-10"])
show("joined", october$Organization, october$TenantName, october$Service, october$Amount)
show("movers", names(movers), movers)
`,
  );
  const { stdout } = await promisify(execFile)('Rscript', ['--vanilla', 'recipe.R'], {
    cwd: folder,
  });
  const lines = (kind: string): string[][] =>
    stdout
      .split('\n')
      .map((line) => line.split('\t'))
      .filter(([first]) => first === kind)
      .map(([, ...cells]) => cells);
  t.deepEqual(
    lines('pivot').map(([key = '', before, after]) => {
      const [id, , service] = key.split(' | ');
      return [id, service, rounded(before), rounded(after)];
    }),
    asked.pivot,
  );
  t.deepEqual(numbered(lines('joined'), 3), inNumbers(joined, 3));
  t.deepEqual(
    lines('movers').map(([key = '', change]) => [key.split(' ')[0], rounded(change)]),
    asked.movers,
  );
  await ownRows(folder);
});

test('SQLite, MySQL and MariaDB: the four recipes, and the first query of the page', async (t) => {
  const { staging, folder } = await stage(t);
  const reason = await installPackages('command -v sqlite3', 'sqlite3');
  t.is(reason, undefined, 'this test needs the shell of SQLite: apt-get install sqlite3');
  const client = await installPackages('command -v mariadb', 'mariadb-client');
  t.is(client, undefined, 'this test needs the client of MariaDB: apt-get install mariadb-client');
  const server = await openServer();
  t.teardown(() => server.stop());
  const address = await server.createDatabase();
  const file = join(folder, 'billing.sqlite');
  for (const url of [`sqlite:${file}`, address]) {
    const database = await openFor(t, url);
    for (const slice of Object.values(slices)) await loadSlice(staging, database, { slice });
    await database.close();
  }
  const shell = (command: string) => promisify(execFile)('sh', ['-c', command], { cwd: folder });

  const first = /^sqlite3 -box .*$/m.exec(reading)?.[0] ?? '';
  const { stdout } = await shell(first.replace('-box', '-csv'));
  t.deepEqual(stdout.trim().split(/\r?\n/), [
    '2026-10,N/A,1000000000000.0,USD',
    '2026-10,007,15.75,USD',
  ]);

  const [sqlite, mysql] = [blocks('SQLite', 'sql'), blocks('MySQL and MariaDB', 'sql')];
  t.deepEqual([sqlite.length, mysql.length], [3, 4]);
  const ask = {
    sqlite: (sql = '') => Promise.resolve(querySqlite(file, sql)),
    mysql: (sql = '') => server.query(address, sql),
  };
  for (const [kind, recipes] of [
    ['sqlite', sqlite],
    ['mysql', mysql],
  ] as const) {
    const isExact = kind === 'mysql';
    const amount = isExact ? plain : rounded;
    t.deepEqual(
      sorted(
        (await ask[kind](recipes[0])).map((row) => [
          row['Reference'],
          row['Service'],
          amount(row['2026-09']),
          amount(row['2026-10']),
        ]),
      ),
      isExact ? pivot : asked.pivot,
    );
    t.deepEqual(
      (await ask[kind](recipes[1])).map((row) => [
        row['Organization'],
        row['TenantName'],
        row['Service'],
        plain(row['Amount']),
      ]),
      joined,
    );
    t.deepEqual(
      (await ask[kind](recipes[2])).map((row) => [
        row['Reference'],
        amount(row['change'] ?? row['moved']),
      ]),
      isExact ? movers : asked.movers,
    );
  }

  const [own = ''] = blocks('SQLite', 'sh');
  await shell(own);
  await ownRows(folder);
  const { username, password, hostname, port, pathname } = new URL(address);
  const login = [
    '[client]',
    `user=${decodeURIComponent(username)}`,
    `password="${decodeURIComponent(password).replaceAll(/["\\]/g, '\\$&')}"`,
    `host=${hostname}`,
    `port=${port}`,
    '[mysql]',
    `database=${pathname.slice(1)}`,
  ];
  await writeFile(join(folder, '.my.cnf'), login.join('\n'));
  const [exported = ''] = blocks('MySQL and MariaDB', 'sh');
  await shell(`HOME=${folder} ${exported.replace('customer.tsv', 'customer.csv')}`);
  await ownRows(folder, '\t');

  await server.query(address, mysql[3] ?? '');
  const [view] = await server.query(
    address,
    "SELECT COUNT(*) AS n, SUM(Amount) AS Amount FROM costs WHERE month = '2026-10' AND TenantName = '007'",
  );
  t.deepEqual([Number(view?.['n']), plain(view?.['Amount'])], [3, '15.75']);
});

test('the page begins with an export that needs no reader', async (t) => {
  const { folder } = await stage(t);
  const [, line = ''] = /^npx (pipeline export .*)$/m.exec(reading) ?? [];
  const args = line.split(' ').slice(1);
  const { code, stderr } = await pipeline(
    args.map((word) => (word === '2026-08' ? '2026-09' : word)),
    { cwd: folder },
  );
  t.deepEqual([code, stderr], [0, '']);
});
