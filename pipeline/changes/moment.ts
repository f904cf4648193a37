import { z } from 'zod';
import { UsageError } from '../errors.js';
import { extractionName } from '../staging/layout.js';

const date = z.iso.date();
const instant = z.iso.datetime({ offset: true });

/**
 * Reads a moment in the history of a month's extractions: an extraction's name (`20261101T020304Z`),
 * an instant in ISO 8601, or a date, which stands for the end of its day in UTC.
 * @returns the name of an extraction of that moment: names sort by time.
 * @throws {UsageError} on any other text.
 */
export function parseMoment(text: string): string {
  const named = text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  if (date.safeParse(named).success) return extractionName(new Date(`${named}T23:59:59Z`));
  if (instant.safeParse(named).success) return extractionName(new Date(named));
  throw new UsageError(`"${text}" is neither an extraction nor a date`, {
    next: 'write it as 20261101T020304Z, 2026-11-01 or 2026-11-01T02:03:04Z',
  });
}

/** The newest extraction at or before a moment, of names that ascend; `undefined` when all are later. */
export function newestUntil(extractions: readonly string[], moment: string): string | undefined {
  return extractions.filter((name) => name <= moment).at(-1);
}
