import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type { Knex } from 'knex';
import mysql from 'mysql2';
import type { Log } from '../pipeline/shared/log.js';
import { said } from '../pipeline/shared/printable.js';
import { GRACE, graceAfter } from '../pipeline/shared/waits.js';
import { INTERRUPTED, SILENT } from './database-errors.js';

type ClientClass = typeof Knex.Client;

const Mysql2 = createRequire(import.meta.url)('knex/lib/dialects/mysql2/index.js') as ClientClass;

/** Knex's own way to run a statement, which its types leave open. */
const query = Reflect.get(Mysql2.prototype, '_query') as (
  connection: mysql.Connection,
  statement: unknown,
) => Promise<unknown>;

/** The driver's answer to a statement on a connection that has failed before. */
function isClosed(cause: unknown): boolean {
  return cause instanceof Error && /closed state/.test(cause.message);
}

/** What waits for a server, and how long. */
export interface Patience {
  /** Milliseconds in which a statement that is under way must move a byte, in either direction. */
  timeoutMs: number;
  /** Ends what is under way, `GRACE` after it was given. */
  signal: AbortSignal;
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
  /** What a connection failed with last: whatever is asked of it afterwards fails with nothing but "closed". */
  const failures = new WeakMap<Watched, unknown>();
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
          // Knex takes its own listener away from a connection that is refused; what comes later is no news.
          connection.on('error', () => undefined);
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
        if (!isClosed(cause)) failures.set(connection, cause);
        throw failures.get(connection) ?? cause;
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

/** Sends what Knex would print to the run's log; failures are thrown anyway, so that nothing of it is more than a detail. */
export function knexLog(log: Log): Knex.Logger {
  const detail = (message: unknown): void => {
    log.debug({ knex: said(String(message)) }, 'message of the database library');
  };
  return { warn: detail, error: detail, debug: detail, deprecate: detail };
}
