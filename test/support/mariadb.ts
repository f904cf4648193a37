import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { findProgram, installPackages } from './debian.js';
import { endProcess, freePort, watchOver } from './private-server.js';

const run = promisify(execFile);

/** A real MariaDB (or MySQL) server for tests. */
export interface TestServer {
  /** Makes an empty database; its address carries a user with every right on the server. */
  createDatabase(): Promise<string>;
  /** Runs statements as that user and returns the last one's rows. */
  query(address: string, ...statements: string[]): Promise<Record<string, unknown>[]>;
  /** Ends a private server as a crash would, leaving its files. */
  kill(): Promise<void>;
  /** Starts a killed private server again, on its files and port, with other flags where some are given. */
  restart(flags?: readonly string[]): Promise<void>;
  /** Ends a private server and removes its files, or drops the databases made on a shared one. */
  stop(): Promise<void>;
}

/** A server's program, and how its system tables are made. */
export interface ServerProgram {
  /** The words that start it. */
  command: readonly string[];
  /** Options that it always needs, such as where its own files lie. */
  flags: readonly string[];
  /** Makes the system tables in the folder that `data`, options of the server, name. */
  initialize: (data: readonly string[]) => Promise<void>;
}

/**
 * The server that `PIPELINE_TEST_DATABASE` names (`mysql://…`, its user may create databases), else
 * a private one, see {@link startServer}.
 */
export async function openServer(): Promise<TestServer> {
  const given = process.env['PIPELINE_TEST_DATABASE'];
  return given === undefined || given === '' ? startServer() : serverAt(new URL(given));
}

/**
 * Starts a private server on a temporary folder and a free port of 127.0.0.1.
 * @param flags further options of the server, such as `--local-infile=0`.
 * @param given its program; by default the `mariadbd` or `mysqld` of this machine, else of Debian's package, which is
 * installed where that is possible.
 */
export async function startServer(
  flags: readonly string[] = [],
  given?: ServerProgram,
): Promise<TestServer> {
  const program = given ?? (await machineProgram());
  const [binary = '', ...words] = program.command;
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-mariadb-'));
  const password = `p@:/#?% ${randomBytes(6).toString('hex')}`;
  const port = await freePort();
  const address = new URL(`mysql://127.0.0.1:${port}/`);
  address.username = 'tester';
  address.password = encodeURIComponent(password);
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : [];
  let child: ChildProcess | undefined;
  let watchdog: ChildProcess | undefined;
  const start = async (own = flags): Promise<void> => {
    child = spawn(
      binary,
      [
        ...words,
        '--no-defaults',
        ...asRoot,
        ...program.flags,
        `--datadir=${join(folder, 'data')}`,
        `--init-file=${join(folder, 'start.sql')}`,
        `--socket=${join(folder, 'socket')}`,
        `--pid-file=${join(folder, 'pid')}`,
        `--tmpdir=${folder}`,
        `--log-error=${join(folder, 'log.err')}`,
        '--bind-address=127.0.0.1',
        `--port=${port}`,
        '--skip-name-resolve',
        '--innodb-buffer-pool-size=64M',
        // Durable against a crash of the server, which tests cause, not of the machine.
        '--innodb-flush-log-at-trx-commit=2',
        '--innodb-flush-method=nosync',
        ...own,
      ],
      { stdio: 'ignore' },
    );
    child.unref();
    watchdog = watchOver(child, folder);
    await untilItAnswers(address, child, join(folder, 'log.err'));
  };
  const stop = async (): Promise<void> => {
    watchdog?.kill();
    if (child !== undefined) await endProcess(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    // Servers that share a folder for temporary tables remove each other's.
    await program.initialize([
      ...asRoot,
      `--datadir=${join(folder, 'data')}`,
      `--tmpdir=${folder}`,
    ]);
    await writeFile(
      join(folder, 'start.sql'),
      `CREATE USER IF NOT EXISTS 'tester'@'%' IDENTIFIED BY '${password}';\nGRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION;\n`,
    );
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...serverAt(address),
    kill: async () => {
      watchdog?.kill();
      if (child !== undefined) await endProcess(child);
    },
    restart: start,
    stop,
  };
}

function serverAt(address: URL): TestServer {
  const made: string[] = [];
  const query: TestServer['query'] = async (target, ...statements) => {
    const connection = await connect(new URL(target));
    try {
      let rows: unknown = [];
      for (const statement of statements) [rows] = await connection.query(statement);
      return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
    } finally {
      await connection.end();
    }
  };
  return {
    query,
    async createDatabase() {
      const name = `pipeline_test_${randomBytes(6).toString('hex')}`;
      await query(address.href, `CREATE DATABASE ${name}`);
      made.push(name);
      const database = new URL(address);
      database.pathname = `/${name}`;
      return database.href;
    },
    kill: () => Promise.reject(new Error('a shared server is not ended by tests')),
    restart: () => Promise.reject(new Error('a shared server is not started by tests')),
    async stop() {
      await query(address.href, ...made.map((name) => `DROP DATABASE IF EXISTS ${name}`));
    },
  };
}

function connect(address: URL): Promise<mysql.Connection> {
  return mysql.createConnection({
    host: address.hostname,
    port: Number(address.port === '' ? 3306 : address.port),
    user: decodeURIComponent(address.username),
    password: decodeURIComponent(address.password),
    database: address.pathname.slice(1),
    dateStrings: true,
    charset: 'utf8mb4',
  });
}

async function findServer(): Promise<string | undefined> {
  return (await findProgram('mariadbd')) ?? (await findProgram('mysqld'));
}

/** This machine's own server. */
async function machineProgram(): Promise<ServerProgram> {
  const isThere = '[ -x /usr/sbin/mariadbd ] || command -v mariadbd mysqld';
  const reason = await installPackages(isThere, 'mariadb-server');
  const binary = await findServer();
  if (binary !== undefined) return serverProgram(binary);
  throw new Error(
    `These tests need a MariaDB or MySQL server and found none (${reason ?? 'it was installed elsewhere'}). Install one ("apt-get install mariadb-server", "brew install mariadb"), or set PIPELINE_TEST_DATABASE=mysql://USER:PASSWORD@HOST:PORT/ to one whose user may create databases.`,
  );
}

/** A server's program, `mariadbd` or `mysqld`, by its file's name. */
export function serverProgram(binary: string): ServerProgram {
  return { command: [binary], flags: [], initialize: (data) => initialize(binary, data) };
}

async function initialize(binary: string, data: readonly string[]): Promise<void> {
  const { stdout } = await run(binary, ['--no-defaults', '--version']);
  if (!stdout.includes('MariaDB')) {
    await run(binary, ['--no-defaults', '--initialize-insecure', ...data]);
    return;
  }
  const installer =
    (await findProgram('mariadb-install-db')) ?? (await findProgram('mysql_install_db'));
  if (installer === undefined) throw new Error(`${binary} lies without mariadb-install-db`);
  await run(installer, ['--no-defaults', '--skip-test-db', ...data]);
}

async function untilItAnswers(address: URL, child: ChildProcess, log: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      await (await connect(address)).end();
      return;
    } catch (error) {
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
        const text = await readFile(log, 'utf8').catch(() => 'no log');
        throw new Error(`the database server does not start: ${text.slice(-2000)}`, {
          cause: error,
        });
      }
    }
    await setTimeout(20);
  }
}
