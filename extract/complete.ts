import { throwIfInterrupted } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { formatNamed, formatTotals } from '../pipeline/money.js';
import type { OnProgress } from '../pipeline/outcome.js';
import type { Scope } from '../pipeline/scope.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { serializeManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { version } from '../pipeline/version.js';
import type { Draft } from './draft.js';
import {
  anotherRun,
  chainOf,
  openQuery,
  paidPages,
  rowsOf,
  stageAccountsPage,
  stageCostPage,
} from './draft.js';
import type { OrganizationSource } from './organization-source.js';
import { startOf } from './survey.js';
import type { Tally } from './tally.js';

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

/** Fetches what the draft lacks, and writes its manifest. */
export async function complete(task: ExtractTask, draft: Draft): Promise<ExtractionManifest> {
  const { staging, slice } = task;
  const stagedAccounts = draft.accounts.length;
  const listRequests = await fetchMissing(task, draft);
  throwIfInterrupted(task.signal);
  // A stopped run's draft also has chains of questions that are not wanted any more, without a page.
  const chains = [...draft.chains.values()].filter(({ pages }) => pages.length > 0);
  const awsTotal = draft.awsTotal === undefined ? undefined : figuresOf(draft.awsTotal);
  const manifest: ExtractionManifest = {
    format: 1,
    version,
    month: slice.month,
    organization: slice.organization,
    extraction: draft.name,
    started: startOf(draft.name).toISOString(),
    finished: task.now().toISOString(),
    requests: {
      ListAccounts: stagedAccounts + listRequests,
      GetCostAndUsage: paidPages(draft),
    },
    scope: draft.scope,
    queries: chains.map(({ query }) => query),
    pages: [...draft.accounts, ...chains.flatMap(({ pages }) => pages)],
    accounts: rowsOf(draft.accounts),
    ...figuresOf(draft.rows),
    recordTypes: draft.scope.byRecordType ? figuresOf(draft.recordTypes) : null,
    awsTotal: awsTotal?.totals ?? null,
    ...(awsTotal === undefined ? {} : { awsMetrics: awsTotal.metrics }),
    estimated: draft.estimated,
  };
  const key = extractionManifestKey(slice, draft.name);
  const written = await staging.write(key, serializeManifest(manifest), { ifAbsent: true });
  if (!written) throw anotherRun(`${staging.location}/${key}`);
  return manifest;
}

function figuresOf({ groups, totals, metrics }: Tally) {
  return { groups, totals: formatTotals(totals), metrics: formatNamed(metrics) };
}

/**
 * Fetches accounts and cost side by side. When one of them fails, the other stages the page that it
 * is waiting for, which may be paid for already, and stops.
 * @returns the answers of ListAccounts that this brought.
 */
async function fetchMissing(task: ExtractTask, draft: Draft): Promise<number> {
  if (draft.accountsComplete && openQuery(draft, task.awsTotal) === undefined) return 0;
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

/**
 * Asks one question after the other, since AWS goes on changing the month and a stop loses one page at
 * most.
 * @returns the staged pages of Cost Explorer.
 */
async function fetchCost(
  task: ExtractTask,
  draft: Draft,
  source: OrganizationSource,
  stop: AbortSignal,
): Promise<number> {
  const { staging, slice, signal, onPaid } = task;
  for (;;) {
    const query = openQuery(draft, task.awsTotal);
    if (query === undefined) return paidPages(draft);
    throwIfInterrupted(signal);
    const chain = chainOf(draft, query);
    const question = { month: slice.month, scope: draft.scope, query };
    for await (const page of source.costAndUsage(question, [...chain.tokens], signal, onPaid)) {
      await stageCostPage(staging, slice, draft, chain, page);
      task.onProgress(`page ${paidPages(draft)}, ${draft.rows.groups} groups`);
      if (stop.aborted) return paidPages(draft);
    }
  }
}
