import { UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { lastCompleteMonth, monthOf, monthsBetween, parseMonth } from '../shared/month.js';
import { nearest } from '../shared/nearest.js';
import { printable } from '../shared/printable.js';
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
 * Settles the selection; without a month, the last complete one in UTC, which `--from` alone goes up to. Several
 * values may stand in one, between commas.
 * @throws {UsageError} on a text that is no month, organization or stage, a future month, `--from`
 * after `--to`, `--to` alone, or `--month` beside them.
 */
export function select(flags: SelectionFlags, now: Date): Selection {
  const months = selectMonths(flags, now);
  const future = months.find((month) => month > monthOf(now));
  if (future !== undefined) {
    throw new UsageError(`${future} lies in the future`, {
      next: `the newest month is ${monthOf(now)}; it is not over yet`,
    });
  }
  const wanted = listed(flags.stage)?.map(parseStage);
  const organizations = listed(flags.organization)?.map(parseOrganizationName);
  return {
    months,
    organizations: organizations === undefined ? undefined : [...new Set(organizations)],
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

/** The values of a flag that is given several times, or once with commas, as no name and no month has any. */
function listed(values: readonly string[] | undefined): string[] | undefined {
  return values?.flatMap((value) => value.split(',').map((one) => one.trim()));
}

function selectMonths({ month, from, to }: SelectionFlags, now: Date): Month[] {
  if (month !== undefined && (from !== undefined || to !== undefined)) {
    throw new UsageError('--month goes with neither --from nor --to', {
      next: 'use one or the other',
    });
  }
  const months = listed(month);
  if (months !== undefined) return [...new Set(months.map(parseMonth))].sort();
  const last = lastCompleteMonth(now);
  if (from === undefined) {
    if (to === undefined) return [last];
    throw new UsageError('--to needs --from', { next: 'say where the months begin' });
  }
  const first = parseMonth(from);
  if (to !== undefined) return monthsBetween(first, parseMonth(to));
  // The month that is not over yet is meant by whoever names it.
  return monthsBetween(first, first > last ? first : last);
}

/** What else the stages are called. */
const stageWords: Readonly<Record<string, Stage>> = {
  fetch: 'extract',
  download: 'extract',
  export: 'transform',
  exports: 'transform',
  parquet: 'transform',
  csv: 'transform',
  import: 'load',
  database: 'load',
};

function parseStage(text: string): Stage {
  const stage = stages.find((candidate) => candidate === text);
  if (stage !== undefined) return stage;
  const meant = nearest(text, stages) ?? stageWords[text.toLowerCase()];
  const choice = `choose among ${stages.join(', ')}`;
  throw new UsageError(`"${printable(text)}" is not a stage`, {
    next: meant === undefined ? choice : `did you mean ${meant}? ${choice}`,
  });
}
