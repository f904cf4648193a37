import { DataError, throwIfInterrupted } from '../pipeline/errors.js';
import type { Outcome } from '../pipeline/outcome.js';
import { isProvisional } from '../pipeline/provisional.js';
import type { WantedScope } from '../pipeline/scope.js';
import { covers } from '../pipeline/scope.js';
import { scopeKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { scopeOf, serializeScope } from '../pipeline/staging/manifest.js';
import { RefusedTokenError } from './aws-call.js';
import type { ExtractTask } from './complete.js';
import { complete } from './complete.js';
import type { Draft } from './draft.js';
import { anotherRun, emptyDraft, openQuery, paidPages } from './draft.js';
import { readDraft } from './read-draft.js';
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
 * Whether AWS may have newer figures worth their price: these are provisional, and of an earlier day in
 * UTC. AWS refreshes them up to three times daily (AWS Cost Management user guide, "Best practices for
 * the AWS Cost Explorer API"); a rerun of the same day mostly pays for what it has, and `--force` asks.
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

/** What the decision needs to know of the task. */
export type DecisionTask = Pick<
  ExtractTask,
  'staging' | 'slice' | 'force' | 'log' | 'now' | 'provisionalDays'
> & { scope: WantedScope };

/**
 * Decides from what is staged alone. A month that was asked for in another detail, or without a wanted
 * metric, is fetched; more than is wanted will do. A draft whose accounts are incomplete loses the accounts that
 * are staged of it: they cost nothing, and are listed anew.
 */
export async function decide(task: DecisionTask): Promise<Decision> {
  const { staging, slice, log } = task;
  const found = await survey(staging, slice);
  if (!task.force) {
    const manifest = await intactManifest(staging, slice, found, log);
    if (manifest !== undefined && !covers(scopeOf(manifest), task.scope)) {
      const { detail, metrics, byRecordType } = scopeOf(manifest);
      log.warn(
        { extraction: manifest.extraction, detail, metrics, byRecordType },
        'the month was asked for otherwise before, and what is not asked for now goes with the next transform',
      );
    } else if (manifest !== undefined && !isOutdated(task, manifest))
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
  return finish(await beginDraft(task, nextExtraction(task.now(), decision.found.newest)));
}

/** What is asked for is staged before the first page: only the same questions may go on with it. */
async function beginDraft({ staging, slice, scope }: ExtractTask, name: string): Promise<Draft> {
  const key = scopeKey(slice, name);
  const written = await staging.write(key, serializeScope(scope), { ifAbsent: true });
  if (!written) throw anotherRun(`${staging.location}/${key}`);
  return emptyDraft(name, scope);
}

/** The stopped run's extraction, if it can be gone on with; otherwise the log says why not. */
async function unfinishedDraft(task: DecisionTask, found: Survey): Promise<Draft | undefined> {
  const { staging, slice, log } = task;
  const extraction = found.unfinished;
  if (extraction === undefined) return undefined;
  if (task.now().getTime() - startOf(extraction).getTime() > RESUME_WITHIN) {
    log.warn({ extraction }, 'an unfinished extraction is too old to go on with: fetching afresh');
    return undefined;
  }
  try {
    const place = { staging, slice, name: extraction, files: found.files };
    const draft = await readDraft(place, task.scope);
    const page = paidPages(draft) + 1;
    log.info(
      { extraction, page },
      openQuery(draft, { awsTotal: false, tolerance: 0n }) === undefined
        ? 'finishing an unfinished extraction: its cost pages are complete'
        : `going on with an unfinished extraction at cost page ${page}`,
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
