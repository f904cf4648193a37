import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import mysql from 'mysql2';
import { z } from 'zod';
import type { MysqlLocation } from '../pipeline/config/database-address.js';
import { TransientError } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import { parseAmount } from '../pipeline/shared/money.js';
import type { Sums } from '../pipeline/shared/sums.js';
import { addMoney, noSums } from '../pipeline/shared/sums.js';
import { pause } from '../pipeline/shared/waits.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { transaction, translated } from './database-errors.js';
import type { Database, LoadTransaction } from './driver.js';
import { LONGEST_WAIT, connectionsOf } from './driver.js';
import type { Patience } from './mysql-connection.js';
import { connectMysql } from './mysql-connection.js';
import { ahead, bulkLoader, rowInserter } from './mysql-rows.js';
import { dueSteps, migrate } from './migrations.js';
import { sliceKey } from './schema.js';
import { viewGrant } from './views.js';

/** Longest INSERT statement, and longest list of its values, in bytes: servers take at least 1 MiB by default. */
const LONGEST_STATEMENT = 1 << 20;

/** Opens a MySQL or MariaDB database, see `openDatabase`. */
export async function openMysql(
  location: MysqlLocation,
  context: Patience & { log: Log },
): Promise<Database> {
  const { database } = location;
  const { log } = context;
  const { knex, where } = await connectMysql(location, context, 'READ WRITE');
  try {
    const server = await translated(where, async () => {
      return { ...(await readServer(knex)), grant: await upgrade(knex, database, context) };
    });
    log.debug({ database: where, ...server }, 'database open');
    return mysqlDatabase(knex, where, database, server);
  } catch (error) {
    await knex.destroy();
    throw error;
  }
}

/**
 * Makes or upgrades tables and views.
 * @returns the statement that allows the views, see `Database.viewGrant`.
 */
async function upgrade(
  knex: Knex,
  database: string,
  context: { signal: AbortSignal; log: Log },
): Promise<string | undefined> {
  const due = await dueSteps(knex, 'mysql');
  if (!due.tables && !due.views) return undefined;
  const lock = lockName(database, 'migrations');
  const hasViews = await withLock(knex, lock, context, () => migrate(knex, 'mysql'));
  return hasViews ? undefined : viewGrant(knex);
}

const serverSettings = z
  .tuple([z.tuple([z.object({ bulk: z.coerce.boolean(), packet: z.coerce.number() })])])
  .rest(z.unknown());
const variables = z
  .tuple([z.array(z.object({ Variable_name: z.string(), Value: z.string() }))])
  .rest(z.unknown());

interface Server {
  /** Whether LOAD DATA LOCAL INFILE is allowed. */
  bulk: boolean;
  /** Longest packet that the server takes, in bytes. */
  packet: number;
  /** Whether its binary log keeps statements, not rows: see {@link logsStatements}. */
  statements: boolean;
  /** What allows the views, where they are missing. */
  grant: string | undefined;
}

async function readServer(knex: Knex): Promise<Omit<Server, 'grant'>> {
  const [[server]] = serverSettings.parse(
    await knex.raw('SELECT @@GLOBAL.local_infile AS bulk, @@max_allowed_packet AS packet'),
  );
  return { ...server, statements: await logsStatements(knex) };
}

/**
 * Whether the server's binary log keeps statements (`binlog_format=STATEMENT`): InnoDB then refuses to write
 * below REPEATABLE READ (error 1665), since a replica would run the statements in another order.
 */
export async function logsStatements(knex: Knex): Promise<boolean> {
  // Asked for in a way that a server without the variables takes too.
  const [found] = variables.parse(
    await knex.raw("SHOW VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')"),
  );
  const valueOf = (name: string): string | undefined =>
    found.find(({ Variable_name }) => Variable_name === name)?.Value;
  return valueOf('log_bin') === 'ON' && valueOf('binlog_format') === 'STATEMENT';
}

function mysqlDatabase(knex: Knex, where: string, name: string, server: Server): Database {
  let bulk = server.bulk;
  const maxBytes = Math.min(LONGEST_STATEMENT, server.packet - 1024);
  return {
    location: where,
    dialect: 'mysql',
    viewGrant: server.grant,
    knex,
    transact: (slice, context, work) =>
      translated(where, () => {
        // Without gap locks neighbouring slices never wait for each other; REPEATABLE READ has them,
        // and loads side by side would end in deadlocks: there they take turns.
        const [isolationLevel, turn] = server.statements
          ? (['repeatable read', 'every slice'] as const)
          : (['read committed', `${slice.month} ${slice.organization}`] as const);
        return withLock(knex, lockName(name, turn), context, (connection) =>
          transaction(knex, { connection, isolationLevel }, (trx) =>
            work({
              dialect: 'mysql',
              trx,
              append: async (table, pieces) => {
                const load = bulkLoader(trx, table);
                const insert = rowInserter(trx, table, mysql.escape, maxBytes);
                let line = 1;
                // The next rows are read while the server takes these.
                for await (const rows of ahead(pieces)) {
                  if (bulk) bulk = await load(rows, line);
                  if (!bulk) await insert(rows, line);
                  line += rows.length;
                }
              },
              sums: (table, of, columns) => sumSlice(trx, table, of, columns),
            } satisfies LoadTransaction),
          ),
        );
      }),
    close: () => knex.destroy(),
  };
}

const sums = z.array(
  z.object({ currency: z.string(), rows: z.coerce.number() }).catchall(z.string().nullable()),
);

async function sumSlice(
  trx: Knex,
  table: TableName,
  slice: Slice,
  columns: readonly string[],
): Promise<Sums> {
  const query = trx(table)
    .where(sliceKey(slice))
    .groupBy('Currency')
    .select({ currency: 'Currency' })
    .count({ rows: '*' });
  const money = ['Amount', ...columns];
  for (const column of money) void query.sum({ [column]: column });
  const answer: unknown = await query;
  const found = noSums();
  for (const sum of sums.parse(answer)) {
    found.rows += sum.rows;
    for (const column of money) {
      const amount = sum[column];
      if (typeof amount === 'string')
        addMoney(found, column, sum.currency, parseAmount(amount).units);
    }
  }
  return found;
}

/** A lock's name, at most 64 characters, unique on the server. */
export function lockName(database: string, purpose: string): string {
  const hash = createHash('sha256').update(`${database}\0${purpose}`).digest('hex').slice(0, 40);
  return `pipeline ${hash}`;
}

/** Milliseconds between two looks at a lock that another process holds. */
const LOOK_AGAIN = 250;

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
  const pool = connectionsOf<object>(knex);
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
