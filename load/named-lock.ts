import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import { z } from 'zod';
import { TransientError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { pause } from '../pipeline/waits.js';
import { LONGEST_WAIT } from './driver.js';

/** A lock's name, at most 64 characters, unique on the server. */
export function lockName(database: string, purpose: string): string {
  const hash = createHash('sha256').update(`${database}\0${purpose}`).digest('hex').slice(0, 40);
  return `pipeline ${hash}`;
}

/** Milliseconds between two looks at a lock that another process holds. */
const LOOK_AGAIN = 250;

/** Connections of Knex's pool, which its types leave open. */
interface ConnectionPool {
  acquireConnection(): Promise<object>;
  releaseConnection(connection: object): Promise<void>;
}

const held = z.tuple([z.tuple([z.object({ held: z.number().nullable() })])]).rest(z.unknown());

/**
 * Runs `work` while this connection holds a named lock of the server, which ends with the
 * connection at the latest: a killed process leaves none behind.
 */
export async function withLock<T>(
  knex: Knex,
  name: string,
  { signal, log }: { signal: AbortSignal; log: Log },
  work: (connection: object) => Promise<T>,
): Promise<T> {
  const pool = knex.client as ConnectionPool;
  const connection = await pool.acquireConnection();
  const ask = async (sql: string): Promise<boolean> => {
    const answer: unknown = await knex.raw(sql, [name]).connection(connection);
    return held.parse(answer)[0][0].held === 1;
  };
  try {
    const start = Date.now();
    // The waiting is done here, not in the server: so it is no silence of the server, and ends with the signal.
    while (!(await ask('SELECT GET_LOCK(?, 0) AS held'))) {
      if (Date.now() - start > LONGEST_WAIT) {
        throw new TransientError('another process has been loading the same data for too long', {
          next: 'see whether it still works, then run the same command again',
        });
      }
      log.debug('waiting for another process that loads the same data');
      await pause(LOOK_AGAIN, signal);
    }
    try {
      return await work(connection);
    } finally {
      await ask('SELECT RELEASE_LOCK(?) AS held').catch((error: unknown) => {
        log.debug({ error: String(error) }, 'the lock ended with its connection');
      });
    }
  } finally {
    await pool.releaseConnection(connection);
  }
}
