import { DataError, TransientError } from '../pipeline/shared/errors.js';
import type { Scope } from '../pipeline/shared/scope.js';
import { sameScope } from '../pipeline/shared/scope.js';
import type { StagedExtraction } from '../pipeline/staging/extractions.js';
import type { Operation, Slice } from '../pipeline/staging/layout.js';
import { SCOPE, extractionKey, pageFile, parsePageFile } from '../pipeline/staging/layout.js';
import { readAsked } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAll, sha256Of } from '../pipeline/staging/staging.js';
import type { Chain, Draft } from './draft.js';
import {
  addFigures,
  addInvoices,
  addPage,
  chainOf,
  emptyChain,
  emptyDraft,
  isRestated,
  noInvoices,
  rowsOf,
} from './draft.js';
import type { FetchedPage } from './pages.js';
import { readAccountsPage, readCostPage, readInvoicesPage } from './pages.js';
import { metricsOf, queriesOf } from './questions.js';
import { isCopied } from './taken-over.js';

/** What a stopped run left of an extraction, checked page by page, as the draft that it was. */

/** A stopped run's extraction. */
interface StoppedExtraction extends Pick<StagedExtraction, 'name' | 'files'> {
  staging: Staging;
  slice: Slice;
}

/**
 * Reads what a stopped run staged. Accounts cost nothing: unless all of them are there, their pages
 * are removed and listed anew. What it had taken over is left out where AWS has restated the month since, where some of
 * it is gone, or where everything is to be fetched.
 * @throws {DataError} when it asked for something else, or the cost pages have a gap, are damaged, or go
 * on after a last page.
 */
export async function readDraft(
  stopped: StoppedExtraction,
  wanted: Scope,
  { force }: { force: boolean },
): Promise<Draft> {
  const { staging, slice, name, files } = stopped;
  const asked = files.has(SCOPE) ? await readAsked(staging, slice, name) : undefined;
  const where = placeOf(stopped, SCOPE);
  if (asked === undefined) throw new DataError('it does not say what it asked for', { where });
  const { scope, takenOver } = asked;
  if (!sameScope(scope, wanted))
    throw new DataError(
      'it asked for another detail, metric, breakdown, billing view, list of accounts or invoices',
      {
        where,
      },
    );
  if (takenOver === undefined) return readStaged(stopped, emptyDraft(name, scope));
  if (!force && isCopied(takenOver, files)) {
    const draft = await readStaged(stopped, { ...emptyDraft(name, scope), takenOver });
    if (!isRestated(draft)) return draft;
  }
  const copies = new Set(takenOver.pages.map(({ file }) => file));
  const own = new Map([...files].filter(([file]) => !copies.has(file)));
  const leftOut = [...copies].filter((file) => files.has(file));
  return readStaged({ ...stopped, files: own }, { ...emptyDraft(name, scope), leftOut });
}

async function readStaged(stopped: StoppedExtraction, draft: Draft): Promise<Draft> {
  const { slice, files } = stopped;
  // With total and services, whether or not it is wanted now: what is staged of them was paid for.
  const read = new Set<Operation>(['accounts', 'invoices']);
  let isOpen = false;
  for (const query of queriesOf(draft.scope, true, draft, () => true)) {
    // The questions about shared usage types are known from the whole answers to those before.
    if (isOpen && query.name.startsWith('usage-type-')) continue;
    read.add(query.name);
    const chain = chainOf(draft, query);
    const { groupBy } = query;
    const metrics = metricsOf(draft.scope, query);
    await readChain(stopped, draft, chain, (content, where, page) => {
      const cost = readCostPage(content, where, { month: slice.month, groupBy, metrics, page });
      addFigures(draft, query, cost);
      return cost;
    });
    isOpen ||= query.name.startsWith('usage-type-') && !chain.complete;
  }
  const stray = [...files.keys()].find((file) => {
    const operation = parsePageFile(file)?.operation;
    return operation !== undefined && !read.has(operation);
  });
  if (stray !== undefined) {
    const where = placeOf(stopped, stray);
    throw new DataError('a staged page answers none of the questions', { where });
  }
  if (draft.scope.listAccounts) await readAccounts(stopped, draft);
  if (draft.scope.invoices) await readInvoices(stopped, draft);
  return draft;
}

async function readAccounts(stopped: StoppedExtraction, draft: Draft): Promise<void> {
  try {
    await readChain(stopped, draft, draft.accounts, (content, where) => {
      const page = readAccountsPage(content, where);
      draft.payer ??= page.payer;
      return page;
    });
  } catch (error) {
    if (!(error instanceof DataError) || takesOver(draft, 'accounts')) throw error;
    draft.accounts.complete = false;
  }
  if (draft.accounts.complete && rowsOf(draft.accounts) > 0) return;
  draft.accounts = emptyChain('accounts');
  for (const file of stagedFiles(stopped, 'accounts'))
    await stopped.staging.remove(keyOf(stopped, file));
}

/** Damaged ones are asked for anew: what was paid for does not depend on them. */
async function readInvoices(stopped: StoppedExtraction, draft: Draft): Promise<void> {
  const { staging, slice } = stopped;
  try {
    await readChain(stopped, draft, draft.invoices, (content, where) => {
      const page = readInvoicesPage(content, where, slice.month);
      addInvoices(draft, page);
      return page;
    });
  } catch (error) {
    if (!(error instanceof DataError) || takesOver(draft, 'invoices')) throw error;
    for (const file of stagedFiles(stopped, 'invoices')) await staging.remove(keyOf(stopped, file));
    draft.invoices = noInvoices();
  }
}

function takesOver({ takenOver }: Draft, operation: Operation): boolean {
  return takenOver?.pages.some(({ file }) => parsePageFile(file)?.operation === operation) ?? false;
}

/** @param read its {@link TransientError} is that of a damaged page, which waiting does not mend. */
async function readChain(
  stopped: StoppedExtraction,
  { takenOver }: Draft,
  chain: Chain,
  read: (content: Uint8Array, where: string, page: number) => FetchedPage,
): Promise<void> {
  for (const [index, file] of stagedFiles(stopped, chain.operation).entries()) {
    const where = placeOf(stopped, file);
    if (chain.complete || file !== pageFile(chain.operation, index + 1))
      throw new DataError('the staged pages do not follow one another', { where });
    const content = await contentOf(stopped, file);
    const copy = takenOver?.pages.find((page) => page.file === file);
    if (copy !== undefined && copy.sha256 !== sha256Of(content))
      throw new DataError('a page that was taken over is not what it was', { where });
    try {
      addPage(chain, read(content, where, index + 1));
    } catch (cause) {
      if (!(cause instanceof TransientError)) throw cause;
      throw new DataError(cause.message, { where, cause });
    }
  }
}

/** Names of an operation's staged files, in order. */
function stagedFiles({ files }: StoppedExtraction, operation: Operation): string[] {
  return [...files.keys()].filter((file) => parsePageFile(file)?.operation === operation).sort();
}

async function contentOf(stopped: StoppedExtraction, file: string): Promise<Uint8Array> {
  const content = await stopped.staging.read(keyOf(stopped, file));
  if (content !== undefined) return readAll(content);
  throw new DataError('a staged page has gone', { where: placeOf(stopped, file) });
}

function placeOf(stopped: StoppedExtraction, file: string): string {
  return `${stopped.staging.location}/${keyOf(stopped, file)}`;
}

function keyOf({ slice, name }: StoppedExtraction, file: string): string {
  return extractionKey(slice, name, file);
}
