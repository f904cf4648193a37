import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { connect, isIP } from 'node:net';
import knexModule from 'knex';
import type { Knex } from 'knex';
import mysql from 'mysql2';
import type { MysqlLocation } from '../pipeline/config/database-address.js';
import { ConfigurationError } from '../pipeline/shared/errors.js';
import { readInput } from '../pipeline/shared/files.js';
import type { Log } from '../pipeline/shared/log.js';
import { GRACE, graceAfter } from '../pipeline/shared/waits.js';
import { INTERRUPTED, SILENT, isClosed } from './database-errors.js';
import { LONGEST_WAIT, knexLog } from './driver.js';

/** Milliseconds in which a connection is made and the login is through, at the most. */
const CONNECT_TIMEOUT = 15_000;

type AccessMode = 'READ WRITE' | 'READ ONLY';

/** Texts are read and written without surprises whatever the server's own settings are. */
const session = (mode: AccessMode): readonly string[] => [
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'",
  // The level that every binary log takes; the loads' own transactions name theirs.
  `SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, ${mode}`,
];

/**
 * Prepares connections to a MySQL or MariaDB database; nothing is contacted before the first query.
 * @param mode `READ ONLY`: the server itself refuses whatever would write.
 */
export async function connectMysql(
  location: MysqlLocation,
  { log, ...patience }: Patience & { log: Log },
  mode: AccessMode,
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
    pool: { min: 0, max: 32, afterCreate: preparer(session(mode)) },
    acquireConnectionTimeout: LONGEST_WAIT,
    log: knexLog(log),
  });
  return { knex, where };
}

type Prepared = (error: Error | null, connection: mysql.Connection) => void;

/** Runs statements on each new connection, one after the other. */
function preparer(statements: readonly string[]) {
  return (connection: mysql.Connection, done: Prepared): void => {
    const run = ([statement, ...rest]: readonly string[]): void => {
      if (statement === undefined) {
        done(null, connection);
        return;
      }
      connection.query(statement, (error) => {
        if (error === null) run(rest);
        else done(error, connection);
      });
    };
    run(statements);
  };
}

async function connectionSettings(location: MysqlLocation): Promise<Knex.MySql2ConnectionConfig> {
  const { host, port, user, password, database, ssl, getServerPublicKey } = location;
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
    ...(ssl === undefined ? {} : await tlsSettings(host, port, ssl)),
    ...(ssl === undefined && getServerPublicKey !== true ? { authPlugins: guardedLogins } : {}),
  };
}

async function tlsSettings(
  host: string,
  port: number,
  { ca, mode }: NonNullable<MysqlLocation['ssl']>,
): Promise<Pick<Knex.MySql2ConnectionConfig, 'ssl' | 'stream'>> {
  const isNamed = mode !== 'verify-ca';
  // The driver checks whom the certificate names only when it is told to.
  const ssl = {
    rejectUnauthorized: true,
    verifyIdentity: isNamed,
    ...(ca === undefined ? {} : { ca: await readAuthorities(ca) }),
  };
  return isNamed && isIP(host) !== 0 ? { ssl, stream: () => addressedSocket(host, port) } : { ssl };
}

/**
 * Node checks the certificate for the name that its socket was given, which the driver leaves out where it is
 * an address: it would then take a certificate for "localhost". Here the address is that name, and must stand
 * among the certificate's own (subjectAltName, IP).
 */
function addressedSocket(host: string, port: number): Socket {
  const socket = connect({ host, port, noDelay: true, keepAlive: true });
  return Object.assign(socket, { _host: host });
}

/** @param ca a file's name, or PEM text itself. */
async function readAuthorities(ca: string): Promise<string> {
  if (ca.trimStart().startsWith('-----BEGIN ')) return ca;
  try {
    return (await readInput(ca)).toString('utf8');
  } catch (cause) {
    throw new ConfigurationError("the database's certificate authorities cannot be read", {
      where: ca,
      next: 'correct ?ssl-ca= in the database address, or ssl_ca in the suivi secret',
      cause,
    });
  }
}

const sha2 = mysql.authPlugins.caching_sha2_password();

/**
 * Logins without TLS. By themselves these two would give the whole password to whoever asks, under an RSA key
 * that comes over the same connection, and so may be anyone's. Proofs of the password go on.
 */
const guardedLogins: Record<string, typeof sha2> = {
  caching_sha2_password: (session) => {
    const login = sha2(session);
    // One byte 4: the server has no proof at hand, and wants the password itself.
    return (data) => (data.length === 1 && data[0] === 4 ? refuseKey() : login(data));
  },
  sha256_password: () => refuseKey,
};

function refuseKey(): never {
  throw new Error('it wants the password under a key of its own, without TLS');
}

type ClientClass = typeof Knex.Client;

const Mysql2 = createRequire(import.meta.url)('knex/lib/dialects/mysql2/index.js') as ClientClass;

/** Knex's own way to run a statement, which its types leave open. */
const query = Reflect.get(Mysql2.prototype, '_query') as (
  connection: mysql.Connection,
  statement: unknown,
) => Promise<unknown>;

/** What waits for a server, and how long. */
export interface Patience {
  /** Milliseconds in which a statement that is under way must move a byte, in either direction. */
  timeoutMs: number;
  /** Ends what is under way, `GRACE` after it was given. */
  signal: AbortSignal;
}

/** What a connection failed with last: whatever is asked of it afterwards fails with nothing but "closed". */
const failures = new WeakMap<object, unknown>();

/** Why a statement failed: where its connection was closed already, what closed it. */
export function causeOf(connection: object, error: unknown): unknown {
  if (isClosed(error)) return failures.get(connection) ?? error;
  failures.set(connection, error);
  return error;
}

/** The driver's connection, as far as its types leave it open. */
interface Watched extends mysql.Connection {
  stream: Socket;
  /** The statement under way. */
  _command?: unknown;
}

/**
 * Knex's client for mysql2 whose connections nobody waits for without end. The driver's own limit is for one
 * statement as a whole and leaves the connection waiting; here a connection of which a statement moves no byte
 * is destroyed, and the statement fails. Connections are closed without waiting for the server's answer.
 */
export function patientClient({ timeoutMs, signal }: Patience): ClientClass {
  const open = new Set<Watched>();
  const late = graceAfter(signal);
  const give = (connection: Watched, code: string): void => {
    // The code says it all: Knex puts the statement before the message.
    const failure = Object.assign(new Error(code), { code });
    failures.set(connection, failure);
    connection.stream.destroy(failure);
  };
  late.addEventListener('abort', () => {
    for (const connection of open) {
      connection.stream.setTimeout(Math.min(GRACE, timeoutMs));
      if (connection._command != null) give(connection, INTERRUPTED);
    }
  });

  return class extends Mysql2 {
    _driver(): unknown {
      return {
        createConnection: (settings: mysql.ConnectionOptions) => {
          const connection = mysql.createConnection(settings) as Watched;
          const { stream } = connection;
          open.add(connection);
          stream.once('close', () => open.delete(connection));
          // What ends a connection between two statements is heard of here alone.
          connection.on('error', (error: Error) => causeOf(connection, error));
          stream.setTimeout(late.aborted ? Math.min(GRACE, timeoutMs) : timeoutMs, () => {
            // Between two statements the connection may rest: this side is busy with something else.
            if (connection._command != null) give(connection, late.aborted ? INTERRUPTED : SILENT);
          });
          return connection;
        },
      };
    }

    /** Called by Knex for each statement, also for those that begin and end a transaction. */
    async _query(connection: Watched, statement: unknown): Promise<unknown> {
      try {
        return await query.call(this, connection, statement);
      } catch (cause) {
        throw causeOf(connection, cause);
      }
    }

    /** Called by Knex's pool. */
    override destroyRawConnection(connection: Watched): Promise<void> {
      if (!connection.stream.destroyed) connection.end(() => undefined);
      // What the server has been told leaves; nothing is waited for, neither its taking nor an answer.
      connection.stream.destroySoon();
      setTimeout(() => connection.stream.destroy(), GRACE).unref();
      return Promise.resolve();
    }
  };
}
