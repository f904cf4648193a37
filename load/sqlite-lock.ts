import type { Knex } from 'knex';
import type Libsql from 'libsql';
import { z } from 'zod';
import { throwIfInterrupted } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { pause } from '../pipeline/waits.js';
import { transaction } from './database-errors.js';
import { LONGEST_WAIT } from './driver.js';

const pragma = z.tuple([z.object({ user_version: z.int() })]);

/** Knex's pool, which its types leave open. */
interface ConnectionPool {
  acquireConnection(): Promise<Libsql.Database>;
  releaseConnection(connection: Libsql.Database): Promise<void>;
}

/** A statement that takes SQLite's only write lock, inside a transaction of the only connection. */
export type Lock = Libsql.Statement;

/**
 * It writes a number that is there already. It is prepared once and run again and again, since a
 * statement of libsql that found the file locked stays in progress until it is run again or
 * collected, and no transaction can be committed meanwhile.
 */
export async function prepareLock(knex: Knex): Promise<Lock> {
  const [{ user_version: version }] = pragma.parse(await knex.raw('PRAGMA user_version'));
  const pool = knex.client as ConnectionPool;
  const connection = await pool.acquireConnection();
  const lock = connection.prepare(`PRAGMA user_version = ${version}`);
  await pool.releaseConnection(connection);
  return lock;
}

interface Context {
  signal: AbortSignal;
  log: Log;
}

/** Runs `work` in a transaction that holds SQLite's only write lock from its beginning. */
export async function writing<T>(
  knex: Knex,
  lock: Lock,
  context: Context,
  work: (trx: Knex.Transaction) => Promise<T>,
): Promise<T> {
  try {
    return await transaction(knex, {}, async (trx) => {
      // BEGIN alone takes no lock, and so never fails.
      await whileFree(context, () => Promise.resolve(lock.run()));
      return work(trx);
    });
  } catch (error) {
    // After a failed COMMIT the transaction may still be open; otherwise there is nothing to roll back.
    await knex.raw('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/**
 * Tries again, leaving room for other work, as long as another process holds the file's lock.
 * @param longest milliseconds after which the lock's failure is thrown.
 * @throws {InterruptedError} as soon as the signal is given.
 */
export async function whileFree<T>(
  { signal, log }: Context,
  step: () => Promise<T>,
  longest = LONGEST_WAIT,
): Promise<T> {
  const start = Date.now();
  for (;;) {
    try {
      return await step();
    } catch (error) {
      const busy = String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY');
      if (!busy || Date.now() - start > longest) throw error;
    }
    throwIfInterrupted(signal);
    log.debug('waiting for another process that writes to the file');
    await pause(50, signal);
  }
}
