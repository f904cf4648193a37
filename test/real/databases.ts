import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
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
];

async function databaseTrial(
  t: Attempt,
  program: ServerProgram,
  configurations: readonly Setting[],
): Promise<void> {
  const server = await startServer([], program);
  t.teardown(() => server.stop());
  const any = await server.createDatabase();
  const [{ version } = {}] = await server.query(any, 'SELECT VERSION() AS version');
  t.version(String(version));

  for (const { what, flags, says } of configurations)
    await t.holds(`two months with ${what}`, async () => {
      await server.kill();
      await server.restart(flags);
      for (const [name, value] of Object.entries(says))
        assert.deepEqual(await server.query(any, `SELECT @@GLOBAL.${name} AS it`), [{ it: value }]);
      await twoMonths(server, await server.createDatabase());
    });

  await t.holds('a load that was killed at ten places, each gone on with', async () => {
    await server.kill();
    await server.restart();
    await killedLoads(server);
  });
  await t.holds(
    'TLS with a certificate of its own: verified; another authority, and none, refused',
    () => overTls(t, server),
  );
}

/** Each month runs, is the exports' row for row, and a second run changes nothing. */
async function twoMonths(server: TestServer, address: string): Promise<void> {
  await inWorld(async ({ runWith, folder, whole }) => {
    const env = { PIPELINE_DATABASE: address };
    await succeeded(runWith(env, 'run', ...whole));
    const rows = await sameAsExports(server, address, join(folder, 'staging'));
    const loads = await server.query(address, 'SELECT * FROM pipeline_loads ORDER BY Id');
    assert.equal(loads.length, 2 * months.length);
    const again = await succeeded(runWith(env, 'run', ...whole, '--json'));
    const { tasks } = z
      .object({ tasks: z.array(z.object({ state: z.string() })) })
      .parse(JSON.parse(again));
    assert.deepEqual([...new Set(tasks.map(({ state }) => state))], ['unchanged']);
    assert.deepEqual(
      await server.query(address, 'SELECT * FROM pipeline_loads ORDER BY Id'),
      loads,
    );
    assert.equal(await sameAsExports(server, address, join(folder, 'staging')), rows);
    await succeeded(runWith(env, 'reconcile', ...whole));
  });
}

/** @returns how many rows there are, in all tables. */
async function sameAsExports(
  server: TestServer,
  address: string,
  staging: string,
): Promise<number> {
  let rows = 0;
  for (const table of tableNames) {
    const found = linesOf(table, await server.query(address, `SELECT * FROM ${table}`));
    const expected = await exported(staging, table);
    assert.ok(expected.length > 3, `${table} has ${expected.length} rows`);
    assert.deepEqual(found, expected, table);
    rows += found.length;
  }
  return rows;
}

/** The load alone, of what is staged, killed before a step of its own, again and again; then it is let finish. */
async function killedLoads(server: TestServer): Promise<void> {
  await inWorld(async ({ run: runPlain, runWith, folder, whole }) => {
    const staging = join(folder, 'staging');
    await succeeded(runPlain('run', ...whole, '--stage', 'extract,transform'));
    const load = ['run', ...whole, '--stage', 'load'];
    const first = { PIPELINE_DATABASE: await server.createDatabase() };
    const counted = join(folder, 'steps');
    await succeeded(runWith({ ...first, ...countSteps(counted) }, ...load));
    const steps = Number(await readFile(counted, 'utf8'));
    const address = await server.createDatabase();
    const env = { PIPELINE_DATABASE: address };
    let killed = 0;
    for (let tenth = 1; tenth <= 10; tenth += 1) {
      const step = Math.floor((steps * tenth) / 11);
      // Forced: what a killed one has loaded already is loaded again.
      const { signal } = await runWith({ ...env, ...killAtStep(step) }, ...load, '--force');
      if (signal === 'SIGKILL') killed += 1;
    }
    assert.equal(killed, 10);
    await succeeded(runWith(env, ...load));
    await sameAsExports(server, address, staging);
    await succeeded(runWith(env, 'reconcile', ...whole));
  });
}

async function overTls(t: Attempt, server: TestServer): Promise<void> {
  const [own, other] = [selfSignedCertificate(), selfSignedCertificate()];
  const file = (name: string): string => join(t.folder, name);
  await writeFile(file('cert.pem'), own.cert);
  await writeFile(file('key.pem'), own.key);
  await writeFile(file('other.pem'), other.cert);
  const plain = await server.createDatabase();
  await server.kill();
  await server.restart([`--ssl-cert=${file('cert.pem')}`, `--ssl-key=${file('key.pem')}`]);
  // From here on, so that this side can still set it.
  await server.query(plain, 'SET GLOBAL require_secure_transport = ON');
  await inWorld(async ({ run: runPlain, runWith, folder, whole }) => {
    await succeeded(runPlain('run', ...whole, '--stage', 'extract,transform'));
    const load = (address: string) =>
      runWith({ PIPELINE_DATABASE: address }, 'run', ...whole, '--stage', 'load');
    const told = async (address: string): Promise<string> => {
      const { code, stdout, stderr } = await load(address);
      assert.equal(code, 1);
      return (stdout + stderr).replaceAll(/\s+/g, ' ');
    };
    assert.match(await told(`${plain}?ssl-ca=${file('other.pem')}`), /no trusted TLS connection/);
    assert.match(await told(`${plain}?ssl=true`), /no trusted TLS connection/);
    assert.match(await told(plain), /takes connections by TLS alone.*\?ssl=true/);
    await succeeded(load(`${plain}?ssl-ca=${file('cert.pem')}`));
    await server.kill();
    await server.restart();
    await sameAsExports(server, plain, join(folder, 'staging'));
  });
}

/** A world of its own, which ends with the work. */
async function inWorld(
  work: (world: World & { whole: readonly string[] }) => Promise<void>,
): Promise<void> {
  const ends: (() => Promise<void>)[] = [];
  try {
    await work(await everyDetail({ teardown: (end) => void ends.push(end) }));
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

export const databaseTrials: readonly Trial[] = [
  trial('MySQL', async (t) =>
    databaseTrial(t, await mysql(t), settings('sql_require_primary_key')),
  ),
  trial('MariaDB', async (t) =>
    databaseTrial(t, await mariadb(t), settings('innodb_force_primary_key')),
  ),
];
