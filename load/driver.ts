import type { Knex } from 'knex';
import type { Log } from '../pipeline/shared/log.js';
import { said } from '../pipeline/shared/printable.js';
import type { Sums } from '../pipeline/shared/sums.js';
import type { CodedColumn, RowBatch } from '../pipeline/staging/batch.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';

/** The two kinds of SQL that the stage speaks. */
export type Dialect = 'mysql' | 'sqlite';

/** What loading needs of a database that differs from server to server. */
export interface LoadTransaction {
  readonly dialect: Dialect;
  /** Runs queries inside the transaction. */
  readonly trx: Knex.Transaction;
  /** Adds rows to a table; the first piece's first row becomes line 1 of the slice. */
  append(table: TableName, pieces: AsyncIterable<RowBatch<CodedColumn>>): Promise<void>;
  /** Counts the slice's rows as the database holds them, and adds up Amount and the named columns, exactly. */
  sums(table: TableName, slice: Slice, columns: readonly string[]): Promise<Sums>;
}

/** An open database with its tables in place, and its views where the user may make them. */
export interface Database {
  /** The database as people write it, without its password. */
  readonly location: string;
  readonly dialect: Dialect;
  /**
   * The statement by which an administrator lets the views be made, where they are missing because this user may
   * not make them; `undefined`: they are there.
   */
  readonly viewGrant: string | undefined;
  /** For reading; failures of its queries are the driver's own, see `databaseError`. */
  readonly knex: Knex;
  /**
   * Runs `work` in one transaction while no other process does so for the same slice: commits when
   * it resolves, rolls back when it rejects. Waits for its turn, or throws once the signal is given.
   */
  transact<T>(
    slice: Slice,
    context: { signal: AbortSignal; log: Log },
    work: (transaction: LoadTransaction) => Promise<T>,
  ): Promise<T>;
  close(): Promise<void>;
}

/** Longest wait for another process that loads or migrates, in milliseconds. */
export const LONGEST_WAIT = 30 * 60_000;

/** A UTC instant as the database keeps it: DATETIME(3) text, or ISO 8601 text in SQLite. */
export function instantText(dialect: Dialect, milliseconds: number): string {
  const iso = new Date(milliseconds).toISOString();
  return dialect === 'mysql' ? iso.replace('T', ' ').slice(0, -1) : iso;
}

/** The instant that {@link instantText} wrote, in either dialect. */
export function instantOf(text: string): Date {
  return new Date(text.endsWith('Z') ? text : `${text.replace(' ', 'T')}Z`);
}

/** Where Knex's own connections come from, which its types leave open. */
interface Connections<C> {
  acquireConnection(): Promise<C>;
  releaseConnection(connection: C): Promise<void>;
}

/** The connections of Knex's pool; of a transaction, the one that it has. */
export function connectionsOf<C>(knex: Knex): Connections<C> {
  return knex.client as Connections<C>;
}

/** Sends what Knex would print to the run's log; failures are thrown anyway, so that nothing of it is more than a detail. */
export function knexLog(log: Log): Knex.Logger {
  const detail = (message: unknown): void => {
    log.debug({ knex: said(String(message)) }, 'message of the database library');
  };
  return { warn: detail, error: detail, debug: detail, deprecate: detail };
}
