import type { Month } from './month.js';
import { timePeriod } from './month.js';

const DAY = 86_400_000;

/** How a month's figures were fetched, as far as it tells whether they are the last ones. */
interface FetchedMonth {
  month: Month;
  /** Whether AWS called any part of the figures estimated. */
  estimated: boolean;
  /** ISO 8601 instant at which they were fetched. */
  fetched: string;
  /** Days that AWS goes on changing a month's figures after its end. */
  provisionalDays: number;
}

/**
 * Whether AWS may still change a month's figures: it called them estimated, or they were fetched
 * before the month had been over for so many days, counted from its end in UTC. Support fees are
 * billed on day 6 or 7 of the next month, credits and refunds later.
 */
export function isProvisional({
  month,
  estimated,
  fetched,
  provisionalDays,
}: FetchedMonth): boolean {
  const over = Date.parse(`${timePeriod(month).End}T00:00:00Z`);
  return estimated || Date.parse(fetched) < over + provisionalDays * DAY;
}

/** The word for it, for people and programs; `undefined` where it is not known. */
export function figuresOf(provisional: boolean | undefined): 'provisional' | 'final' | undefined {
  return provisional === undefined ? undefined : provisional ? 'provisional' : 'final';
}
