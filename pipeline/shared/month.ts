import { UsageError } from './errors.js';
import { printable } from './printable.js';

declare const brand: unique symbol;

/** A billing month in UTC, written `YYYY-MM`. Strings of this type sort in calendar order. */
export type Month = string & { readonly [brand]: 'Month' };

const pattern = /^([1-9]\d{3})-(0[1-9]|1[0-2])$/;

/** Whether a text is a month, as it stands in keys and manifests. */
export function isMonth(text: string): text is Month {
  return pattern.test(text);
}

/**
 * Reads a billing month.
 * @throws {UsageError} when the text is not `YYYY-MM` with a month of 01 to 12.
 */
export function parseMonth(text: string): Month {
  if (!isMonth(text)) {
    const meant = guess(text);
    throw new UsageError(`"${printable(text.slice(0, 80))}" is not a month`, {
      next: /^\d{4}-\d\d(\.\.|:|\/| ?- ?)\d{4}-\d\d$/.test(text)
        ? 'a range is --from with its first month and --to with its last'
        : `write it as YYYY-MM, for example ${meant ?? '2026-10'}`,
    });
  }
  return text;
}

/** The month that another way of writing stands for: `2026-9`, `202609`, `2026/09`, `09/2026`, a day of it. */
function guess(text: string): Month | undefined {
  const [, year, month = ''] = /^(\d{4})[-/.]?(\d{1,2})(?:[-/.]?\d{1,2})?$/.exec(text) ?? [];
  const [, first = '', second] = /^(\d{1,2})[-/.](\d{4})$/.exec(text) ?? [];
  const written = `${year ?? second ?? ''}-${(year === undefined ? first : month).padStart(2, '0')}`;
  return isMonth(written) ? written : undefined;
}

/** The month `offset` calendar months after `month` (before it, when negative). */
export function shiftMonth(month: Month, offset: number): Month {
  const months = Number(month.slice(0, 4)) * 12 + Number(month.slice(5, 7)) - 1 + offset;
  const year = String(Math.floor(months / 12)).padStart(4, '0');
  return parseMonth(`${year}-${String((months % 12) + 1).padStart(2, '0')}`);
}

/** The calendar month, in UTC, that an instant lies in. */
export function monthOf(instant: Date): Month {
  return parseMonth(instant.toISOString().slice(0, 7));
}

/** The newest month that is over at the instant, in UTC: in January, December of the year before. */
export function lastCompleteMonth(now: Date): Month {
  return shiftMonth(monthOf(now), -1);
}

/** The oldest month that Cost Explorer keeps as a rule: 13 before the current one. */
export function historyStart(now: Date): Month {
  return shiftMonth(monthOf(now), -13);
}

/**
 * Every month from `from` to `to`, both included, oldest first.
 * @throws {UsageError} when `from` lies after `to`.
 */
export function monthsBetween(from: Month, to: Month): Month[] {
  if (from > to) {
    throw new UsageError(`--from ${from} lies after --to ${to}`, { next: 'swap the two' });
  }
  const months: Month[] = [];
  for (let month = from; month <= to; month = shiftMonth(month, 1)) months.push(month);
  return months;
}

/**
 * The month as Cost Explorer's TimePeriod: first day of the month, and first day of the next, since
 * `End` is exclusive (AWS Cost Management API reference, DateInterval).
 */
export function timePeriod(month: Month): { Start: string; End: string } {
  return { Start: `${month}-01`, End: `${shiftMonth(month, 1)}-01` };
}

/** The BillingPeriod stamp that every row of the month carries: its day 28, as `YYYY-MM-DD`. */
export function billingPeriod(month: Month): string {
  return `${month}-28`;
}
