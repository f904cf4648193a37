import type { Knex } from 'knex';
import type { Advice } from '../pipeline/shared/commands.js';
import { advice, transformAgain } from '../pipeline/shared/commands.js';
import type { ErrorClass } from '../pipeline/shared/errors.js';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
  PipelineError,
  TransientError,
} from '../pipeline/shared/errors.js';
import { said } from '../pipeline/shared/printable.js';

/** Codes of our own: a statement of which no byte moved in time, and one that a stopped run gave up. */
export const SILENT = 'PIPELINE_SILENT';
export const INTERRUPTED = 'PIPELINE_INTERRUPTED';

const again = 'run the same command again: the database is as it was before';

/**
 * What the codes of mysql2, Node's sockets and SQLite mean, and what to do, by the class of the error. A code of
 * SQLite stands for its extended ones too (`SQLITE_BUSY_SNAPSHOT`).
 */
const meanings: readonly (readonly [
  kind: ErrorClass,
  byCodes: Readonly<Record<string, readonly [message: string, next: string | Advice]>>,
])[] = [
  [
    ConfigurationError,
    {
      'ER_ACCESS_DENIED_ERROR ER_ACCESS_DENIED_NO_PASSWORD_ERROR': [
        'the database refuses user or password',
        'correct the user and password of --database, PIPELINE_DATABASE or the suivi secret; a user who must come by TLS (REQUIRE SSL) needs ?ssl=true in the address, or ssl: true in the secret',
      ],
      'ER_SECURE_TRANSPORT_REQUIRED': [
        'the database server takes connections by TLS alone',
        "add ?ssl=true to the database address (ssl: true to the suivi secret), with ?ssl-ca=FILE where the server's certificate is of an authority of your own",
      ],
      'AUTH_SWITCH_PLUGIN_ERROR MYSQL_CLEAR_PASSWORD_NOT_ENABLED': [
        'the database server asks for a login that is not given here',
        "connect by TLS with ?ssl=true or ?ssl-ca=FILE in the database address; on a network where nobody can stand in between, ?get-server-public-key=true takes the server's own key (in the suivi secret: ssl, ssl_ca, get_server_public_key)",
      ],
      'ER_DBACCESS_DENIED_ERROR': [
        'the user has no right to this database',
        'let an administrator grant SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, CREATE VIEW on it to this user',
      ],
      'ER_BAD_DB_ERROR': [
        'the server has no such database',
        'create it, for example with CREATE DATABASE … CHARACTER SET utf8mb4, or correct its name',
      ],
      'ENOTFOUND EAI_NONAME': [
        'the database host is unknown',
        'correct the host in the database address',
      ],
      'ER_NET_PACKET_TOO_LARGE': [
        'the server takes no statement of this size',
        "raise the server's max_allowed_packet (16 MiB is usual)",
      ],
      'ER_OPTION_PREVENTS_STATEMENT ER_READ_ONLY_MODE SQLITE_READONLY SQLITE_PERM SQLITE_AUTH': [
        'the database can only be read',
        'name the primary server, or a file that this user may write',
      ],
      'SQLITE_CANTOPEN': [
        'the database file cannot be opened or made',
        'check that its folder exists and that this user may write there',
      ],
      'SQLITE_NOTADB SQLITE_CORRUPT': [
        'the file is not an SQLite database, or is damaged',
        'name another file, or restore this one',
      ],
      'HANDSHAKE_SSL_ERROR HANDSHAKE_NO_SSL_SUPPORT SELF_SIGNED_CERT_IN_CHAIN DEPTH_ZERO_SELF_SIGNED_CERT UNABLE_TO_VERIFY_LEAF_SIGNATURE UNABLE_TO_GET_ISSUER_CERT_LOCALLY ERR_TLS_CERT_ALTNAME_INVALID CERT_HAS_EXPIRED':
        [
          'no trusted TLS connection to the database',
          "check the server's certificate, the host name or address that it must name, and the authorities of ?ssl-ca=; a certificate that names no host, such as the one that MySQL makes for itself, needs ?ssl-mode=verify-ca beside ?ssl-ca=",
        ],
    },
  ],
  [
    TransientError,
    {
      'ER_BINLOG_STMT_MODE_AND_ROW_ENGINE': [
        "the server's binlog_format has become STATEMENT since the command began",
        again,
      ],
      'ECONNREFUSED ETIMEDOUT EHOSTUNREACH ENETUNREACH EAI_AGAIN': [
        'the database server cannot be reached',
        'check that it runs and that host and port are right, then run the same command again',
      ],
      [SILENT]: [
        'the database gave no answer in time',
        'see whether the server works or waits for a lock, then run the same command again; --timeout SECONDS allows more',
      ],
      'ECONNRESET EPIPE PROTOCOL_CONNECTION_LOST ER_SERVER_SHUTDOWN ER_CONNECTION_KILLED ER_QUERY_INTERRUPTED ER_NET_READ_INTERRUPTED ER_NET_READ_ERROR':
        ['the connection to the database broke', again],
      'ER_LOCK_WAIT_TIMEOUT ER_LOCK_DEADLOCK ER_CHECKREAD SQLITE_BUSY SQLITE_LOCKED': [
        'something else has locked the tables',
        again,
      ],
      'ER_CON_COUNT_ERROR ER_TOO_MANY_USER_CONNECTIONS ER_USER_LIMIT_REACHED': [
        'the database has too many connections',
        again,
      ],
      'ER_DISK_FULL ER_RECORD_FILE_FULL EE_WRITE EE_DISK_FULL SQLITE_FULL': [
        "the database's disk is full",
        `make room there, then ${again}`,
      ],
    },
  ],
  [
    DataError,
    {
      'ER_DATA_TOO_LONG ER_WARN_DATA_OUT_OF_RANGE ER_TRUNCATED_WRONG_VALUE ER_DUP_ENTRY ER_BAD_NULL_ERROR':
        [
          'the database does not take a value',
          advice('make the tables anew with', transformAgain()),
        ],
    },
  ],
];

/** What the driver said, without the statement that Knex puts before it. */
function readDriverError(cause: unknown): { code: string; text: string } {
  if (!(cause instanceof Error)) return { code: '', text: String(cause) };
  const { code, sqlMessage } = cause as { code?: unknown; sqlMessage?: unknown };
  const text =
    typeof sqlMessage === 'string' ? sqlMessage : (cause.message.split(' - ').at(-1) ?? '');
  if (/^ConnectionFailed\(.*: 14"\)$/.test(text)) return { code: 'SQLITE_CANTOPEN', text };
  if (isClosed(cause)) return { code: 'PROTOCOL_CONNECTION_LOST', text };
  return { code: typeof code === 'string' ? code : '', text };
}

/** Whether a query only failed because its connection had ended before: the cause is another failure. */
export function isClosed(error: unknown): boolean {
  return (
    error instanceof Error &&
    /(?:in closed state|socket has been ended by the other party)$/.test(error.message)
  );
}

/**
 * Turns a failure of the database's driver into one that says what the user can do; `where` is the
 * database's location. An error of the pipeline itself comes back as it is. The driver's error is
 * not kept: its message may hold a whole statement of customers' data.
 */
export function databaseError(cause: unknown, where: string): PipelineError {
  if (cause instanceof PipelineError) return cause;
  const { code, text } = readDriverError(cause);
  if (code === INTERRUPTED) return new InterruptedError();
  const right = deniedRight(cause);
  if (right !== undefined) {
    return new ConfigurationError(`the user lacks the right ${right} on the database`, {
      where,
      next: `let an administrator grant ${right} on it to this user`,
    });
  }
  const words = said(text);
  if (/errno: 28|Got error 28|No space left/.test(text))
    return new TransientError(`the database's disk is full (${words})`, { where, next: again });
  for (const [kind, byCodes] of meanings) {
    for (const [codes, [message, next]] of Object.entries(byCodes)) {
      if (!isAmong(codes.split(' '), code)) continue;
      const details = { where, ...(typeof next === 'string' ? { next } : next) };
      return new kind(`${message} (${words === '' ? code : words})`, details);
    }
  }
  const failed = `the database failed: ${words}${code === '' ? '' : ` (${code})`}`;
  return new TransientError(failed, { where, next: again });
}

function isAmong(codes: readonly string[], code: string): boolean {
  return codes.some(
    (one) => code === one || (one.startsWith('SQLITE_') && code.startsWith(`${one}_`)),
  );
}

/** The right that a user of MySQL lacks; `undefined` where a statement failed for something else. */
export function deniedRight(error: unknown): string | undefined {
  const { code, text } = readDriverError(error);
  if (code !== 'ER_TABLEACCESS_DENIED_ERROR' && code !== 'ER_COLUMNACCESS_DENIED_ERROR')
    return undefined;
  // The server speaks any language (lc_messages); in each the statement comes first, in capitals.
  return /\b[A-Z]{2,}(?:,? [A-Z]{2,})*\b/.exec(text)?.[0];
}

/** Runs a step, translating the driver's failures. */
export async function translated<T>(where: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    throw databaseError(cause, where);
  }
}

/**
 * Runs `work` in a transaction and tells what failed first: Knex itself tells of a ROLLBACK that fails, as it
 * does on every connection that broke, and drops what went before.
 */
export async function transaction<T>(
  knex: Knex,
  settings: Knex.TransactionConfig,
  work: (trx: Knex.Transaction) => Promise<T>,
): Promise<T> {
  const failures: unknown[] = [];
  try {
    return await knex.transaction(async (trx) => {
      try {
        return await work(trx);
      } catch (error) {
        failures.push(error);
        throw error;
      }
    }, settings);
  } catch (error) {
    throw failures.length > 0 ? failures[0] : error;
  }
}
