import { isIP } from 'node:net';
import knexModule from 'knex';
import type { Knex } from 'knex';
import mysql from 'mysql2';
import { z } from 'zod';
import { ConfigurationError } from '../pipeline/errors.js';
import { readInput } from '../pipeline/files.js';
import type { Log } from '../pipeline/log.js';
import { addTo, addToNamed, parseAmount } from '../pipeline/money.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { ahead } from './ahead.js';
import { rowInserter } from './batch-insert.js';
import { bulkLoader } from './bulk-mysql.js';
import { emptySums } from './check-sums.js';
import { translated } from './database-errors.js';
import type { Database, LoadTransaction, MysqlLocation, Sums } from './driver.js';
import { LONGEST_WAIT } from './driver.js';
import { knexLog } from './knex-log.js';
import type { Patience } from './mysql-client.js';
import { patientClient } from './mysql-client.js';
import { isOutdated, migrate } from './migrate.js';
import { lockName, withLock } from './named-lock.js';
import { sliceKey } from './slice-rows.js';

/** Milliseconds in which a connection is made and the login is through, at the most. */
const CONNECT_TIMEOUT = 15_000;

/** Longest INSERT statement, and longest list of its values, in bytes: servers take at least 1 MiB by default. */
const LONGEST_STATEMENT = 1 << 20;

/** Texts are read and written without surprises whatever the server's own settings are. */
const SESSION =
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'";

/** Prepares connections to a MySQL or MariaDB database; nothing is contacted before the first query. */
export async function connectMysql(
  location: MysqlLocation,
  { log, ...patience }: Patience & { log: Log },
): Promise<{ knex: Knex; where: string }> {
  const { host, port, user, database } = location;
  const where = `mysql://${user}@${host.includes(':') ? `[${host}]` : host}:${port}/${database}`;
  const knex = knexModule.knex({
    client: patientClient(patience),
    // Knex would ask the server for it, and take a failure of that for an answer.
    version: 'latest',
    connection: {
      ...(await connectionSettings(location)),
      connectTimeout: Math.min(CONNECT_TIMEOUT, patience.timeoutMs),
    },
    pool: { min: 0, max: 32, afterCreate: prepareSession },
    acquireConnectionTimeout: LONGEST_WAIT,
    log: knexLog(log),
  });
  return { knex, where };
}

/** Opens a MySQL or MariaDB database, see `openDatabase`. */
export async function openMysql(
  location: MysqlLocation,
  context: Patience & { log: Log },
): Promise<Database> {
  const { database } = location;
  const { log } = context;
  const { knex, where } = await connectMysql(location, context);
  try {
    const server = await translated(where, async () => {
      const settings = await readServer(knex);
      if (await isOutdated(knex, 'mysql')) {
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
  if (ssl !== undefined && isIP(host) !== 0) {
    // Without a name to check, Node would take a certificate for "localhost".
    throw new ConfigurationError('a TLS connection to the database needs the host by its name', {
      where: host,
      next: "write the name of the server's certificate in the database address, not an IP address",
    });
  }
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
    ...(ssl === undefined ? {} : { ssl: tls }),
  };
}

async function readAuthorities(file: string): Promise<string> {
  try {
    return (await readInput(file)).toString('utf8');
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
            // Without gap locks, so that neighbouring slices never wait for each other.
            { connection, isolationLevel: 'read committed' },
          ),
        );
      }),
    close: () => knex.destroy(),
  };
}

const sums = z.array(
  z
    .object({ currency: z.string(), rows: z.coerce.number(), Amount: z.string() })
    .catchall(z.string().nullable()),
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
  for (const column of ['Amount', ...columns]) void query.sum({ [column]: column });
  const answer: unknown = await query;
  const found = emptySums();
  for (const sum of sums.parse(answer)) {
    found.rows += sum.rows;
    addTo(found.totals, sum.currency, parseAmount(sum.Amount).units);
    for (const column of columns) {
      const amount = sum[column];
      if (typeof amount === 'string')
        addToNamed(found.columns, column, sum.currency, parseAmount(amount).units);
    }
  }
  return found;
}
