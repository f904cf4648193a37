import { cp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData, restate } from '../../fixtures/demo/data.js';
import { charge, costs, units } from '../../fixtures/demo/model.js';
import { expectedTotal } from '../../fixtures/demo/truth.js';
import { openForReading } from '../../load/database.js';
import { tableSteps } from '../../load/schema.js';
import { reconciledCode } from '../../pipeline/commands/reconcile.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import { reconciledToJson } from '../../pipeline/inspect/reconciliation-report.js';
import {
  foundKinds,
  isWhole,
  reconcile as reconcileLayers,
} from '../../pipeline/inspect/reconciliation.js';
import { TransientError, UsageError } from '../../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { exportKey, rawPrefix } from '../../pipeline/staging/layout.js';
import { localStaging } from '../../pipeline/staging/local.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import type { Finished } from '../support/cli.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { folderPlace } from '../support/crash-place.js';
import { loadSlice, openFor, silent } from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';
import { executeSqlite, querySqlite } from '../support/sqlite.js';

const month = parseMonth('2026-10');
const organizations = [
  { name: 'oab', accounts: 23 },
  { name: 'internal', accounts: 4 },
];
const data = demoData({ months: [month], organizations });

interface Result {
  agrees: boolean;
  absent: { month: string; organization: string; next: string }[];
  note: string | null;
  requests: number;
  slices: {
    organization: string;
    fetched: string | null;
    figures: string | null;
    layers: {
      layer: string;
      customers: number | null;
      rows: number | null;
      amount: object | null;
    }[];
    difference: Record<string, string> | null;
    moved: Record<string, string> | null;
    customersWithoutCost: number;
    findings: { layer: string; what: string; where: string; next: string }[];
    next: string | null;
  }[];
}

let cloud: Cloud;
let server: TestServer;
/** A finished month: the staging area and an SQLite database. */
let base: string;
let removeBase: (() => Promise<void>) | undefined;
test.before(async () => {
  [cloud, server, base] = await Promise.all([
    startCloud({ data, groupsPerPage: 20 }),
    openServer(),
    temporaryFolder({ teardown: (remove) => void (removeBase = remove) }),
  ]);
  const { code, stdout, stderr } = await pipeline(['run', '--month', month], {
    cwd: base,
    env: { ...cloud.environment },
  });
  if (code !== 0) throw new Error(stdout + stderr);
});
test.after.always(async () => {
  await Promise.all([cloud.close(), server.stop(), removeBase?.()]);
});

/** A copy of the finished month, to be tampered with. */
async function copy(t: ExecutionContext): Promise<string> {
  const folder = await temporaryFolder(t);
  await cp(base, folder, { recursive: true });
  return folder;
}

/** Reconciles without Vault and without AWS; `json` is undefined when nothing was printed. */
async function reconcile(
  folder: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Finished & { json: Result }> {
  const finished = await pipeline(['reconcile', '--json', ...args], { cwd: folder, env });
  return { ...finished, json: JSON.parse(finished.stdout) as Result };
}

interface Looked {
  code: number;
  json: Result;
}

/**
 * What that command does with the settings it has by itself, in this process: the findings, and the exit code that
 * is made of them. That the command ends with it is tried for each code by the tests that run it.
 * @param address the database, where it is not the folder's own.
 */
async function look(
  folder: string,
  address = sqliteOf(folder),
  organizations?: readonly string[],
  staging = localStaging(join(folder, 'staging')),
): Promise<Looked> {
  const database = await openForReading(parseDatabaseUrl(address), { log: silent });
  if (database === undefined) throw new Error(`there is no ${address}`);
  try {
    const found = await reconcileLayers({
      ...{ staging, database, organizations },
      months: undefined,
      known: { entries: [], unasked: new UsageError('no Vault') },
      tolerance: parseAmount('0.01').units,
      toleranceInvoice: undefined,
      provisionalDays: 10,
      paid: undefined,
      onPlan: () => undefined,
      signal: new AbortController().signal,
      now: () => new Date(),
    });
    const code = isWhole(found) ? 0 : reconciledCode(foundKinds(found));
    return { code, json: reconciledToJson(found) as Result };
  } finally {
    await database.close();
  }
}

function sqliteOf(folder: string): string {
  return `sqlite:${join(folder, 'billing.sqlite')}`;
}

/** Every finding, as `organization layer: what`. */
function findingsOf({ slices }: Result): string[] {
  return slices.flatMap(({ organization, findings }) =>
    findings.map(({ layer, what }) => `${organization} ${layer}: ${what}`),
  );
}

function isOne(
  t: ExecutionContext,
  { code, json }: { code: number | null; json: Result },
  expected = 1,
): string {
  t.is(code, expected);
  t.false(json.agrees);
  const found = findingsOf(json);
  t.is(found.length, 1, found.join('\n'));
  const finding = json.slices.flatMap(({ findings }) => findings)[0]!;
  t.truthy(finding.where);
  t.regex(finding.next, /"npx pipeline run .*--month 2026-10 --organization oab"/);
  return found[0]!;
}

async function rawFile(folder: string, organization: string, file: string): Promise<string> {
  const parent = join(folder, `staging/raw/month=${month}/${organization}`);
  const [extraction = ''] = await readdir(parent);
  return join(parent, extraction, file);
}

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file);
  bytes[at] = bytes[at]! ^ 1;
  await writeFile(file, bytes);
}

function execute(folder: string, sql: string): void {
  executeSqlite(join(folder, 'billing.sqlite'), sql);
}

test.serial(
  'an untouched month agrees in every layer, and nothing is asked for or written',
  async (t) => {
    const folder = await copy(t);
    const before = await folderPlace(folder).files();
    const aws = (): number => cloud.requests.filter(({ service }) => service !== 'vault').length;
    const asked = aws();
    const { code, json, stderr } = await reconcile(folder, [], { ...cloud.environment });
    t.is(code, 0, stderr);
    t.true(json.agrees);
    t.deepEqual(
      json.slices.map(({ organization }) => organization),
      ['internal', 'oab'],
    );
    for (const { organization, layers, difference, customersWithoutCost } of json.slices) {
      const USD = formatAmount(expectedTotal(data, organization, month));
      t.deepEqual(
        layers.map(({ layer, amount }) => [layer, amount]),
        ['AWS total', 'staged pages', 'Parquet', 'CSV', 'database'].map((name) => [name, { USD }]),
      );
      t.is(new Set(layers.slice(1).map(({ rows, customers }) => `${rows} ${customers}`)).size, 1);
      t.true((layers[1]?.rows ?? 0) > 10 && (layers[1]?.customers ?? 0) > 3);
      t.deepEqual(difference, { USD: '0' });
      const [{ idle } = {}] = querySqlite(
        join(folder, 'billing.sqlite'),
        `SELECT count(*) AS idle FROM customers WHERE Organization = '${organization}' AND Reference NOT IN (SELECT Reference FROM consumption)`,
      );
      t.is(customersWithoutCost, Number(idle));
    }
    t.deepEqual(await folderPlace(folder).files(), before);
    t.is(aws(), asked);

    const table = await pipeline(['reconcile', '--month', month], { cwd: folder });
    t.is(table.code, 0);
    t.regex(table.stdout, /customers +rows +amount USD +check\n/);
    t.regex(table.stdout, /2026-10 +oab +AWS total +\d+\.\d\d +ok on \d{4}-\d\d-\d\d, final\n/);
    t.regex(table.stdout, /2026-10 +oab +database +\d+ +\d+ +\d+\.\d\d +ok\n/);
    t.regex(table.stdout, /2026-10 +all +CSV +\d+ +\d+ +\d+\.\d\d\n/);
    await writeFile(join(folder, 'pipeline.config.yaml'), 'provisionalDays: 365\n');
    const provisional = await reconcile(folder);
    t.deepEqual(
      [json, provisional.json].map(({ slices }) => slices.map(({ figures }) => figures)),
      [
        ['final', 'final'],
        ['provisional', 'provisional'],
      ],
    );
    t.regex(
      table.stdout,
      /every layer agrees with what AWS said on \d{4}-\d\d-\d\d; 2 checked, \d+ customers? without cost/,
    );
  },
);

for (const [file, layer] of [
  ['accounts-00001.json', 'staged pages'],
  ['cost-and-usage-00002.json', 'staged pages'],
  ['total-00001.json', 'AWS total'],
] as const) {
  test(`a changed byte in ${file} is found`, async (t) => {
    const folder = await copy(t);
    await flip(await rawFile(folder, 'oab', file), 40);
    const result = await look(folder);
    t.regex(isOne(t, result), new RegExp(`^oab ${layer}: a staged page was altered`));
    t.true(result.json.slices[1]!.findings[0]!.where.endsWith(file));
  });

  test(`a missing ${file} is found`, async (t) => {
    const folder = await copy(t);
    await rm(await rawFile(folder, 'oab', file));
    t.is(isOne(t, await look(folder)), `oab ${layer}: a staged page is missing`);
  });
}

test('a missing extraction manifest is found', async (t) => {
  const folder = await copy(t);
  await rm(await rawFile(folder, 'oab', 'manifest.json'));
  t.regex(isOne(t, await look(folder)), /^oab staged pages: nothing is staged for 2026-10 of oab/);
});

for (const [format, layer, extension] of [
  ['csv', 'CSV', 'csv'],
  ['parquet', 'Parquet', 'parquet'],
] as const) {
  test(`an altered ${layer} file is found, and the rest is still compared`, async (t) => {
    const folder = await copy(t);
    await flip(join(folder, `staging/${format}/consumption/month=${month}/oab.${extension}`), 500);
    const result = await look(folder);
    t.regex(isOne(t, result), new RegExp(`^oab ${layer}: the file was altered`));

    execute(folder, "DELETE FROM consumption WHERE Organization = 'oab' AND Line = 3");
    const found = findingsOf((await look(folder)).json);
    t.is(found.length, 2);
    t.regex(found[1]!, /^oab database: .*consumption/);
  });
}

test('a CSV file that its manifest was made to fit is found by its sums', async (t) => {
  const folder = await copy(t);
  const key = `csv/consumption/month=${month}/oab.csv`;
  const file = join(folder, 'staging', key);
  const lines = (await readFile(file, 'utf8')).split('\r\n');
  lines.splice(5, 1);
  await writeFile(file, lines.join('\r\n'));
  const { createHash } = await import('node:crypto');
  const manifestFile = join(folder, `staging/manifests/month=${month}/oab.json`);
  const manifest = JSON.parse(await readFile(manifestFile, 'utf8')) as {
    consumption: { files: { key: string; bytes: number; sha256: string }[] };
  };
  const bytes = await readFile(file);
  Object.assign(
    manifest.consumption.files.find((one) => one.key === key)!,
    {
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    },
  );
  await writeFile(manifestFile, JSON.stringify(manifest));
  t.regex(isOne(t, await look(folder), 3), /^oab CSV: consumption in CSV: expected \d+ rows/);
});

test('lost exports are one finding and one command for each organization, and no layer that is not there is ok', async (t) => {
  const folder = await copy(t);
  for (const format of ['parquet', 'csv'])
    await rm(join(folder, 'staging', format), { recursive: true });
  const { stdout, code } = await pipeline(['reconcile'], { cwd: folder });
  t.is(code, 1);
  const next = (organization: string): string =>
    `run --stage transform --force --month ${month} --organization ${organization}`;
  for (const name of ['internal', 'oab']) {
    t.is(stdout.split(next(name)).length, 2, stdout);
    t.true(stdout.includes(`${month} ${name}: 2 findings\n`), stdout);
    t.regex(stdout, new RegExp(`${name} +CSV +1 finding\\n`));
  }
  t.regex(stdout, /CSV: the files of customers, consumption are missing\n/);
  t.is(stdout.split('  next: ').length, 3, stdout);
  await rm(join(folder, 'staging/manifests'), { recursive: true });
  const without = await pipeline(['reconcile'], { cwd: folder });
  t.regex(without.stdout, /oab +CSV +not there\n/);
  t.regex(without.stdout, /oab +database +\d+ +\d+ +[\d.]+ +not compared\n/);
  // What is wrong in several stages is mended by one command too.
  const words = without.stdout.match(/"node \S+ (run [^"]+ oab)"/)?.[1]?.split(' ') ?? [];
  t.is((await pipeline(words, { cwd: folder })).code, 0);
  t.is((await reconcile(folder, ['--organization', 'oab'])).code, 0);
});

test('an organization of the secret that is not there is absent, and the exit code says so', async (t) => {
  const folder = await temporaryFolder(t);
  const env = { ...cloud.environment };
  const run = ['run', '--month', month, '--organization', 'oab'];
  t.is((await pipeline(run, { cwd: folder, env })).code, 0);
  const { code, json } = await reconcile(folder, [], env);
  t.is(code, 1);
  t.false(json.agrees);
  t.deepEqual(
    json.absent.map(({ organization }) => organization),
    ['internal'],
  );
  t.regex(json.absent[0]!.next, / run --month 2026-10 --organization internal$/);
  const { stdout } = await pipeline(['reconcile'], { cwd: folder, env });
  t.regex(stdout, /\n1 organization absent; of the others every layer agrees .*; 1 checked,/);
  t.regex(stdout, /2026-10 internal: absent, though the AWS secret .*\n.*--organization internal"/);
  t.is((await reconcile(folder, ['--organization', 'oab'], env)).code, 0);
  // Offline there is no month around to compare with, which is said.
  const offline = await reconcile(folder);
  t.is(offline.code, 0);
  t.regex(offline.json.note ?? '', /whether all organizations of 2026-10 are there is not known/);
});

test("today's totals are paid for by count, and what has moved is fetched by the command that is named", async (t) => {
  const moving = demoData({ months: [month], organizations });
  const folder = await temporaryFolder(t);
  const restless = await startCloud({ data: moving, groupsPerPage: 20 });
  t.teardown(() => restless.close());
  const env = { ...restless.environment };
  t.is((await pipeline(['run', '--month', month], { cwd: folder, env })).code, 0);
  const charged = (): number => restless.requests.filter((one) => one.charged).length;
  let before = charged();
  const still = await reconcile(folder, ['--paid'], env);
  t.is(still.code, 0, still.stdout);
  t.is(charged() - before, 2);
  t.is(still.json.requests, 2);
  t.regex(still.stderr, /asking AWS for 2 totals: at most \$0\.02/);
  const one = await reconcile(folder, ['--paid', '--organization', 'oab'], env);
  t.regex(one.stderr, /asking AWS for 1 total: at most \$0\.01/);
  t.deepEqual(
    still.json.slices.map(({ moved }) => moved),
    [{ USD: '0' }, { USD: '0' }],
  );

  const [row] = moving.organizations.find(({ name }) => name === 'oab')!.accounts;
  restate(moving, 'oab', month, (items) => [
    ...items,
    charge(
      { account: row!.id, service: 'Tax', usageType: 'x', region: 'x', day: 1 },
      'Credit',
      costs(units('-12.5'), 0),
    ),
  ]);
  const moved = await pipeline(['reconcile', '--paid', '--month', month], { cwd: folder, env });
  t.is(moved.code, 3);
  t.regex(
    moved.stdout,
    /oab: 1 finding\n {2}AWS today: AWS's total has moved by -12\.5 USD since \d{4}-\d\d-\d\d: [\d.]+ USD then, [\d.]+ USD now\n/,
  );
  t.regex(moved.stdout, /2 Cost Explorer requests, \$0\.02\n/);
  t.is((await pipeline(['reconcile'], { cwd: folder, env })).code, 0);
  const words = moved.stdout.match(/"node \S+ (run [^"]+ oab)"/)?.[1]?.split(' ') ?? [];
  t.is((await pipeline(words, { cwd: folder, env })).code, 0);
  before = charged();
  const bounded = await reconcile(folder, ['--paid', '--max-requests', '1'], env);
  t.is(bounded.code, 4);
  t.is(charged() - before, 1);
  t.regex(findingsOf(bounded.json)[0]!, /^oab AWS today: the run's limit of 1 Cost Explorer/);
  t.is((await reconcile(folder, ['--paid'])).code, 2, 'without Vault nobody can be asked');
});

test('tables that are older than the newest extraction are found', async (t) => {
  const folder = await copy(t);
  const args = ['run', '--stage', 'extract', '--force', '--month', month, '--organization', 'oab'];
  t.is((await pipeline(args, { cwd: folder, env: { ...cloud.environment } })).code, 0);
  t.regex(isOne(t, await look(folder)), /^oab Parquet: the tables are not made from \d+T\d+Z but/);

  const transform = ['run', '--stage', 'transform', '--month', month, '--organization', 'oab'];
  t.is((await pipeline(transform, { cwd: folder })).code, 0);
  t.regex(isOne(t, await look(folder)), /^oab database: the newest load is of extraction/);
});

interface Store {
  address: string;
  execute: (sql: string) => Promise<unknown>;
  /** Loads the finished month anew. */
  load: () => Promise<void>;
}

/** Loads what is staged, as the command would. */
async function loadInto(t: ExecutionContext, folder: string, address: string): Promise<void> {
  const database = await openFor(t, address);
  const staging = localStaging(join(folder, 'staging'));
  for (const { name } of organizations) {
    const task = { slice: { month, organization: name }, force: true, now: () => new Date() };
    t.is((await loadSlice(staging, database, task)).state, 'done');
  }
}

/** The finished month in a database, which may then be tampered with. */
const stores: Record<string, (t: ExecutionContext, folder: string) => Promise<Store>> = {
  SQLite: (t, folder) =>
    Promise.resolve({
      address: sqliteOf(folder),
      execute: (sql) => {
        execute(folder, sql);
        return Promise.resolve();
      },
      load: () => loadInto(t, folder, sqliteOf(folder)),
    }),
  MariaDB: async (t, folder) => {
    const address = await server.createDatabase();
    const load = (): Promise<void> => loadInto(t, folder, address);
    await load();
    return { address, execute: (sql) => server.query(address, sql), load };
  },
};

const slice = `Organization = 'oab' AND BillingPeriod = '${month}-28'`;

for (const [kind, open] of Object.entries(stores)) {
  test(`${kind}: rows deleted, altered and added are found, each by its line`, async (t) => {
    const folder = await copy(t);
    const store = await open(t, folder);
    const check = () => look(folder, store.address);
    t.deepEqual(findingsOf((await check()).json), []);

    await store.execute(`DELETE FROM consumption WHERE ${slice} AND Line IN (3, 4)`);
    t.regex(
      isOne(t, await check(), 3),
      /^oab database: consumption: 2 rows staged and missing in the database, first line 3, account \d{12}/,
    );
    await store.load();

    // Moved from one row to another: count and sum stay as they were.
    await store.execute(`UPDATE consumption SET Amount = '1.5' WHERE ${slice} AND Line = 1`);
    t.regex(
      isOne(t, await check(), 3),
      /^oab database: consumption: 1 row other values .* first line 1, .*: Amount is "1.5" instead of "/,
    );
    await store.load();
    await store.execute(`UPDATE customers SET TenantName = 'Somebody' WHERE ${slice} AND Line = 2`);
    t.regex(
      isOne(t, await check(), 3),
      /customers: 1 row other values .*: TenantName is "Somebody"/,
    );
    await store.load();

    // A table that the slice has not.
    await store.execute(
      `INSERT INTO breakdowns (Reference, Dimension, Value, Amount, Tag, BillingPeriod, Organization, Currency, Estimated, Line) SELECT Reference, 'REGION', 'eu-west-1', '1.5', Tag, BillingPeriod, Organization, Currency, Estimated, 1 FROM consumption WHERE ${slice} AND Line = 1`,
    );
    t.regex(
      isOne(t, await check(), 3),
      /breakdowns: 1 row in the database and not staged, first line 1,/,
    );
    await store.execute(`DELETE FROM breakdowns WHERE ${slice}`);

    await store.execute(`UPDATE consumption SET Line = 100000 WHERE ${slice} AND Line = 2`);
    const moved = await check();
    t.is(moved.code, 3);
    const found = findingsOf(moved.json);
    t.is(found.length, 2);
    t.regex(found[0]!, /1 row staged and missing in the database, first line 2,/);
    t.regex(found[1]!, /1 row in the database and not staged, first line 100000,/);
  });

  test(`${kind}: a cost without a customer is found`, async (t) => {
    const folder = await copy(t);
    const store = await open(t, folder);
    await store.execute(
      `DELETE FROM customers WHERE ${slice} AND Reference = (SELECT Reference FROM consumption WHERE ${slice} AND Line = 1)`,
    );
    const { code, json } = await look(folder, store.address);
    t.is(code, 3);
    const found = findingsOf(json);
    t.is(found.length, 2);
    t.regex(found[0]!, /^oab database: customers: 1 row staged and missing/);
    t.regex(found[1]!, /^oab database: cost without a customer: 1 account, first \d{12}$/);
  });

  test(`${kind}: an organization that is not loaded is found`, async (t) => {
    const folder = await copy(t);
    const store = await open(t, folder);
    for (const table of ['customers', 'consumption'])
      await store.execute(`DELETE FROM ${table} WHERE ${slice}`);
    await store.execute(`DELETE FROM pipeline_loads WHERE Organization = 'oab'`);
    t.is(
      isOne(t, await look(folder, store.address)),
      'oab database: the month of this organization is staged, but not loaded',
    );
    t.is((await look(folder, store.address, ['internal'])).code, 0);
  });

  test(`${kind}: tables that an older version made are refused, and stay as they are`, async (t) => {
    const folder = await copy(t);
    const store = await open(t, folder);
    // The newest step of the tables: without a view they can be read.
    const newest = tableSteps(kind === 'SQLite' ? 'sqlite' : 'mysql').at(-1)?.name ?? '';
    await store.execute(`DELETE FROM pipeline_migrations WHERE name = '${newest}'`);
    const env = { PIPELINE_DATABASE: store.address };
    const before = await folderPlace(folder).files();
    for (let time = 1; time <= 2; time++) {
      const { code, stderr } = await pipeline(['reconcile'], { cwd: folder, env });
      t.is(code, 1);
      t.regex(stderr, /an older version's .*"node .*cli\.js run --stage load"/);
    }
    t.deepEqual(await folderPlace(folder).files(), before);
    const load = ['run', '--stage', 'load', '--month', month];
    t.is((await pipeline(load, { cwd: folder, env })).code, 0);
    t.is((await reconcile(folder, [], env)).code, 0);
  });
}

test('a database without tables holds nothing, and gets none by being looked at', async (t) => {
  const folder = await copy(t);
  executeSqlite(join(folder, 'empty.sqlite'), 'CREATE TABLE other (a); DROP TABLE other');
  const address = await server.createDatabase();
  const name = new URL(address).pathname.slice(1);
  const reader = new URL(address);
  reader.username = `reader_${name.slice(-12)}`;
  reader.password = 'pass-w0rd';
  await server.query(
    address,
    `CREATE USER '${reader.username}'@'%' IDENTIFIED BY 'pass-w0rd'`,
    `GRANT SELECT ON ${name}.* TO '${reader.username}'@'%'`,
  );
  for (const database of ['sqlite:empty.sqlite', address, reader.href]) {
    const env = { PIPELINE_DATABASE: database };
    for (const command of ['reconcile', 'status', 'plan'])
      await pipeline([command, '--month', month], { cwd: folder, env });
    const { code, json } = await reconcile(folder, [], env);
    t.is(code, 1);
    t.deepEqual(
      findingsOf(json),
      ['internal', 'oab'].map(
        (one) => `${one} database: the month of this organization is staged, but not loaded`,
      ),
    );
  }
  t.deepEqual(await server.query(address, 'SHOW TABLES'), []);
  t.deepEqual(querySqlite(join(folder, 'empty.sqlite'), 'SELECT name FROM sqlite_master'), []);
  t.false((await readdir(folder)).some((file) => /^empty\.sqlite./.test(file)));
});

test('one that cannot be read ends it when the other that is worked on has ended, and no further one is begun', async (t) => {
  const folder = await copy(t);
  const area = join(folder, 'staging');
  const [oab, third] = ['oab', 'third'].map((name) => join(area, rawPrefix(month, name)));
  await cp(oab!, third!, { recursive: true });
  const staging = localStaging(area);
  const read: string[] = [];
  const failing: Staging = {
    ...staging,
    async read(key) {
      read.push(key);
      if (key.startsWith(rawPrefix(month, 'internal')))
        throw new TransientError('the disk is away', { where: key });
      return staging.read(key);
    },
  };
  await t.throwsAsync(look(folder, undefined, undefined, failing), { message: 'the disk is away' });
  const count = (name: string): number => read.filter((key) => key.includes(name)).length;
  const readTo = [count('/internal'), count('/third')];
  t.deepEqual(readTo, [1, 0]);
  // The pages, and all that was made of them: to its end.
  t.true(read.includes(exportKey('csv', 'consumption', { month, organization: 'oab' })));
});

test('an organization that is loaded and no longer staged is found', async (t) => {
  const folder = await copy(t);
  await rm(join(folder, `staging/raw/month=${month}/oab`), { recursive: true });
  await rm(join(folder, `staging/manifests/month=${month}/oab.json`));
  t.regex(
    isOne(t, await look(folder)),
    /^oab staged pages: .* loaded, but nothing of it is staged/,
  );
});

test('what cannot be checked is an error: no month, no organization, no database', async (t) => {
  const folder = await copy(t);
  const refused = async (...args: string[]): Promise<string> => {
    const { code, stderr, stdout } = await pipeline(['reconcile', ...args], { cwd: folder });
    t.is(stdout, '');
    return `${code} ${stderr}`;
  };
  t.regex(await refused('--month', '2026-08'), /^1 pipeline: nothing is staged for 2026-08/);
  t.regex(await refused('--organization', 'nobody'), /^2 .*choose among internal, oab/);
  t.regex(await refused('--database', 'sqlite:typo.sqlite'), /^1 .*there is no such database/);
  t.false((await readdir(folder)).includes('typo.sqlite'));
  t.regex(await refused('--tolerance', '-1'), /^2 .*--tolerance or "tolerance".* from 0 up/s);
});

test('a total of AWS that differs stops the load, keeps what is loaded, and shows', async (t) => {
  const lying = demoData({ months: [month], organizations });
  const folder = await temporaryFolder(t);
  const liar = await startCloud({ data: lying, groupsPerPage: 20 });
  t.teardown(() => liar.close());
  const env = { ...liar.environment };
  const run = (...args: string[]) =>
    pipeline(['run', '--month', month, ...args], { cwd: folder, env });
  t.is((await run()).code, 0);
  const rows = (sql: string) => querySqlite(join(folder, 'billing.sqlite'), sql);
  const loaded = rows('SELECT * FROM consumption ORDER BY Organization, Line');
  const oab = lying.organizations.find(({ name }) => name === 'oab')!;
  oab.months.get(month)!.outsideGroups = -parseAmount('0.0100000001').units;

  const refused = await run('--force');
  t.is(refused.code, 3);
  const sum = expectedTotal(lying, 'oab', month);
  const told = formatAmount(sum - parseAmount('0.0100000001').units);
  t.true(
    refused.stdout.includes(
      `oab load failed: oab's total of 2026-10 is ${told} USD by AWS, its rows add up to ${formatAmount(sum)} USD: a difference of -0.0100000001 USD, more than the tolerance of 0.01`,
    ),
    refused.stdout,
  );
  t.regex(
    refused.stdout,
    /--stage extract --force --month 2026-10 --organization oab.*--tolerance/,
  );
  t.regex(refused.stdout, /2026-10 +internal +done +done +done/);
  t.deepEqual(rows('SELECT * FROM consumption ORDER BY Organization, Line'), loaded);
  t.is(rows("SELECT * FROM pipeline_loads WHERE Organization = 'oab'").length, 1);

  const found = await reconcile(folder);
  t.is(found.code, 3, 'that it is not loaded follows from the difference');
  const words = findingsOf(found.json);
  t.is(words.length, 2);
  t.regex(words[0]!, /^oab AWS total: .*a difference of -0.0100000001 USD/);
  t.regex(words[1]!, /^oab database: the newest load is of extraction/);
  const csv = join(folder, `staging/csv/consumption/month=${month}/oab.csv`);
  const content = await readFile(csv);
  await rm(csv);
  t.is((await reconcile(folder)).code, 1, 'a difference, and a layer that is missing');
  await writeFile(csv, content);

  t.is((await run('--stage', 'load', '--tolerance', '0.0100000001')).code, 0);
  t.like(rows("SELECT * FROM pipeline_loads WHERE Organization = 'oab' ORDER BY Id").at(-1), {
    Difference: '-0.0100000001',
    Differences: '{"USD":"-0.0100000001"}',
  });
  const tolerated = await reconcile(folder, ['--tolerance', '0.0100000001']);
  t.is(tolerated.code, 0);
  t.deepEqual(tolerated.json.slices[1]!.difference, { USD: '-0.0100000001' });
});

test('without the ungrouped total a cent is saved, and the table says so', async (t) => {
  const folder = await temporaryFolder(t);
  const args = ['--month', month, '--organization', 'internal', '--json'];
  const env = { ...cloud.environment };
  const { stdout } = await pipeline(['run', '--no-aws-total', ...args], { cwd: folder, env });
  const { requests } = JSON.parse(stdout) as { requests: number };
  const again = await pipeline(['run', '--force', ...args], { cwd: folder, env });
  t.is((JSON.parse(again.stdout) as { requests: number }).requests, requests + 1);

  const other = await temporaryFolder(t);
  await writeFile(join(other, 'pipeline.config.yaml'), 'awsTotal: false\n');
  t.is((await pipeline(['run', ...args], { cwd: other, env })).code, 0);
  const { code, stdout: table } = await pipeline(['reconcile'], { cwd: other });
  t.is(code, 0);
  t.regex(table, /internal +AWS total +not asked for, final\n/);
});
