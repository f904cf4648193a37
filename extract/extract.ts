import { DataError, throwIfInterrupted } from '../pipeline/errors.js';
import type { Outcome } from '../pipeline/outcome.js';
import { isProvisional } from '../pipeline/provisional.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { RefusedTokenError } from './aws-call.js';
import type { ExtractTask } from './complete.js';
import { complete } from './complete.js';
import type { Draft } from './draft.js';
import { emptyDraft, readDraft } from './draft.js';
import type { Survey } from './survey.js';
import { intactManifest, nextExtraction, startOf, survey } from './survey.js';

export type { ExtractTask } from './complete.js';

/**
 * How old an unfinished extraction may be to be gone on with, in milliseconds: a day. AWS goes on
 * changing a month's figures, and pages that lie further apart may not fit together.
 */
const RESUME_WITHIN = 86_400_000;

/** Whether AWS may still change the figures of an extraction. */
function isOpen(
  task: Pick<ExtractTask, 'slice' | 'provisionalDays'>,
  { estimated, finished }: ExtractionManifest,
): boolean {
  const { slice, provisionalDays } = task;
  return isProvisional({ month: slice.month, estimated, fetched: finished, provisionalDays });
}

/**
 * Whether AWS may have newer figures: these are provisional, and of an earlier day in UTC. Cost
 * Explorer refreshes its data at least once a day (AWS Cost Management user guide), so that a rerun of
 * the same day would pay for the same answer.
 */
function isOutdated(
  task: Pick<ExtractTask, 'slice' | 'provisionalDays' | 'now'>,
  manifest: ExtractionManifest,
): boolean {
  const today = task.now().toISOString().slice(0, 10);
  return isOpen(task, manifest) && manifest.finished.slice(0, 10) < today;
}

/** What the stage does for a slice: fetch it, go on with a stopped run's draft, or nothing. */
export type Decision = { found: Survey } & (
  | { action: 'fetch' }
  | { action: 'resume'; draft: Draft }
  | { action: 'unchanged'; manifest: ExtractionManifest }
);

/**
 * Decides from what is staged alone. A draft whose accounts are incomplete loses the accounts that
 * are staged of it: they cost nothing, and are listed anew.
 */
export async function decide(
  task: Pick<ExtractTask, 'staging' | 'slice' | 'force' | 'log' | 'now' | 'provisionalDays'>,
): Promise<Decision> {
  const { staging, slice, log } = task;
  const found = await survey(staging, slice);
  if (!task.force) {
    const manifest = await intactManifest(staging, slice, found, log);
    if (manifest !== undefined && !isOutdated(task, manifest))
      return { found, action: 'unchanged', manifest };
  }
  const draft = await unfinishedDraft(task, found);
  return draft === undefined ? { found, action: 'fetch' } : { found, action: 'resume', draft };
}

/**
 * Fetches one organization's month into an extraction of its own: each page is on stable storage
 * before the next is asked for, and the manifest is written last. A month that is staged completely
 * is not fetched again unless forced, or provisional and of an earlier day. An extraction whose run was
 * stopped less than a day ago is gone on with, from the page after the last staged one.
 * @throws {PipelineError} of AWS, of the staging area or of the data; what is staged by then stays,
 * and the next run goes on from it.
 */
export async function extract(task: ExtractTask): Promise<Outcome> {
  const decision = await decide(task);
  if (decision.action === 'unchanged') return outcomeOf(task, decision.manifest, 'unchanged');
  throwIfInterrupted(task.signal);
  const finish = async (draft: Draft): Promise<Outcome> =>
    outcomeOf(task, await complete(task, draft), 'done');
  if (decision.action === 'resume') {
    try {
      return await finish(decision.draft);
    } catch (error) {
      if (!(error instanceof RefusedTokenError)) throw error;
      task.log.warn(
        { extraction: decision.draft.name },
        `${error.message} that the stopped run left, so the month is fetched afresh`,
      );
    }
  }
  return finish(emptyDraft(nextExtraction(task.now(), decision.found.newest)));
}

/** The stopped run's extraction, if it can be gone on with; otherwise the log says why not. */
async function unfinishedDraft(
  task: Pick<ExtractTask, 'staging' | 'slice' | 'log' | 'now'>,
  found: Survey,
): Promise<Draft | undefined> {
  const { staging, slice, log } = task;
  const extraction = found.unfinished;
  if (extraction === undefined) return undefined;
  if (task.now().getTime() - startOf(extraction).getTime() > RESUME_WITHIN) {
    log.warn({ extraction }, 'an unfinished extraction is too old to go on with: fetching afresh');
    return undefined;
  }
  try {
    const draft = await readDraft(staging, slice, extraction, found.files);
    log.info(
      { extraction, page: draft.cost.length + 1 },
      draft.costComplete
        ? 'finishing an unfinished extraction: its cost pages are complete'
        : `going on with an unfinished extraction at cost page ${draft.cost.length + 1}`,
    );
    return draft;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { extraction, where: error.where },
      `an unfinished extraction cannot be gone on with (${error.message}): fetching afresh`,
    );
    return undefined;
  }
}

function outcomeOf(
  task: ExtractTask,
  manifest: ExtractionManifest,
  state: Outcome['state'],
): Outcome {
  return {
    state,
    extraction: manifest.extraction,
    provisional: isOpen(task, manifest),
    customers: manifest.accounts,
    rows: manifest.groups,
    totals: manifest.totals,
  };
}
