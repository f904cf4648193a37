import { z } from 'zod';
import { ConfigurationError } from '../pipeline/errors.js';
import type { DatabaseLocation } from './database.js';
import { connectionOptions } from './database.js';

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
