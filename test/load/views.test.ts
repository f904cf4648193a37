import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import test from 'ava';
import { openDatabase } from '../../load/database.js';
import { migrate } from '../../load/migrations.js';
import { viewSteps } from '../../load/views.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import { ConfigurationError } from '../../pipeline/shared/errors.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import {
  loadSlice,
  openFor,
  silent,
  temporaryFolder,
  temporaryStaging,
} from '../support/load-fixture.js';
import { expectedViews, loadMonths, loaded } from '../support/loaded-months.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';
import { executeSqlite, querySqlite } from '../support/sqlite.js';
import { october, stageSlice } from '../support/staged-slice.js';

let server: TestServer;
test.before(async () => {
  server = await openServer();
});
test.after.always(() => server.stop());

const names = ['customer_month', 'service_month', 'organization_month', 'movement', 'load_state'];
const money = new Set(['Amount', 'PreviousAmount', 'Change', 'Difference']);

/** Rows as lists of texts, in the order of their keys. */
function texts(
  rows: readonly Record<string, unknown>[],
  columns: readonly string[],
): (string | null)[][] {
  const lists = rows.map((row) =>
    columns.map((name) => (row[name] == null ? null : `${row[name] as string | number}`)),
  );
  return sorted(lists, columns);
}

function sorted<T extends readonly (string | null)[]>(
  rows: readonly T[],
  columns: readonly string[],
): T[] {
  const key = (row: T): string => JSON.stringify(row.filter((_, at) => !money.has(columns[at]!)));
  return [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

test('each view is what DuckDB makes of the Parquet files: exact in MySQL, numbers in SQLite', async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const staging = await temporaryStaging(t);
  const url = await server.createDatabase();
  await loadMonths(staging, await openFor(t, url), await openFor(t, `sqlite:${file}`));
  for (const { name, columns, rows } of await expectedViews(staging)) {
    t.true(rows.length >= loaded.length, name);
    const expected = sorted(rows, columns);
    const exact = await server.query(url, `SELECT * FROM ${name}`);
    t.deepEqual(texts(exact, columns), expected, name);

    const found = texts(querySqlite(file, `SELECT * FROM ${name}`), columns);
    const isMoney = columns.map((column) => money.has(column));
    const others = (lists: readonly (readonly (string | null)[])[]): unknown =>
      lists.map((row) => row.filter((value, at) => !isMoney[at]! || value === null));
    t.deepEqual(others(found), others(expected), name);
    for (const [index, row] of expected.entries())
      for (const [at, text] of row.entries())
        if (isMoney[at]! && text !== null) {
          const [is, should] = [Number(found[index]![at]), Number(text)];
          // Changes are differences of amounts, and as far from being exact as those.
          const of = Math.max(
            ...row.map((one, other) => (isMoney[other]! ? Math.abs(Number(one)) : 0)),
          );
          t.true(Math.abs(is - should) <= of * 1e-9, `${name} ${row.join(' ')}: ${is}`);
        }
  }
  const kinds = 'SELECT Kind, COUNT(*) AS n FROM movement GROUP BY Kind ORDER BY Kind';
  const counted = await server.query(url, kinds);
  t.deepEqual(
    counted.map(({ Kind }) => Kind),
    ['appeared', 'changed', 'vanished'],
  );
  t.deepEqual(
    counted.map(({ n }) => Number(n)),
    querySqlite(file, kinds).map(({ n }) => Number(n)),
  );
});

test('both kinds of databases have the same columns', async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  await openFor(t, `sqlite:${file}`);
  const url = await server.createDatabase();
  await openFor(t, url);
  for (const name of names) {
    const ours = querySqlite(file, `SELECT name FROM pragma_table_info('${name}')`);
    const theirs = await server.query(url, `SHOW COLUMNS FROM ${name}`);
    t.deepEqual(
      theirs.map(({ Field }) => Field),
      ours.map((column) => column['name']),
    );
    t.is(ours[0]!['name'], 'BillingPeriod');
  }
  const types = await server.query(url, 'SHOW COLUMNS FROM customer_month');
  const typeOf = (column: string): unknown => types.find(({ Field }) => Field === column)?.['Type'];
  t.is(typeOf('BillingPeriod'), 'date');
  for (const column of ['Amount', 'PreviousAmount', 'Change'])
    t.regex(String(typeOf(column)), /^decimal\(\d+,18\)$/);
});

test('a month that another billing view tells is compared with none', async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const staging = await temporaryStaging(t);
  const url = await server.createDatabase();
  await loadMonths(staging, await openFor(t, url), await openFor(t, `sqlite:${file}`));
  const sql = `SELECT Reference, PreviousAmount FROM customer_month
    WHERE BillingPeriod = '2026-10-28' AND Organization = 'oab' AND (PreviousAmount IS NOT NULL OR Amount = 0)`;
  t.not((await server.query(url, sql)).length, 0);
  const change = "UPDATE pipeline_loads SET BillingViewArn = 'arn:x' WHERE Month = '2026-09'";
  await server.query(url, change);
  executeSqlite(file, change);
  t.deepEqual(await server.query(url, sql), []);
  t.deepEqual(querySqlite(file, sql), []);
});

test('a question for one month reads its rows and those of the month before, and no others', async (t) => {
  const staging = await temporaryStaging(t);
  const url = await server.createDatabase();
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const databases = [await openFor(t, url), await openFor(t, `sqlite:${file}`)];
  const [months, rows] = [12, 200];
  for (let month = 1; month <= months; month++) {
    const slice = {
      month: parseMonth(`2025-${String(month).padStart(2, '0')}`),
      organization: 'oab',
    };
    const consumption = Array.from({ length: rows }, () => ({ Amount: BigInt(month) }));
    await stageSlice(staging, slice, { customers: [{}], consumption });
    for (const database of databases) await loadSlice(staging, database, { slice });
  }
  await server.query(url, 'ANALYZE TABLE consumption, customers, pipeline_loads');
  for (const name of names.slice(0, 4)) {
    const read = await server.query(
      url,
      'FLUSH STATUS',
      `SELECT * FROM ${name} WHERE BillingPeriod = '2025-10-28'`,
      "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_rnd_next')",
    );
    const sum = read.reduce((all, { Value }) => all + Number(Value), 0);
    t.true(sum >= 2 * rows, `${name}: ${sum}`);
    t.true(sum < 3 * rows, `${name}: ${sum}`);
    const plan = querySqlite(
      file,
      `EXPLAIN QUERY PLAN SELECT * FROM ${name} WHERE BillingPeriod = '2025-10-28'`,
    );
    const lines = plan.map(({ detail }) => String(detail)).join('\n');
    t.regex(lines, /SEARCH c USING INDEX \S+ \(BillingPeriod=\? AND Organization=\?\)/, name);
    t.notRegex(lines, /SCAN (?:c|a|b|customers|consumption)\b/, name);
  }
});

test('without the right CREATE VIEW rows are loaded, and the GRANT that is named brings the views', async (t) => {
  const url = await server.createDatabase();
  const address = new URL(url);
  const user = `u'${randomBytes(5).toString('hex')}`;
  const name = address.pathname.slice(1);
  const quoted = user.replace("'", "''");
  await server.query(
    url,
    `CREATE USER '${quoted}'@'%' IDENTIFIED BY 'secret'`,
    `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON ${name}.* TO '${quoted}'@'%'`,
  );
  address.username = encodeURIComponent(user);
  address.password = 'secret';
  // MySQL wants the password itself of a user who never came before.
  address.searchParams.set('get-server-public-key', 'true');
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, { customers: [{}], consumption: [{ Amount: 5n }] });
  const without = await openFor(t, address.href);
  t.is((await loadSlice(staging, without)).state, 'done');
  t.is(without.viewGrant, `GRANT CREATE VIEW ON \`${name}\`.* TO '${quoted}'@'%'`);
  // Again, and now there is nothing to do but the views.
  t.is((await openFor(t, address.href)).viewGrant, without.viewGrant);
  // Servers say no in other languages too.
  for (const language of ['de_DE', 'fr_FR', 'ja_JP']) {
    await without.knex.raw('SET SESSION lc_messages = ?', [language]);
    t.false(await migrate(without.knex, 'mysql'), language);
  }

  await server.query(url, without.viewGrant!);
  t.is((await openFor(t, address.href)).viewGrant, undefined);
  t.like(await server.query(url, 'SELECT * FROM customer_month'), [
    { Reference: '012345678901', Amount: '0.000000000000000005', PreviousAmount: null },
  ]);
});

test('a database of before gets the views, with the loads that it has, and loses an index', async (t) => {
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, { customers: [{}], consumption: [{ Amount: 5n }] });
  const before = [
    ...names.map((name) => `DROP VIEW ${name}`),
    'ALTER TABLE pipeline_loads DROP COLUMN Provisional',
    'CREATE INDEX consumption_service_billingperiod_index ON consumption (Service, BillingPeriod)',
    "DELETE FROM pipeline_migrations WHERE name LIKE '002%' OR name LIKE '003%' OR name LIKE '%month' OR name IN ('001_movement', '001_load_state')",
  ];
  const url = await server.createDatabase();
  const file = join(await temporaryFolder(t), 'a.sqlite');
  for (const place of [url, `sqlite:${file}`]) {
    const database = await openDatabase(parseDatabaseUrl(place), { log: silent });
    await loadSlice(staging, database);
    await database.close();
  }
  await server.query(url, ...before);
  executeSqlite(file, before.join(';\n'));
  await openFor(t, url);
  await openFor(t, `sqlite:${file}`);
  const sql =
    'SELECT s.Provisional, c.Reference FROM load_state s JOIN customer_month c USING (BillingPeriod, Organization)';
  t.deepEqual(await server.query(url, sql), [{ Provisional: null, Reference: '012345678901' }]);
  t.deepEqual(querySqlite(file, sql), [{ Provisional: null, Reference: '012345678901' }]);
  t.deepEqual(
    await server.query(url, "SHOW INDEX FROM consumption WHERE Column_name = 'Service'"),
    [],
  );
  t.deepEqual(
    querySqlite(file, "SELECT * FROM sqlite_master WHERE name LIKE '%service_billing%'"),
    [],
  );
});

test('a process that was killed between a view and its record blocks nobody', async (t) => {
  const url = await server.createDatabase();
  await openFor(t, url);
  await server.query(url, "DELETE FROM pipeline_migrations WHERE name = '001_movement'");
  t.is((await openFor(t, url)).viewGrant, undefined);
  const done = await server.query(url, 'SELECT name FROM pipeline_migrations');
  for (const { name } of viewSteps('mysql')) t.true(done.some((step) => step['name'] === name));
});

test("somebody else's table or view of such a name is left alone", async (t) => {
  for (const made of ['TABLE movement (a INT)', 'VIEW load_state AS SELECT 1 AS a']) {
    const url = await server.createDatabase();
    const file = join(await temporaryFolder(t), 'a.sqlite');
    await server.query(url, `CREATE ${made}`);
    executeSqlite(file, `CREATE ${made}`);
    for (const place of [url, `sqlite:${file}`])
      await t.throwsAsync(openDatabase(parseDatabaseUrl(place), { log: silent }), {
        instanceOf: ConfigurationError,
        message: /has a table (?:movement|load_state) already/,
      });
  }
});

test('to SQLite a name in other letters is the same name, whatever has it', async (t) => {
  const folder = await temporaryFolder(t);
  for (const [index, made] of [
    'CREATE TABLE Movement (a INT)',
    'CREATE VIEW Load_State AS SELECT 1 AS a',
    'CREATE TABLE x (a INT UNIQUE); CREATE INDEX service_month ON x (a)',
    'CREATE TABLE CUSTOMERS (a INT)',
    'CREATE VIEW consumption AS SELECT 1 AS a',
  ].entries()) {
    const file = join(folder, `${index}.sqlite`);
    executeSqlite(file, made);
    await t.throwsAsync(
      openDatabase(parseDatabaseUrl(`sqlite:${file}`), { log: silent }),
      { instanceOf: ConfigurationError, message: /has a table \w+ already/ },
      made,
    );
  }
});

test('readers of any character set and collation can compare what the views say themselves', async (t) => {
  const staging = await temporaryStaging(t);
  const url = await server.createDatabase();
  await loadMonths(staging, await openFor(t, url));
  for (const set of ['latin1', 'utf8mb3', 'utf8mb4 COLLATE utf8mb4_spanish_ci']) {
    const rows = await server.query(
      url,
      `SET NAMES ${set}`,
      "SET SESSION sql_mode = 'ANSI,ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES'",
      "SELECT m.Kind, c.Status FROM movement m JOIN customer_month c USING (BillingPeriod, Organization, Reference) WHERE m.Kind = 'vanished' AND c.Status = 'gone' AND m.Reference = '000000000002'",
    );
    t.deepEqual(rows, [{ Kind: 'vanished', Status: 'gone' }], set);
  }
});
