import anyTest from 'ava';
import type { TestFn } from 'ava';
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import {
  ConfigurationError,
  DataError,
  describeError,
  PipelineError,
  TransientError,
} from '../../pipeline/errors.js';
import { openDatabase, parseDatabaseUrl } from '../../load/database.js';
import { loadSlice, openFor, silent, temporaryStaging } from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';
import { openInChild } from '../support/open-in-child.js';
import type { SliceContent } from '../support/staged-slice.js';
import { october, stageSlice } from '../support/staged-slice.js';

const test = anyTest as TestFn<{ server: TestServer }>;

test.before(async (t) => {
  t.context.server = await startServer();
});
test.after.always((t) => t.context.server.stop());

const rows = (count: number): SliceContent => ({
  customers: [{}],
  consumption: Array.from({ length: count }, (_, index) => ({ Amount: BigInt(index) })),
});

/** The address with a new user who has only the rights named. */
async function withRights(server: TestServer, url: string, rights: string): Promise<string> {
  const address = new URL(url);
  const user = `u${randomBytes(5).toString('hex')}`;
  const statements = [`CREATE USER '${user}'@'%' IDENTIFIED BY 'secret-${user}'`];
  if (rights !== '')
    statements.push(`GRANT ${rights} ON ${address.pathname.slice(1)}.* TO '${user}'@'%'`);
  await server.query(url, ...statements);
  address.username = user;
  address.password = `secret-${user}`;
  return address.href;
}

test('a process that was killed in the middle of migrating blocks nobody', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await (await openDatabase(parseDatabaseUrl(url), { log: silent })).close();
  const before = await server.query(url, 'SHOW CREATE TABLE consumption');
  // What such a process leaves: Knex's lock, and a step whose table is made but neither indexed nor recorded.
  await server.query(
    url,
    'UPDATE pipeline_migrations_lock SET is_locked = 1',
    "DELETE FROM pipeline_migrations WHERE name IN ('001_consumption', '001_pipeline_loads', '002_difference', '003_metrics', '003_charges')",
    'DROP TABLE pipeline_loads',
    'DROP INDEX consumption_service_billingperiod_index ON consumption',
  );
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(3));
  t.is((await loadSlice(staging, await openFor(t, url))).state, 'done');
  t.deepEqual(await server.query(url, 'SHOW CREATE TABLE consumption'), before);
  t.is((await server.query(url, 'SELECT name FROM pipeline_migrations')).length, 6);
});

test('several processes may make the tables at once', async (t) => {
  const url = await t.context.server.createDatabase();
  await Promise.all([1, 2, 3].map(() => openInChild(url)));
  t.is((await t.context.server.query(url, 'SELECT name FROM pipeline_migrations')).length, 6);
});

test('the tables are documented, exact and sorted by slice', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await openFor(t, url);
  const [created] = await server.query(url, 'SHOW CREATE TABLE consumption');
  const ddl = String(created?.['Create Table']);
  t.regex(ddl, /`Amount` decimal\(38,18\) NOT NULL COMMENT 'UnblendedCost, exactly/);
  t.regex(ddl, /`Tag` varchar\(64\) NOT NULL COMMENT '`aws`, or the organization''s own tag/);
  t.regex(ddl, /PRIMARY KEY \(`BillingPeriod`,`Organization`,`Line`\)/);
  t.regex(ddl, /\(`Reference`,`BillingPeriod`\)/);
  t.regex(ddl, /\(`Service`,`BillingPeriod`\)/);
  t.regex(ddl, /ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin/);
  const columns = await server.query(url, 'SHOW COLUMNS FROM customers');
  t.deepEqual(
    columns.map(({ Field, Type, Null }) => [Field, Type, Null]),
    [
      ['Reference', 'varchar(12)', 'NO'],
      ['TenantName', 'varchar(255)', 'NO'],
      ['Contact', 'varchar(255)', 'NO'],
      ['Email', 'varchar(255)', 'NO'],
      ['Tag', 'varchar(64)', 'NO'],
      ['Status', 'varchar(32)', 'NO'],
      ['Created', 'datetime(3)', 'YES'],
      ['Id', 'varchar(64)', 'NO'],
      ['BillingPeriod', 'date', 'NO'],
      ['Organization', 'varchar(64)', 'NO'],
      ['Line', 'int(11)', 'NO'],
    ],
  );
});

test("somebody else's table of the same name is left alone", async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await server.query(
    url,
    'CREATE TABLE customers (Reference INT)',
    'INSERT INTO customers VALUES (7)',
  );
  await t.throwsAsync(openDatabase(parseDatabaseUrl(url), { log: silent }), {
    instanceOf: ConfigurationError,
    message: /table customers already, and it is not this pipeline's/,
  });
  t.deepEqual(await server.query(url, 'SELECT * FROM customers'), [{ Reference: 7 }]);
  await server.query(url, 'RENAME TABLE customers TO old_customers');
  await t.notThrowsAsync(openFor(t, url));
});

test('a database that a newer version upgraded is refused', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await openFor(t, url);
  await server.query(url, "INSERT INTO pipeline_migrations (name, batch) VALUES ('999_later', 2)");
  await t.throwsAsync(openDatabase(parseDatabaseUrl(url), { log: silent }), {
    instanceOf: ConfigurationError,
    message: /newer version/,
  });
});

test('each refusal says what to do and never the password', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await openFor(t, url);
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(3));
  const empty = await server.createDatabase();
  const changed = (change: (address: URL) => void): string => {
    const address = new URL(url);
    change(address);
    return address.href;
  };
  const open = async (address: string): Promise<void> => {
    await openFor(t, address);
  };
  const load = async (address: string): Promise<void> => {
    await loadSlice(staging, await openFor(t, address));
  };
  const cases: [() => Promise<void>, RegExp, RegExp][] = [
    [
      () => open(changed((a) => (a.password = 'wrong-password'))),
      /^ConfigurationError$/,
      /refuses user or password/,
    ],
    [
      () => open(changed((a) => (a.pathname = '/absent_database'))),
      /^ConfigurationError$/,
      /no such database/,
    ],
    [() => open(changed((a) => (a.port = '1'))), /^TransientError$/, /cannot be reached/],
    [
      () => open(changed((a) => (a.hostname = 'database.invalid'))),
      // A machine without a resolver cannot tell an unknown host.
      /^(Configuration|Transient)Error$/,
      /host is unknown|cannot be reached/,
    ],
    [
      () => open(changed((a) => (a.search = '?ssl=true'))),
      /^ConfigurationError$/,
      /needs the host by its name/,
    ],
    [
      () => open(changed((a) => (a.href = a.href.replace('127.0.0.1', 'localhost') + '?ssl=true'))),
      /^ConfigurationError$/,
      /no trusted TLS connection/,
    ],
    [
      () =>
        open(
          changed(
            (a) => (a.href = a.href.replace('127.0.0.1', 'localhost') + '?ssl-ca=/absent.pem'),
          ),
        ),
      /^ConfigurationError$/,
      /authorities cannot be read/,
    ],
    [
      async () => open(await withRights(server, url, '')),
      /^ConfigurationError$/,
      /no right to this database/,
    ],
    [
      async () => open(await withRights(server, empty, 'SELECT')),
      /^ConfigurationError$/,
      /lacks the right CREATE/,
    ],
    [
      async () => load(await withRights(server, url, 'SELECT')),
      /^ConfigurationError$/,
      /lacks the right DELETE/,
    ],
    [
      async () => load(await withRights(server, url, 'SELECT, DELETE')),
      /^ConfigurationError$/,
      /lacks the right INSERT/,
    ],
  ];
  const password = decodeURIComponent(new URL(url).password);
  for (const [attempt, kind, message] of cases) {
    const error: unknown = await attempt().catch((thrown: unknown) => thrown);
    if (!(error instanceof PipelineError)) return t.fail(`not refused: ${String(message)}`);
    t.regex(error.message, message);
    t.regex(error.name, kind);
    const shown = `${describeError(error)} ${inspect(error, { depth: 9, showHidden: true })}`;
    t.false(/wrong-password|secret-u/.test(shown) || shown.includes(password), shown);
    t.truthy(error.next);
    t.regex(String(error.where), /^(mysql:\/\/\w+@[\w.]+:\d+\/\w+|\/absent.pem|127.0.0.1)$/);
  }
  t.deepEqual(await server.query(url, 'SELECT COUNT(*) AS n FROM pipeline_loads'), [{ n: 0 }]);
});

test('a user who may only read can still open a database that is up to date', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await openFor(t, url);
  const reader = await openFor(t, await withRights(server, url, 'SELECT'));
  t.deepEqual(await reader.knex('pipeline_loads'), []);
});

test('LOAD DATA that is forbidden meanwhile gives way to INSERT', async (t) => {
  const server = await startServer();
  t.teardown(() => server.stop());
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  await server.query(url, 'SET GLOBAL local_infile = 0');
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(30));
  t.is((await loadSlice(staging, database)).state, 'done');
  t.deepEqual(await server.query(url, 'SELECT COUNT(*) AS n FROM consumption'), [{ n: 30 }]);
});

test('a value that the server would cut with a warning fails the load', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  await server.query(url, 'ALTER TABLE consumption MODIFY Service VARCHAR(5) NOT NULL');
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(2));
  await t.throwsAsync(loadSlice(staging, database), {
    instanceOf: DataError,
    message: /does not take 2 values of consumption as they are: .*Service/,
  });
  t.deepEqual(await server.query(url, 'SELECT COUNT(*) AS n FROM consumption'), [{ n: 0 }]);
});

test('a connection that breaks in mid load leaves the old rows', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(5));
  await loadSlice(staging, database);
  await stageSlice(staging, october, rows(40_000));
  let killed: Promise<unknown> | undefined;
  const onProgress = (text: string): void => {
    if (!text.startsWith('consumption 10000')) return;
    killed = server
      .query(
        url,
        `SELECT id FROM information_schema.processlist WHERE db = '${new URL(url).pathname.slice(1)}' AND id <> CONNECTION_ID()`,
      )
      .then((found) => server.query(url, ...found.map(({ id }) => `KILL ${String(id)}`)));
  };
  await t.throwsAsync(loadSlice(staging, database, { onProgress }), {
    instanceOf: TransientError,
    message: /connection to the database broke/,
  });
  await killed;
  t.deepEqual(await server.query(url, 'SELECT COUNT(*) AS n FROM consumption'), [{ n: 5 }]);
  t.is((await loadSlice(staging, database)).state, 'done');
  t.deepEqual(await server.query(url, 'SELECT COUNT(*) AS n FROM consumption'), [{ n: 40_000 }]);
});

test('a server that dies in mid load leaves the old rows', async (t) => {
  for (const flags of [[], ['--local-infile=0']]) {
    const server = await startServer(flags);
    t.teardown(() => server.stop());
    const url = await server.createDatabase();
    const database = await openFor(t, url);
    const staging = await temporaryStaging(t);
    await stageSlice(staging, october, rows(5));
    await loadSlice(staging, database);
    await stageSlice(staging, october, rows(40_000));
    let dead: Promise<void> | undefined;
    const onProgress = (text: string): void => {
      if (text.startsWith('consumption 20000')) dead = server.kill();
    };
    const error = await t.throwsAsync(loadSlice(staging, database, { onProgress }), {
      instanceOf: TransientError,
    });
    t.regex(error.message, /broke|cannot be reached/);
    await dead;
    await t.throwsAsync(loadSlice(staging, database), {
      instanceOf: TransientError,
      message: /cannot be reached|broke/,
    });
    await server.restart();
    t.deepEqual(await server.query(url, 'SELECT COUNT(*) AS n FROM consumption'), [{ n: 5 }]);
    t.is((await loadSlice(staging, database)).state, 'done');
    t.deepEqual(await server.query(url, 'SELECT COUNT(*) AS n FROM consumption'), [{ n: 40_000 }]);
  }
});
