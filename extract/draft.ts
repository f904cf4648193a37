import { DataError, TransientError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { addTo } from '../pipeline/money.js';
import { readAll, sha256Of } from '../pipeline/staging/bytes.js';
import type { Operation, Slice } from '../pipeline/staging/layout.js';
import { extractionPrefix, pageFile, parsePageFile } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAccountsPage } from './accounts.js';
import type { CostPage, TotalPage } from './cost-and-usage.js';
import { readCostPage, readTotalPage } from './cost-and-usage.js';
import type { Page } from './page.js';

type ListedPage = ExtractionManifest['pages'][number];

/** An extraction that has no manifest yet: what is staged of it so far. */
export interface Draft {
  readonly name: string;
  readonly accounts: ListedPage[];
  readonly cost: ListedPage[];
  /** The ungrouped total's only page, once it is staged. */
  readonly total: ListedPage[];
  /** Whether the last page of the operation is staged. */
  accountsComplete: boolean;
  costComplete: boolean;
  /** Tokens that the staged cost pages gave, in order: the next page is asked for with the last one. */
  readonly tokens: string[];
  readonly totals: Totals;
  /** What the ungrouped total's page says. */
  awsTotal: Totals | undefined;
  estimated: boolean;
}

/** An extraction with nothing staged. */
export function emptyDraft(name: string): Draft {
  return {
    name,
    accounts: [],
    cost: [],
    total: [],
    accountsComplete: false,
    costComplete: false,
    tokens: [],
    totals: new Map(),
    awsTotal: undefined,
    estimated: false,
  };
}

/**
 * Reads what a stopped run staged. Accounts cost nothing: unless all of them are there, their pages
 * are removed and listed anew.
 * @throws {DataError} when the cost pages have a gap, are damaged, or go on after a last page.
 */
export async function readDraft(
  staging: Staging,
  slice: Slice,
  name: string,
  files: ReadonlyMap<string, number>,
): Promise<Draft> {
  const draft = emptyDraft(name);
  const prefix = extractionPrefix(slice, name);
  const staged = (operation: Operation): string[] =>
    [...files.keys()]
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length))
      .filter((file) => parsePageFile(file)?.operation === operation)
      .sort();

  for (const [index, file] of staged('cost-and-usage').entries()) {
    const where = `${staging.location}/${prefix}${file}`;
    checkPlace(draft.costComplete, 'cost-and-usage', index, file, where);
    addCostPage(draft, readCostPage(await contentOf(staging, prefix + file, where), where));
  }
  for (const [index, file] of staged('total').entries()) {
    const where = `${staging.location}/${prefix}${file}`;
    checkPlace(draft.awsTotal !== undefined, 'total', index, file, where);
    addTotalPage(draft, readTotalPage(await contentOf(staging, prefix + file, where), where));
  }
  try {
    for (const [index, file] of staged('accounts').entries()) {
      const where = `${staging.location}/${prefix}${file}`;
      checkPlace(draft.accountsComplete, 'accounts', index, file, where);
      const content = await contentOf(staging, prefix + file, where);
      addAccountsPage(draft, readAccountsPage(content, where));
    }
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    draft.accountsComplete = false;
  }
  if (!draft.accountsComplete) {
    draft.accounts.length = 0;
    for (const file of staged('accounts')) await staging.remove(prefix + file);
  }
  return draft;
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

async function contentOf(staging: Staging, key: string, where: string): Promise<Uint8Array> {
  const content = await staging.read(key);
  if (content === undefined) throw new DataError('a staged page has gone', { where });
  return readAll(content);
}

/** Stages the next page of the accounts. */
export async function stageAccountsPage(
  staging: Staging,
  slice: Slice,
  draft: Draft,
  page: Page,
): Promise<void> {
  const file = pageFile('accounts', draft.accounts.length + 1);
  await stage(staging, extractionPrefix(slice, draft.name) + file, page);
  addAccountsPage(draft, page);
}

/** Stages the next cost page; when this resolves, it is on stable storage. */
export async function stageCostPage(
  staging: Staging,
  slice: Slice,
  draft: Draft,
  page: CostPage,
): Promise<void> {
  const file = pageFile('cost-and-usage', draft.cost.length + 1);
  await stage(staging, extractionPrefix(slice, draft.name) + file, page);
  addCostPage(draft, page);
}

/** Stages the ungrouped total. */
export async function stageTotalPage(
  staging: Staging,
  slice: Slice,
  draft: Draft,
  page: TotalPage,
): Promise<void> {
  await stage(staging, extractionPrefix(slice, draft.name) + pageFile('total', 1), page);
  addTotalPage(draft, page);
}

async function stage(staging: Staging, key: string, page: Page): Promise<void> {
  if (await staging.write(key, page.content, { ifAbsent: true })) return;
  throw anotherRun(`${staging.location}/${key}`);
}

/** A file that only another run can have written, in the very extraction that this one writes. */
export function anotherRun(where: string): TransientError {
  return new TransientError('another run works on the same month and organization', {
    where,
    next: 'let it finish, then run the same command again',
  });
}

function addAccountsPage(draft: Draft, page: Page): void {
  draft.accounts.push(listed('accounts', draft.accounts.length + 1, page));
  draft.accountsComplete = page.nextToken === undefined;
}

function addCostPage(draft: Draft, page: CostPage): void {
  draft.cost.push(listed('cost-and-usage', draft.cost.length + 1, page));
  draft.costComplete = page.nextToken === undefined;
  if (page.nextToken !== undefined) draft.tokens.push(page.nextToken);
  for (const [currency, units] of page.totals) addTo(draft.totals, currency, units);
  draft.estimated ||= page.estimated;
}

function addTotalPage(draft: Draft, page: TotalPage): void {
  draft.total.push(listed('total', 1, page));
  draft.awsTotal = page.totals;
}

/** Staged answers of Cost Explorer, each of which was paid for. */
export function paidPages({ cost, total }: Draft): number {
  return cost.length + total.length;
}

function listed(operation: Operation, page: number, { content, rows }: Page): ListedPage {
  return {
    file: pageFile(operation, page),
    bytes: content.length,
    sha256: sha256Of(content),
    rows,
  };
}

/** Rows of all pages together. */
export function rowsOf(pages: readonly ListedPage[]): number {
  return pages.reduce((sum, page) => sum + page.rows, 0);
}
