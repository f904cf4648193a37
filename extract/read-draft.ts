import { DataError, TransientError } from '../pipeline/errors.js';
import type { Scope, WantedScope } from '../pipeline/scope.js';
import { plainScope, sameScope } from '../pipeline/scope.js';
import { readAll } from '../pipeline/staging/bytes.js';
import type { Operation, Slice } from '../pipeline/staging/layout.js';
import {
  extractionPrefix,
  pageFile,
  parsePageFile,
  SCOPE,
  scopeKey,
} from '../pipeline/staging/layout.js';
import { parseScope } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAccountsPage } from './accounts.js';
import { readCostPage } from './cost-and-usage.js';
import type { Chain, Draft } from './draft.js';
import { addAccountsPage, addCostPage, chainOf, emptyDraft, rowsOf } from './draft.js';
import { parsePageContent } from './page.js';
import { metricsOf, queriesOf } from './queries.js';

/** A stopped run's extraction, by the names and sizes of its files. */
interface Found {
  staging: Staging;
  slice: Slice;
  name: string;
  files: ReadonlyMap<string, number>;
}

/**
 * Reads what a stopped run staged. Accounts cost nothing: unless all of them are there, their pages
 * are removed and listed anew.
 * @throws {DataError} when it asked for something else, or the cost pages have a gap, are damaged, or go
 * on after a last page.
 */
export async function readDraft(found: Found, wanted: WantedScope): Promise<Draft> {
  const draft = emptyDraft(found.name, await readScope(found, wanted));
  // With total and services, whether or not it is wanted now: what is staged of them was paid for.
  const read = new Set<string>();
  for (const query of queriesOf(draft.scope, true, draft, () => true)) {
    read.add(query.name);
    const chain = chainOf(draft, query);
    await readChain(found, draft, chain);
    // The questions about shared usage types are known from the whole answers to those before.
    if (query.name.startsWith('usage-type-') && !chain.complete) break;
  }
  const stray = [...found.files.keys()].find((key) => isStray(found, key, read));
  if (stray !== undefined) {
    const where = `${found.staging.location}/${stray}`;
    throw new DataError('a staged page answers none of the questions', { where });
  }
  await readAccounts(found, draft);
  return draft;
}

async function readScope(found: Found, wanted: WantedScope): Promise<Scope> {
  const { staging, slice, name, files } = found;
  const key = scopeKey(slice, name);
  const where = `${staging.location}/${key}`;
  // Versions without a choice left no such file.
  const scope = files.has(key)
    ? parseScope(parsePageContent(await contentOf(found, SCOPE, where), where))
    : plainScope;
  if (scope === undefined) throw new DataError('it does not say what it asked for', { where });
  if (!sameScope(scope, wanted))
    throw new DataError('it asked for another detail, metric, billing view or list of accounts', {
      where,
    });
  return scope;
}

async function readChain(found: Found, draft: Draft, chain: Chain): Promise<void> {
  const { query } = chain;
  const metrics = metricsOf(draft.scope, query);
  for (const [index, file] of staged(found, query.name).entries()) {
    const where = placeOf(found, file);
    checkPlace(chain.complete, query.name, index, file, where);
    const content = await contentOf(found, file, where);
    const asked = { month: found.slice.month, groupBy: query.groupBy, metrics, page: index + 1 };
    addCostPage(
      draft,
      chain,
      readStaged(where, () => readCostPage(content, where, asked)),
    );
  }
}

/** A staged page that is no answer is damaged, and waiting does not mend it. */
function readStaged<P>(where: string, read: () => P): P {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof TransientError)) throw cause;
    throw new DataError(cause.message, { where, cause });
  }
}

async function readAccounts(found: Found, draft: Draft): Promise<void> {
  if (!draft.scope.listAccounts) return;
  const files = staged(found, 'accounts');
  try {
    for (const [index, file] of files.entries()) {
      const where = placeOf(found, file);
      checkPlace(draft.accountsComplete, 'accounts', index, file, where);
      const content = await contentOf(found, file, where);
      addAccountsPage(
        draft,
        readStaged(where, () => readAccountsPage(content, where)),
      );
    }
    draft.accountsComplete &&= rowsOf(draft.accounts) > 0;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    draft.accountsComplete = false;
  }
  if (draft.accountsComplete) return;
  draft.accounts.length = 0;
  for (const file of files) await found.staging.remove(prefixOf(found) + file);
}

function prefixOf({ slice, name }: Found): string {
  return extractionPrefix(slice, name);
}

function placeOf(found: Found, file: string): string {
  return `${found.staging.location}/${prefixOf(found)}${file}`;
}

/** Whether a key is a page of the extraction that belongs to no question that was read. */
function isStray(found: Found, key: string, read: ReadonlySet<string>): boolean {
  if (!key.startsWith(prefixOf(found))) return false;
  const operation = parsePageFile(key.slice(prefixOf(found).length))?.operation;
  return operation !== undefined && operation !== 'accounts' && !read.has(operation);
}

/** Names of an operation's staged files, in order. */
function staged(found: Found, operation: Operation): string[] {
  const prefix = prefixOf(found);
  return [...found.files.keys()]
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length))
    .filter((file) => parsePageFile(file)?.operation === operation)
    .sort();
}

function checkPlace(
  complete: boolean,
  operation: Operation,
  index: number,
  file: string,
  where: string,
): void {
  if (complete || file !== pageFile(operation, index + 1)) {
    throw new DataError('the staged pages do not follow one another', { where });
  }
}

async function contentOf(found: Found, file: string, where: string): Promise<Uint8Array> {
  const content = await found.staging.read(prefixOf(found) + file);
  if (content === undefined) throw new DataError('a staged page has gone', { where });
  return readAll(content);
}
