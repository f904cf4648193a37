import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { root } from '../support/cli.js';
import { installPackages } from '../support/debian.js';
import { query } from '../support/duckdb.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { loadSlice, openFor, temporaryStaging } from '../support/load-fixture.js';
import { openServer } from '../support/mariadb.js';
import { querySqlite } from '../support/sqlite.js';
import { run } from '../support/transform.js';

/** The recipes of docs/reading.md, run as they stand. Those for pyarrow, polars, R and LibreOffice are run by hand. */
const reading = await readFile(join(root, 'docs/reading.md'), 'utf8');
const month = parseMonth('2026-10');
const [old, joined] = ['oab', 'internal'].map((organization) => ({ month, organization }));

/** The code blocks of a section, in order. */
function blocks(section: string, language: string): string[] {
  const [, text = ''] = reading.split(`\n## ${section}\n`);
  const [own = ''] = text.split('\n## ');
  return [...own.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(
    ([, block = '']) => block,
  );
}

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
const sums = { oab: '1000000000000.0000000012', internal: '12.000000000000000001' };

async function stage(t: ExecutionContext): Promise<{ staging: Staging; folder: string }> {
  const staging = await temporaryStaging(t);
  const listed = names.map((Name, index) => ({ Id: idOf(index), Name, State: 'ACTIVE' }));
  await makeExtraction(staging, joined!, {
    accounts: [{ Accounts: listed }],
    costs: [costAnswer([group('Tax', idOf(0), sums.internal)])],
  });
  await makeExtraction(staging, old!, {
    accounts: [{ Accounts: listed.slice(1) }],
    costs: [
      costAnswer([
        group('Tax', idOf(0), '0.0000000001'),
        group('AWS Lambda', idOf(0), '0.0000000011'),
        group('AWS Lambda', idOf(1), '1000000000000'),
      ]),
    ],
  });
  for (const slice of [old!, joined!]) await run(staging, { slice });
  return { staging, folder: dirname(staging.location) };
}

/** Without trailing zeros, as different readers print them. */
function plain(amount: unknown): string {
  return String(amount)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
}

test('DuckDB: its statements, with exact sums, and the join with one row for each row', async (t) => {
  const { folder } = await stage(t);
  const bind = (sql: string): string =>
    sql.replaceAll("'staging/", `'${folder}/staging/`).replace('Amount > 100', 'Amount > 0');
  const [parquet = '', csv = ''] = blocks('DuckDB', 'sql');
  for (const sql of [parquet, csv]) {
    const rows = await query(bind(sql).replace('AS Amount', '::VARCHAR AS Amount'));
    t.deepEqual(
      rows.map(({ Organization, Amount }) => [Organization, plain(Amount)]),
      [
        ['internal', sums.internal],
        ['oab', sums.oab],
      ],
    );
  }
  const [, join = ''] = /^```sql\n([^]*?)^```$/m.exec(reading) ?? [];
  const rows = await query(bind(join));
  t.deepEqual(
    rows.map(({ Organization, TenantName, Status }) => [Organization, TenantName, Status].join()),
    ['oab,N/A,active', 'internal,007,active', 'oab,007,unlisted', 'oab,007,unlisted'],
  );
});

test('pandas: ids, N/A, texts and exact sums as the CSV files have them', async (t) => {
  const python = '/usr/bin/python3';
  const reason = await installPackages(`${python} -c "import pandas"`, 'python3-pandas');
  t.is(reason, undefined, 'this test needs pandas: apt-get install python3-pandas');
  const { folder } = await stage(t);
  const [, csv = ''] = blocks('pandas', 'python');
  const script = `${csv}
import json, sys
customers = pd.read_csv("staging/csv/customers/month=2026-10/internal.csv", dtype=str, keep_default_na=False)
json.dump({
  "sums": {"/".join(key): format(value, "f") for key, value in sums.items()},
  "regions": consumption["Region"].value_counts().to_dict(),
  "ids": customers["Reference"].tolist(), "names": customers["TenantName"].tolist(),
}, sys.stdout)`;
  const { stdout } = await promisify(execFile)(python, ['-c', script], { cwd: folder });
  t.deepEqual(JSON.parse(stdout), {
    sums: { 'oab/USD': sums.oab, 'internal/USD': sums.internal },
    regions: { 'N/A': 4 },
    ids: names.map((_, index) => idOf(index)),
    names,
  });
});

test('SQLite, MySQL and MariaDB: their statements', async (t) => {
  const { staging, folder } = await stage(t);
  const server = await openServer();
  t.teardown(() => server.stop());
  const address = await server.createDatabase();
  const file = join(folder, 'billing.sqlite');
  for (const url of [`sqlite:${file}`, address]) {
    const database = await openFor(t, url);
    for (const slice of [old!, joined!]) await loadSlice(staging, database, { slice });
  }
  const [sqlite = ''] = blocks('SQLite', 'sql');
  t.deepEqual(
    querySqlite(file, sqlite).map(({ Organization, TenantName, n }) => [
      Organization,
      TenantName,
      n,
    ]),
    [
      ['oab', '007', 2],
      ['internal', '007', 1],
      ['oab', 'N/A', 1],
    ],
  );
  const [mysql = ''] = blocks('MySQL and MariaDB', 'sql');
  const rows = await server.query(address, mysql);
  t.deepEqual(
    rows.map(({ Organization, TenantName, Amount }) => [Organization, TenantName, plain(Amount)]),
    [
      ['oab', 'N/A', '1000000000000'],
      ['internal', '007', sums.internal],
      ['oab', '007', '0.0000000012'],
    ],
  );
});
