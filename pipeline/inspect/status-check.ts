import type { Absence } from '../run/known-organizations.js';
import type { NextRun } from '../shared/commands.js';
import { describeSlices, nextRun, products, shownCommand, subjectOf } from '../shared/commands.js';
import type { PipelineError } from '../shared/errors.js';
import { describeError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { figuresOf } from '../shared/provisional.js';
import type { Slice } from '../staging/layout.js';
import type { SliceStatus } from './slice-status.js';

/** What months are to be: all there, made from the newest extraction, fetched lately while AWS still changes them. */
const virtues = ['complete', 'current', 'fresh'] as const;
type Virtue = (typeof virtues)[number];

/** What keeps some slices from being what they are to be, and the run that mends it. */
export interface Problem {
  lacks: Virtue;
  slices: readonly Slice[];
  what: string;
  command: NextRun | undefined;
  /** Whether all that is wrong is a figure that differs beyond the tolerance. */
  isDifference?: true;
}

const DAY = 86_400_000;

/** Days after which the figures of a provisional month are old; the runs of docs/set-up.md are a week apart. */
const FRESH_DAYS = 8;

const everything = nextRun([]);
const tables = nextRun(['transform', 'load']);
const load = nextRun(['load']);

/** Whether the tables are what the current extraction makes. */
function isMade({ transformed, missing, stale }: SliceStatus): boolean {
  return transformed !== undefined && missing.length === 0 && !stale.includes('transform');
}

/** In the order in which a month comes about: of each slice the first that holds is told. */
const rules: readonly (readonly [
  lacks: Virtue,
  what: string,
  command: NextRun,
  holds: (slice: SliceStatus, now: Date) => boolean,
])[] = [
  ['complete', 'not extracted', everything, ({ extracted }) => extracted === undefined],
  ['complete', 'exports missing', tables, ({ missing }) => missing.length > 0],
  ['complete', 'not transformed', tables, ({ transformed }) => transformed === undefined],
  ['current', 'tables of an older extraction', tables, (slice) => !isMade(slice)],
  ['complete', 'not loaded', load, ({ loaded }) => loaded === undefined],
  ['current', 'loaded from older tables', load, ({ stale }) => stale.includes('load')],
  [
    'fresh',
    `provisional figures, fetched more than ${FRESH_DAYS} days ago`,
    everything,
    ({ provisional, extracted }, now) =>
      provisional === true &&
      Date.parse(extracted?.finished ?? '') < now.getTime() - FRESH_DAYS * DAY,
  ],
];

/**
 * Everything that keeps months from being whole, each with the command that mends it.
 * @param databaseFault why the database cannot be asked what is loaded.
 */
export function problemsOf(
  slices: readonly SliceStatus[],
  { slices: absent, by }: Absence,
  databaseFault: PipelineError | undefined,
  now: Date,
): Problem[] {
  const group = (
    lacks: Virtue,
    what: string,
    command: NextRun,
    some: readonly Slice[],
  ): Problem[] => products(some).map((product) => ({ lacks, slices: product, what, command }));
  const isApart = ({ apart, missing }: SliceStatus): boolean =>
    apart !== undefined && missing.length === 0 && databaseFault === undefined;
  const readable = slices.filter((slice) => slice.faults.length === 0 && !isApart(slice));
  const first = readable.map((slice) =>
    rules.find(
      ([, , command, holds]) =>
        holds(slice, now) && (command !== load || databaseFault === undefined),
    ),
  );
  return [
    ...products(absent).map((product): Problem => {
      const what = `absent, though ${by} ${product.length === 1 ? 'it' : 'them'}`;
      return { lacks: 'complete', slices: product, what, command: everything };
    }),
    ...slices.flatMap((slice) =>
      slice.faults.map((fault): Problem => {
        const what = `cannot be read: ${describeError(fault, subjectOf(slice))}`;
        return { lacks: 'complete', slices: [slice], what, command: undefined };
      }),
    ),
    ...slices.filter(isApart).map((slice): Problem => {
      const what = `not loaded: ${describeError(slice.apart, subjectOf(slice))}`;
      return { lacks: 'complete', slices: [slice], what, command: undefined, isDifference: true };
    }),
    ...rules.flatMap((rule) => {
      const [lacks, what, command] = rule;
      return group(
        lacks,
        what,
        command,
        readable.filter((_, index) => first[index] === rule),
      );
    }),
  ];
}

/** A problem as people read it. */
export function describeProblem({ slices, what, command }: Problem): string {
  if (command === undefined) return `${describeSlices(slices)} ${what}`;
  const next = shownCommand({ ...command, ...subjectOf(...slices) });
  return `${describeSlices(slices)}: ${what}; run "${next}"`;
}

/** Whether months are what they are to be, for `status --check`. */
export interface Check extends Record<Virtue, boolean> {
  /** `provisional` where any of the figures are; `undefined` where there are none. */
  figures: 'final' | 'provisional' | undefined;
  /** Why not all is well: nothing, provisional figures alone, differences alone, or anything else. */
  verdict: 'well' | 'provisional' | 'differs' | 'failed';
}

export function check(
  slices: readonly SliceStatus[],
  problems: readonly Problem[],
  { untold }: Absence,
  databaseFault: PipelineError | undefined,
): Check {
  const isEmpty = slices.length === 0;
  const has = (virtue: Virtue): boolean =>
    !isEmpty && problems.every(({ lacks }) => lacks !== virtue);
  const found = {
    // What nobody can tell is not taken for complete.
    complete: has('complete') && untold.length === 0 && databaseFault === undefined,
    current: has('current'),
    fresh: has('fresh'),
    figures: figuresOf(
      isEmpty ? undefined : slices.some(({ provisional }) => provisional === true),
    ),
  };
  if (found.complete && found.current && found.fresh)
    return { ...found, verdict: found.figures === 'final' ? 'well' : 'provisional' };
  const isDifference =
    problems.length > 0 &&
    problems.every((one) => one.isDifference === true) &&
    untold.length === 0 &&
    databaseFault === undefined;
  return { ...found, verdict: isDifference ? 'differs' : 'failed' };
}

/** The same as people read it. */
export function describeCheck({ figures, ...found }: Check, months: readonly Month[]): string {
  const words = virtues.map((virtue) => (found[virtue] ? virtue : `not ${virtue}`));
  return `${months.join(', ')}: ${words.join(', ')}; figures ${figures ?? 'missing'}`;
}
