import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import knexModule from 'knex';
import type { Knex } from 'knex';
import mysql from 'mysql2';
import { z } from 'zod';
import { ConfigurationError, throwIfInterrupted, TransientError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { addTo, parseAmount } from '../pipeline/money.js';
import type { Totals } from '../pipeline/money.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { insertRows } from './batch-insert.js';
import { loadInfile } from './bulk-mysql.js';
import { translated } from './database-errors.js';
import type { Database, LoadTransaction, MysqlLocation, Sums } from './driver.js';
import { LONGEST_WAIT } from './driver.js';
import { knexLog } from './knex-log.js';
import { isOutdated, migrate } from './migrate.js';
import { sliceKey } from './slice-rows.js';

/** Longest INSERT statement, in bytes: longer ones are not faster, and servers take at least 1 MiB by default. */
const LONGEST_STATEMENT = 1 << 20;

/** Texts are read and written without surprises whatever the server's own settings are. */
const SESSION =
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'";

/** Opens a MySQL or MariaDB database, see `openDatabase`. */
export async function openMysql(location: MysqlLocation, log: Log): Promise<Database> {
  const { host, port, user, database } = location;
  const where = `mysql://${user}@${host.includes(':') ? `[${host}]` : host}:${port}/${database}`;
  const knex = knexModule.knex({
    client: 'mysql2',
    connection: await connectionSettings(location),
    pool: { min: 0, max: 32, afterCreate: prepareSession },
    acquireConnectionTimeout: LONGEST_WAIT,
    log: knexLog(log),
  });
  try {
    const server = await translated(where, async () => {
      const settings = await readServer(knex);
      if (await isOutdated(knex, 'mysql')) {
        const context = { signal: new AbortController().signal, log };
        await withLock(knex, lockName(database, 'migrations'), context, () =>
          migrate(knex, 'mysql'),
        );
      }
      return settings;
    });
    log.debug({ database: where, ...server }, 'database open');
    return mysqlDatabase(knex, where, database, server);
  } catch (error) {
    await knex.destroy();
    throw error;
  }
}

async function connectionSettings(location: MysqlLocation): Promise<Knex.MySql2ConnectionConfig> {
  const { host, port, user, password, database, ssl } = location;
  const ca = ssl?.ca === undefined ? undefined : await readAuthorities(ssl.ca);
  // The driver checks the certificate's host name only when it is told to.
  const tls = {
    rejectUnauthorized: true,
    verifyIdentity: true,
    ...(ca === undefined ? {} : { ca }),
  };
  return {
    host,
    port,
    user,
    password,
    database,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    connectTimeout: 15_000,
    ...(ssl === undefined ? {} : { ssl: tls }),
  };
}

async function readAuthorities(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ConfigurationError("the database's certificate authorities cannot be read", {
      where: file,
      next: 'correct ?ssl-ca= in the database address',
      cause,
    });
  }
}

function prepareSession(
  connection: mysql.Connection,
  done: (error: Error | null, connection: mysql.Connection) => void,
): void {
  connection.query(SESSION, (error) => {
    done(error, connection);
  });
}

const serverSettings = z
  .tuple([z.tuple([z.object({ bulk: z.coerce.boolean(), packet: z.coerce.number() })])])
  .rest(z.unknown());

interface Server {
  /** Whether LOAD DATA LOCAL INFILE is allowed. */
  bulk: boolean;
  /** Longest packet that the server takes, in bytes. */
  packet: number;
}

async function readServer(knex: Knex): Promise<Server> {
  const [[server]] = serverSettings.parse(
    await knex.raw('SELECT @@GLOBAL.local_infile AS bulk, @@max_allowed_packet AS packet'),
  );
  return server;
}

function mysqlDatabase(knex: Knex, where: string, name: string, server: Server): Database {
  let bulk = server.bulk;
  const maxBytes = Math.min(LONGEST_STATEMENT, server.packet - 1024);
  return {
    location: where,
    dialect: 'mysql',
    knex,
    transact: (slice, context, work) =>
      translated(where, () => {
        const lock = lockName(name, `${slice.month} ${slice.organization}`);
        return withLock(knex, lock, context, (connection) =>
          knex.transaction(
            (trx) =>
              work({
                dialect: 'mysql',
                trx,
                append: async (table, batches) => {
                  if (bulk) bulk = await loadInfile(trx, table, batches);
                  if (!bulk) await insertRows(trx, table, batches, mysql, maxBytes);
                },
                sums: (of) => sumSlice(trx, of),
              } satisfies LoadTransaction),
            // Without gap locks, so that neighbouring slices never wait for each other.
            { connection, isolationLevel: 'read committed' },
          ),
        );
      }),
    close: () => knex.destroy(),
  };
}

const sums = z.array(
  z.object({ currency: z.string(), rows: z.coerce.number(), amount: z.string() }),
);

async function sumSlice(trx: Knex, slice: Slice): Promise<Sums> {
  const answer: unknown = await trx('consumption')
    .where(sliceKey(slice))
    .groupBy('Currency')
    .select({ currency: 'Currency' })
    .count({ rows: '*' })
    .sum({ amount: 'Amount' });
  const totals: Totals = new Map();
  let rows = 0;
  for (const sum of sums.parse(answer)) {
    rows += sum.rows;
    addTo(totals, sum.currency, parseAmount(sum.amount).units);
  }
  return { rows, totals };
}

/** A lock's name, at most 64 characters, unique on the server. */
function lockName(database: string, purpose: string): string {
  const hash = createHash('sha256').update(`${database}\0${purpose}`).digest('hex').slice(0, 40);
  return `pipeline ${hash}`;
}

/** Connections of Knex's pool, which its types leave open. */
interface ConnectionPool {
  acquireConnection(): Promise<unknown>;
  releaseConnection(connection: unknown): Promise<void>;
}

const held = z.tuple([z.tuple([z.object({ held: z.number().nullable() })])]).rest(z.unknown());

/**
 * Runs `work` while this connection holds a named lock of the server, which ends with the
 * connection at the latest: a killed process leaves none behind.
 */
async function withLock<T>(
  knex: Knex,
  name: string,
  { signal, log }: { signal: AbortSignal; log: Log },
  work: (connection: unknown) => Promise<T>,
): Promise<T> {
  const pool = knex.client as ConnectionPool;
  const connection = await pool.acquireConnection();
  const ask = async (sql: string): Promise<boolean> => {
    const answer: unknown = await knex.raw(sql, [name]).connection(connection);
    return held.parse(answer)[0][0].held === 1;
  };
  try {
    const start = Date.now();
    while (!(await ask('SELECT GET_LOCK(?, 1) AS held'))) {
      throwIfInterrupted(signal);
      if (Date.now() - start > LONGEST_WAIT) {
        throw new TransientError('another process has been loading the same data for too long', {
          next: 'see whether it still works, then run the same command again',
        });
      }
      log.debug('waiting for another process that loads the same data');
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
