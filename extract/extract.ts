import { DataError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import type { Units } from '../pipeline/shared/money.js';
import type { Sums } from '../pipeline/shared/sums.js';
import { formatSums, serviceDifferences } from '../pipeline/shared/sums.js';
import type { OnProgress, Outcome } from '../pipeline/shared/outcome.js';
import { isProvisional } from '../pipeline/shared/provisional.js';
import type { Scope, WantedScope } from '../pipeline/shared/scope.js';
import { covers } from '../pipeline/shared/scope.js';
import { version } from '../pipeline/shared/version.js';
import type { Survey } from '../pipeline/staging/extractions.js';
import {
  intactManifest,
  nextExtraction,
  startOf,
  survey,
} from '../pipeline/staging/extractions.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { SCOPE, extractionKey, extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { serializeManifest, serializeScope } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { RefusedTokenError } from './aws-errors.js';
import type { Draft } from './draft.js';
import {
  addFigures,
  chainOf,
  emptyDraft,
  openQuery,
  paidPages,
  readDraft,
  rowsOf,
  stagePage,
  writeOwn,
} from './draft.js';
import type { Listing, OrganizationSource } from './organization-source.js';

/** One organization's month, to be fetched. */
export interface ExtractTask {
  staging: Staging;
  slice: Slice;
  /** Called only when something has to be fetched. Whoever opened the source closes it. */
  source: () => OrganizationSource | Promise<OrganizationSource>;
  /** What of the month is asked for. */
  scope: Scope;
  /** Ask for the month's ungrouped total too: one more request. */
  awsTotal: boolean;
  /**
   * How far that may lie from the rows, in units of 10^-18 of the currency; beyond it, one more request asks
   * which services make the difference.
   */
  tolerance: Units;
  /** Days after the month's end in which its figures are provisional. */
  provisionalDays: number;
  /** Fetch the month even if it is staged completely. */
  force: boolean;
  signal: AbortSignal;
  log: Log;
  onProgress: OnProgress;
  /** Called for each answer of Cost Explorer, which AWS charges for whatever becomes of it. */
  onPaid: () => void;
  now: () => Date;
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
  const decision = await decideExtract(task);
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
  return finish(await beginDraft(task, nextExtraction(task.now(), decision.found)));
}

/** What the stage does for a slice: fetch it, go on with a stopped run's draft, or nothing. */
export type ExtractDecision = { found: Survey } & (
  | { action: 'fetch' }
  | { action: 'resume'; draft: Draft }
  | { action: 'unchanged'; manifest: ExtractionManifest }
);

/** What the decision needs to know of the task. */
type DecisionTask = Pick<
  ExtractTask,
  'staging' | 'slice' | 'force' | 'log' | 'now' | 'provisionalDays'
> & { scope: WantedScope };

/**
 * Decides from what is staged alone. A month that was asked for in another detail, or without a wanted
 * metric, is fetched; more than is wanted will do. A draft whose accounts are incomplete loses the accounts that
 * are staged of it: they cost nothing, and are listed anew.
 */
export async function decideExtract(task: DecisionTask): Promise<ExtractDecision> {
  const { staging, slice, log } = task;
  const found = await survey(staging, slice);
  if (!task.force) {
    const manifest = await intactManifest(staging, slice, found, log);
    if (manifest !== undefined && !covers(manifest.scope, task.scope)) {
      const { detail, metrics, byRecordType } = manifest.scope;
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

/** Whether AWS may still change the figures of an extraction. */
function isOpen(
  task: Pick<ExtractTask, 'slice' | 'provisionalDays'>,
  { estimated, finished }: ExtractionManifest,
): boolean {
  const { slice, provisionalDays } = task;
  return isProvisional({ month: slice.month, estimated, fetched: finished, provisionalDays });
}

/**
 * How old an unfinished extraction may be to be gone on with, in milliseconds: a day. AWS goes on
 * changing a month's figures, and pages that lie further apart may not fit together.
 */
const RESUME_WITHIN = 86_400_000;

/** The stopped run's extraction, if it can be gone on with; otherwise the log says why not. */
async function unfinishedDraft(task: DecisionTask, found: Survey): Promise<Draft | undefined> {
  const { staging, slice, log } = task;
  const stopped = found.extractions.find(({ name }) => name === found.unfinished);
  if (stopped === undefined) return undefined;
  const { name, files } = stopped;
  if (task.now().getTime() - startOf(name).getTime() > RESUME_WITHIN) {
    log.warn(
      { extraction: name },
      'an unfinished extraction is too old to go on with: fetching afresh',
    );
    return undefined;
  }
  try {
    const draft = await readDraft({ staging, slice, name, files }, task.scope);
    const page = paidPages(draft) + 1;
    log.info(
      { extraction: name, page },
      openQuery(draft, { awsTotal: false, tolerance: 0n }) === undefined
        ? 'finishing an unfinished extraction: its cost pages are complete'
        : `going on with an unfinished extraction at cost page ${page}`,
    );
    return draft;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { extraction: name, where: error.where },
      `an unfinished extraction cannot be gone on with (${error.message}): fetching afresh`,
    );
    return undefined;
  }
}

/** What is asked for is staged before the first page: only the same questions may go on with it. */
async function beginDraft({ staging, slice, scope }: ExtractTask, name: string): Promise<Draft> {
  await writeOwn(staging, extractionKey(slice, name, SCOPE), serializeScope(scope));
  return emptyDraft(name, scope);
}

/** Fetches what the draft lacks, and writes its manifest. */
async function complete(task: ExtractTask, draft: Draft): Promise<ExtractionManifest> {
  const { staging, slice } = task;
  const accountPages = draft.accounts.pages.length;
  const listRequests = await fetchMissing(task, draft);
  throwIfInterrupted(task.signal);
  // A stopped run's draft also has chains of questions that are not wanted any more, without a page.
  const chains = [...draft.chains.values()].filter(({ pages }) => pages.length > 0);
  const awsTotal = draft.awsTotal && groupSums(draft.awsTotal);
  const manifest: ExtractionManifest = {
    format: 1,
    version,
    month: slice.month,
    organization: slice.organization,
    extraction: draft.name,
    started: startOf(draft.name).toISOString(),
    finished: task.now().toISOString(),
    requests: {
      ListAccounts: accountPages + listRequests,
      GetCostAndUsage: paidPages(draft),
    },
    scope: draft.scope,
    queries: chains.map(({ query }) => query),
    pages: [draft.accounts, ...chains].flatMap(({ pages }) => pages),
    accounts: rowsOf(draft.accounts),
    ...groupSums(draft.costs),
    recordTypes: draft.scope.byRecordType ? groupSums(draft.recordTypes) : null,
    awsTotal: awsTotal?.totals ?? null,
    awsMetrics: awsTotal?.metrics ?? {},
    ...(draft.chains.get('service')?.complete === true
      ? { serviceDifferences: serviceDifferences(draft.awsByService, draft.rowsByService) }
      : {}),
    estimated: draft.estimated,
  };
  await writeOwn(staging, extractionManifestKey(slice, draft.name), serializeManifest(manifest));
  return manifest;
}

/** Sums of groups, by the names of the manifest. */
function groupSums(sums: Sums) {
  const { rows: groups, totals, columns: metrics } = formatSums(sums);
  return { groups, totals, metrics };
}

/**
 * Fetches the accounts and, beside them, the cost. Cost waits for the first account: where accounts may not be
 * listed, no page of it is paid for.
 * @returns the answers of ListAccounts that this brought.
 */
async function fetchMissing(task: ExtractTask, draft: Draft): Promise<number> {
  const listed = draft.accounts.complete || !draft.scope.listAccounts;
  if (listed && openQuery(draft, task) === undefined) return 0;
  const source = await task.source();
  if (listed) {
    await fetchCost(task, draft, source);
    return 0;
  }
  const listing = source.accounts(task.signal);
  await listing.begun;
  // Both are awaited whatever becomes of one: what is written, is written under the lease.
  const [cost, accounts] = await Promise.allSettled([
    fetchCost(task, draft, source),
    stageAccounts(task, draft, listing),
  ]);
  if (cost.status === 'rejected') throw cost.reason;
  if (accounts.status === 'rejected') throw accounts.reason;
  return accounts.value;
}

/** @returns the answers of ListAccounts that this brought. */
async function stageAccounts(
  { staging, slice }: ExtractTask,
  draft: Draft,
  listing: Listing,
): Promise<number> {
  const { pages, requests } = await listing.all();
  for (const page of pages) await stagePage(staging, slice, draft, draft.accounts, page);
  return requests;
}

/** One question after the other: AWS goes on changing the month, and a stop loses one page at most. */
async function fetchCost(
  task: ExtractTask,
  draft: Draft,
  source: OrganizationSource,
): Promise<void> {
  const { staging, slice, signal, onPaid } = task;
  const { scope } = draft;
  for (let query = openQuery(draft, task); query !== undefined; query = openQuery(draft, task)) {
    throwIfInterrupted(signal);
    const chain = chainOf(draft, query);
    const question = { month: slice.month, scope, query };
    for await (const page of source.costAndUsage(question, [...chain.tokens], signal, onPaid)) {
      // First, since it refuses a page that does not fit those before.
      addFigures(draft, query, page);
      await stagePage(staging, slice, draft, chain, page);
      task.onProgress(`page ${paidPages(draft)}, ${draft.costs.rows} groups`);
    }
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
