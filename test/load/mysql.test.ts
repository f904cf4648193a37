import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { inspect } from 'node:util';
import anyTest from 'ava';
import type { TestFn } from 'ava';
import mysql from 'mysql2/promise';
import { openDatabase, openForReading, probeConnection, probeRights } from '../../load/database.js';
import { countDimensions, tableSteps } from '../../load/schema.js';
import { viewSteps } from '../../load/views.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import {
  ConfigurationError,
  DataError,
  PipelineError,
  TransientError,
  describeError,
} from '../../pipeline/shared/errors.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Outcome } from '../../pipeline/shared/outcome.js';
import type { Slice } from '../../pipeline/staging/layout.js';
import { exportKey } from '../../pipeline/staging/layout.js';
import type { Staging } from '../../pipeline/staging/staging.js';
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

const steps = tableSteps('mysql').length + viewSteps('mysql').length;

test('a process that was killed in the middle of migrating blocks nobody', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await (await openDatabase(parseDatabaseUrl(url), { log: silent })).close();
  const before = await server.query(url, 'SHOW CREATE TABLE consumption');
  // What such a process leaves: Knex's lock, and a step whose table is made but neither indexed nor recorded.
  await server.query(
    url,
    'UPDATE pipeline_migrations_lock SET is_locked = 1',
    "DELETE FROM pipeline_migrations WHERE name IN ('001_consumption', '001_pipeline_loads', '003_consumption_without_service_index')",
    'DROP TABLE pipeline_loads',
    'DROP INDEX consumption_reference_billingperiod_organization_index ON consumption',
  );
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(3));
  t.is((await loadSlice(staging, await openFor(t, url))).state, 'done');
  t.deepEqual(await server.query(url, 'SHOW CREATE TABLE consumption'), before);
  t.is((await server.query(url, 'SELECT name FROM pipeline_migrations')).length, steps);
});

test('several processes may make the tables at once', async (t) => {
  const url = await t.context.server.createDatabase();
  await Promise.all([1, 2, 3].map(() => openInChild(url)));
  t.is((await t.context.server.query(url, 'SELECT name FROM pipeline_migrations')).length, steps);
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
  t.regex(ddl, /\(`Reference`,`BillingPeriod`,`Organization`\)/);
  t.is(ddl.match(/ KEY /g)?.length, 2);
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

test('a customer is found by the index that docs/reading.md names, a month by the primary key', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  const staging = await temporaryStaging(t);
  const accounts = Array.from({ length: 50 }, (_, index) => ({
    Reference: String(index).padStart(12, '0'),
  }));
  const consumption = ['AWS Lambda', 'AmazonS3', 'Tax', 'AWS Support'].flatMap((Service) =>
    accounts.map((account) => ({ ...account, Service })),
  );
  for (let month = 1; month <= 12; month++) {
    const slice = { ...october, month: parseMonth(`2025-${String(month).padStart(2, '0')}`) };
    await stageSlice(staging, slice, { customers: accounts, consumption });
    await loadSlice(staging, database, { slice });
  }
  await server.query(url, 'ANALYZE TABLE consumption, customers');
  const reference = 'consumption_reference_billingperiod_organization_index';
  const one = `Reference = '000000000012'`;
  const october2025 = `BillingPeriod = '2025-10-28'`;
  const plans: readonly [string, string][] = [
    [`SELECT * FROM consumption WHERE ${one} ORDER BY BillingPeriod`, reference],
    [`SELECT SUM(Amount) FROM consumption WHERE ${one} AND ${october2025}`, reference],
    [
      `SELECT Service, SUM(Amount) FROM consumption WHERE ${october2025} GROUP BY Service`,
      'PRIMARY',
    ],
    [`SELECT SUM(Amount) FROM consumption WHERE Service = 'Tax' AND ${october2025}`, 'PRIMARY'],
  ];
  for (const [sql, key] of plans) {
    const [plan] = await server.query(url, `EXPLAIN FORMAT=TRADITIONAL ${sql}`);
    t.is(plan?.['key'], key, sql);
    // Not the whole table: what it names is searched by.
    t.true(Number(plan?.['rows']) <= 400, `${sql}: ${String(plan?.['rows'])}`);
  }
});

test("the replaced script's twelve columns of consumption come first, in its order", async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await openFor(t, url);
  const columns = await server.query(url, 'SHOW COLUMNS FROM consumption');
  t.is(
    columns
      .slice(0, 12)
      .map(({ Field }) => String(Field))
      .join(),
    'Reference,Region,Service,Category,SubCategory,Quantity,Unit,UnitPrice,Amount,DiscountedAmount,Tag,BillingPeriod',
  );
  t.deepEqual(
    columns.slice(12, 15).map(({ Field }) => Field),
    ['Organization', 'Currency', 'Estimated'],
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

test('tag keys that differ in a space at their end are counted apart', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  for (const [line, key] of ['TAG:a', 'TAG:a ', 'TAG:A'].entries())
    await server.query(
      url,
      `INSERT INTO breakdowns (Reference, Dimension, Value, Amount, Tag, BillingPeriod, Organization, Currency, Estimated, Line)
       VALUES ('000000000012', '${key}', '', 1, '', '2026-10-28', 'oab', 'USD', 0, ${line + 1})`,
    );
  const counts = await countDimensions(database.knex, october);
  t.deepEqual(Object.fromEntries(counts), { 'TAG:A': 1, 'TAG:a': 1, 'TAG:a ': 1 });
});

test('a database that another version upgraded is refused', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  await openFor(t, url);
  await server.query(url, "INSERT INTO pipeline_migrations (name, batch) VALUES ('999_later', 2)");
  await t.throwsAsync(openDatabase(parseDatabaseUrl(url), { log: silent }), {
    instanceOf: ConfigurationError,
    message: /another version's \(step /,
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
      /no trusted TLS connection .*does not support secure connection/,
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

/** Ends every other connection to the database. */
async function killOthers(server: TestServer, url: string): Promise<void> {
  const found = await server.query(
    url,
    `SELECT id FROM information_schema.processlist WHERE db = '${new URL(url).pathname.slice(1)}' AND id <> CONNECTION_ID()`,
  );
  await server.query(url, ...found.map(({ id }) => `KILL ${String(id)}`));
}

test('of a connection that was killed between two queries, its end is told and not the second', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  const context = { signal: new AbortController().signal, log: silent };
  const error = await t.throwsAsync(
    database.transact(october, context, async ({ trx }) => {
      const { stream } = await (
        trx.client as { acquireConnection(): Promise<{ stream: Socket }> }
      ).acquireConnection();
      const closed = once(stream, 'close');
      await killOthers(server, url);
      await closed;
      await trx.raw('SELECT 1');
    }),
    { instanceOf: TransientError, message: /connection to the database broke/ },
  );
  t.regex(error.message, /\(Connection lost: The server closed the connection\.\)/);
});

test('what fails first in a transaction is told, also where it cannot be rolled back', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  const context = { signal: new AbortController().signal, log: silent };
  await t.throwsAsync(
    database.transact(october, context, async () => {
      await killOthers(server, url);
      throw new DataError('the first failure');
    }),
    { instanceOf: DataError, message: 'the first failure' },
  );
});

test('with binlog_format=STATEMENT all organizations of a month load, and take turns', async (t) => {
  const server = await startServer([
    '--log-bin',
    '--binlog-format=STATEMENT',
    // What is written outside of a load's transaction meets the same rule.
    '--transaction-isolation=READ-COMMITTED',
    '--innodb-lock-wait-timeout=5',
  ]);
  t.teardown(() => server.stop());
  const staging = await temporaryStaging(t);
  const slices = ['a', 'b', 'c', 'd', 'e', 'f'].map((organization) => ({
    ...october,
    organization,
  }));
  for (const slice of slices) await stageSlice(staging, slice, rows(3000));
  for (const localInfile of [1, 0]) {
    const url = await server.createDatabase();
    await server.query(url, `SET GLOBAL local_infile = ${localInfile}`);
    // The log is really kept, and by statement.
    t.deepEqual(await server.query(url, 'SELECT @@log_bin AS kept, @@binlog_format AS format'), [
      { kept: 1, format: 'STATEMENT' },
    ]);
    const database = await openFor(t, url);
    await probeRights(parseDatabaseUrl(url), { log: silent });
    const facts = { bulk: localInfile === 1, statements: true };
    t.like(await probeConnection(parseDatabaseUrl(url), { log: silent }), facts);
    for (let time = 1; time <= 2; time++) {
      const outcomes = await Promise.all(
        slices.map((slice) => loadSlice(staging, database, { slice, force: true })),
      );
      for (const outcome of outcomes) t.like(outcome, { state: 'done', rows: 3000 });
    }
    t.deepEqual(
      await server.query(
        url,
        'SELECT COUNT(*) AS n, COUNT(DISTINCT Organization) AS o FROM consumption',
      ),
      [{ n: 18_000, o: 6 }],
    );
    t.is(((await database.knex('pipeline_loads')) as unknown[]).length, 12);
  }

  // A log of rows needs no turns: the second slice is done while the first is still at work.
  const url = await server.createDatabase();
  await server.query(url, "SET GLOBAL binlog_format = 'MIXED'");
  const database = await openFor(t, url);
  t.like(await probeConnection(parseDatabaseUrl(url), { log: silent }), { statements: false });
  const context = { signal: new AbortController().signal, log: silent };
  await database.transact(october, context, async () => {
    await database.transact(slices[0]!, context, ({ trx }) => trx('customers').delete());
  });
});

test('a database that is opened for reading cannot be written', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const reading = await openForReading(parseDatabaseUrl(url), { log: silent });
  if (reading === undefined) return t.fail();
  t.teardown(() => reading.close());
  for (const sql of ['CREATE TABLE a (b INT)', 'DROP TABLE a', 'DELETE FROM a'])
    await t.throwsAsync(
      reading.ask((knex) => knex.raw(sql)),
      {
        message: /READ ONLY transaction/,
      },
    );
  t.deepEqual(await server.query(url, 'SHOW TABLES'), []);
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
  // The rest of the rows is not there before the connection is dead, however fast the load is.
  const held: Staging = {
    ...staging,
    async read(...asked) {
      await killed;
      return staging.read(...asked);
    },
  };
  const onProgress = (text: string): void => {
    if (!text.startsWith('consumption 10000')) return;
    killed = killOthers(server, url);
  };
  await t.throwsAsync(loadSlice(held, database, { onProgress }), {
    instanceOf: TransientError,
    message: /connection to the database broke \((Connection lost|write EPIPE|read ECONNRESET)/,
  });
  t.true(killed !== undefined);
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

/** The staging area whose Parquet file of the slice's table is handed out only after `step`, once its rows are wanted. */
function heldBack(staging: Staging, key: string, step: () => Promise<void>): Staging {
  return {
    ...staging,
    async read(asked) {
      if (asked === key) await step();
      return staging.read(asked);
    },
  };
}

test('neighbouring slices load side by side, new and again: none waits for another', async (t) => {
  // Were one to wait, it would give up soon instead of after 50 seconds.
  const server = await startServer(['--innodb-lock-wait-timeout=1']);
  t.teardown(() => server.stop());
  const url = await server.createDatabase();
  const database = await openFor(t, url);
  const staging = await temporaryStaging(t);
  const slice = (organization: string) => ({ month: october.month, organization });
  const standing = ['a', 'm', 'z'].map(slice);
  const [first, ...others] = ['b', '0', 'bb', 'n', 'zz'].map(slice) as [Slice, ...Slice[]];
  for (const one of [...standing, first, ...others]) await stageSlice(staging, one, rows(40));
  for (const one of standing) await loadSlice(staging, database, { slice: one });

  const cases = [
    ['consumption', first],
    ['consumption', first],
    ['customers', first],
    ['consumption', slice('m')],
  ] as const;
  for (const [index, [table, held]] of cases.entries()) {
    // Its old rows are deleted; before its new ones come, all the others load.
    let beside: Promise<Outcome[]> | undefined;
    const late = heldBack(staging, exportKey('parquet', table, held), async () => {
      beside ??= Promise.all(
        others.map((one) => loadSlice(staging, database, { slice: one, force: true })),
      );
      await beside;
    });
    t.is((await loadSlice(late, database, { slice: held, force: true })).state, 'done');
    const states = (await beside)?.map(({ state }) => state);
    t.deepEqual(states, ['done', 'done', 'done', 'done'], `case ${index}`);
  }
  t.deepEqual(
    await server.query(
      url,
      'SELECT Organization, COUNT(*) AS n FROM consumption GROUP BY Organization ORDER BY Organization',
    ),
    ['0', 'a', 'b', 'bb', 'm', 'n', 'z', 'zz'].map((Organization) => ({ Organization, n: 40 })),
  );
});

test('what another client has not committed does not count, and is not waited for', async (t) => {
  const { server } = t.context;
  const url = await server.createDatabase();
  const staging = await temporaryStaging(t);
  const database = await openFor(t, url);
  await stageSlice(staging, october, rows(5));
  await loadSlice(staging, database);
  const client = await mysql.createConnection(url);
  t.teardown(() => client.end());
  await client.query('START TRANSACTION');
  await client.query('DELETE FROM consumption');
  t.is((await loadSlice(staging, database)).state, 'unchanged');
  await client.query('COMMIT');
  t.is((await loadSlice(staging, database)).state, 'done');
});
