import { throwIfInterrupted } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Units } from '../pipeline/money.js';
import { formatNamed, formatTotals, serviceDifferences } from '../pipeline/money.js';
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
    ...(draft.chains.get('service')?.complete === true
      ? { serviceDifferences: serviceDifferences(draft.awsByService, draft.rowsByService) }
      : {}),
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
 * Fetches the accounts, then the cost: where they may not be listed, no page of cost is paid for.
 * @returns the answers of ListAccounts that this brought.
 */
async function fetchMissing(task: ExtractTask, draft: Draft): Promise<number> {
  const listed = draft.accountsComplete || !draft.scope.listAccounts;
  if (listed && openQuery(draft, task) === undefined) return 0;
  const source = await task.source();
  const requests = listed ? 0 : await fetchAccounts(task, draft, source);
  await fetchCost(task, draft, source);
  return requests;
}

async function fetchAccounts(
  task: ExtractTask,
  draft: Draft,
  source: OrganizationSource,
): Promise<number> {
  const { pages, requests } = await source.accounts(task.signal);
  for (const page of pages) await stageAccountsPage(task.staging, task.slice, draft, page);
  return requests;
}

/**
 * Asks one question after the other, since AWS goes on changing the month and a stop loses one page at
 * most.
 */
async function fetchCost(
  task: ExtractTask,
  draft: Draft,
  source: OrganizationSource,
): Promise<void> {
  const { staging, slice, signal, onPaid } = task;
  for (;;) {
    const query = openQuery(draft, task);
    if (query === undefined) return;
    throwIfInterrupted(signal);
    const chain = chainOf(draft, query);
    const question = { month: slice.month, scope: draft.scope, query };
    for await (const page of source.costAndUsage(question, [...chain.tokens], signal, onPaid)) {
      await stageCostPage(staging, slice, draft, chain, page);
      task.onProgress(`page ${paidPages(draft)}, ${draft.rows.groups} groups`);
    }
  }
}
