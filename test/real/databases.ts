import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { tableNames } from '../../pipeline/staging/tables.js';
import { selfSignedCertificate } from '../support/certificate.js';
import { countSteps, killAtStep } from '../support/kill-at-step.js';
import type { ServerProgram, TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';
import type { World } from '../support/world.js';
import { unpackUnstable } from './debian.js';
import { everyDetail, exported, linesOf, months, succeeded } from './months.js';
import type { Attempt, Trial } from './trial.js';
import { trial } from './trial.js';

/** MySQL and MariaDB as Debian unstable has them, unpacked: this machine's own packages stay as they are. */

const run = promisify(execFile);

async function mysql({ cache }: Attempt): Promise<ServerProgram> {
  const { usr, command } = await unpackUnstable(cache, 'mysql-server-core');
  const words = command('sbin/mysqld');
  const flags = [
    `--basedir=${usr}`,
    `--plugin-dir=${join(usr, 'lib/mysql/plugin')}`,
    // It would listen on every address.
    '--mysqlx=OFF',
    // Its folder of this machine's package is not here, and nothing reads or writes files of the server.
    '--secure-file-priv=NULL',
  ];
  return {
    command: words,
    flags,
    async initialize(data) {
      const [loader = '', ...rest] = words;
      await run(loader, [...rest, '--no-defaults', ...flags, '--initialize-insecure', ...data]);
    },
  };
}

async function mariadb({ cache }: Attempt): Promise<ServerProgram> {
  const { usr, command } = await unpackUnstable(cache, 'mariadb-server-core');
  const words = command('sbin/mariadbd');
  const share = join(usr, 'share/mariadb');
  const flags = [
    `--basedir=${usr}`,
    `--plugin-dir=${join(usr, 'lib/mysql/plugin')}`,
    `--lc-messages-dir=${share}`,
  ];
  return {
    command: words,
    flags,
    // As mariadb-install-db does, which looks for programs of other packages and of this machine.
    async initialize(data) {
      const folder = data.find((word) => word.startsWith('--datadir='))?.slice(10) ?? '';
      await mkdir(folder, { recursive: true });
      const files = [
        ...['mariadb_system_tables', 'mariadb_performance_tables', 'mariadb_system_tables_data'],
        ...['fill_help_tables', 'maria_add_gis_sp_bootstrap', 'mariadb_sys_schema'],
      ];
      const texts = files.map((name) => readFile(join(share, `${name}.sql`)));
      const [loader = '', ...rest] = words;
      const sizes = ['--max-allowed-packet=8M', '--net-buffer-length=16K'];
      const child = spawn(
        loader,
        [...rest, '--no-defaults', ...flags, '--bootstrap', ...sizes, ...data],
        { stdio: ['pipe', 'ignore', 'ignore'] },
      );
      const begin = 'CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n';
      child.stdin.end(Buffer.concat([Buffer.from(begin), ...(await Promise.all(texts))]));
      const [code] = (await once(child, 'exit')) as [number | null];
      if (code !== 0) throw new Error(`mariadbd --bootstrap ended with ${String(code)}`);
    },
  };
}

/** What a server is started with, and what it then says of itself. */
interface Setting {
  what: string;
  flags: readonly string[];
  says: Readonly<Record<string, string | number>>;
}

const binlog = (format: string): Setting => ({
  what: `binlog_format=${format}`,
  flags: ['--log-bin', '--server-id=1', `--binlog-format=${format}`],
  says: { log_bin: 1, binlog_format: format },
});

const settings = (key: 'sql_require_primary_key' | 'innodb_force_primary_key'): Setting[] => [
  { what: 'its own defaults', flags: [], says: {} },
  { what: 'local_infile on', flags: ['--local-infile=ON'], says: { local_infile: 1 } },
  { what: 'local_infile off', flags: ['--local-infile=OFF'], says: { local_infile: 0 } },
  ...['STATEMENT', 'MIXED', 'ROW'].map(binlog),
  { what: key, flags: [`--${key.replaceAll('_', '-')}=ON`], says: { [key]: 1 } },
  {
    what: 'time zone +09:00',
    flags: ['--default-time-zone=+09:00'],
    says: { time_zone: '+09:00' },
  },
  {
    what: 'latin1, ANSI mode, packets of 1 MiB',
    flags: ['--character-set-server=latin1', '--sql-mode=ANSI', '--max-allowed-packet=1M'],
    says: { character_set_server: 'latin1', max_allowed_packet: 1 << 20 },
  },
];

async function databaseTrial(
  t: Attempt,
  program: ServerProgram,
  configurations: readonly Setting[],
): Promise<Place> {
  const server = await startServer([], program);
  t.teardown(() => server.stop());
  const any = await server.createDatabase();
  const [{ version } = {}] = await server.query(any, 'SELECT VERSION() AS version');
  t.version(String(version));
  const world = await everyDetail(t);
  const place = { ...world, server };
  for (const { what, flags, says } of configurations)
    await t.holds(what, async () => {
      await startAgain(server, flags);
      for (const [name, value] of Object.entries(says))
        assert.deepEqual(await server.query(any, `SELECT @@GLOBAL.${name} AS it`), [{ it: value }]);
      await wholeMonths(place);
    });
  await t.holds('a load killed at ten places', async () => {
    await startAgain(server);
    await killedLoads(place);
  });
  await t.holds('TLS by a certificate of its own; without its authority refused', () =>
    overTls(place),
  );
  return place;
}

type Place = World & { whole: readonly string[]; server: TestServer };

async function startAgain(server: TestServer, flags: readonly string[] = []): Promise<void> {
  await server.kill();
  await server.restart(flags);
}

/** Into an empty database: all rows are those of the exports, and a second run changes nothing. */
async function wholeMonths({ server, runWith, folder, whole }: Place): Promise<void> {
  const address = await server.createDatabase();
  const env = { PIPELINE_DATABASE: address };
  await succeeded(runWith(env, 'run', ...whole));
  await sameAsExports(server, address, folder);
  await viewsAddUp(server, address);
  const loads = await server.query(address, 'SELECT * FROM pipeline_loads ORDER BY Id');
  assert.equal(loads.length, 2 * months.length);
  const again = await succeeded(runWith(env, 'run', ...whole, '--json'));
  const { tasks } = tasksOf.parse(JSON.parse(again));
  assert.deepEqual([...new Set(tasks.map(({ state }) => state))], ['unchanged']);
  assert.deepEqual(await server.query(address, 'SELECT * FROM pipeline_loads ORDER BY Id'), loads);
  await sameAsExports(server, address, folder);
  await succeeded(runWith(env, 'reconcile', ...whole));
}

const tasksOf = z.object({ tasks: z.array(z.object({ state: z.string() })) });

async function sameAsExports(server: TestServer, address: string, folder: string): Promise<void> {
  for (const table of tableNames) {
    const found = linesOf(table, await server.query(address, `SELECT * FROM ${table}`));
    const expected = await exported(join(folder, 'staging'), table);
    assert.ok(expected.length > 3, `${table} has ${expected.length} rows`);
    assert.deepEqual(found, expected, table);
  }
}

/** What the views come to by month, organization and currency: the rows of the consumption. */
async function viewsAddUp(server: TestServer, address: string): Promise<void> {
  const sums = (of: string) =>
    server.query(
      address,
      `SELECT BillingPeriod, Organization, Currency, SUM(Amount) AS Amount FROM ${of}
       GROUP BY BillingPeriod, Organization, Currency ORDER BY 1, 2, 3`,
    );
  const expected = await sums('consumption');
  assert.equal(expected.length, 2 * months.length);
  for (const view of ['customer_month', 'service_month', 'organization_month'])
    assert.deepEqual(await sums(view), expected, view);
  const [{ states } = {}] = await server.query(
    address,
    'SELECT COUNT(*) AS states FROM load_state',
  );
  assert.equal(states, 2 * months.length);
  // It has no row of its own for what stays; that it can be asked is what is tried here.
  await server.query(address, 'SELECT * FROM movement');
}

/** The load alone, killed before a step of its own, from the first tables to the last rows; then it is let finish. */
async function killedLoads({ server, run, runWith, folder, whole }: Place): Promise<void> {
  await succeeded(run('run', ...whole, '--stage', 'extract,transform'));
  // Forced: what a killed one has loaded already is loaded again.
  const load = ['run', ...whole, '--stage', 'load', '--force'];
  const first = { PIPELINE_DATABASE: await server.createDatabase() };
  await succeeded(runWith(first, ...load));
  const counted = join(folder, 'steps');
  await succeeded(runWith({ ...first, ...countSteps(counted) }, ...load));
  const steps = Number(await readFile(counted, 'utf8'));
  const address = await server.createDatabase();
  const env = { PIPELINE_DATABASE: address };
  for (let tenth = 1; tenth <= 10; tenth += 1) {
    const step = Math.floor((steps * tenth) / 11);
    const { signal, stdout, stderr } = await runWith({ ...env, ...killAtStep(step) }, ...load);
    assert.equal(signal, 'SIGKILL', `${step} of ${steps} steps: ${stdout}${stderr}`);
  }
  await succeeded(runWith(env, 'run', ...whole));
  await sameAsExports(server, address, folder);
  await succeeded(runWith(env, 'reconcile', ...whole));
}

async function overTls({ server, run, runWith, folder, whole }: Place): Promise<void> {
  const [own, other] = [selfSignedCertificate(), selfSignedCertificate()];
  const file = (name: string): string => join(folder, name);
  await writeFile(file('cert.pem'), own.cert);
  await writeFile(file('key.pem'), own.key);
  await writeFile(file('other.pem'), other.cert);
  await succeeded(run('run', ...whole, '--stage', 'extract,transform'));
  const address = await server.createDatabase();
  await startAgain(server, [`--ssl-cert=${file('cert.pem')}`, `--ssl-key=${file('key.pem')}`]);
  await server.query(address, 'SET GLOBAL require_secure_transport = ON');
  const load = (search: string) =>
    runWith({ PIPELINE_DATABASE: address + search }, 'run', ...whole, '--stage', 'load');
  const told = async (search: string): Promise<string> => {
    const { code, stdout, stderr } = await load(search);
    assert.equal(code, 1);
    return (stdout + stderr).replaceAll(/\s+/g, ' ');
  };
  assert.match(await told(`?ssl-ca=${file('other.pem')}`), /no trusted TLS connection/);
  assert.match(await told('?ssl=true'), /no trusted TLS connection/);
  assert.match(await told(''), /takes connections by TLS alone.*\?ssl=true/);
  await succeeded(load(`?ssl-ca=${file('cert.pem')}`));
  // Without TLS again, for this side to look.
  await startAgain(server);
  await sameAsExports(server, address, folder);
}

/** A user's first login, of which the server has no proof at hand: MySQL wants the password itself. */
async function firstLogin({ server, runWith, run, folder, whole }: Place): Promise<void> {
  await startAgain(server);
  await succeeded(run('run', ...whole, '--stage', 'extract,transform'));
  const address = await server.createDatabase();
  const [{ place } = {}] = await server.query(address, 'SELECT @@datadir AS place');
  const load = async (search: string) => {
    const own = new URL(address + search);
    own.username = `new_${randomBytes(4).toString('hex')}`;
    await server.query(
      address,
      `CREATE USER ${own.username} IDENTIFIED BY '${decodeURIComponent(own.password)}'`,
      `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON ${own.pathname.slice(1)}.* TO ${own.username}`,
    );
    return runWith({ PIPELINE_DATABASE: own.href }, 'run', ...whole, '--stage', 'load');
  };
  const { code, stdout, stderr } = await load('');
  assert.equal(code, 1);
  assert.match(stdout + stderr, /asks\s+for\s+a\s+login\s+that\s+is\s+not\s+given\s+here/);
  // The authority that MySQL made for itself; its certificate names no host.
  await succeeded(load(`?ssl-mode=verify-ca&ssl-ca=${join(String(place), 'ca.pem')}`));
  await succeeded(load('?get-server-public-key=true'));
  await sameAsExports(server, address, folder);
}

export const databaseTrials: readonly Trial[] = [
  trial('MySQL', async (t) => {
    const place = await databaseTrial(t, await mysql(t), settings('sql_require_primary_key'));
    await t.holds("a first login: by the server's own authority or key, else refused", () =>
      firstLogin(place),
    );
  }),
  trial('MariaDB', async (t) => {
    await databaseTrial(t, await mariadb(t), settings('innodb_force_primary_key'));
  }),
];
