import { DataError, TransientError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import type { Units } from '../pipeline/shared/money.js';
import type { OnProgress, Outcome } from '../pipeline/shared/outcome.js';
import type { Scope } from '../pipeline/shared/scope.js';
import type { Sums } from '../pipeline/shared/sums.js';
import { formatSums, noSums, serviceDifferences } from '../pipeline/shared/sums.js';
import { version } from '../pipeline/shared/version.js';
import type { StagedExtraction, Survey } from '../pipeline/staging/extractions.js';
import { nextExtraction, startOf, survey } from '../pipeline/staging/extractions.js';
import {
  SCOPE,
  choiceKey,
  extractionKey,
  extractionManifestKey,
} from '../pipeline/staging/layout.js';
import type { ExtractionManifest, Refusal, TakenOver } from '../pipeline/staging/manifest.js';
import {
  breakdownOf,
  costViewQuery,
  describeRefusal,
  serializeManifest,
  serializeScope,
} from '../pipeline/staging/manifest.js';
import { AGAIN, RefusedTokenError, refusalOf } from './aws-errors.js';
import type { DecisionTask } from './decision.js';
import { decideExtract, outcomeOf } from './decision.js';
import type { Draft } from './draft.js';
import {
  ShiftedListError,
  addFigures,
  addInvoices,
  chainOf,
  dropAnswer,
  dropInvoices,
  emptyDraft,
  isRestated,
  openQuery,
  ownPages,
  paidPages,
  rowsOf,
  stagePage,
  writeOwn,
} from './draft.js';
import type { Listing, OrganizationSource } from './organization-source.js';
import { partOf } from './questions.js';
import { readDraft } from './stopped.js';
import { copyPages, removeLeftOut } from './taken-over.js';

/** One organization's month, to be fetched. */
export interface ExtractTask extends DecisionTask {
  /** Called only when something has to be fetched. Whoever opened the source closes it. */
  source: () => OrganizationSource | Promise<OrganizationSource>;
  /**
   * How far AWS's total may lie from the rows, in units of 10^-18 of the currency; beyond it, one more request asks
   * which services make the difference.
   */
  tolerance: Units;
  signal: AbortSignal;
  onProgress: OnProgress;
  /** Called for each answer of Cost Explorer, which AWS charges for whatever becomes of it. */
  onPaid: () => void;
}

/**
 * Fetches one organization's month into an extraction of its own: each page is on stable storage
 * before the next is asked for, and the manifest is written last. A month that is staged completely
 * is not fetched again unless forced, or provisional and of an earlier day. An extraction whose run was
 * stopped less than a day ago is gone on with, from the page after the last staged one. Of a month that only lacks a
 * part, the rest is taken over from where it is staged.
 * @throws {PipelineError} of AWS, of the staging area or of the data; what is staged by then stays,
 * and the next run goes on from it.
 */
export async function extract(task: ExtractTask): Promise<Outcome> {
  const decision = await decideExtract(task);
  const { action, found, scope, replaces, unlike } = decision;
  if (action === 'unchanged') return outcomeOf(task, decision.manifest, 'unchanged');
  for (const told of [replaces, unlike]) if (told !== undefined) task.log.warn(told);
  throwIfInterrupted(task.signal);
  if (action === 'reuse') {
    await choose(task, found, decision.manifest.extraction);
    await forgetChoices(task, found);
    return outcomeOf(task, decision.manifest, 'done');
  }
  const next = nextExtraction(task.now(), found);
  const finish = async (draft: Draft): Promise<Outcome> => {
    const manifest = await complete(task, draft, found);
    await forgetChoices(task, found);
    return outcomeOf(task, manifest, 'done');
  };
  if (action === 'resume') {
    const { draft } = decision;
    await removeLeftOut(task.staging, task.slice, draft);
    try {
      return await finish(draft);
    } catch (error) {
      if (!(error instanceof RefusedTokenError)) throw error;
      task.log.warn(
        { extraction: draft.name },
        `${error.message} that the stopped run left, so ${draft.takenOver === undefined ? 'the month' : 'what it lacks'} is fetched afresh`,
      );
      return finish(await beginDraft(task, next, scope, draft.takenOver));
    }
  }
  if (action === 'fetch') return finish(await beginDraft(task, next, scope));
  const { takenOver, begun } = decision;
  if (begun === undefined) return finish(await beginDraft(task, next, scope, takenOver));
  return finish(await takeOver(task, scope, takenOver, begun));
}

/** Sees to it that an extraction is the current one as soon as it is finished, also where others are newer. */
async function choose(
  { staging, slice, now }: ExtractTask,
  found: Survey,
  extraction: string,
): Promise<void> {
  if (found.newest === undefined || found.newest <= extraction) return;
  const key = choiceKey(slice, nextExtraction(now(), found), extraction);
  await writeOwn(staging, key, new TextEncoder().encode(`${JSON.stringify({ extraction })}\n`));
}

/** Removes the choices of earlier runs. */
async function forgetChoices({ staging, slice }: ExtractTask, { choices }: Survey): Promise<void> {
  for (const { at, chosen } of choices) await staging.remove(choiceKey(slice, at, chosen));
}

/** What is asked for is staged before the first page: only the same questions may go on with it. */
async function beginDraft(
  task: ExtractTask,
  name: string,
  scope: Scope,
  takenOver?: TakenOver,
): Promise<Draft> {
  const { staging, slice } = task;
  await writeOwn(staging, extractionKey(slice, name, SCOPE), serializeScope(scope, takenOver));
  if (takenOver === undefined) return emptyDraft(name, scope);
  return takeOver(task, scope, takenOver, { name, files: new Map() });
}

/**
 * Copies what is taken over, as far as it is not there yet. Where a page of it turns out to be damaged, nothing is:
 * the month is fetched.
 */
async function takeOver(
  { staging, slice, signal, log }: ExtractTask,
  scope: Scope,
  takenOver: TakenOver,
  { name, files: there }: Pick<StagedExtraction, 'name' | 'files'>,
): Promise<Draft> {
  const { extraction, pages } = takenOver;
  const files = new Map(pages.map(({ file, bytes }) => [file, bytes] as const)).set(SCOPE, 0);
  try {
    await copyPages(staging, slice, name, takenOver, there, async (key, content) => {
      throwIfInterrupted(signal);
      await writeOwn(staging, key, content);
    });
    const draft = await readDraft({ staging, slice, name, files }, scope, { force: false });
    log.info({ extraction, pages: pages.length }, `${pages.length} pages are taken over`);
    return draft;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { where: error.where },
      `what was fetched before cannot be taken over (${error.message}): fetching the whole month`,
    );
    const leftOut = pages.map(({ file }) => file);
    await removeLeftOut(staging, slice, { name, scope, leftOut });
    return emptyDraft(name, scope);
  }
}

/** Goes on without what was taken over, since AWS tells another total by now. What was asked since, stays. */
async function leaveOut({ staging, slice, log }: ExtractTask, stale: Draft): Promise<Draft> {
  const { name, scope, takenOver } = stale;
  log.warn(
    { extraction: takenOver?.extraction },
    'AWS has changed the month since it was fetched: its total is another one, so nothing is taken over, and the rest is fetched too',
  );
  const { extractions } = await survey(staging, slice);
  const files = extractions.find((one) => one.name === name)?.files ?? new Map<string, number>();
  const draft = await readDraft({ staging, slice, name, files }, scope, { force: false });
  await removeLeftOut(staging, slice, draft);
  return draft;
}

/** Fetches what the draft lacks, and writes its manifest. */
async function complete(
  task: ExtractTask,
  begun: Draft,
  found: Survey,
): Promise<ExtractionManifest> {
  const { staging, slice } = task;
  let draft = begun;
  let accountPages = ownPages(draft, draft.accounts);
  let listRequests = await fetchMissing(task, draft);
  if (isRestated(draft)) {
    draft = await leaveOut(task, draft);
    accountPages = draft.accounts.pages.length;
    listRequests = await fetchMissing(task, draft);
  }
  const invoices = draft.scope.invoices ? await fetchInvoices(task, draft) : null;
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
      ListInvoiceSummaries: ownPages(draft, draft.invoices),
    },
    scope: draft.scope,
    queries: chains.map(({ query }) => query),
    pages: [draft.accounts, ...chains, draft.invoices].flatMap(({ pages }) => pages),
    ...takenOverFiles(draft),
    accounts: rowsOf(draft.accounts),
    ...groupSums(draft.costs),
    ...costViewSums(draft),
    breakdowns: chains.flatMap(({ query }) => {
      const dimension = breakdownOf(query);
      if (dimension === undefined) return [];
      return [{ dimension, ...groupSums(draft.breakdowns.get(dimension) ?? noSums()) }];
    }),
    invoices,
    awsTotal: awsTotal?.totals ?? null,
    awsMetrics: awsTotal?.metrics ?? {},
    ...(draft.chains.get('service')?.complete === true
      ? { serviceDifferences: serviceDifferences(draft.awsByService, draft.rowsByService) }
      : {}),
    refused: draft.refused,
    estimated: draft.estimated,
  };
  // Before the manifest: else a crash between the two would leave what was paid for unused.
  await choose(task, found, draft.name);
  await writeOwn(staging, extractionManifestKey(slice, draft.name), serializeManifest(manifest));
  return manifest;
}

/** Which pages are another extraction's, where some are. */
function takenOverFiles({ takenOver }: Draft): Pick<ExtractionManifest, 'takenOver'> {
  const files = takenOver?.pages.map(({ file }) => file) ?? [];
  if (takenOver === undefined || files.length === 0) return {};
  return { takenOver: { extraction: takenOver.extraction, files } };
}

/** The cost view's groups and sums, where it was had. */
function costViewSums({ chains, costView }: Draft): Pick<ExtractionManifest, 'costView'> {
  // Of an answer that was refused after its first pages, the draft has sums and no page.
  if ((chains.get(costViewQuery.name)?.pages.length ?? 0) === 0) return {};
  const { groups, totals } = groupSums(costView);
  return { costView: { groups, totals } };
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
  for (const page of pages) {
    draft.payer ??= page.payer;
    await stagePage(staging, slice, draft, draft.accounts, page);
  }
  return requests;
}

/** What says that the invoices cannot be had, whatever else can: a right that is missing, or an account without them. */
const NO_INVOICES = /^(AccessDenied(Exception)?|ValidationException|ResourceNotFoundException)$/;

/** The invoices of the account that pays; null, and the draft says so, where AWS refuses them. */
async function fetchInvoices(
  task: ExtractTask,
  draft: Draft,
): Promise<ExtractionManifest['invoices']> {
  const { staging, slice, signal } = task;
  throwIfInterrupted(signal);
  if (draft.invoices.complete && draft.payer !== undefined)
    return { payer: draft.payer, rows: rowsOf(draft.invoices) };
  const source = await task.source();
  const payer = draft.payer ?? (await source.ownAccount(signal));
  const fetchRest = async (): Promise<void> => {
    const { complete, tokens } = draft.invoices;
    if (complete) return;
    for await (const page of source.invoices(payer, slice.month, [...tokens], signal)) {
      addInvoices(draft, page);
      await stagePage(staging, slice, draft, draft.invoices, page);
    }
  };
  try {
    try {
      await fetchRest();
    } catch (error) {
      if (!(error instanceof RefusedTokenError || error instanceof ShiftedListError)) throw error;
      // AWS no longer goes on from the last page, or its list has changed: it begins anew, the cost stays.
      await dropInvoices(staging, slice, draft);
      await fetchRest().catch((again: unknown) => {
        // Cost must not be asked for anew because of them, as it is where a token of its own is refused.
        if (!(again instanceof RefusedTokenError)) throw again;
        throw new TransientError(again.message, {
          ...(again.where === undefined ? {} : { where: again.where }),
          next: AGAIN,
          cause: again,
        });
      });
    }
    return { payer, rows: rowsOf(draft.invoices) };
  } catch (error) {
    const refusal = refusalOf('invoices', error, NO_INVOICES);
    if (refusal === undefined) throw error;
    await dropInvoices(staging, slice, draft);
    refuse(task, draft, refusal);
    return null;
  }
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
    try {
      for await (const page of source.costAndUsage(question, [...chain.tokens], signal, onPaid)) {
        // First, since it refuses a page that does not fit those before.
        addFigures(draft, query, page);
        await stagePage(staging, slice, draft, chain, page);
        task.onProgress(`page ${paidPages(draft)}, ${draft.costs.rows} groups`);
      }
    } catch (error) {
      const part = partOf(query, scope);
      const refusal = part && refusalOf(part.name, error, part.refusals);
      if (refusal === undefined) throw error;
      await dropAnswer(staging, slice, draft, query);
      refuse(task, draft, refusal);
    }
  }
}

/** Goes on without a part that cannot be had: it is told by name, and the manifest holds it. */
function refuse({ log }: ExtractTask, draft: Draft, refusal: Refusal): void {
  draft.refused.push(refusal);
  log.warn({ part: refusal.part }, `${describeRefusal(refusal)}; the rest goes on without it`);
}
