import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { selfSignedCertificate } from './certificate.js';
import { findProgram, installPackages } from './debian.js';
import { endProcess, freePort, watchOver } from './private-server.js';

export interface RedisOptions {
  /** `aof` (default): what was acknowledged survives a kill. */
  persistence?: 'aof' | 'rdb' | 'none';
  /** Its `maxmemory-policy`; `noeviction` by default. */
  policy?: string;
  /** Without it anybody may do everything. */
  password?: string;
  /** Takes TLS alone, with a certificate for these names (host names and IPv4 addresses). */
  tlsNames?: readonly string[];
  /** Further lines of its configuration file. */
  lines?: readonly string[];
}

/** A real redis-server of one test file, on a port of its own of 127.0.0.1. */
export interface TestRedis {
  /** What `--queue` is given: database 0, without the password. */
  address: string;
  port: number;
  /** PEM file that trusts its certificate, for `NODE_EXTRA_CA_CERTS`; `undefined` without TLS. */
  certificate: string | undefined;
  /** Sends one command, with every right, and gives its answer. */
  send(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** Empties it, as somebody might who takes it for a cache. */
  empty(): Promise<void>;
  /** Every command that has changed anything, as its append-only file holds it. */
  written(): Promise<Buffer>;
  /** Ends it as a crash would, leaving its files. */
  kill(): Promise<void>;
  /** Starts it again after {@link kill}, on its files and port, and waits until it answers. */
  restart(): Promise<void>;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
}

/** Starts a server of this machine's `redis-server`, else of Debian's package, which is installed where that is possible. */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const binary = await provideRedis();
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-redis-'));
  const port = await freePort();
  const { password, tlsNames } = options;
  const certificate = tlsNames === undefined ? undefined : join(folder, 'cert.pem');
  let child: ChildProcess | undefined;
  let watchdog: ChildProcess | undefined;

  const connect = async (): Promise<Redis> => {
    const client = new Redis({
      host: '127.0.0.1',
      port,
      ...(password === undefined ? {} : { password }),
      ...(tlsNames === undefined ? {} : { tls: { rejectUnauthorized: false } }),
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const send: TestRedis['send'] = async (command, ...args) => {
    const client = await connect();
    try {
      return await client.call(command, ...args);
    } finally {
      client.disconnect();
    }
  };
  const start = async (): Promise<void> => {
    const started = spawn(binary, [join(folder, 'redis.conf')], { stdio: 'ignore' });
    child = started;
    started.unref();
    watchdog = watchOver(started, folder);
    const deadline = Date.now() + 60_000;
    for (;;) {
      try {
        const info = String(await send('INFO', 'server'));
        if (info.includes(`process_id:${started.pid}\r`)) return;
        throw new Error('another server has the port');
      } catch (error) {
        if (started.exitCode !== null || started.signalCode !== null || Date.now() > deadline) {
          const log = await readFile(join(folder, 'log'), 'utf8').catch(() => 'no log');
          throw new Error(`redis-server does not start: ${log.slice(-2000)}`, { cause: error });
        }
      }
      await setTimeout(10);
    }
  };
  const kill = async (): Promise<void> => {
    watchdog?.kill();
    if (child !== undefined) await endProcess(child);
  };
  const stop = async (): Promise<void> => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    if (tlsNames !== undefined) {
      const { key, cert } = selfSignedCertificate(tlsNames);
      await writeFile(join(folder, 'key.pem'), key, { mode: 0o600 });
      await writeFile(join(folder, 'cert.pem'), cert);
    }
    await writeFile(join(folder, 'redis.conf'), configuration(folder, port, options));
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    address: `${tlsNames === undefined ? 'redis' : 'rediss'}://127.0.0.1:${port}/0`,
    port,
    certificate,
    send,
    async empty() {
      await send('FLUSHALL');
    },
    async written() {
      const log = join(folder, 'appendonlydir');
      const files = (await readdir(log)).map((file) => readFile(join(log, file)));
      return Buffer.concat(await Promise.all(files));
    },
    kill,
    restart: start,
    stop,
  };
}

function configuration(
  folder: string,
  port: number,
  { persistence = 'aof', policy = 'noeviction', password, tlsNames, lines = [] }: RedisOptions,
): string {
  const listening =
    tlsNames === undefined
      ? [`port ${port}`]
      : [
          'port 0',
          `tls-port ${port}`,
          `tls-cert-file ${join(folder, 'cert.pem')}`,
          `tls-key-file ${join(folder, 'key.pem')}`,
          'tls-auth-clients no',
        ];
  return [
    'bind 127.0.0.1',
    ...listening,
    `dir ${folder}`,
    `logfile ${join(folder, 'log')}`,
    'daemonize no',
    `appendonly ${persistence === 'aof' ? 'yes' : 'no'}`,
    persistence === 'rdb' ? 'save 3600 1' : 'save ""',
    `maxmemory-policy ${policy}`,
    ...(password === undefined ? [] : [`requirepass "${password}"`]),
    ...lines,
    '',
  ].join('\n');
}

/** The server's program. */
export async function provideRedis(): Promise<string> {
  const reason = await installPackages('command -v redis-server', 'redis-server');
  const binary = await findProgram('redis-server');
  if (binary !== undefined) return binary;
  throw new Error(
    `These tests need redis-server and found none (${reason ?? 'it was installed elsewhere'}). Install it ("apt-get install redis-server", "brew install redis").`,
  );
}
