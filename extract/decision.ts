import { isDeepStrictEqual } from 'node:util';
import { DataError } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import { noLog } from '../pipeline/shared/log.js';
import { parseAmount } from '../pipeline/shared/money.js';
import { shiftMonth } from '../pipeline/shared/month.js';
import type { Outcome } from '../pipeline/shared/outcome.js';
import { isProvisional } from '../pipeline/shared/provisional.js';
import type { Scope, WantedScope } from '../pipeline/shared/scope.js';
import {
  checkCostView,
  completeScope,
  covers,
  describeScopeChange,
  sameScope,
} from '../pipeline/shared/scope.js';
import { beyond, difference, formatSums, sameTotals } from '../pipeline/shared/sums.js';
import type { StagedExtraction, Survey } from '../pipeline/staging/extractions.js';
import { intactManifest, startOf, survey } from '../pipeline/staging/extractions.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { SCOPE } from '../pipeline/staging/layout.js';
import type { ExtractionManifest, TakenOver } from '../pipeline/staging/manifest.js';
import { readAsked, readScope } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import type { Draft } from './draft.js';
import { openQuery, paidPages } from './draft.js';
import { readDraft } from './stopped.js';
import { isOnlyCopies, takenOverFrom } from './taken-over.js';

/**
 * What the stage does for a slice: fetch it in a scope, go on with a stopped run's draft, make an older
 * extraction the current one, or nothing.
 */
export type ExtractDecision = {
  found: Survey;
  scope: Scope;
  /** Where the month's exports come to tell something else: what they tell more and less, in words. */
  replaces?: string | undefined;
  /** Where the month before tells the cost of other billing views: which, in words. */
  unlike?: string | undefined;
} & (
  | { action: 'fetch' }
  | { action: 'resume'; draft: Draft }
  | Widening
  | { action: 'reuse'; manifest: ExtractionManifest }
  | { action: 'unchanged'; manifest: ExtractionManifest }
);

/** A fetch of what another extraction lacks alone; a run may have been stopped as it copied the rest. */
export interface Widening {
  action: 'widen';
  takenOver: TakenOver;
  begun: StagedExtraction | undefined;
}

/** What is taken over instead of fetched, if anything is. */
export function takenOverBy(decision: ExtractDecision): TakenOver | undefined {
  if (decision.action === 'widen') return decision.takenOver;
  return decision.action === 'resume' ? decision.draft.takenOver : undefined;
}

/** What the decision is about, and what it needs to know. */
export interface DecisionTask {
  staging: Staging;
  slice: Slice;
  /** What of the month is asked for; what it leaves open, the staged month decides. */
  scope: WantedScope;
  /** Ask for the month's ungrouped total too: one more request. */
  awsTotal: boolean;
  /** Days after the month's end in which its figures are provisional. */
  provisionalDays: number;
  /** Fetch the month even if it is staged completely. */
  force: boolean;
  log: Log;
  now: () => Date;
}

/**
 * Decides from what is staged alone. What is wanted and left open stays as it is staged; more than is wanted will
 * do. Where the current extraction lacks what is wanted, an older one that has it is taken, if it is whole and as
 * good as one that is fetched today; else what the current one has is taken over, if that is so good, and what it lacks
 * is fetched; else the month is. A draft whose accounts are incomplete loses the
 * accounts that are staged of it: they cost nothing, and are listed anew.
 */
export async function decideExtract(task: DecisionTask): Promise<ExtractDecision> {
  const { staging, slice, force } = task;
  const found = await survey(staging, slice);
  const manifest = await currentManifest(task, found);
  const scope = await scopeOf(task, found, manifest);
  if (manifest !== undefined && isEnough(task, manifest))
    return { found, scope, action: 'unchanged', manifest };
  const replaced = (by: Scope, what: string): string | undefined =>
    manifest === undefined || sameScope(manifest.scope, by)
      ? undefined
      : `${what}, ${describeScopeChange(manifest.scope, by)}; what was fetched on ${dayOf(manifest)} stays staged`;
  if (!force && manifest !== undefined && !covers(manifest.scope, task.scope)) {
    const older = await reusable(task, found, scope);
    if (older !== undefined) {
      const replaces = replaced(
        older.scope,
        `taken from what was fetched on ${dayOf(older)}, without a request`,
      );
      const unlike = await otherViews(task, older.scope);
      return { found, scope: older.scope, replaces, unlike, action: 'reuse', manifest: older };
    }
  }
  const next = (await unfinished(task, found, scope, manifest)) ??
    (manifest && (await widening(task, scope, manifest))) ?? { action: 'fetch' as const };
  const decided = { found, scope, unlike: await otherViews(task, scope), ...next };
  const how = takenOverBy(decided) === undefined ? 'fetched anew' : 'widened';
  return { ...decided, replaces: replaced(scope, how) };
}

/**
 * What the current extraction has of the scope, where it is as good as one that is fetched now: final, or of today.
 * Another version's questions may be others.
 */
async function widening(
  task: DecisionTask,
  scope: Scope,
  former: ExtractionManifest,
): Promise<Widening | undefined> {
  const { staging, slice, force, awsTotal } = task;
  if (force || isOutdated(task, former)) return undefined;
  const takenOver = takenOverFrom(former, scope, awsTotal);
  if (takenOver === undefined) return undefined;
  if ((await readScope(staging, slice, former.extraction)) === undefined) return undefined;
  return { action: 'widen', takenOver, begun: undefined };
}

/**
 * What the stage would say of a slice of which nothing is to be fetched; `undefined`: it has something to do, or to
 * warn of.
 * @throws {PipelineError} where what is asked for does not go together, or something staged cannot be read.
 */
export async function nothingToFetch(
  task: Omit<DecisionTask, 'log' | 'awsTotal'>,
): Promise<Outcome | undefined> {
  const found = await survey(task.staging, task.slice);
  if (found.current === undefined) return undefined;
  const quiet = { ...task, log: noLog };
  const manifest = await currentManifest(quiet, found);
  if (manifest === undefined || !isEnough(task, manifest)) return undefined;
  await scopeOf(quiet, found, manifest);
  return outcomeOf(task, manifest, 'unchanged');
}

/** Whether what is staged is all that is asked for, and as new as it has to be. */
function isEnough(
  task: Pick<DecisionTask, 'scope' | 'force' | 'slice' | 'provisionalDays' | 'now'>,
  manifest: ExtractionManifest,
): boolean {
  return !task.force && covers(manifest.scope, task.scope) && !isOutdated(task, manifest);
}

/**
 * The scope in which the month is asked for.
 * @param manifest of the current extraction, where it is whole.
 * @throws {UsageError} when it asks for what does not go together.
 */
async function scopeOf(
  { staging, slice, scope: wanted }: Pick<DecisionTask, 'staging' | 'slice' | 'scope'>,
  found: Survey,
  manifest: ExtractionManifest | undefined,
): Promise<Scope> {
  const before =
    manifest === undefined
      ? await scopeBefore(staging, slice, found)
      : scopeToKeep(manifest, wanted);
  const scope = completeScope(wanted, before);
  checkCostView(slice.organization, scope);
  return scope;
}

/**
 * How the month before was asked of other billing views, in words: what the months tell then is not one series, though
 * it stands in the same tables.
 */
async function otherViews(
  { staging, slice }: DecisionTask,
  scope: Scope,
): Promise<string | undefined> {
  const month = shiftMonth(slice.month, -1);
  const { current } = await survey(staging, { ...slice, month });
  const before =
    current === undefined ? undefined : await readScope(staging, { ...slice, month }, current);
  if (before === undefined) return undefined;
  const name = (view: string | null): string => view ?? "the organization's own cost";
  // A month without a cost view has no margin, which nobody takes for another one's.
  const apart = (['billingViewArn', 'costViewArn'] as const).filter(
    (part) =>
      before[part] !== scope[part] &&
      (part === 'billingViewArn' || (before[part] !== null && scope[part] !== null)),
  );
  if (apart.length === 0) return undefined;
  const told = apart.map(
    (part) => `${part} is ${name(scope[part])}, and ${month} tells ${name(before[part])}`,
  );
  return `${told.join('; ')}: what the two months tell is not of one kind`;
}

/** What a month goes on with: what AWS refused was most often a slip, and another wish takes its place. */
function scopeToKeep({ scope, refused }: ExtractionManifest, wanted: WantedScope): Scope {
  if (wanted.by === undefined) return scope;
  return { ...scope, by: scope.by.filter((by) => !refused.some(({ part }) => part === by)) };
}

/** The day, in UTC, on which an extraction was fetched. */
function dayOf({ finished }: ExtractionManifest): string {
  return finished.slice(0, 10);
}

/** The current extraction's manifest; `undefined`, and the log says why, when it or a page of it is damaged. */
async function currentManifest(
  { staging, slice, log }: Pick<DecisionTask, 'staging' | 'slice' | 'log'>,
  { extractions, current }: Survey,
): Promise<ExtractionManifest | undefined> {
  const extraction = extractions.find(({ name }) => name === current);
  if (extraction === undefined) return undefined;
  try {
    return await intactManifest(staging, slice, extraction);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { where: error.where },
      `the month's extraction is damaged, so it is fetched anew: ${error.message}`,
    );
    return undefined;
  }
}

/** What was asked for by an extraction that is damaged, or by one that was never finished. */
async function scopeBefore(
  staging: Staging,
  slice: Slice,
  { current, unfinished }: Survey,
): Promise<Scope | undefined> {
  const name = current ?? unfinished;
  return name === undefined ? undefined : readScope(staging, slice, name);
}

/**
 * The newest extraction beside the current one that is whole, holds the scope, and need not be fetched again: nor
 * may AWS have told another total since.
 */
async function reusable(
  task: DecisionTask,
  { extractions, current }: Survey,
  scope: Scope,
): Promise<ExtractionManifest | undefined> {
  const whole: ExtractionManifest[] = [];
  for (const extraction of extractions.toReversed()) {
    if (!extraction.finished) continue;
    try {
      whole.push(await intactManifest(task.staging, task.slice, extraction));
    } catch (error) {
      // What is damaged is not taken; it is not needed either.
      if (!(error instanceof DataError)) throw error;
    }
  }
  return whole.find(
    (one) =>
      one.extraction !== current &&
      covers(one.scope, scope) &&
      !isOutdated(task, one) &&
      !whole.some((other) => restates(other, one)),
  );
}

/** What two details' rows may lie apart where AWS's total was not asked for: the usual tolerance, 0.01. */
const ROUNDING = parseAmount('0.01').units;

/** Whether an extraction shows that AWS has changed the month since another one was fetched. */
function restates(later: ExtractionManifest, former: ExtractionManifest): boolean {
  const order = later.finished.localeCompare(former.finished);
  if (order < 0 || (order === 0 && later.extraction <= former.extraction)) return false;
  if (later.scope.billingViewArn !== former.scope.billingViewArn) return false;
  const { costView } = later;
  if (
    costView !== undefined &&
    former.costView !== undefined &&
    later.scope.costViewArn === former.scope.costViewArn &&
    !sameTotals(costView.totals, former.costView.totals)
  )
    return true;
  const apart =
    later.awsTotal === null || former.awsTotal === null
      ? beyond(difference(later.totals, former.totals), ROUNDING)
      : beyond(difference(later.awsTotal, former.awsTotal), 0n);
  return apart.length > 0;
}

/**
 * Whether AWS may have newer figures worth their price: these are provisional, and of an earlier day in
 * UTC. AWS refreshes them up to three times daily (AWS Cost Management user guide, "Best practices for
 * the AWS Cost Explorer API"); a rerun of the same day mostly pays for what it has, and `--force` asks.
 */
function isOutdated(
  task: Pick<DecisionTask, 'slice' | 'provisionalDays' | 'now'>,
  manifest: ExtractionManifest,
): boolean {
  const today = task.now().toISOString().slice(0, 10);
  return isOpen(task, manifest) && dayOf(manifest) < today;
}

/**
 * Whether AWS may still change the figures of an extraction. Its first ones count: a run that was stopped on the last
 * provisional day, and went on the next, has figures of that day.
 */
function isOpen(
  task: Pick<DecisionTask, 'slice' | 'provisionalDays'>,
  { estimated, started }: ExtractionManifest,
): boolean {
  const { slice, provisionalDays } = task;
  return isProvisional({ month: slice.month, estimated, fetched: started, provisionalDays });
}

/**
 * How old an unfinished extraction may be to be gone on with, in milliseconds: a day. AWS goes on
 * changing a month's figures, and pages that lie further apart may not fit together.
 */
const RESUME_WITHIN = 86_400_000;

/** Whether an extraction is an unfinished one that is young enough to be gone on with. */
export function mayGoOn({ name, finished }: StagedExtraction, now: Date): boolean {
  return !finished && now.getTime() - startOf(name).getTime() <= RESUME_WITHIN;
}

/** How a stopped run's extraction is gone on with, if it can be; otherwise the log says why not. */
async function unfinished(
  task: DecisionTask,
  found: Survey,
  scope: Scope,
  current: ExtractionManifest | undefined,
): Promise<{ action: 'resume'; draft: Draft } | Widening | undefined> {
  const { staging, slice, force, awsTotal, log } = task;
  const stopped =
    (await stoppedIn(task, found, scope)) ??
    found.extractions.find(({ name }) => name === found.unfinished);
  if (stopped === undefined) return undefined;
  const { name, files } = stopped;
  if (!mayGoOn(stopped, task.now())) {
    log.warn(
      { extraction: name },
      'an unfinished extraction is too old to go on with: beginning afresh',
    );
    return undefined;
  }
  try {
    const asked = files.has(SCOPE) ? await readAsked(staging, slice, name) : undefined;
    const { takenOver } = asked ?? {};
    if (
      !force &&
      asked !== undefined &&
      takenOver !== undefined &&
      sameScope(asked.scope, scope) &&
      isOnlyCopies(takenOver, stopped)
    ) {
      // Nothing is paid for: copies are of use only where the same would be taken over now.
      const anew = current && (await widening(task, scope, current));
      return isDeepStrictEqual(anew?.takenOver, takenOver)
        ? { action: 'widen', takenOver, begun: stopped }
        : undefined;
    }
    // What was taken over without a total is nothing that one may stand beside.
    const isUnproved = awsTotal && takenOver !== undefined && takenOver.total === undefined;
    const draft = await readDraft({ staging, slice, name, files }, scope, {
      force: force || isUnproved,
    });
    if (current !== undefined && isOvertaken(draft, current)) {
      log.warn(
        { extraction: name },
        `an unfinished extraction is not gone on with: AWS has changed the month since, as ${current.extraction} tells; beginning afresh`,
      );
      return undefined;
    }
    const page = paidPages(draft) + 1;
    log.info(
      { extraction: name, page },
      openQuery(draft, { awsTotal: false, tolerance: 0n }) === undefined
        ? 'finishing an unfinished extraction: its cost pages are complete'
        : `going on with an unfinished extraction at cost page ${page}`,
    );
    return { action: 'resume', draft };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { extraction: name, where: error.where },
      `an unfinished extraction cannot be gone on with (${error.message}): beginning afresh`,
    );
    return undefined;
  }
}

/** Whether a later extraction tells another total than a stopped one, which would bring the old figures back. */
function isOvertaken({ name, scope, chains, awsTotal }: Draft, later: ExtractionManifest): boolean {
  if (awsTotal === undefined || chains.get('total')?.complete !== true) return false;
  return (
    later.extraction > name &&
    later.awsTotal !== null &&
    later.scope.billingViewArn === scope.billingViewArn &&
    !sameTotals(later.awsTotal, formatSums(awsTotal).totals)
  );
}

/**
 * The newest stopped extraction that asked for the same, unless a newer finished one did too: what was fetched of
 * something else in between changes nothing about the pages that were paid for.
 */
async function stoppedIn(
  { staging, slice }: DecisionTask,
  { extractions }: Survey,
  scope: Scope,
): Promise<StagedExtraction | undefined> {
  for (const extraction of extractions.toReversed()) {
    const asked = await readScope(staging, slice, extraction.name);
    if (asked !== undefined && sameScope(asked, scope))
      return extraction.finished ? undefined : extraction;
  }
  return undefined;
}

/** What the stage says of an extraction. */
export function outcomeOf(
  task: Pick<DecisionTask, 'slice' | 'provisionalDays'>,
  manifest: ExtractionManifest,
  state: Outcome['state'],
): Outcome {
  return {
    state,
    extraction: manifest.extraction,
    provisional: isOpen(task, manifest),
    customers: manifest.accounts,
    unlisted: 0,
    rows: manifest.groups,
    totals: manifest.totals,
  };
}
