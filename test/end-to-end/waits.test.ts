import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import anyTest from 'ava';
import type { TestFn } from 'ava';
import { bareEnvironment, cliFile, finished } from '../support/cli.js';
import type { Finished } from '../support/cli.js';
import {
  askForFile,
  drip,
  flood,
  freezingProxy,
  httpServer,
  mute,
  rogueMysql,
} from '../support/hostile.js';
import type { TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';
import { month, world } from '../support/world.js';
import type { World } from '../support/world.js';

const test = anyTest as TestFn<{ server: TestServer; loaded: World }>;
const execute = promisify(execFile);
/** The stage alone that needs the database: no honest server has to keep a short --timeout. */
const load = ['run', '--month', month, '--stage', 'load', '--force'] as const;
const json = { 'content-type': 'application/x-amz-json-1.1' };

test.before(async (t) => {
  t.context.server = await startServer();
  // One staged and loaded month, of which each test has a copy.
  t.context.loaded = await world({ teardown: () => undefined });
  t.is((await t.context.loaded.run('run', '--month', month)).code, 0);
});
test.after.always(async (t) => {
  const { server, loaded } = t.context;
  await Promise.all([
    server.stop(),
    loaded.cloud.close(),
    rm(loaded.folder, { recursive: true, force: true }),
  ]);
});

/** A world of its own, in which the month is staged and loaded. */
async function loadedWorld(t: ExecutionContext<{ loaded: World }>): Promise<World> {
  const w = await world(t);
  await cp(t.context.loaded.folder, w.folder, { recursive: true });
  return w;
}

/** The command ended by itself, as a failure that a person can read. */
function failed(
  t: ExecutionContext,
  { code, signal, stdout, stderr }: Finished,
  words: RegExp,
): void {
  t.is(signal, null);
  t.is(code, 1);
  t.regex(stdout + stderr, words);
  t.notRegex(stdout + stderr, /^\s+at /m);
}

/** A command that a SIGTERM is sent to as soon as its standard error says the words. */
async function stopped(
  { folder, cloud }: World,
  words: readonly string[],
  env: Record<string, string>,
  until: RegExp | Promise<unknown>,
): Promise<Finished> {
  const child = spawn(process.execPath, [cliFile, ...words], {
    cwd: folder,
    env: { ...bareEnvironment(), ...cloud.environment, AWS_MAX_ATTEMPTS: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = finished(child);
  const said = new Promise<void>((resolve) => {
    if (until instanceof RegExp) {
      let text = '';
      child.stderr.on('data', (data) => {
        text += String(data);
        if (until.test(text)) resolve();
      });
    } else {
      void until.then(() => {
        resolve();
      });
    }
  });
  const early = await Promise.race([said, ended]);
  if (early !== undefined) throw new Error(`it ended before: ${early.stdout}${early.stderr}`);
  child.kill('SIGTERM');
  return ended;
}

test('a database that accepts and says nothing ends every command', async (t) => {
  const w = await loadedWorld(t);
  const { port } = await mute(t);
  const address = `mysql://u@127.0.0.1:${port}/d`;
  for (const words of [
    [...load],
    ['status'],
    ['plan', '--month', month, '--stage', 'load'],
    ['check'],
    ['reconcile'],
  ]) {
    const ended = await w.run(...words, '--database', address, '--timeout', '1');
    failed(t, ended, /the database server cannot be reached \(connect ETIMEDOUT\)/);
  }
});

test('a database that lets everybody in and says nothing more ends every command', async (t) => {
  const w = await loadedWorld(t);
  const address = await rogueMysql(t, () => undefined);
  for (const words of [load, ['status'], ['check'], ['reconcile']]) {
    const ended = await w.run(...words, '--database', address, '--timeout', '1');
    failed(t, ended, /the database gave no answer in time/);
  }
});

test('a database that asks for files gets none, and the process ends', async (t) => {
  const w = await loadedWorld(t);
  const secret = 'content of a file that no server may have';
  await writeFile(join(w.folder, 'secret'), secret);
  let received = '';
  const address = await rogueMysql(t, (connection) => {
    connection.stream.on('data', (data) => (received += data.toString('latin1')));
    askForFile(connection, join(w.folder, 'secret'));
  });
  for (const words of [load, ['status']]) {
    const ended = await w.run(...words, '--database', address, '--timeout', '1');
    failed(t, ended, /the database (gave no answer in time|failed)/);
  }
  t.false(received.includes(secret));
});

test('a database that freezes in the middle of a load fails it', async (t) => {
  const { server } = t.context;
  const w = await loadedWorld(t);
  const url = await server.createDatabase();
  const count =
    'SELECT count(*) AS rows_ FROM information_schema.tables WHERE table_schema = DATABASE()';
  for (const word of ['LOAD DATA', 'insert into `pipeline_loads`', 'COMMIT']) {
    const { address, isFrozen } = await freezingProxy(t, url, word);
    const env = { PIPELINE_DATABASE: address };
    const ended = await w.runWith(env, ...load, '--timeout', '5', '--organization', 'oab');
    failed(t, ended, /the database gave no answer in time/);
    t.true(isFrozen(), word);
    if (word === 'COMMIT') continue;
    // The tables are there, made before the load; of the load there is nothing.
    t.true(Number((await server.query(url, count))[0]?.['rows_']) > 0);
    t.deepEqual(await server.query(url, 'SELECT * FROM pipeline_loads'), []);
  }
  const done = await w.runWith({ PIPELINE_DATABASE: url }, ...load, '--wait', '60');
  t.is(done.code, 0, done.stdout);
});

test('SIGTERM ends the wait for a row that somebody else has locked', async (t) => {
  const { server } = t.context;
  const w = await world(t);
  const url = await server.createDatabase();
  const env = { PIPELINE_DATABASE: url };
  t.is((await w.runWith(env, 'run', '--month', month)).code, 0);
  const locker = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import mysql from ${JSON.stringify(import.meta.resolve('mysql2/promise'))};
       const c = await mysql.createConnection(${JSON.stringify(url)});
       await c.query('START TRANSACTION');
       await c.query('SELECT * FROM customers FOR UPDATE');
       console.log('locked');`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => locker.kill('SIGKILL'));
  await once(locker.stdout, 'data');
  const waiting = (async () => {
    for (;;) {
      const found = await server.query(
        url,
        "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'delete from `customers`%' AND db = DATABASE()",
      );
      if (found.length > 0) return;
    }
  })();
  const { code, stdout } = await stopped(
    w,
    ['run', '--month', month, '--force', '--stage', 'load'],
    env,
    waiting,
  );
  t.is(code, 130);
  t.regex(stdout, /interrupted/);
});

test('SIGTERM ends the wait for an SQLite file that another process has locked', async (t) => {
  const w = await loadedWorld(t);
  const locker = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import Libsql from ${JSON.stringify(import.meta.resolve('libsql'))};
       const db = new Libsql(${JSON.stringify(join(w.folder, 'billing.sqlite'))});
       db.exec('PRAGMA journal_mode = DELETE'); db.exec('BEGIN EXCLUSIVE');
       console.log('locked');
       // Held by name: a connection that is collected lets its lock go.
       setInterval(() => db.open, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => locker.kill('SIGKILL'));
  await once(locker.stdout, 'data');
  const words = ['run', '--month', month, '--stage', 'load', '--log-level', 'debug'];
  const { code, stderr } = await stopped(w, words, {}, /waiting for another process/);
  t.is(code, 130);
  t.regex(stderr, /stopping; once more/);
});

test('SIGTERM ends the pause before the next try, and a dripping answer', async (t) => {
  const w = await world(t);
  let begun: () => void = () => undefined;
  for (const answer of ['drip', 'throttle'] as const) {
    const first = new Promise<void>((resolve) => (begun = resolve));
    const url = await httpServer(t, (_request, response) => {
      if (answer === 'drip') drip(response, '{', json);
      else {
        response.writeHead(503, { 'retry-after': '3600' });
        response.end('');
      }
      begun();
    });
    const env = { AWS_ENDPOINT_URL_COST_EXPLORER: url, AWS_MAX_ATTEMPTS: '50' };
    const { code } = await stopped(w, ['run', '--month', month, '--stage', 'extract'], env, first);
    t.is(code, 130);
  }
});

test('a Vault whose answer drips or never ends is given up', async (t) => {
  const w = await world(t);
  const dripping = await httpServer(t, (_request, response) => {
    drip(response, '{"auth":', json);
  });
  const flooding = await httpServer(t, (_request, response) => {
    flood(response, json);
  });
  const words = ['run', '--month', month];
  const slow = await w.runWith({ VAULT_ADDR: dripping }, ...words, '--timeout', '1');
  failed(t, slow, /Vault gave no answer in time/);
  const long = await w.runWith({ VAULT_ADDR: flooding }, ...words);
  failed(t, long, /the answer is longer than any of Vault \(4 MiB\)/);
});

test('a staged file or folder that was replaced by a FIFO, a device or a link is named', async (t) => {
  const w = await loadedWorld(t);
  const staging = join(w.folder, 'staging');
  const replaced = async (
    path: string,
    make: (path: string) => Promise<unknown>,
    commands: string[][],
    words: RegExp,
  ): Promise<void> => {
    const file = join(staging, path);
    await rename(file, join(w.folder, 'aside'));
    await make(file);
    for (const command of commands) failed(t, await w.run(...command), words);
    await execute('rm', [file]);
    await rename(join(w.folder, 'aside'), file);
  };
  const fifo = (path: string) => execute('mkfifo', [path]);
  const [extraction] = await readdir(join(staging, `raw/month=${month}/oab`));
  const page = `raw/month=${month}/oab/${extraction ?? ''}/cost-and-usage-00001.json`;
  const looks = [
    ['status'],
    ['reconcile'],
    ['run', '--month', month, '--stage', 'transform', '--force'],
  ];
  await replaced(page, fifo, looks, /a FIFO stands where a regular file or a folder belongs/);
  await replaced(page, (path) => symlink('/dev/zero', path), looks, /a link stands where/);
  const loads = [['reconcile'], ['run', '--month', month, '--stage', 'load', '--force']];
  for (const table of ['consumption', 'customers'])
    await replaced(
      `parquet/${table}/month=${month}/oab.parquet`,
      fifo,
      loads,
      /a FIFO stands where/,
    );
  await replaced(
    `csv/consumption/month=${month}/oab.csv`,
    fifo,
    [['reconcile']],
    /a FIFO stands where/,
  );
  await replaced(
    `manifests/month=${month}/oab.json`,
    fifo,
    [['status'], ['reconcile']],
    /a FIFO stands where/,
  );
  t.is((await w.run('reconcile')).code, 0);

  // An organization's folder that leads elsewhere: what lies there stays, however old it is.
  const elsewhere = join(w.folder, 'elsewhere');
  await rename(join(staging, `raw/month=${month}/oab`), elsewhere);
  await symlink(elsewhere, join(staging, `raw/month=${month}/oab`));
  const before = await readdir(elsewhere, { recursive: true });
  for (const command of [
    ['prune', '--keep', '1'],
    ['run', '--month', month, '--force'],
    ['status'],
  ])
    failed(t, await w.run(...command), /a link stands where/);
  t.deepEqual(await readdir(elsewhere, { recursive: true }), before);
});

test('a link in place of .tmp: nothing in its target is removed', async (t) => {
  const w = await world(t);
  t.is((await w.run('run', '--month', month, '--stage', 'extract')).code, 0);
  const target = join(w.folder, 'documents');
  await rename(join(w.folder, 'staging/.tmp'), target);
  await symlink(target, join(w.folder, 'staging/.tmp'));
  const old = new Date(Date.now() - 30 * 86_400_000);
  for (const name of ['taxes.pdf', 'host.1.0123456789ab.7']) {
    await writeFile(join(target, name), 'old');
    await utimes(join(target, name), old, old);
  }
  failed(t, await w.run('run', '--month', month), /a link stands where .*staging\/\.tmp\]/);
  t.deepEqual((await readdir(target)).sort(), ['host.1.0123456789ab.7', 'taxes.pdf']);
});

test('a staging area where no folder can be made is named', async (t) => {
  const w = await world(t);
  failed(
    t,
    await w.run('run', '--month', month, '--staging', '/proc/x'),
    /no folder can be made there.*\[\/proc\/x/,
  );
});

test('credentials that cannot go into a header end at once', async (t) => {
  const w = await world(t);
  // A newline in the key's id: the header that it goes into cannot be made.
  const keys = { Version: 1, AccessKeyId: 'AKIA\nX', SecretAccessKey: 's' };
  await writeFile(join(w.folder, 'keys.json'), JSON.stringify(keys));
  await writeFile(
    join(w.folder, 'credentials'),
    `[p]\ncredential_process = cat ${join(w.folder, 'keys.json')}\n`,
  );
  await writeFile(
    join(w.folder, 'pipeline.config.yaml'),
    'organizations:\n  - name: p\n    profile: p\n',
  );
  const env = {
    AWS_SHARED_CREDENTIALS_FILE: join(w.folder, 'credentials'),
    VAULT_AWS_SECRET_PATH: '',
    VAULT_ADDR: '',
  };
  // The test ends with the process; with a connection's timer left, that would be after --timeout.
  const ended = await w.runWith(env, 'run', '--month', month, '--timeout', '3600');
  failed(t, ended, /hold a character that no header can carry/);
});

test('a program for credentials that never ends is given up, and ends with the first signal', async (t) => {
  const w = await world(t);
  await execute('mkfifo', [join(w.folder, 'started')]);
  await writeFile(
    join(w.folder, 'credentials'),
    `[p]\ncredential_process = sh -c "echo x > ${join(w.folder, 'started')}; exec sleep 600"\n`,
  );
  await writeFile(
    join(w.folder, 'pipeline.config.yaml'),
    'organizations:\n  - name: p\n    profile: p\n',
  );
  const env = {
    AWS_SHARED_CREDENTIALS_FILE: join(w.folder, 'credentials'),
    VAULT_AWS_SECRET_PATH: '',
  };
  const started = () => execute('cat', [join(w.folder, 'started')]);
  const { code } = await stopped(w, ['run', '--month', month], env, started());
  t.is(code, 130);
  const [ended] = await Promise.all([
    w.runWith(env, 'run', '--month', month, '--timeout', '1'),
    started(),
  ]);
  failed(t, ended, /no success within 20 s, all tries together/);
});

test('settings from a FIFO: what a shell makes is read, one that nobody writes to is named', async (t) => {
  const w = await world(t);
  const fifo = join(w.folder, 'fifo');
  await execute('mkfifo', [fifo]);
  const alone = await w.run('status', '--config', 'fifo');
  t.is(alone.code, 2);
  t.regex(alone.stderr, /nobody writes to the FIFO/);
  const zero = await w.run('status', '--config', '/dev/zero');
  t.is(zero.code, 2);
  t.regex(zero.stderr, /longer than any of its kind/);
  const ca = await w.runWith({ VAULT_CACERT: fifo }, 'run', '--month', month);
  failed(t, ca, /CA certificates cannot be read/);
  const child = spawn(
    'bash',
    [
      '-c',
      '"$0" "$1" status --config <(read -r line <"$2"; echo "$line")',
      process.execPath,
      cliFile,
      fifo,
    ],
    { cwd: w.folder, env: bareEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const ended = finished(child);
  await writeFile(fifo, 'staging: ./elsewhere\n');
  t.regex((await ended).stdout, /nothing is staged in .*elsewhere/);
});
