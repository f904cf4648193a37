import { createServer } from 'node:net';
import { cp, mkdir, readdir, symlink } from 'node:fs/promises';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parseDatabaseUrl } from '../../../pipeline/config/database-address.js';
import { parseQueueUrl } from '../../../pipeline/config/queue-address.js';
import { checklist, formatChecklist } from '../../../pipeline/inspect/checklist.js';
import { checkQueue } from '../../../pipeline/inspect/queue-check.js';
import { parseStagingLocation } from '../../../pipeline/staging/open.js';
import { bareEnvironment, finished, root, temporaryFolder } from '../../support/cli.js';
import type { RedisOptions, TestRedis } from '../../support/redis.js';
import { startRedis } from '../../support/redis.js';
import { world } from '../../support/world.js';

async function redis(t: ExecutionContext, options: RedisOptions = {}): Promise<TestRedis> {
  const server = await startRedis(options);
  t.teardown(() => server.stop());
  return server;
}

const mysql = 'mysql://u@127.0.0.1/x';

/** What the check says of the queue at an address. */
async function told(
  address: string,
  {
    password,
    staging = 's3://bucket/x',
    database = mysql,
    timeoutMs = 5_000,
  }: { password?: string; staging?: string; database?: string; timeoutMs?: number } = {},
): Promise<string> {
  const list = checklist();
  const config = {
    staging: parseStagingLocation(staging),
    database: { kind: 'url', location: parseDatabaseUrl(database) },
    timeoutMs,
  } as const;
  await checkQueue({ location: parseQueueUrl(address), password, keepDays: 7 }, config, list);
  return formatChecklist(list.lines);
}

test('a Redis as it should be is found so, and nothing is left in it', async (t) => {
  const server = await redis(t);
  const lines = (await told(server.address)).split('\n');
  t.deepEqual(
    lines.map((line) => line.slice(0, 26).trim()),
    [
      'ok       queue',
      'ok       queue server',
      'ok       queue rights',
      'ok       queue eviction',
      'ok       queue persistence',
      'skipped  queue TLS',
    ],
  );
  const text = lines.join('\n');
  t.regex(text, /queue server +Redis \d+\.\d+/);
  t.regex(text, /maxmemory-policy noeviction, no bound on memory/);
  t.regex(text, /queue persistence +append-only file/);
  t.regex(text, /queue TLS .*in the clear; rediss:\/\/ asks for TLS/);
  t.is(await server.send('DBSIZE'), 0);
});

test('a folder and an SQLite file are told to whoever means several machines', async (t) => {
  const { address } = await redis(t);
  const text = await told(address, { staging: './staging', database: 'sqlite:x' });
  t.regex(text, /^ok +queue staging area +a folder: every worker must see the same one/m);
  t.regex(text, /^ok +queue database +an SQLite file: .*need a server/m);
});

const states: [string, RedisOptions, RegExp[]][] = [
  [
    'a cache',
    { policy: 'allkeys-lru', lines: ['maxmemory 64mb'] },
    [
      /^failed +queue eviction .*maxmemory-policy is allkeys-lru .*set "maxmemory-policy noeviction"/m,
      /^ok +queue persistence/m,
    ],
  ],
  [
    'one that keeps nothing on disk',
    { persistence: 'none' },
    [
      /^failed +queue persistence .*forgets every job.*set "appendonly yes"/m,
      /^ok +queue eviction/m,
    ],
  ],
  [
    'one that takes snapshots alone',
    { persistence: 'rdb', lines: ['maxmemory 64mb'] },
    [
      /^ok +queue persistence +snapshots alone \(save 3600 1\): .*"appendonly yes" keeps it/m,
      /noeviction, at most 64 MiB/,
    ],
  ],
  [
    'a rented one, which hides its settings',
    { persistence: 'none', lines: ['rename-command CONFIG ""'] },
    [/^ok +queue persistence +no append-only file, and Redis does not tell/m, /^ok +queue ev/m],
  ],
  [
    'a replica',
    { lines: ['replicaof 127.0.0.1 9'] },
    [
      /^failed +queue server .*replica.*name the primary/m,
      /^failed +queue rights .*(replica|not ready)/m,
      /^skipped +queue eviction/m,
    ],
  ],
  [
    'a cluster',
    { lines: ['cluster-enabled yes'] },
    [/^failed +queue server .*is a cluster.*name a Redis that is none/m],
  ],
  [
    'one whose memory is full',
    { lines: ['maxmemory 1'] },
    [/^failed +queue rights .*memory is full.*give it more/m, /^ok +queue server/m],
  ],
];
for (const [what, options, lines] of states)
  test(`${what} is told with what to do`, async (t) => {
    const { address } = await redis(t, options);
    const text = await told(address);
    for (const line of lines) t.regex(text, line);
  });

const PASSWORD = 'p@:/#?% pass-w0rd';

test('user and password are needed, right, and have the rights', async (t) => {
  const { address, port } = await redis(t, {
    password: PASSWORD,
    lines: [
      `user other on >pass-w0rd ~other:* &* +@all`,
      `user blind on >pass-w0rd ~* +@all -info`,
    ],
  });
  const refused = [
    [await told(address), /^failed +queue .*asks for a password.*PIPELINE_QUEUE_PASSWORD/m],
    [await told(address, { password: 'wr0ng-one' }), /^failed +queue .*refuses user or password/m],
  ] as const;
  for (const [text, line] of refused) {
    t.regex(text, line);
    t.regex(text, /^skipped +queue persistence +there is no connection/m);
    t.notRegex(text, /pass-w0rd|wr0ng-one/);
  }
  t.notRegex(await told(address, { password: PASSWORD }), /^failed/m);
  const password = 'pass-w0rd';
  const other = await told(`redis://other@127.0.0.1:${port}/3`, { password });
  t.regex(other, /^failed +queue rights .*no right.*ACL SETUSER/m);
  const blind = await told(`redis://blind@127.0.0.1:${port}`, { password });
  t.regex(blind, /^failed +queue server .*no right/m);
  t.regex(blind, /^skipped +queue eviction/m);
});

test('TLS: the certificate and its name are checked', async (t) => {
  const [good, misnamed] = await Promise.all([
    redis(t, { tlsNames: ['127.0.0.1'] }),
    redis(t, { tlsNames: ['redis.example.com'] }),
  ]);
  const { runWith } = await world(t);
  const check = async ({ address }: TestRedis, trusted: TestRedis | undefined) => {
    const env = trusted === undefined ? {} : { NODE_EXTRA_CA_CERTS: trusted.certificate ?? '' };
    return (await runWith(env, 'check', '--queue', address)).stdout;
  };
  const failed = /^failed +queue .*no trusted TLS connection to Redis.*NODE_EXTRA_CA_CERTS/m;
  t.regex(await check(good, undefined), failed);
  t.regex(await check(misnamed, misnamed), failed);
  const trusted = await check(good, good);
  t.regex(trusted, /^ok +queue persistence/m);
  t.regex(trusted, /^ok +queue TLS/m);
  t.regex(
    await told(good.address.replace('rediss', 'redis')),
    /^failed +queue .*connection to Redis broke.*takes TLS alone \(rediss:\/\/\)/m,
  );
});

test('nobody, somebody else, a host of no name, a database of no number', async (t) => {
  const http = createServer((socket) => {
    socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n');
  }).listen(0, '127.0.0.1');
  const mute = createServer((socket) => {
    socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await Promise.all([once(http, 'listening'), once(mute, 'listening')]);
  t.teardown(() => {
    http.close();
    mute.close();
  });
  const portOf = (server: typeof http): number => (server.address() as { port: number }).port;
  const { address } = await redis(t);
  const cases: [string, RegExp][] = [
    ['redis://127.0.0.1:9', /Redis cannot be reached \[redis:\/\/127\.0\.0\.1:9\/0\]; check that/],
    [`redis://127.0.0.1:${portOf(http)}`, /what answers there is no Redis/],
    [`redis://127.0.0.1:${portOf(mute)}`, /Redis gave no answer in time/],
    ['redis://nowhere.invalid', /the queue's host is unknown .*correct the host/],
    [address.replace('/0', '/99'), /Redis has no database of that number/],
  ];
  for (const [place, message] of cases)
    t.regex(
      await told(place, { timeoutMs: 500 }),
      new RegExp(`^failed +queue +${message.source}`, 'm'),
    );
});

test('pipeline check --queue: password from the environment, never from the address', async (t) => {
  const server = await redis(t, { password: PASSWORD });
  const { address, port } = server;
  const { runWith, run } = await world(t);
  const good = await runWith({ PIPELINE_QUEUE_PASSWORD: PASSWORD }, 'check', '--queue', address);
  t.is(good.code, 0, good.stdout);
  t.regex(good.stdout, /^ok +from flags +--queue$/m);
  t.regex(good.stdout, /^ok +queue eviction/m);
  t.is(await server.send('DBSIZE'), 0);
  const bad = await run('check', '--queue', address);
  t.is(bad.code, 1);
  t.regex(bad.stdout, /^failed +queue /m);
  const given = await run('check', '--queue', `redis://:pass-w0rd@127.0.0.1:${port}/0`);
  t.is(given.code, 1);
  t.regex(
    given.stdout,
    /^failed +settings [^]*--queue.*holds a password.*PIPELINE_QUEUE_PASSWORD/m,
  );
  for (const { stdout, stderr } of [good, bad, given]) t.notRegex(stdout + stderr, /pass-w0rd/);
  t.notRegex((await run('check')).stdout, /queue/, 'nothing is said where there is none');
});

test('without the optional packages one sentence says what to install', async (t) => {
  const { folder, cloud } = await world(t);
  const home = await temporaryFolder(t);
  for (const room of ['pipeline', 'extract', 'transform', 'load'])
    await cp(join(root, 'dist', room), join(home, 'dist', room), { recursive: true });
  await cp(join(root, 'package.json'), join(home, 'package.json'));
  await mkdir(join(home, 'node_modules'));
  for (const name of await readdir(join(root, 'node_modules')))
    if (name !== 'bullmq' && name !== 'ioredis')
      await symlink(join(root, 'node_modules', name), join(home, 'node_modules', name));
  const args = [join(home, 'dist/pipeline/cli.js'), 'check', '--queue', 'redis://127.0.0.1:9'];
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: { ...bareEnvironment(), ...cloud.environment },
  });
  const { code, stdout } = await finished(child);
  t.is(code, 1);
  t.regex(
    stdout,
    /^failed +queue +the packages of the queue are not installed .*npm i bullmq ioredis/m,
  );
  t.regex(stdout, /^ok +staging area/m);
});
