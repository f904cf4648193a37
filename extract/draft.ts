import { DataError, TransientError } from '../pipeline/shared/errors.js';
import type { Units } from '../pipeline/shared/money.js';
import { PRECISION, SCALE, fits } from '../pipeline/shared/money.js';
import type { Scope, WantedScope } from '../pipeline/shared/scope.js';
import { sameScope } from '../pipeline/shared/scope.js';
import type { ServiceTotals, Sums } from '../pipeline/shared/sums.js';
import {
  addMoney,
  addToService,
  beyond,
  difference,
  formatSums,
  noSums,
} from '../pipeline/shared/sums.js';
import type { Operation, QueryName, Slice } from '../pipeline/staging/layout.js';
import {
  SCOPE,
  extractionPrefix,
  pageFile,
  parsePageFile,
  scopeKey,
} from '../pipeline/staging/layout.js';
import type { Dimension, ExtractionManifest, Query } from '../pipeline/staging/manifest.js';
import { parseScope } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAll, sha256Of } from '../pipeline/staging/staging.js';
import type { Amounts, CostGroup, CostPage, Page } from './organization-source.js';
import {
  parsePageContent,
  readAccountsPage,
  readCostPage,
  wrongAnswer,
} from './organization-source.js';
import { metricsOf, queriesOf } from './questions.js';

export type ListedPage = ExtractionManifest['pages'][number];

/** The answer to one question, as far as it is staged. */
export interface Chain {
  readonly query: Query;
  readonly pages: ListedPage[];
  /** Tokens that the staged pages gave, in order: the next page is asked for with the last one. */
  readonly tokens: string[];
  /** Whether the last page is staged. */
  complete: boolean;
}

/** An extraction that has no manifest yet: what is staged of it so far. */
export interface Draft {
  readonly name: string;
  readonly scope: Scope;
  readonly accounts: ListedPage[];
  accountsComplete: boolean;
  /** In the order in which the questions are asked. */
  readonly chains: Map<QueryName, Chain>;
  /** Usage type → services, from the answers so far; none where AWS names a usage type without its service. */
  readonly services: Map<string, Set<string>>;
  /** Usage type → values of the dimension REGION, and, for those that have several services too, by service. */
  readonly regions: Map<string, Set<string>>;
  readonly regionsByService: Map<string, Map<string, Set<string>>>;
  /** The groups that are rows of the consumption table. */
  readonly costs: Sums;
  /** The same by service, and what AWS says of each service alone, once that is staged. */
  readonly rowsByService: ServiceTotals;
  readonly awsByService: ServiceTotals;
  /** The groups by charge type. */
  readonly recordTypes: Sums;
  /** What the ungrouped total's page says, once it is staged. */
  awsTotal: Sums | undefined;
  estimated: boolean;
}

/** An extraction with nothing staged. */
export function emptyDraft(name: string, scope: Scope): Draft {
  return {
    name,
    scope,
    accounts: [],
    accountsComplete: false,
    chains: new Map(),
    services: new Map(),
    regions: new Map(),
    regionsByService: new Map(),
    costs: noSums(),
    rowsByService: new Map(),
    awsByService: new Map(),
    recordTypes: noSums(),
    awsTotal: undefined,
    estimated: false,
  };
}

/** The answer to a question; an empty one where nothing of it is staged. */
export function chainOf(draft: Draft, query: Query): Chain {
  let chain = draft.chains.get(query.name);
  if (chain === undefined) {
    chain = { query, pages: [], tokens: [], complete: false };
    draft.chains.set(query.name, chain);
  }
  return chain;
}

/** What is asked for to compare the rows with. */
export interface Comparison {
  /** Whether the ungrouped total is asked for too. */
  awsTotal: boolean;
  /** How far it may lie from the rows before AWS is asked by service, in units of 10^-18 of the currency. */
  tolerance: Units;
}

/** The first question whose answer is not staged to its last page; `undefined` when all are. */
export function openQuery(draft: Draft, { awsTotal, tolerance }: Comparison): Query | undefined {
  // What was begun is ended, whatever the tolerance is now: its pages were paid for.
  const services = (): boolean =>
    (draft.chains.get('service')?.pages.length ?? 0) > 0 || (awsTotal && isApart(draft, tolerance));
  for (const query of queriesOf(draft.scope, awsTotal, draft, services))
    if (draft.chains.get(query.name)?.complete !== true) return query;
  return undefined;
}

/** Whether AWS's ungrouped total lies further from the rows than the tolerance, by any metric. */
function isApart({ awsTotal, costs }: Draft, tolerance: Units): boolean {
  if (awsTotal === undefined) return false;
  const [said, found] = [formatSums(awsTotal), formatSums(costs)];
  return [
    difference(said.totals, found.totals),
    ...Object.entries(said.columns).map(([metric, ofMetric]) =>
      difference(ofMetric, found.columns[metric] ?? {}),
    ),
  ].some((apart) => beyond(apart, tolerance).length > 0);
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

/** Stages the next page of a question's answer; when this resolves, it is on stable storage. */
export async function stageCostPage(
  staging: Staging,
  slice: Slice,
  draft: Draft,
  chain: Chain,
  page: CostPage,
): Promise<void> {
  const file = pageFile(chain.query.name, chain.pages.length + 1);
  // First, since it refuses a page that does not fit those before.
  addCostPage(draft, chain, page);
  await stage(staging, extractionPrefix(slice, draft.name) + file, page);
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

/** Takes note of a staged page of the accounts. */
export function addAccountsPage(draft: Draft, page: Page): void {
  draft.accounts.push(listed('accounts', draft.accounts.length + 1, page));
  draft.accountsComplete = page.nextToken === undefined;
}

/**
 * Takes note of a page of a question's answer.
 * @throws {DataError} naming the group from which on a sum does not fit, or that is incomplete.
 */
export function addCostPage(draft: Draft, chain: Chain, page: CostPage): void {
  const { name, groupBy, filter } = chain.query;
  chain.pages.push(listed(name, chain.pages.length + 1, page));
  chain.complete = page.nextToken === undefined;
  if (page.nextToken !== undefined) chain.tokens.push(page.nextToken);
  draft.estimated ||= page.estimated;
  /** A dimension's value of a group: one of its keys, or the only one of the question's filter. */
  const valueOf = (dimension: Dimension, keys: readonly string[]): string => {
    const position = groupBy.indexOf(dimension);
    const value = position < 0 ? filter?.[dimension]?.[0] : keys[position];
    if (value === undefined) throw incomplete();
    return value;
  };
  const addRow = (service: string, amounts: Amounts): void => {
    addAmounts(draft.costs, amounts);
    addByService(draft.rowsByService, service, amounts);
  };
  switch (name) {
    case 'total':
      draft.awsTotal ??= noSums();
      for (const amounts of page.total) addAmounts(draft.awsTotal, amounts);
      return;
    case 'record-type':
      eachGroup(page, ({ amounts }) => {
        addAmounts(draft.recordTypes, amounts);
      });
      return;
    case 'usage-type-service':
      for (const { keys } of page.groups)
        addPair(draft.services, valueOf('USAGE_TYPE', keys), valueOf('SERVICE', keys));
      return;
    case 'usage-type-region':
      for (const { keys } of page.groups)
        addPair(draft.regions, valueOf('USAGE_TYPE', keys), valueOf('REGION', keys));
      return;
    case 'service':
      for (const { keys, amounts } of page.groups)
        addByService(draft.awsByService, valueOf('SERVICE', keys), amounts);
      return;
    case 'usage-type-account':
      // What several services share is told by further questions.
      eachGroup(page, ({ keys, amounts }) => {
        const [service, ...others] = servicesOf(draft, valueOf('USAGE_TYPE', keys));
        if (service !== undefined && others.length === 0) addRow(service, amounts);
      });
      return;
    case 'cost-and-usage':
    default:
      if (name.startsWith('usage-type-region-account-')) return;
      eachGroup(page, ({ keys, amounts }) => {
        if (!name.startsWith('usage-type-region-')) {
          addRow(valueOf('SERVICE', keys), amounts);
          return;
        }
        const usageType = valueOf('USAGE_TYPE', keys);
        const byService = draft.regionsByService.get(usageType) ?? new Map<string, Set<string>>();
        draft.regionsByService.set(usageType, byService);
        addPair(byService, valueOf('SERVICE', keys), valueOf('REGION', keys));
      });
  }
}

/** Names the group of whatever does not add up. */
function eachGroup({ groups, where }: CostPage, take: (group: CostGroup) => void): void {
  for (const [index, group] of groups.entries()) {
    try {
      take(group);
    } catch (cause) {
      if (!(cause instanceof DataError)) throw cause;
      const place = `group ${index + 1} (${group.keys.join(', ').slice(0, 200)})`;
      throw wrongAnswer(`${cause.message} with ${place}`, where, cause);
    }
  }
}

function addPair(of: Map<string, Set<string>>, key: string, value: string): void {
  of.set(key, (of.get(key) ?? new Set()).add(value));
}

function addByService(services: ServiceTotals, service: string, amounts: Amounts): void {
  for (const [metric, { units, unit: currency }] of amounts)
    if (metric !== 'UsageQuantity') addToService(services, service, metric, { currency, units });
}

/** AWS may leave a usage type out of the answer by service: it is then asked for like a shared one. */
function servicesOf({ services }: Draft, usageType: string): ReadonlySet<string> {
  const known = services.get(usageType) ?? new Set();
  services.set(usageType, known);
  return known;
}

function incomplete(): DataError {
  return new DataError('AWS gave a group without a value of what the question groups by', {
    next: 'run the same command again; if it stays so, report it',
  });
}

/** Pages of Cost Explorer that are staged, each of which was paid for. */
export function paidPages({ chains }: Draft): number {
  return [...chains.values()].reduce((sum, { pages }) => sum + pages.length, 0);
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
  const scope = files.has(key)
    ? parseScope(parsePageContent(await contentOf(found, SCOPE, where), where))
    : undefined;
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

/**
 * Adds one group's costs. Quantities are left out: their units differ from group to group.
 * @throws {DataError} when a sum gets more digits than a database's.
 */
export function addAmounts(sums: Sums, amounts: Amounts): void {
  sums.rows++;
  for (const [metric, { units, unit }] of amounts) {
    if (metric === 'UsageQuantity' || fits(addMoney(sums, metric, unit, units))) continue;
    throw new DataError(
      `the sum of ${metric} in ${unit} does not fit DECIMAL(${PRECISION},${SCALE})`,
    );
  }
}
