import { resolve } from 'node:path';
import { z } from 'zod';
import { UsageError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Database, DatabaseLocation, MysqlLocation } from './driver.js';

export type { Database, DatabaseLocation, MysqlLocation } from './driver.js';

const FORM =
  'write it as mysql://USER:PASSWORD@HOST:PORT/DATABASE, mariadb://… or sqlite:FILE, with special characters of the parts percent-encoded';

const flag = z
  .enum(['true', 'false'], { error: 'is neither true nor false' })
  .transform((text) => text === 'true');

/**
 * How to connect to a server beside its address, by the names of MySQL's clients: `ssl`, `ssl-ca`, `ssl-mode`
 * and `get-server-public-key`, all as text. An issue's message goes on from the option's name.
 */
export const connectionOptions = z
  .strictObject({
    'ssl': flag.optional(),
    'ssl-ca': z.string({ error: 'is no text' }).min(1, 'is empty').optional(),
    'ssl-mode': z
      .string({ error: 'is no text' })
      // The clients write VERIFY_CA.
      .transform((text) => text.toLowerCase().replaceAll('_', '-'))
      .pipe(
        z.enum(['verify-ca', 'verify-identity'], {
          error: 'is neither verify-ca nor verify-identity',
        }),
      )
      .optional(),
    'get-server-public-key': flag.optional(),
  })
  .superRefine((options, context) => {
    const { 'ssl-ca': ca, 'ssl-mode': mode } = options;
    const fault = (name: keyof typeof options, message: string): void => {
      context.addIssue({ code: 'custom', path: [name], message });
    };
    if (options.ssl === false && (ca ?? mode) !== undefined)
      fault('ssl', 'is false beside settings of TLS');
    // Any holder of a certificate that the world trusts would do.
    if (mode === 'verify-ca' && ca === undefined)
      fault('ssl-mode', 'verify-ca needs the authorities, ssl-ca');
  })
  .transform((options): Pick<MysqlLocation, 'ssl' | 'getServerPublicKey'> => {
    const { ssl, 'ssl-ca': ca, 'ssl-mode': mode } = options;
    const isAsked = ssl === true || (ca ?? mode) !== undefined;
    const tls = { ...(ca === undefined ? {} : { ca }), ...(mode === undefined ? {} : { mode }) };
    return {
      ...(isAsked ? { ssl: tls } : {}),
      ...(options['get-server-public-key'] === true ? { getServerPublicKey: true } : {}),
    };
  });

/**
 * Reads `mysql://user:password@host:port/database` (or `mariadb://`; `?` and {@link connectionOptions}) or
 * `sqlite:FILE`.
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
  return {
    kind: 'mysql',
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 3306 : Number(url.port),
    user,
    password: decode(url.password, 'password'),
    database,
    ...parseOptions(url.searchParams),
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

function parseOptions(given: URLSearchParams): z.output<typeof connectionOptions> {
  const next =
    'the options are ?ssl=true, ?ssl-ca=FILE, ?ssl-mode=verify-identity or verify-ca, and ?get-server-public-key=true; "&" stands between two';
  const names = [...given.keys()];
  if (new Set(names).size < names.length)
    throw new UsageError('the database address holds an option twice', { next });
  const parsed = connectionOptions.safeParse(Object.fromEntries(given));
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) =>
    // The name of an unknown one may be a part of the password.
    path.length === 0
      ? 'an unknown option'
      : `an option that is wrong: ${path.join('.')} ${message}`,
  );
  throw new UsageError(`the database address holds ${faults.join(', ')}`, { next });
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
