import { DataError, throwIfInterrupted } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { formatTotals } from '../pipeline/money.js';
import type { OnProgress, Outcome } from '../pipeline/outcome.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { serializeManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { version } from '../pipeline/version.js';
import { RefusedTokenError } from './aws-errors.js';
import type { Draft } from './draft.js';
import {
  anotherRun,
  emptyDraft,
  readDraft,
  rowsOf,
  stageAccountsPage,
  stageCostPage,
} from './draft.js';
import type { OrganizationSource } from './organization-source.js';
import type { Survey } from './survey.js';
import { intactManifest, nextExtraction, startOf, survey } from './survey.js';

/**
 * How old an unfinished extraction may be to be gone on with, in milliseconds: a day. AWS goes on
 * changing a month's figures, and pages that lie further apart may not fit together.
 */
export const RESUME_WITHIN = 86_400_000;

/** One organization's month, to be fetched. */
export interface ExtractTask {
  staging: Staging;
  slice: Slice;
  /** Called only when something has to be fetched. Whoever opened the source closes it. */
  source: () => OrganizationSource | Promise<OrganizationSource>;
  /** Fetch the month even if it is staged completely. */
  force: boolean;
  signal: AbortSignal;
  log: Log;
  onProgress: OnProgress;
  now: () => Date;
}

/**
 * Fetches one organization's month into an extraction of its own: each page is on stable storage
 * before the next is asked for, and the manifest is written last. A month that is staged completely
 * is not fetched again unless forced. An extraction whose run was stopped less than a day ago is gone
 * on with, from the page after the last staged one.
 * @throws {PipelineError} of AWS, of the staging area or of the data; what is staged by then stays,
 * and the next run goes on from it.
 */
export async function extract(task: ExtractTask): Promise<Outcome> {
  const { staging, slice, log } = task;
  const found = await survey(staging, slice);
  if (!task.force) {
    // The place to fetch a month anew whose manifest says `estimated`.
    const manifest = await intactManifest(staging, slice, found, log);
    if (manifest !== undefined) return outcomeOf(manifest, 'unchanged', 0);
  }
  throwIfInterrupted(task.signal);
  const draft = await unfinishedDraft(task, found);
  let spent = 0;
  if (draft !== undefined) {
    const staged = draft.cost.length;
    try {
      return await complete(task, draft);
    } catch (error) {
      if (!(error instanceof RefusedTokenError)) throw error;
      spent = draft.cost.length - staged;
      log.warn(
        { extraction: draft.name },
        `${error.message} that the stopped run left, so the month is fetched afresh`,
      );
    }
  }
  const outcome = await complete(task, emptyDraft(nextExtraction(task.now(), found.newest)));
  return { ...outcome, requests: outcome.requests + spent };
}

/** The stopped run's extraction, if it can be gone on with; otherwise the log says why not. */
async function unfinishedDraft(task: ExtractTask, found: Survey): Promise<Draft | undefined> {
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

/** Fetches what the draft lacks, and writes its manifest. */
async function complete(task: ExtractTask, draft: Draft): Promise<Outcome> {
  const { staging, slice } = task;
  const staged = { accounts: draft.accounts.length, cost: draft.cost.length };
  const listRequests = await fetchMissing(task, draft);
  throwIfInterrupted(task.signal);
  const manifest: ExtractionManifest = {
    format: 1,
    version,
    month: slice.month,
    organization: slice.organization,
    extraction: draft.name,
    started: startOf(draft.name).toISOString(),
    finished: task.now().toISOString(),
    requests: {
      ListAccounts: staged.accounts + listRequests,
      GetCostAndUsage: draft.cost.length,
    },
    pages: [...draft.accounts, ...draft.cost],
    accounts: rowsOf(draft.accounts),
    groups: rowsOf(draft.cost),
    totals: formatTotals(draft.totals),
    estimated: draft.estimated,
  };
  const key = extractionManifestKey(slice, draft.name);
  const written = await staging.write(key, serializeManifest(manifest), { ifAbsent: true });
  if (!written) throw anotherRun(`${staging.location}/${key}`);
  return outcomeOf(manifest, 'done', draft.cost.length - staged.cost);
}

/**
 * Fetches accounts and cost side by side. When one of them fails, the other stages the page that it
 * is waiting for, which may be paid for already, and stops.
 * @returns the answers of ListAccounts that this brought.
 */
async function fetchMissing(task: ExtractTask, draft: Draft): Promise<number> {
  if (draft.accountsComplete && draft.costComplete) return 0;
  const source = await task.source();
  const failed = new AbortController();
  const side = async (work: Promise<number>): Promise<number> => {
    try {
      return await work;
    } catch (error) {
      failed.abort();
      throw error;
    }
  };
  const [accounts, cost] = await Promise.allSettled([
    side(fetchAccounts(task, draft, source)),
    side(fetchCost(task, draft, source, failed.signal)),
  ]);
  if (accounts.status === 'rejected') throw accounts.reason;
  if (cost.status === 'rejected') throw cost.reason;
  return accounts.value;
}

async function fetchAccounts(
  task: ExtractTask,
  draft: Draft,
  source: OrganizationSource,
): Promise<number> {
  if (draft.accountsComplete) return 0;
  const { pages, requests } = await source.accounts(task.signal);
  for (const page of pages) await stageAccountsPage(task.staging, task.slice, draft, page);
  return requests;
}

async function fetchCost(
  task: ExtractTask,
  draft: Draft,
  source: OrganizationSource,
  stop: AbortSignal,
): Promise<number> {
  if (draft.costComplete) return 0;
  for await (const page of source.costAndUsage(task.slice.month, [...draft.tokens], task.signal)) {
    await stageCostPage(task.staging, task.slice, draft, page);
    task.onProgress(`page ${draft.cost.length}, ${rowsOf(draft.cost)} groups`);
    if (stop.aborted) break;
  }
  return draft.cost.length;
}

function outcomeOf(
  manifest: ExtractionManifest,
  state: Outcome['state'],
  requests: number,
): Outcome {
  return {
    state,
    extraction: manifest.extraction,
    customers: manifest.accounts,
    rows: manifest.groups,
    totals: manifest.totals,
    requests,
  };
}
