import type { LimitFunction } from 'p-limit';
import pLimit from 'p-limit';
import { advice, nextRun, shownCommand, subjectOf } from '../shared/commands.js';
import { DataError, UsageError, throwIfInterrupted } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { monthsBetween, shiftMonth } from '../shared/month.js';
import type { TotalsText } from '../shared/sums.js';
import { sameTotals } from '../shared/sums.js';
import type { StagedSlice } from '../staging/extractions.js';
import { stagedSlices, startOf } from '../staging/extractions.js';
import { manifestPrefix, parseTransformManifestKey } from '../staging/layout.js';
import type { TransformManifest } from '../staging/manifest.js';
import { readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { member } from './comparisons.js';
import type { AccountTotals, Names, SliceRows } from './month-rows.js';
import { createNames, readAccountTotals, readListed, readSlice } from './month-rows.js';

/** Months of the trend before the shown one. */
const EARLIER = 12;
/** Files that are read at once of months that are compared with: storage answers slowly, memory is short. */
const AT_ONCE = 4;

/** An organization whose figures are not in a month, or are not the newest, and why. */
export interface Gap {
  organization: string;
  /** Goes on from its name: `was fetched on …, but not transformed`. */
  reason: string;
  /** The command that mends it; null where none is known to. */
  command: string | null;
}

/** A month row by row. */
export interface ReadMonth {
  month: Month;
  slices: readonly SliceRows[];
  gaps: readonly Gap[];
}

/** A month before the compared one. */
export interface EarlierMonth {
  month: Month;
  slices: readonly {
    organization: string;
    manifest: TransformManifest;
    totals: AccountTotals;
  }[];
  gaps: readonly Gap[];
}

/** What AWS said of a slice in the fetch before, where it is not what it says now. */
export interface FormerFetch {
  organization: string;
  fetched: string;
  totals: TotalsText;
}

/** Everything that a month's report is computed from. */
export interface MonthData {
  names: Names;
  shown: ReadMonth;
  /** Organizations of the shown month of which there is a newer fetch. */
  stale: readonly Gap[];
  former: readonly FormerFetch[];
  /** Organizations of the shown month that were not chosen. */
  leftOut: readonly string[];
  /** Accounts that organizations which were not chosen have, by month: what is read of those is a part only. */
  elsewhere: ReadonlyMap<Month, ReadonlySet<number>>;
  /** The calendar month before; without slices where nothing of it is there. */
  previous: ReadMonth;
  /** Those before it from the first one that is there, oldest first. */
  earlier: readonly EarlierMonth[];
}

export interface MonthsRequest {
  staging: Staging;
  /** `undefined`: the last month that is transformed. */
  months: readonly Month[] | undefined;
  /** `undefined`: all. */
  organizations: readonly string[] | undefined;
  /** Organizations that the configuration file names: they belong to a month though nothing of them is staged. */
  configured: readonly string[];
  signal: AbortSignal;
}

/**
 * Reads what each chosen month's report is computed from, one month after the other, oldest first.
 * @throws {DataError} when a month has no exports, or those that are to be shown are altered.
 * @throws {UsageError} when nothing is there of a chosen organization.
 */
export async function* readMonths(
  request: MonthsRequest,
): AsyncGenerator<MonthData, void, undefined> {
  const { staging, organizations } = request;
  const chosen = request.months ?? [await lastTransformed(request)];
  const all = [...new Set(chosen.flatMap(windowOf))].sort();
  const found = await stagedSlices(staging, all);
  const isChosen = ({ slice }: StagedSlice): boolean =>
    organizations?.includes(slice.organization) ?? true;
  const staged = found.filter(isChosen);
  const known = new Set(staged.map(({ slice }) => slice.organization));
  const unknown = organizations?.filter((name) => !known.has(name)) ?? [];
  if (unknown.length > 0) throw nothingStaged(staging, unknown);
  const surveyed = { ...request, staged, names: createNames(), limit: pLimit(AT_ONCE) };
  // Of a month in the trend of several others, the accounts' totals are read once.
  const earlier = new Map<Month, EarlierMonth>();
  const elsewhere = await readElsewhere(
    surveyed,
    found.filter((one) => one.transformed && !isChosen(one)),
  );
  for (const month of chosen) {
    const leftOut = found
      .filter((one) => one.slice.month === month && !isChosen(one))
      .map(({ slice }) => slice.organization);
    yield { ...(await readMonth(surveyed, month, earlier)), leftOut, elsewhere };
  }
}

/** An account that moves has cost in two organizations: what is left out may be the other part of it. */
async function readElsewhere(
  { staging, names, limit, signal }: Surveyed,
  leftOut: readonly StagedSlice[],
): Promise<Map<Month, Set<number>>> {
  const elsewhere = new Map<Month, Set<number>>();
  await Promise.all(
    leftOut.map(({ slice }) =>
      limit(async () => {
        throwIfInterrupted(signal);
        const codes = member(elsewhere, slice.month, () => new Set<number>());
        try {
          for (const code of await readListed(staging, slice, names)) codes.add(code);
        } catch (error) {
          // Whoever leaves an organization out may do so because it cannot be read.
          if (!(error instanceof DataError)) throw error;
        }
      }),
    ),
  );
  return elsewhere;
}

function nothingStaged({ location }: Staging, organizations: readonly string[]): UsageError {
  return new UsageError(`nothing of these months is staged of ${organizations.join(', ')}`, {
    where: location,
    next: 'leave it out, or name other months with --month',
  });
}

function windowOf(month: Month): Month[] {
  return monthsBetween(shiftMonth(month, -EARLIER), month);
}

async function lastTransformed({ staging, organizations }: MonthsRequest): Promise<Month> {
  let last: Month | undefined;
  for await (const { key } of staging.list(manifestPrefix())) {
    const slice = parseTransformManifestKey(key);
    if (slice === undefined || organizations?.includes(slice.organization) === false) continue;
    if (last === undefined || slice.month > last) last = slice.month;
  }
  if (last !== undefined) return last;
  if (organizations !== undefined) throw nothingStaged(staging, organizations);
  throw new DataError('there is nothing to report: no month is transformed yet', {
    where: staging.location,
    ...advice('run', {}, ' first, or name another folder with --staging'),
  });
}

interface Surveyed extends MonthsRequest {
  staged: readonly StagedSlice[];
  names: Names;
  limit: LimitFunction;
}

async function readMonth(
  request: Surveyed,
  month: Month,
  known: Map<Month, EarlierMonth>,
): Promise<Omit<MonthData, 'leftOut' | 'elsewhere'>> {
  const { staging, signal, names } = request;
  const { transformed, gaps } = planOf(request, month, month);
  if (transformed.length === 0)
    throw new DataError(`there are no exports of ${month}`, {
      where: `${staging.location}/${manifestPrefix(month)}`,
      ...advice('run', { months: [month], organizations: request.organizations ?? [] }, ' first'),
    });
  const slices: SliceRows[] = [];
  const stale: Gap[] = [];
  const former: FormerFetch[] = [];
  for (const found of transformed) {
    throwIfInterrupted(signal);
    const rows = await readSlice(staging, found.slice, names, 'shown');
    slices.push(rows);
    const { extraction } = rows.manifest;
    const { current } = found.survey;
    if (current !== undefined && current > extraction) stale.push(staleGap(found, extraction));
    const before = await formerFetch(staging, found, rows.manifest);
    if (before !== undefined) former.push(before);
  }
  const previousMonth = shiftMonth(month, -1);
  const previous = await orGaps(planOf(request, previousMonth, month), request, (slice) =>
    readSlice(staging, slice, names, 'compared'),
  );
  const trend = windowOf(month)
    .slice(0, -2)
    .map((before) => ({ before, planned: planOf(request, before, month) }));
  const first = trend.findIndex(({ planned }) => planned.transformed.length > 0);
  const earlier = await Promise.all(
    (first < 0 ? [] : trend.slice(first)).map(async ({ before, planned }) => {
      const read = known.get(before) ?? {
        month: before,
        ...(await orGaps(planned, request, async (slice) => ({
          organization: slice.organization,
          ...(await readAccountTotals(staging, slice, names)),
        }))),
      };
      known.set(before, read);
      return read;
    }),
  );
  return {
    names,
    shown: { month, slices, gaps },
    stale,
    former,
    previous: { month: previousMonth, ...previous },
    earlier,
  };
}

/** What is there of a month, and what should be. */
interface Planned {
  transformed: readonly StagedSlice[];
  gaps: readonly Gap[];
}

/**
 * Which organizations a month has, seen from the shown one. One belongs to a month where anything of it is
 * staged; to the shown month too where it had figures in the month before, or the configuration file names it;
 * to an earlier one where it had figures both before and after. Another one is new, or has left.
 */
function planOf(
  { staged, configured, organizations }: Surveyed,
  month: Month,
  shown: Month,
): Planned {
  const here = new Map(
    staged.flatMap((one) => (one.slice.month === month ? [[one.slice.organization, one]] : [])),
  );
  const isThere = (organization: string, of: (other: Month) => boolean): boolean =>
    staged.some(
      ({ slice, transformed }) =>
        transformed && slice.organization === organization && of(slice.month),
    );
  const belongs = (organization: string): boolean =>
    month === shown
      ? configured.includes(organization) ||
        isThere(organization, (other) => other === shiftMonth(shown, -1))
      : isThere(organization, (other) => other < month && other >= shiftMonth(shown, -EARLIER)) &&
        isThere(organization, (other) => other > month && other <= shown);
  const candidates = new Set([
    ...staged.map(({ slice }) => slice.organization),
    ...(organizations ?? configured),
  ]);
  const gaps = [...candidates].sort().flatMap((organization): Gap[] => {
    const found = here.get(organization);
    if (found?.transformed === true) return [];
    if (found === undefined && !belongs(organization)) return [];
    return [missingGap(month, organization, found)];
  });
  const transformed = [...here.values()]
    .filter((one) => one.transformed)
    .sort((a, b) => (a.slice.organization < b.slice.organization ? -1 : 1));
  return { transformed, gaps };
}

function missingGap(month: Month, organization: string, found: StagedSlice | undefined): Gap {
  const gap = (reason: string, stages: readonly string[]): Gap => ({
    organization,
    reason,
    command: shownCommand(nextRun(stages, { month, organization })),
  });
  const { current, unfinished } = found?.survey ?? {};
  if (current !== undefined)
    return gap(`was fetched on ${dayOf(current)}, but not transformed`, ['transform', 'load']);
  return unfinished === undefined
    ? gap('is not there: nothing of it is staged', [])
    : gap('is not there: its fetch was stopped before its end', []);
}

function staleGap({ slice, survey }: StagedSlice, extraction: string): Gap {
  return {
    organization: slice.organization,
    reason: `was fetched again on ${dayOf(survey.current ?? extraction)}; these are the figures of ${dayOf(extraction)}`,
    command: shownCommand(nextRun(['transform', 'load'], slice)),
  };
}

function dayOf(extraction: string): string {
  return `${startOf(extraction).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/**
 * Reads what is there of a month that is only compared with, some organizations at once: one that cannot be read
 * is a gap too.
 */
async function orGaps<T>(
  { transformed, gaps }: Planned,
  { signal, limit }: Surveyed,
  read: (slice: StagedSlice['slice']) => Promise<T>,
): Promise<{ slices: T[]; gaps: Gap[] }> {
  const found = await Promise.all(
    transformed.map(({ slice }) =>
      limit(async (): Promise<{ slice: T } | { gap: Gap }> => {
        throwIfInterrupted(signal);
        try {
          return { slice: await read(slice) };
        } catch (error) {
          if (!(error instanceof DataError)) throw error;
          const { command } = error;
          return {
            gap: {
              organization: slice.organization,
              reason: `cannot be read: ${error.message}`,
              command:
                command === undefined ? null : shownCommand({ ...subjectOf(slice), ...command }),
            },
          };
        }
      }),
    ),
  );
  return {
    slices: found.flatMap((one) => ('slice' in one ? [one.slice] : [])),
    gaps: [...gaps, ...found.flatMap((one) => ('gap' in one ? [one.gap] : []))],
  };
}

/** The fetch before the one that is shown, where AWS said something else in it. */
async function formerFetch(
  staging: Staging,
  { slice, survey }: StagedSlice,
  shown: TransformManifest,
): Promise<FormerFetch | undefined> {
  const before = survey.finished.filter((name) => name < shown.extraction).at(-1);
  if (before === undefined) return undefined;
  const manifest = (await readExtractionManifest(staging, slice, before))?.manifest;
  if (manifest === undefined || manifest.scope.billingViewArn !== shown.scope.billingViewArn)
    return undefined;
  const { finished: fetched, totals } = manifest;
  return sameTotals(totals, shown.consumption.totals)
    ? undefined
    : { organization: slice.organization, fetched, totals };
}
