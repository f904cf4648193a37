import { UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { lastCompleteMonth, monthOf, monthsBetween, parseMonth } from '../shared/month.js';
import { parseOrganizationName } from '../staging/layout.js';

export const stages = ['extract', 'transform', 'load'] as const;
export type Stage = (typeof stages)[number];

/** Which months, organizations and stages a command works on. */
export interface Selection {
  /** Oldest first, each once. */
  months: readonly Month[];
  /** `undefined`: every organization there is. */
  organizations: readonly string[] | undefined;
  /** In the order in which they run, each once. */
  stages: readonly Stage[];
}

/** The selecting flags as the command line gives them. */
export interface SelectionFlags {
  month?: readonly string[] | undefined;
  from?: string | undefined;
  to?: string | undefined;
  organization?: readonly string[] | undefined;
  stage?: readonly string[] | undefined;
}

/**
 * Settles the selection; without a month, the last complete one in UTC.
 * @throws {UsageError} on a text that is no month, organization or stage, a future month, `--from`
 * after `--to` or without it, or `--month` beside them.
 */
export function select(flags: SelectionFlags, now: Date): Selection {
  const months = selectMonths(flags, now);
  const future = months.find((month) => month > monthOf(now));
  if (future !== undefined) {
    throw new UsageError(`${future} lies in the future`, {
      next: `the newest month is ${monthOf(now)}; it is not over yet`,
    });
  }
  const wanted = flags.stage?.map(parseStage);
  return {
    months,
    organizations:
      flags.organization === undefined
        ? undefined
        : [...new Set(flags.organization.map(parseOrganizationName))],
    stages: wanted === undefined ? stages : stages.filter((stage) => wanted.includes(stage)),
  };
}

/** Settles it for a command that without a month takes all that are staged: then `months` is `undefined`. */
export function selectStaged(
  flags: Omit<SelectionFlags, 'stage'>,
  now: Date,
): { months: readonly Month[] | undefined; organizations: readonly string[] | undefined } {
  const { months, organizations } = select(flags, now);
  const isChosen = [flags.month, flags.from, flags.to].some((flag) => flag !== undefined);
  return { months: isChosen ? months : undefined, organizations };
}

function selectMonths({ month, from, to }: SelectionFlags, now: Date): Month[] {
  if (month !== undefined && (from !== undefined || to !== undefined)) {
    throw new UsageError('--month goes with neither --from nor --to', {
      next: 'use one or the other',
    });
  }
  if (month !== undefined) return [...new Set(month.map(parseMonth))].sort();
  if (from === undefined && to === undefined) return [lastCompleteMonth(now)];
  if (from === undefined || to === undefined)
    throw new UsageError('--from and --to go together', { next: 'give both' });
  return monthsBetween(parseMonth(from), parseMonth(to));
}

function parseStage(text: string): Stage {
  const stage = stages.find((candidate) => candidate === text);
  if (stage === undefined)
    throw new UsageError(`"${text}" is not a stage`, { next: `choose among ${stages.join(', ')}` });
  return stage;
}
