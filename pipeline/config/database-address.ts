import { z } from 'zod';
import { ConfigurationError, UsageError } from '../shared/errors.js';

/** How the server's certificate is checked, by the names of MySQL's clients; both check its chain. */
type TlsMode = 'verify-ca' | 'verify-identity';

/** A MySQL or MariaDB database. */
export interface MysqlLocation {
  kind: 'mysql';
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  /**
   * Asks for TLS. `ca`: the certificate authorities to trust instead of Node's own, as a file's name or as PEM
   * text; `mode`: `verify-identity` where it is not given, which also checks the certificate's host name.
   */
  ssl?: { ca?: string; mode?: TlsMode };
  /** Whether a server without TLS may be given the password under the RSA key that it names itself. */
  getServerPublicKey?: true;
}

/** Where the tables lie. */
export type DatabaseLocation = MysqlLocation | { kind: 'sqlite'; file: string };

const FORM =
  'write it as mysql://USER:PASSWORD@HOST:PORT/DATABASE, mariadb://… or sqlite:FILE, with special characters of the parts percent-encoded';

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

const text = z.string({ error: 'is missing' }).min(1, 'is empty');

/** Digits, as a text or a number of JSON: `0x10`, `1e3` and `true` are ports to some readers and none to others. */
const port = z
  .union([z.string(), z.number()], { error: 'is no port' })
  .transform((value) => (/^\d{1,5}$/.test(String(value)) ? Number(value) : NaN))
  .pipe(z.number({ error: 'is no port' }).min(1, 'is no port').max(65_535, 'is no port'));

const server = z.object({
  host: text,
  port: port.default(3306),
  user: text,
  password: z.string({ error: 'is missing' }),
  database: text,
});

/**
 * Reads the connection to the database from its secret in Vault: `host`, `port` (3306 if absent),
 * `user`, `password`, `database`, and as far as given `ssl`, `ssl_ca`, `ssl_mode` and
 * `get_server_public_key`, which mean what they mean in an address ({@link connectionOptions}).
 * @param where the secret's path, for the message.
 * @throws {ConfigurationError} naming every key that is missing, wrong or unknown, never a value: a key that
 * is passed over could be the one that asks for TLS.
 */
export function parseDatabaseSecret(
  secret: Readonly<Record<string, unknown>>,
  where: string,
): DatabaseLocation {
  const names = new Map<string, string>();
  const further: [string, unknown][] = [];
  for (const [key, value] of Object.entries(secret)) {
    if (Object.hasOwn(server.shape, key)) continue;
    const name = key.replaceAll('_', '-');
    names.set(name, key);
    further.push([name, typeof value === 'boolean' ? String(value) : value]);
  }
  const address = server.safeParse(secret);
  const options = connectionOptions.safeParse(Object.fromEntries(further));
  if (address.success && options.success)
    return { kind: 'mysql', ...address.data, ...options.data };
  const issues = [...(address.error?.issues ?? []), ...(options.error?.issues ?? [])];
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

const flag = z
  .enum(['true', 'false'], { error: 'is neither true nor false' })
  .transform((text) => text === 'true');

/**
 * How to connect to a server beside its address, by the names of MySQL's clients: `ssl`, `ssl-ca`, `ssl-mode`
 * and `get-server-public-key`, all as text. An issue's message goes on from the option's name.
 */
const connectionOptions = z
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
