import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Knex } from 'knex';
import type { Log } from '../pipeline/log.js';
import { databaseError, translated } from './database-errors.js';
import type { DatabaseLocation, Dialect } from './driver.js';

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
  log: Log,
): Promise<ReadingDatabase | undefined> {
  const opened = await connect(location, log);
  if (opened === undefined) return undefined;
  const { knex, where } = opened;
  return {
    location: where,
    dialect: location.kind,
    ask: (question) => translated(where, () => question(knex)),
    close: () => knex.destroy(),
  };
}

async function connect(
  location: DatabaseLocation,
  log: Log,
): Promise<{ knex: Knex; where: string } | undefined> {
  if (location.kind === 'mysql')
    return (await import('./mysql.js')).connectMysql(location, log, 'READ ONLY');
  const file = resolve(location.file);
  try {
    await access(file);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw databaseError(cause, `sqlite:${file}`);
  }
  return (await import('./sqlite.js')).readSqlite(file, log);
}
