import { advice } from '../shared/commands.js';
import { DataError, UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';

/**
 * @param staged months of which anything is staged.
 * @param chosen `undefined`: every staged one.
 * @throws {DataError} when nothing is staged, or nothing for a chosen month.
 */
export function checkMonths(
  location: string,
  staged: readonly Month[],
  chosen: readonly Month[] | undefined,
): void {
  const missing = chosen?.filter((month) => !staged.includes(month)) ?? [];
  if (staged.length > 0 && missing.length === 0) return;
  throw new DataError(
    `nothing is staged${missing.length === 0 ? '' : ` for ${missing.join(', ')}`}`,
    {
      where: location,
      ...advice('run', { months: missing }, ' first, or name another staging area with --staging'),
    },
  );
}

/**
 * @param known the organizations there are.
 * @param chosen `undefined`: every one.
 * @throws {UsageError} when a chosen one is unknown.
 */
export function checkOrganizations(
  known: readonly string[],
  chosen: readonly string[] | undefined,
): void {
  const unknown = chosen?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length === 0) return;
  throw new UsageError(`nothing is staged of ${unknown.join(', ')}`, {
    next: `choose among ${[...new Set(known)].sort().join(', ')}`,
  });
}
