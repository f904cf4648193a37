import { throwIfInterrupted } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { formatTotals } from '../pipeline/money.js';
import type { OnProgress } from '../pipeline/outcome.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { serializeManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { version } from '../pipeline/version.js';
import type { Draft } from './draft.js';
import {
  anotherRun,
  paidPages,
  rowsOf,
  stageAccountsPage,
  stageCostPage,
  stageTotalPage,
} from './draft.js';
import type { OrganizationSource } from './organization-source.js';
import { startOf } from './survey.js';

/** One organization's month, to be fetched. */
export interface ExtractTask {
  staging: Staging;
  slice: Slice;
  /** Called only when something has to be fetched. Whoever opened the source closes it. */
  source: () => OrganizationSource | Promise<OrganizationSource>;
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
    pages: [...draft.accounts, ...draft.cost, ...draft.total],
    accounts: rowsOf(draft.accounts),
    groups: rowsOf(draft.cost),
    totals: formatTotals(draft.totals),
    awsTotal: draft.awsTotal === undefined ? null : formatTotals(draft.awsTotal),
    estimated: draft.estimated,
  };
  const key = extractionManifestKey(slice, draft.name);
  const written = await staging.write(key, serializeManifest(manifest), { ifAbsent: true });
  if (!written) throw anotherRun(`${staging.location}/${key}`);
  return manifest;
}

/**
 * Fetches accounts and cost side by side. When one of them fails, the other stages the page that it
 * is waiting for, which may be paid for already, and stops.
 * @returns the answers of ListAccounts that this brought.
 */
async function fetchMissing(task: ExtractTask, draft: Draft): Promise<number> {
  if (draft.accountsComplete && draft.costComplete && !lacksTotal(task, draft)) return 0;
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
  const { staging, slice, signal, onPaid } = task;
  if (!draft.costComplete) {
    for await (const page of source.costAndUsage(slice.month, [...draft.tokens], signal, onPaid)) {
      await stageCostPage(staging, slice, draft, page);
      task.onProgress(`page ${draft.cost.length}, ${rowsOf(draft.cost)} groups`);
      if (stop.aborted) break;
    }
  }
  // After the groups, so that groups which cannot be had cost no cent for their total, and right after
  // them, since AWS goes on changing the month.
  if (draft.costComplete && lacksTotal(task, draft) && !stop.aborted) {
    throwIfInterrupted(signal);
    const total = await source.total(slice.month, signal, onPaid);
    await stageTotalPage(staging, slice, draft, total);
  }
  return draft.cost.length;
}

function lacksTotal({ awsTotal }: ExtractTask, draft: Draft): boolean {
  return awsTotal && draft.awsTotal === undefined;
}
