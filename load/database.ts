import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Knex } from 'knex';
import { z } from 'zod';
import type { DatabaseLocation } from '../pipeline/config/database-address.js';
import { ConfigurationError } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import { tableNames } from '../pipeline/staging/tables.js';
import { databaseError, translated } from './database-errors.js';
import type { Database, Dialect } from './driver.js';
import { LOADS } from './history.js';

export type { Database } from './driver.js';

/** How long the database is waited for. */
export interface OpenOptions {
  log: Log;
  /** Ends every wait for it. */
  signal?: AbortSignal;
  /** Milliseconds after which a statement without any progress is given up; 60,000 if not given. */
  timeoutMs?: number;
}

/**
 * Connects, and makes or upgrades tables and views; any number of processes may do so at once. Views that the user
 * may not make are left out, see `Database.viewGrant`.
 * @throws {ConfigurationError} on a refused login, a missing right, an unknown database, or tables
 * of the same names that are not this pipeline's. @throws {TransientError} when the server cannot
 * be reached.
 */
export async function openDatabase(
  location: DatabaseLocation,
  { log, signal = new AbortController().signal, timeoutMs = 60_000 }: OpenOptions,
): Promise<Database> {
  const context = { log, signal, timeoutMs };
  // Drivers are loaded here, so that commands without a database do not wait for them.
  if (location.kind === 'mysql') return (await import('./mysql.js')).openMysql(location, context);
  return (await import('./sqlite.js')).openSqlite(resolve(location.file), context);
}

/** Milliseconds that a question waits for whoever writes to an SQLite file. */
const READING_WAIT = 5000;

/** A database that is only read: its tables may be an older version's, or not there at all. */
export interface ReadingDatabase {
  /** The database as people write it, without its password. */
  readonly location: string;
  readonly dialect: Dialect;
  /**
   * Asks the database.
   * @throws {PipelineError} that says what the user can do.
   */
  ask<T>(question: (knex: Knex) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Opens a database for reading; nothing is made or upgraded. A server is contacted with the first question.
 * @returns `undefined` for an SQLite file that does not exist.
 */
export async function openForReading(
  location: DatabaseLocation,
  { log, signal = new AbortController().signal, timeoutMs = 60_000 }: OpenOptions,
): Promise<ReadingDatabase | undefined> {
  const opened = (
    { knex, where }: { knex: Knex; where: string },
    patiently: <T>(step: () => Promise<T>) => Promise<T>,
  ): ReadingDatabase => ({
    location: where,
    dialect: location.kind,
    ask: (question) => translated(where, () => patiently(() => question(knex))),
    close: () => knex.destroy(),
  });
  if (location.kind === 'mysql') {
    const { connectMysql } = await import('./mysql-connection.js');
    const connected = await connectMysql(location, { log, signal, timeoutMs }, 'READ ONLY');
    return opened(connected, (step) => step());
  }
  const file = resolve(location.file);
  if (await isMissing(file)) return undefined;
  const { readSqlite, whileFree } = await import('./sqlite.js');
  return opened(readSqlite(file, log), (step) => whileFree({ signal, log }, step, READING_WAIT));
}

/** Whether there is no such SQLite file. */
async function isMissing(file: string): Promise<boolean> {
  try {
    await access(file);
    return false;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return true;
    throw databaseError(cause, `sqlite:${file}`);
  }
}

const mysqlAnswer = z
  .tuple([z.tuple([z.object({ version: z.string(), bulk: z.coerce.boolean() })])])
  .rest(z.unknown());
const sqliteAnswer = z.tuple([z.object({ version: z.string() })]);

/** What a server says of itself. */
export interface DatabaseFacts {
  location: string;
  version: string;
  /** Whether local_infile is on; `undefined` for SQLite. */
  bulk: boolean | undefined;
  /** Whether the binary log keeps statements, so that loads take turns. */
  statements: boolean;
}

/**
 * Connects and asks for the version, changing nothing.
 * @returns `undefined` for an SQLite file that does not exist.
 * @throws {PipelineError} when the database cannot be reached or refuses.
 */
export async function probeConnection(
  location: DatabaseLocation,
  options: OpenOptions,
): Promise<DatabaseFacts | undefined> {
  const database = await openForReading(location, options);
  if (database === undefined) return undefined;
  try {
    return { location: database.location, ...(await database.ask(asker(location))) };
  } finally {
    await database.close();
  }
}

function asker({ kind }: DatabaseLocation) {
  return async (knex: Knex): Promise<Omit<DatabaseFacts, 'location'>> => {
    if (kind === 'sqlite') {
      const answer: unknown = await knex.raw('SELECT sqlite_version() AS version');
      const [{ version }] = sqliteAnswer.parse(answer);
      return { version: `SQLite ${version}`, bulk: undefined, statements: false };
    }
    const answer: unknown = await knex.raw(
      'SELECT VERSION() AS version, @@GLOBAL.local_infile AS bulk',
    );
    const { logsStatements } = await import('./mysql.js');
    return { ...mysqlAnswer.parse(answer)[0][0], statements: await logsStatements(knex) };
  };
}

/**
 * Does what a load does, with no row: makes or upgrades the tables as the first load would, and sends
 * each table an INSERT and a DELETE that concern nothing. Of an SQLite file that does not exist, only
 * whether it could be made is looked at.
 * @returns the statement that allows the views, where only they are missing, see `Database.viewGrant`.
 * @throws {PipelineError} naming the right that is missing.
 */
export async function probeRights(
  location: DatabaseLocation,
  options: OpenOptions,
): Promise<string | undefined> {
  if (location.kind === 'sqlite' && (await isMissing(resolve(location.file)))) {
    const folder = dirname(resolve(location.file));
    try {
      await access(folder, constants.W_OK);
    } catch (cause) {
      throw new ConfigurationError('the database file cannot be made', {
        where: folder,
        next: 'make the folder, or let this user write there',
        cause,
      });
    }
    return undefined;
  }
  const database = await openDatabase(location, options);
  try {
    await translated(database.location, async () => {
      const { knex } = database;
      for (const table of [...tableNames, LOADS]) {
        const columns = Object.keys(await knex(table).columnInfo());
        await knex.raw('INSERT INTO ?? (??) SELECT ?? FROM ?? WHERE 1 = 0', [
          table,
          columns,
          columns,
          table,
        ]);
        await knex(table).whereRaw('1 = 0').delete();
      }
    });
    return database.viewGrant;
  } finally {
    await database.close();
  }
}
