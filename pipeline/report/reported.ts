import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DataError } from '../shared/errors.js';
import { codeOf } from '../shared/files.js';
import { formatAmount, parseAmount } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { isMonth } from '../shared/month.js';
import type { ToldMonth } from './context.js';
import type { Correction, StatementFigures } from './figures.js';

/** The file, in a month's folder, that remembers what its statements said. */
export const REPORTED = 'reported.json';

const amount = z.string().refine((text) => {
  try {
    parseAmount(text);
    return true;
  } catch {
    return false;
  }
}, 'is no amount');

const told = z.object({
  made: z.iso.datetime(),
  /** The extractions that it was made from: a statement that is made again from the same ones takes its place. */
  source: z.string(),
  /** Currency and amount. */
  totals: z.array(z.tuple([z.string(), amount])),
});
type Told = z.infer<typeof told>;

const reportedMonth = z.object({
  format: z.literal(1),
  month: z.string().refine(isMonth, 'is no month'),
  /** Customer's accounts, its last statement, and the one before from other extractions. */
  customers: z.array(z.tuple([z.string(), z.object({ last: told, before: told.nullable() })])),
});

/** What the statements of a month said last: customer's accounts → statements. */
export type Reported = Map<string, { last: Told; before: Told | null }>;

/**
 * Reads what a month's statements said; nothing where there are none.
 * @throws {DataError} when the file is not one of ours.
 */
export async function readReported(folder: string, month: Month): Promise<Reported> {
  const file = join(folder, month, REPORTED);
  const fault = (cause: unknown): DataError =>
    new DataError('the record of what was reported cannot be read', {
      where: file,
      next: 'restore it; or remove it, and corrections since then are not told',
      cause,
    });
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(cause) ?? '')) return new Map();
    throw fault(cause);
  }
  try {
    return new Map(reportedMonth.parse(JSON.parse(text)).customers);
  } catch (cause) {
    throw fault(cause);
  }
}

/** What a statement says, to be remembered: customer's accounts, and its totals. */
export type ToldStatement = readonly [customer: string, last: Told];

/** What a statement says; nothing of one that is known to be a part, whose sum is no figure that AWS could correct. */
export function toldOf({
  key,
  made,
  source,
  currencies,
  missingAccounts,
}: StatementFigures): ToldStatement[] {
  if (missingAccounts.length > 0) return [];
  const totals = currencies.map(({ currency, total }): [string, string] => [
    currency,
    total.amount,
  ]);
  return [[key, { made, source, totals }]];
}

/** Puts a statement that was made now into the record. */
export function remember(reported: Reported, [key, last]: ToldStatement): void {
  const known = reported.get(key);
  const before =
    known === undefined ? null : known.last.source === last.source ? known.before : known.last;
  reported.set(key, { last, before });
}

/** The record as it is written. */
export function reportedText(month: Month, reported: Reported): string {
  const record: z.infer<typeof reportedMonth> = { format: 1, month, customers: [...reported] };
  return `${JSON.stringify(record)}\n`;
}

/**
 * What a customer's earlier statements told otherwise. The shown month is held against the last statement of it
 * from other extractions; each month before it against the last statement of that month.
 * @param months what each month costs the customer now.
 * @param shown the shown month, and what its figures were made from.
 */
export function correctionsOf(
  customer: string,
  months: readonly ToldMonth[],
  reported: ReadonlyMap<Month, Reported>,
  shown: { month: Month; source: string },
): Correction[] {
  return months.flatMap(({ month, totals }) => {
    const known = reported.get(month)?.get(customer);
    const former =
      known === undefined
        ? undefined
        : month === shown.month && known.last.source === shown.source
          ? known.before
          : known.last;
    if (former === undefined || former === null) return [];
    const before = new Map(former.totals);
    return [...new Set([...before.keys(), ...totals.keys()])].sort().flatMap((currency) => {
      const old = parseAmount(before.get(currency) ?? '0').units;
      const now = parseAmount(totals.get(currency) ?? '0').units;
      if (old === now) return [];
      return [
        {
          ...{ month, currency, reported: former.made },
          before: formatAmount(old),
          after: formatAmount(now),
          difference: formatAmount(now - old),
        },
      ];
    });
  });
}
