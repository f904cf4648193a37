import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Knex } from 'knex';
import { databaseError, translated } from './database-errors.js';
import type { OpenOptions } from './database.js';
import type { DatabaseLocation, Dialect } from './driver.js';

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
  options: OpenOptions,
): Promise<ReadingDatabase | undefined> {
  const opened = await connect(location, options);
  if (opened === undefined) return undefined;
  const { knex, where, patiently } = opened;
  return {
    location: where,
    dialect: location.kind,
    ask: (question) => translated(where, () => patiently(() => question(knex))),
    close: () => knex.destroy(),
  };
}

async function connect(
  location: DatabaseLocation,
  { log, signal = new AbortController().signal, timeoutMs = 60_000 }: OpenOptions,
): Promise<
  | { knex: Knex; where: string; patiently: <T>(question: () => Promise<T>) => Promise<T> }
  | undefined
> {
  if (location.kind === 'mysql') {
    const { connectMysql } = await import('./mysql.js');
    const connected = await connectMysql(location, { log, signal, timeoutMs }, 'READ ONLY');
    return { ...connected, patiently: (question) => question() };
  }
  const file = resolve(location.file);
  try {
    await access(file);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw databaseError(cause, `sqlite:${file}`);
  }
  const { readSqlite } = await import('./sqlite.js');
  const { whileFree } = await import('./sqlite-lock.js');
  return {
    ...readSqlite(file, log),
    patiently: (question) => whileFree({ signal, log }, question, READING_WAIT),
  };
}
