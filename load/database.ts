import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Knex } from 'knex';
import { z } from 'zod';
import { ConfigurationError, UsageError } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import { tableNames } from '../pipeline/staging/tables.js';
import { databaseError, translated } from './database-errors.js';
import type { Database, DatabaseLocation, Dialect, MysqlLocation } from './driver.js';
import { LOADS } from './history.js';

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

/** Milliseconds that a question waits for whoever writes to an SQLite file. */
const READING_WAIT = 5000;

/** A database that is only read: its tables may be an older version's, or not there at all. */
export interface ReadingDatabase {
  /** The database as people write it, without its password. */
  readonly location: string;
  readonly dialect: Dialect;
  /**
   * Asks the database.
   * @throws {PipelineError} that says what the user can do.
   */
  ask<T>(question: (knex: Knex) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Opens a database for reading; nothing is made or upgraded. A server is contacted with the first question.
 * @returns `undefined` for an SQLite file that does not exist.
 */
export async function openForReading(
  location: DatabaseLocation,
  options: OpenOptions,
): Promise<ReadingDatabase | undefined> {
  const opened = await connect(location, options);
  if (opened === undefined) return undefined;
  const { knex, where, patiently } = opened;
  return {
    location: where,
    dialect: location.kind,
    ask: (question) => translated(where, () => patiently(() => question(knex))),
    close: () => knex.destroy(),
  };
}

async function connect(
  location: DatabaseLocation,
  { log, signal = new AbortController().signal, timeoutMs = 60_000 }: OpenOptions,
): Promise<
  | { knex: Knex; where: string; patiently: <T>(question: () => Promise<T>) => Promise<T> }
  | undefined
> {
  if (location.kind === 'mysql') {
    const { connectMysql } = await import('./mysql.js');
    const connected = await connectMysql(location, { log, signal, timeoutMs }, 'READ ONLY');
    return { ...connected, patiently: (question) => question() };
  }
  const file = resolve(location.file);
  try {
    await access(file);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw databaseError(cause, `sqlite:${file}`);
  }
  const { readSqlite } = await import('./sqlite.js');
  const { whileFree } = await import('./sqlite.js');
  return {
    ...readSqlite(file, log),
    patiently: (question) => whileFree({ signal, log }, question, READING_WAIT),
  };
}

const text = z.string({ error: 'is missing' }).min(1, 'is empty');

const suivi = z.object({
  host: text,
  port: z.coerce.number({ error: 'is no port' }).int().min(1).max(65_535).default(3306),
  user: text,
  password: z.string({ error: 'is missing' }),
  database: text,
});

/**
 * Reads the connection to the suivi database from its secret: `host`, `port` (3306 if absent),
 * `user`, `password`, `database`, and as far as given `ssl`, `ssl_ca`, `ssl_mode` and
 * `get_server_public_key`, which mean what they mean in an address ({@link connectionOptions}).
 * @param where the secret's path, for the message.
 * @throws {ConfigurationError} naming every key that is missing, wrong or unknown, never a value: a key that
 * is passed over could be the one that asks for TLS.
 */
export function parseSuiviSecret(
  secret: Readonly<Record<string, unknown>>,
  where: string,
): DatabaseLocation {
  const names = new Map<string, string>();
  const further: [string, unknown][] = [];
  for (const [key, value] of Object.entries(secret)) {
    if (Object.hasOwn(suivi.shape, key)) continue;
    const name = key.replaceAll('_', '-');
    names.set(name, key);
    further.push([name, typeof value === 'boolean' ? String(value) : value]);
  }
  const server = suivi.safeParse(secret);
  const options = connectionOptions.safeParse(Object.fromEntries(further));
  if (server.success && options.success) return { kind: 'mysql', ...server.data, ...options.data };
  const issues = [...(server.error?.issues ?? []), ...(options.error?.issues ?? [])];
  const nameOf = (key: PropertyKey): string => names.get(String(key)) ?? String(key);
  const faults = issues.map((issue) =>
    issue.code === 'unrecognized_keys'
      ? `${issue.keys.map(nameOf).join(', ')} is unknown`
      : `${issue.path.map(nameOf).join('.')} ${issue.message}`,
  );
  throw new ConfigurationError(
    `the secret of the database is incomplete or wrong: ${faults.join(', ')}`,
    {
      where,
      next: 'give it host, port, user, password and database, where TLS is wanted ssl (true), ssl_ca (file or PEM text) and ssl_mode, and nothing else',
    },
  );
}

const mysqlAnswer = z
  .tuple([z.tuple([z.object({ version: z.string(), bulk: z.coerce.boolean() })])])
  .rest(z.unknown());
const sqliteAnswer = z.tuple([z.object({ version: z.string() })]);

/** What a server says of itself. */
export interface DatabaseFacts {
  location: string;
  version: string;
  /** Whether local_infile is on; `undefined` for SQLite. */
  bulk: boolean | undefined;
  /** Whether the binary log keeps statements, so that loads take turns. */
  statements: boolean;
}

/**
 * Connects and asks for the version, changing nothing.
 * @returns `undefined` for an SQLite file that does not exist.
 * @throws {PipelineError} when the database cannot be reached or refuses.
 */
export async function probeConnection(
  location: DatabaseLocation,
  options: OpenOptions,
): Promise<DatabaseFacts | undefined> {
  const database = await openForReading(location, options);
  if (database === undefined) return undefined;
  try {
    return { location: database.location, ...(await database.ask(asker(location))) };
  } finally {
    await database.close();
  }
}

function asker({ kind }: DatabaseLocation) {
  return async (knex: Knex): Promise<Omit<DatabaseFacts, 'location'>> => {
    if (kind === 'sqlite') {
      const answer: unknown = await knex.raw('SELECT sqlite_version() AS version');
      const [{ version }] = sqliteAnswer.parse(answer);
      return { version: `SQLite ${version}`, bulk: undefined, statements: false };
    }
    const answer: unknown = await knex.raw(
      'SELECT VERSION() AS version, @@GLOBAL.local_infile AS bulk',
    );
    const { logsStatements } = await import('./mysql.js');
    return { ...mysqlAnswer.parse(answer)[0][0], statements: await logsStatements(knex) };
  };
}

/**
 * Does what a load does, with no row: makes or upgrades the tables as the first load would, and sends
 * each table an INSERT and a DELETE that concern nothing. Of an SQLite file that does not exist, only
 * whether it could be made is looked at.
 * @throws {PipelineError} naming the right that is missing.
 */
export async function probeRights(location: DatabaseLocation, options: OpenOptions): Promise<void> {
  if (location.kind === 'sqlite' && (await isMissing(location.file))) {
    const folder = dirname(resolve(location.file));
    try {
      await access(folder, constants.W_OK);
    } catch (cause) {
      throw new ConfigurationError('the database file cannot be made', {
        where: folder,
        next: 'make the folder, or let this user write there',
        cause,
      });
    }
    return;
  }
  const database = await openDatabase(location, options);
  try {
    await translated(database.location, async () => {
      const { knex } = database;
      for (const table of [...tableNames, LOADS]) {
        const columns = Object.keys(await knex(table).columnInfo());
        await knex.raw('INSERT INTO ?? (??) SELECT ?? FROM ?? WHERE 1 = 0', [
          table,
          columns,
          columns,
          table,
        ]);
        await knex(table).whereRaw('1 = 0').delete();
      }
    });
  } finally {
    await database.close();
  }
}

async function isMissing(file: string): Promise<boolean> {
  return access(resolve(file)).then(
    () => false,
    () => true,
  );
}
