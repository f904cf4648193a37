import type { Month } from './month.js';
import { timePeriod } from './month.js';

/**
 * Days after a month's end for which its figures may still change: support fees land on day 6 or 7,
 * credits later.
 */
export const PROVISIONAL_DAYS = 10;

const DAY = 86_400_000;

/** Whether figures may still change: AWS called them estimated, or they were fetched soon after the month's end. */
export function isProvisional({
  month,
  estimated,
  fetched,
  provisionalDays,
}: {
  month: Month;
  estimated: boolean;
  /** When AWS was asked for them. */
  fetched: Date;
  /** Days after the month's end, in UTC. */
  provisionalDays: number;
}): boolean {
  const end = Date.parse(`${timePeriod(month).End}T00:00:00Z`);
  return estimated || fetched.getTime() < end + provisionalDays * DAY;
}
