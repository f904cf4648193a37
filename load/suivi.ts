import { z } from 'zod';
import { ConfigurationError } from '../pipeline/errors.js';
import type { DatabaseLocation } from './database.js';

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
 * `user`, `password`, `database`.
 * @param where the secret's path, for the message.
 * @throws {ConfigurationError} naming every key that is missing or wrong, never a value.
 */
export function parseSuiviSecret(
  secret: Readonly<Record<string, unknown>>,
  where: string,
): DatabaseLocation {
  const parsed = suivi.safeParse(secret);
  if (parsed.success) return { kind: 'mysql', ...parsed.data };
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`);
  throw new ConfigurationError(`the secret of the database is incomplete: ${faults.join(', ')}`, {
    where,
    next: 'give it host, port, user, password and database',
  });
}
