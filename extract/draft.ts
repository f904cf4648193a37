import { DataError, TransientError } from '../pipeline/errors.js';
import { sha256Of } from '../pipeline/staging/bytes.js';
import type { Scope } from '../pipeline/scope.js';
import type { Operation, QueryName, Slice } from '../pipeline/staging/layout.js';
import { extractionPrefix, pageFile } from '../pipeline/staging/layout.js';
import type { Dimension, ExtractionManifest, Query } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import type { ServiceTotals, Units } from '../pipeline/money.js';
import { addToService, beyond, difference, formatNamed, formatTotals } from '../pipeline/money.js';
import type { Amounts, CostGroup, CostPage } from './cost-and-usage.js';
import type { Page } from './page.js';
import { wrongAnswer } from './page.js';
import { queriesOf } from './queries.js';
import type { Tally } from './tally.js';
import { addAmounts, emptyTally } from './tally.js';

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
  readonly rows: Tally;
  /** The same by service, and what AWS says of each service alone, once that is staged. */
  readonly rowsByService: ServiceTotals;
  readonly awsByService: ServiceTotals;
  /** The groups by charge type. */
  readonly recordTypes: Tally;
  /** What the ungrouped total's page says, once it is staged. */
  awsTotal: Tally | undefined;
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
    rows: emptyTally(),
    rowsByService: new Map(),
    awsByService: new Map(),
    recordTypes: emptyTally(),
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
function isApart({ awsTotal, rows }: Draft, tolerance: Units): boolean {
  if (awsTotal === undefined) return false;
  const metrics = formatNamed(rows.metrics);
  return [
    difference(formatTotals(awsTotal.totals), formatTotals(rows.totals)),
    ...Object.entries(formatNamed(awsTotal.metrics)).map(([metric, said]) =>
      difference(said, metrics[metric] ?? {}),
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
    addAmounts(draft.rows, amounts);
    addByService(draft.rowsByService, service, amounts);
  };
  switch (name) {
    case 'total':
      draft.awsTotal ??= emptyTally();
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
