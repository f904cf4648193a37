import { resolve } from 'node:path';
import { UsageError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Database, DatabaseLocation, MysqlLocation } from './driver.js';

export type { Database, DatabaseLocation, MysqlLocation } from './driver.js';

const FORM =
  'write it as mysql://USER:PASSWORD@HOST:PORT/DATABASE, mariadb://… or sqlite:FILE, with special characters of the parts percent-encoded';

/**
 * Reads `mysql://user:password@host:port/database` (or `mariadb://`; options `?ssl=true`,
 * `?ssl-ca=FILE`) or `sqlite:FILE`.
 * @throws {UsageError} on anything else. Its text repeats nothing of a server's address, since any
 * part of a mistyped one may be the password.
 */
export function parseDatabaseUrl(text: string): DatabaseLocation {
  if (text.startsWith('sqlite:')) return parseSqlite(text.slice('sqlite:'.length));
  if (!/^(mysql|mariadb):\/\//.test(text)) {
    throw new UsageError('the database address has an unknown form', { next: FORM });
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new UsageError('the database address cannot be read', { next: FORM });
  }
  const database = decode(url.pathname.slice(1), 'database name');
  const user = decode(url.username, 'user');
  if (user === '') throw new UsageError('the database address names no user', { next: FORM });
  if (url.hostname === '')
    throw new UsageError('the database address names no host', { next: FORM });
  if (database === '')
    throw new UsageError('the database address names no database', { next: FORM });
  if (url.pathname.slice(1).includes('/') || url.hash !== '') {
    throw new UsageError('the database address holds an unencoded "/" or "#"', { next: FORM });
  }
  const ssl = parseSsl(url.searchParams);
  return {
    kind: 'mysql',
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 3306 : Number(url.port),
    user,
    password: decode(url.password, 'password'),
    database,
    ...(ssl === undefined ? {} : { ssl }),
  };
}

function parseSqlite(file: string): DatabaseLocation {
  if (file === '' || file.startsWith('//') || file.includes('\0')) {
    throw new UsageError('the database address names no file', {
      next: 'write it as sqlite:FILE, for example sqlite:billing.sqlite',
    });
  }
  return { kind: 'sqlite', file };
}

function decode(part: string, name: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new UsageError(`the ${name} in the database address is not percent-encoded correctly`, {
      next: 'write "%" itself as "%25"',
    });
  }
}

function parseSsl(options: URLSearchParams): MysqlLocation['ssl'] {
  let ssl: MysqlLocation['ssl'];
  for (const [name, value] of options) {
    if (name === 'ssl-ca' && value !== '') ssl = { ca: value };
    else if (name === 'ssl' && value === 'true') ssl ??= {};
    else {
      throw new UsageError('the database address holds an unknown option', {
        next: 'the options are ?ssl=true and ?ssl-ca=FILE',
      });
    }
  }
  return ssl;
}

/** How long the database is waited for. */
export interface OpenOptions {
  log: Log;
  /** Ends every wait for it. */
  signal?: AbortSignal;
  /** Milliseconds after which a statement without any progress is given up; 60,000 if not given. */
  timeoutMs?: number;
}

/**
 * Connects, and makes or upgrades the tables; any number of processes may do so at once.
 * @throws {ConfigurationError} on a refused login, a missing right, an unknown database, or tables
 * of the same names that are not this pipeline's. @throws {TransientError} when the server cannot
 * be reached.
 */
export async function openDatabase(
  location: DatabaseLocation,
  { log, signal = new AbortController().signal, timeoutMs = 60_000 }: OpenOptions,
): Promise<Database> {
  const context = { log, signal, timeoutMs };
  // Drivers are loaded here, so that commands without a database do not wait for them.
  if (location.kind === 'mysql') return (await import('./mysql.js')).openMysql(location, context);
  return (await import('./sqlite.js')).openSqlite(resolve(location.file), context);
}
