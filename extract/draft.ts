import type { Breakdown } from '../pipeline/shared/dimensions.js';
import { DataError, TransientError } from '../pipeline/shared/errors.js';
import type { Units } from '../pipeline/shared/money.js';
import { PRECISION, SCALE, fits } from '../pipeline/shared/money.js';
import type { Scope } from '../pipeline/shared/scope.js';
import type { ServiceTotals, Sums } from '../pipeline/shared/sums.js';
import {
  addMoney,
  addToService,
  beyond,
  difference,
  formatSums,
  noSums,
  sameColumns,
  sameTotals,
} from '../pipeline/shared/sums.js';
import type { Operation, QueryName, Slice } from '../pipeline/staging/layout.js';
import { extractionKey, pageFile } from '../pipeline/staging/layout.js';
import type {
  ExtractionManifest,
  FilterDimension,
  Query,
  Refusal,
  TakenOver,
} from '../pipeline/staging/manifest.js';
import { breakdownOf, isCostPage } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { sha256Of } from '../pipeline/staging/staging.js';
import type { Amounts, FetchedCost, FetchedInvoices, FetchedPage } from './pages.js';
import { WITHOUT_INVOICES, wrongAnswer } from './pages.js';
import { queriesOf } from './questions.js';

/** One answer, a chain of pages, as far as it is staged: the accounts, or what AWS says to a question. */
export interface Chain {
  readonly operation: Operation;
  readonly pages: ExtractionManifest['pages'];
  /** Tokens that the staged pages gave, in order: the next page is asked for with the last one. */
  readonly tokens: string[];
  /** Whether the last page is staged. */
  complete: boolean;
}

/** An extraction that has no manifest yet: what is staged of it so far. */
export interface Draft {
  readonly name: string;
  readonly scope: Scope;
  accounts: Chain;
  /** The account that pays, as the listed accounts tell it. */
  payer: string | undefined;
  invoices: Chain & { readonly keys: Set<string> };
  /** The questions' answers, in the order in which they are asked. */
  readonly chains: Map<QueryName, Chain & { readonly query: Query }>;
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
  /** The groups of the cost view. */
  readonly costView: Sums;
  /** The groups of each breakdown. */
  readonly breakdowns: Map<Breakdown, Sums>;
  /** Of each, the accounts by value: no account has a value twice. */
  readonly values: Map<Breakdown, Map<string, Set<string>>>;
  /** What the ungrouped total's page says, once it is staged. */
  awsTotal: Sums | undefined;
  /** Parts that AWS refused in this run: a stopped run's are asked for again, since a refusal costs nothing. */
  readonly refused: Refusal[];
  estimated: boolean;
  /** The pages among all these that are another extraction's: AWS was not asked for them. */
  readonly takenOver?: TakenOver | undefined;
  /** The files of such pages where they are left out, as far as they are still staged: see {@link removeLeftOut}. */
  readonly leftOut?: readonly string[] | undefined;
}

/** An extraction with nothing staged. */
export function emptyDraft(name: string, scope: Scope): Draft {
  return {
    name,
    scope,
    accounts: emptyChain('accounts'),
    payer: undefined,
    invoices: noInvoices(),
    chains: new Map(),
    services: new Map(),
    regions: new Map(),
    regionsByService: new Map(),
    costs: noSums(),
    rowsByService: new Map(),
    awsByService: new Map(),
    costView: noSums(),
    breakdowns: new Map(),
    values: new Map(),
    awsTotal: undefined,
    refused: [],
    estimated: false,
  };
}

export function emptyChain(operation: Operation): Chain {
  return { operation, pages: [], tokens: [], complete: false };
}

export function noInvoices(): Draft['invoices'] {
  return { ...emptyChain('invoices'), keys: new Set() };
}

/** The answer to a question; an empty one where nothing of it is staged. */
export function chainOf(draft: Draft, query: Query): Chain {
  let chain = draft.chains.get(query.name);
  if (chain === undefined)
    draft.chains.set(query.name, (chain = { query, ...emptyChain(query.name) }));
  return chain;
}

/** Pages of Cost Explorer that are staged. */
export function costPages({ chains }: Pick<Draft, 'chains'>): number {
  return [...chains.values()].reduce((sum, { pages }) => sum + pages.length, 0);
}

/** Those of them that this extraction itself was given, each of which was paid for. */
export function paidPages(draft: Pick<Draft, 'chains' | 'takenOver'>): number {
  const copies = draft.takenOver?.pages.filter(({ file }) => isCostPage(file)) ?? [];
  return costPages(draft) - copies.length;
}

/** Pages of an answer that AWS gave to this extraction. */
export function ownPages({ takenOver }: Draft, { pages }: Chain): number {
  const copies = new Set(takenOver?.pages.map(({ file }) => file));
  return pages.filter(({ file }) => !copies.has(file)).length;
}

/** Rows of all pages of an answer together. */
export function rowsOf({ pages }: Chain): number {
  return pages.reduce((sum, page) => sum + page.rows, 0);
}

/**
 * The first question whose answer is not staged to its last page; `undefined` when all are, or nothing more is to be
 * asked beside what was taken over, since it is not true any more, see {@link isRestated}.
 * @param asked whether the ungrouped total is asked for too, and how far it may lie from the rows, in units of
 * 10^-18 of the currency, before AWS is asked by service.
 */
export function openQuery(
  draft: Draft,
  { awsTotal, tolerance }: { awsTotal: boolean; tolerance: Units },
): Query | undefined {
  if (isRestated(draft)) return undefined;
  // What was begun is ended, whatever the tolerance is now: its pages were paid for.
  const services = (): boolean =>
    (draft.chains.get('service')?.pages.length ?? 0) > 0 || (awsTotal && isApart(draft, tolerance));
  for (const query of queriesOf(draft.scope, asksTotal(draft, awsTotal), draft, services))
    if (draft.chains.get(query.name)?.complete !== true) return query;
  return undefined;
}

/** Whether the ungrouped total is asked: what is taken over because of it is not taken without it. */
export function asksTotal({ takenOver }: Draft, awsTotal: boolean): boolean {
  return awsTotal || takenOver?.total !== undefined;
}

/** Whether AWS tells another total, by any metric, than when it gave what was taken over. */
export function isRestated({ takenOver, awsTotal, chains }: Draft): boolean {
  const former = takenOver?.total;
  if (former === undefined || awsTotal === undefined || chains.get('total')?.complete !== true)
    return false;
  const { totals, columns } = formatSums(awsTotal);
  return !sameTotals(former.totals, totals) || !sameColumns(former.metrics, columns);
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

/** Stages the next page of an answer; when this resolves, it is on stable storage. */
export async function stagePage(
  staging: Staging,
  slice: Slice,
  draft: Draft,
  chain: Chain,
  page: FetchedPage,
): Promise<void> {
  const { file } = addPage(chain, page);
  await writeOwn(staging, extractionKey(slice, draft.name, file), page.content);
}

/**
 * Writes a file of an extraction that this run alone writes.
 * @throws {TransientError} when it is there already.
 */
export async function writeOwn(staging: Staging, key: string, content: Uint8Array): Promise<void> {
  if (await staging.write(key, content, { ifAbsent: true })) return;
  throw new TransientError('another run works on the same month and organization', {
    where: `${staging.location}/${key}`,
    next: 'let it finish, then run the same command again',
  });
}

/**
 * Leaves out the answer to a question that AWS refuses: what is staged of it belongs to nothing, and is removed.
 * The draft takes it for answered.
 */
export async function dropAnswer(
  staging: Staging,
  slice: Slice,
  draft: Draft,
  query: Query,
): Promise<void> {
  const { pages } = chainOf(draft, query);
  for (const { file } of pages) await staging.remove(extractionKey(slice, draft.name, file));
  const by = breakdownOf(query);
  if (by !== undefined) {
    draft.breakdowns.delete(by);
    draft.values.delete(by);
  }
  draft.chains.set(query.name, { query, ...emptyChain(query.name), complete: true });
}

/** What AWS lists twice: a document that was issued between two pages moves those behind it on. */
export class ShiftedListError extends DataError {
  // Nobody outside tells it from others of its kind.
  override readonly name = 'DataError';
}

/** Takes note of a page's invoices. @throws {ShiftedListError} when one of them is on an earlier page, or twice. */
export function addInvoices({ invoices: { keys } }: Draft, page: FetchedInvoices): void {
  for (const key of page.keys) {
    if (keys.has(key))
      throw new ShiftedListError(`AWS lists the invoice ${key.slice(0, 120)} twice`, {
        where: page.where,
        next: WITHOUT_INVOICES,
      });
    keys.add(key);
  }
}

/** Leaves out the staged invoices: they are refused, or are asked for anew. */
export async function dropInvoices(staging: Staging, slice: Slice, draft: Draft): Promise<void> {
  for (const { file } of draft.invoices.pages)
    await staging.remove(extractionKey(slice, draft.name, file));
  draft.invoices = noInvoices();
}

export function addPage(chain: Chain, { content, rows, nextToken }: FetchedPage): { file: string } {
  const file = pageFile(chain.operation, chain.pages.length + 1);
  const page = { file, bytes: content.length, sha256: sha256Of(content), rows };
  chain.pages.push(page);
  chain.complete = nextToken === undefined;
  if (nextToken !== undefined) chain.tokens.push(nextToken);
  return page;
}

/**
 * Takes note of what a page of a question's answer says.
 * @throws {DataError} naming the group from which on a sum does not fit, or that is incomplete.
 */
export function addFigures(draft: Draft, query: Query, page: FetchedCost): void {
  draft.estimated ||= page.estimated;
  if (query.name === 'total') {
    draft.awsTotal ??= noSums();
    if (page.total !== undefined) addAmounts(draft.awsTotal, page.total);
  }
  for (const [index, { keys, amounts }] of page.groups.entries()) {
    try {
      addGroup(draft, query, keys, amounts);
    } catch (cause) {
      if (!(cause instanceof DataError)) throw cause;
      const place = `group ${index + 1} (${keys.join(', ').slice(0, 200)})`;
      throw wrongAnswer(`${cause.message} with ${place}`, page.where, cause);
    }
  }
}

function addGroup(draft: Draft, query: Query, keys: readonly string[], amounts: Amounts): void {
  const by = breakdownOf(query);
  if (by !== undefined) {
    const sums = draft.breakdowns.get(by) ?? noSums();
    draft.breakdowns.set(by, sums);
    addAmounts(sums, amounts);
    addValue(draft, by, keys);
    return;
  }
  const { name, groupBy, filter } = query;
  /** A dimension's value: one of the group's keys, or the only one of the question's filter. */
  const valueOf = (dimension: FilterDimension): string => {
    const position = groupBy.indexOf(dimension);
    const value = position < 0 ? filter?.[dimension]?.[0] : keys[position];
    if (value === undefined)
      throw new DataError('AWS gave a group without a value of what the question groups by');
    return value;
  };
  const addRow = (service: string): void => {
    addAmounts(draft.costs, amounts);
    addByService(draft.rowsByService, service, amounts);
  };
  if (name === 'cost-view') addAmounts(draft.costView, amounts);
  else if (name === 'service') addByService(draft.awsByService, valueOf('SERVICE'), amounts);
  else if (name === 'usage-type-service')
    addPair(draft.services, valueOf('USAGE_TYPE'), valueOf('SERVICE'));
  else if (name === 'usage-type-account') {
    // What several services share is told by further questions.
    const [service, ...others] = servicesOf(draft, valueOf('USAGE_TYPE'));
    if (service !== undefined && others.length === 0) addRow(service);
  } else if (name === 'usage-type-region')
    addPair(draft.regions, valueOf('USAGE_TYPE'), valueOf('REGION'));
  else if (name.startsWith('usage-type-region-service-')) {
    const usageType = valueOf('USAGE_TYPE');
    const byService = draft.regionsByService.get(usageType) ?? new Map<string, Set<string>>();
    draft.regionsByService.set(usageType, byService);
    addPair(byService, valueOf('SERVICE'), valueOf('REGION'));
  } else if (!name.startsWith('usage-type-region-account-')) addRow(valueOf('SERVICE'));
}

/**
 * AWS answers each group once: a second one would be a second row of the same account and value, of which nobody knows
 * whether it is more cost or the same once more.
 */
function addValue(
  { values }: Draft,
  by: Breakdown,
  [value = '', account = '']: readonly string[],
): void {
  const known = values.get(by) ?? new Map<string, Set<string>>();
  values.set(by, known);
  const accounts = known.get(value) ?? new Set();
  known.set(value, accounts);
  if (accounts.has(account))
    throw new DataError(
      `AWS gave ${by} ${JSON.stringify(value.slice(0, 80))} of account ${account} a second time`,
    );
  accounts.add(account);
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
