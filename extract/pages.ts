import { z } from 'zod';
import type { Dimension } from '../pipeline/shared/dimensions.js';
import { keyPositions, valueIn } from '../pipeline/shared/dimensions.js';
import { DataError, TransientError } from '../pipeline/shared/errors.js';
import type { Units } from '../pipeline/shared/money.js';
import { parseAmount } from '../pipeline/shared/money.js';
import type { Month } from '../pipeline/shared/month.js';
import type { Metric } from '../pipeline/shared/scope.js';
import type { FreshCost } from '../pipeline/staging/answers.js';
import {
  accountFault,
  answerJson,
  currencyFault,
  descriptionFault,
  freshAccounts,
  invoiceFault,
  invoiceKey,
  invoiceSummaries,
  keyFault,
  parseFreshCost,
  periodFault,
  textFault,
} from '../pipeline/staging/answers.js';
import { columnOf } from '../pipeline/staging/tables.js';
import { AGAIN } from './aws-errors.js';

/** One answer of AWS, as it is staged. */
export interface FetchedPage {
  /** The file's bytes: the operation's output as JSON, without the SDK's `$metadata`, timestamps as ISO 8601. */
  content: Uint8Array;
  /** Accounts or groups in the answer; 0 is normal, even where more pages follow. */
  rows: number;
  /** The continuation token that the next page is asked for with; `undefined` on the last page. */
  nextToken: string | undefined;
}

/** One answer of ListAccounts, read. */
export interface FetchedAccounts extends FetchedPage {
  /** The management account, which pays, as the accounts' ARNs tell it; `undefined` where none does. */
  payer: string | undefined;
}

/** One answer of ListInvoiceSummaries, read. */
export interface FetchedInvoices extends FetchedPage {
  /** The request, or the staged file. */
  where: string;
  /** What tells the documents apart, see `invoiceKey`. */
  keys: readonly string[];
}

/** Exact values by metric, in units of 10^-18 of the currency, or of the usage unit. */
export type Amounts = ReadonlyMap<Metric, { units: Units; unit: string }>;

interface CostGroup {
  /** Values of the dimensions that the question groups by, in its order. */
  keys: readonly string[];
  amounts: Amounts;
}

/** One answer of GetCostAndUsage, read. */
export interface FetchedCost extends FetchedPage {
  /** The request, or the staged file. */
  where: string;
  groups: readonly CostGroup[];
  /** The ungrouped cost; `undefined` when the question groups, or the month has no cost. */
  total: Amounts | undefined;
  /** Whether AWS calls it estimated. */
  estimated: boolean;
}

/** What a page was asked for with. */
export interface Asked {
  month: Month;
  groupBy: readonly Dimension[];
  /** Every group has to have them. */
  metrics: readonly Metric[];
  /** The page's number in its chain, from 1. */
  page: number;
}

/** An answer of the SDK as the bytes that are staged. */
export function serializeAnswer(answer: { $metadata: unknown }): Uint8Array {
  const text = JSON.stringify({ ...answer, $metadata: undefined });
  return new TextEncoder().encode(`${text}\n`);
}

/**
 * Reads an answer of ListAccounts.
 * @throws {TransientError} when it is none. @throws {DataError} naming an account that is no customer.
 */
export function readAccountsPage(content: Uint8Array, where: string): FetchedAccounts {
  const { Accounts, NextToken } = parseAnswer(
    'ListAccounts',
    (json) => freshAccounts.safeParse(json),
    content,
    where,
  );
  for (const [index, account] of Accounts.entries()) {
    const fault = accountFault(account);
    if (fault === undefined) continue;
    const { Id } = account;
    const named = Id === undefined ? '' : ` (${JSON.stringify(Id.slice(0, 40))})`;
    throw wrongAnswer(`account ${index + 1}${named} ${fault}`, where);
  }
  // arn:aws:organizations::MANAGEMENT:account/o-x/ACCOUNT (AWS Organizations API reference, Account).
  const [payer] = Accounts.flatMap(
    ({ Arn = '' }) => /^arn:[\w-]+:organizations::(\d{12}):account\//.exec(Arn)?.[1] ?? [],
  );
  return { content, rows: Accounts.length, nextToken: NextToken, payer };
}

/**
 * Reads an answer of ListInvoiceSummaries, fresh from AWS or staged.
 * @throws {TransientError} when it is none. @throws {DataError} naming an invoice that no row can hold, or of
 * another month.
 */
export function readInvoicesPage(
  content: Uint8Array,
  where: string,
  month: Month,
): FetchedInvoices {
  const answer = parseAnswer(
    'ListInvoiceSummaries',
    (json) => invoiceSummaries.safeParse(json),
    content,
    where,
  );
  for (const [index, invoice] of answer.InvoiceSummaries.entries()) {
    const fault = invoiceFault(invoice, month);
    if (fault === undefined) continue;
    const { InvoiceId } = invoice;
    const named = InvoiceId === undefined ? '' : ` (${JSON.stringify(InvoiceId.slice(0, 40))})`;
    throw new DataError(`invoice ${index + 1}${named} ${fault}`, { where, next: WITHOUT_INVOICES });
  }
  const { InvoiceSummaries: listed, NextToken: nextToken } = answer;
  const keys = listed.map(invoiceKey).filter((key) => key !== undefined);
  return { content, rows: listed.length, nextToken, where, keys };
}

/**
 * Reads an answer of GetCostAndUsage, fresh from AWS or staged.
 * @throws {TransientError} when it is none. @throws {DataError} when it answers another question, or holds what
 * no row can, naming the group.
 */
export function readCostPage(content: Uint8Array, where: string, asked: Asked): FetchedCost {
  const { month, groupBy, metrics, page } = asked;
  const parse = (json: unknown) => parseFreshCost(json, metrics);
  const answer = parseAnswer('GetCostAndUsage', parse, content, where);
  const { ResultsByTime: results, NextPageToken: nextToken } = answer;
  const [{ Groups = [], Total = {}, Estimated: estimated = false } = {}] = results;
  const fault =
    periodFault(results, month, page === 1 && nextToken === undefined) ??
    formFault(Groups.length, Total, asked);
  if (fault !== undefined) throw wrongAnswer(`the answer ${fault}`, where);
  const order = keyOrder(answer, groupBy, where);
  // Most groups share a key with the one before, which has been looked at.
  const checked: (string | undefined)[] = [];
  const groups = Groups.map(({ Keys, Metrics }, index): CostGroup => {
    const place = (): string => `group ${index + 1} (${Keys.join(', ').slice(0, 200)})`;
    if (Keys.length !== groupBy.length)
      throw wrongAnswer(`${place()} has ${Keys.length} keys instead of ${groupBy.length}`, where);
    const keys = groupBy.map((dimension, position) => {
      const key = Keys[order[position] ?? position] ?? '';
      if (key !== checked[position]) {
        const wrong = keyFault(dimension, key);
        if (wrong !== undefined) throw wrongAnswer(`${place()} ${wrong}`, where);
        checked[position] = key;
      }
      return valueIn(dimension, key) ?? key;
    });
    return { keys, amounts: amountsOf(Metrics, metrics, place, where) };
  });
  checkDescriptions(answer, where);
  const total =
    groupBy.length > 0 || metrics.every((metric) => Total[metric] === undefined)
      ? undefined
      : totalOf(Total, metrics, where);
  return { where, content, rows: groups.length, nextToken, groups, total, estimated };
}

/** What tells that an answer belongs to a question that groups, or does not, unlike the one that was asked. */
function formFault(
  groups: number,
  total: Metrics,
  { groupBy, metrics }: Asked,
): string | undefined {
  if (groupBy.length === 0)
    return groups === 0
      ? undefined
      : `has ${groups} groups, where the ungrouped total was asked for`;
  if (groups > 0) return undefined;
  // AWS may tell a total of 0 beside no groups.
  const said = metrics.find(
    (metric) => !/^[-+]?[0.]*(?:[eE].*)?$/.test(total[metric]?.Amount ?? ''),
  );
  return said === undefined
    ? undefined
    : `has a total (${said} ${total[said]?.Amount.slice(0, 60) ?? ''}) and no groups, where ${groupBy.join(' and ')} were asked for`;
}

/** Where each dimension's value stands in a group's keys: in the order that the answer repeats. */
function keyOrder(
  { GroupDefinitions = [] }: FreshCost,
  groupBy: readonly Dimension[],
  where: string,
): number[] {
  const order = keyPositions(GroupDefinitions, groupBy);
  if (order !== undefined) return order;
  const given = GroupDefinitions.map(({ Key }) => Key);
  const list = (names: readonly string[]): string => names.join(' and ') || 'nothing';
  throw wrongAnswer(
    `the answer groups by ${list(given).slice(0, 200)}, where ${list(groupBy)} was asked for`,
    where,
  );
}

function checkDescriptions(
  { DimensionValueAttributes: told = [] }: FreshCost,
  where: string,
): void {
  for (const { Value = '', Attributes: { description = '' } = {} } of told) {
    const fault = descriptionFault(Value, description);
    if (fault !== undefined) throw wrongAnswer(`the name of account ${Value} ${fault}`, where);
  }
}

type Metrics = Readonly<Record<string, { Amount: string; Unit: string } | undefined>>;

function totalOf(total: Metrics, metrics: readonly Metric[], where: string): Amounts {
  const missing = metrics.find((metric) => total[metric] === undefined);
  if (missing !== undefined) throw wrongAnswer(`the total has no ${missing}`, where);
  return amountsOf(total, metrics, () => 'the total', where);
}

const unitColumn = columnOf('consumption', 'Unit');

/** @param place names the group, for errors alone. */
function amountsOf(
  given: Metrics,
  metrics: readonly Metric[],
  place: () => string,
  where: string,
): Amounts {
  const amounts = new Map<Metric, { units: Units; unit: string }>();
  for (const name of metrics) {
    const value = given[name];
    if (value === undefined) continue;
    const { Amount, Unit: unit } = value;
    const fault = name === 'UsageQuantity' ? textFault(unitColumn, unit) : currencyFault(unit);
    if (fault !== undefined) throw wrongAnswer(`${place()} ${fault} of its ${name}`, where);
    amounts.set(name, { units: unitsOf(Amount, place, where), unit });
  }
  return amounts;
}

function unitsOf(amount: string, place: () => string, where: string): Units {
  try {
    return parseAmount(amount).units;
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw wrongAnswer(`${cause.message} (${place()})`, where, cause);
  }
}

/**
 * The JSON value of a page, fresh from AWS or staged by an earlier run.
 * @throws {DataError} when the bytes are not JSON, as after a truncation.
 */
export function parsePageContent(content: Uint8Array, where: string): unknown {
  try {
    return answerJson(content);
  } catch (cause) {
    throw new DataError('the page is not JSON', { where, cause });
  }
}

/**
 * Reads an answer by what it always has. The SDK makes an answer without members of an empty body, of `null` and
 * of `[]`, so that a success is none before it has been looked at.
 * @throws {TransientError} when it lacks that: what answers in AWS's place, or AWS itself in trouble, passes.
 * Where each answer is charged for, trying again at once may cost as much again: that is left to the next run.
 */
function parseAnswer<T>(
  operation: string,
  parse: (json: unknown) => z.ZodSafeParseResult<T>,
  content: Uint8Array,
  where: string,
): T {
  const json = parsePageContent(content, where);
  const parsed = parse(json);
  if (parsed.success) return parsed.data;
  const [issue, ...others] = parsed.error.issues;
  const place = issue === undefined ? '' : z.core.toDotPath(issue.path);
  const more = others.length === 0 ? '' : `, and ${others.length} more`;
  throw new TransientError(
    `not an answer of ${operation}: ${place === '' ? '' : `${place}: `}${issue?.message ?? ''}${more}${saidType(json)}`,
    { where, next: AGAIN },
  );
}

/** The error that a service put into a success, in its own words. */
function saidType(json: unknown): string {
  const type = z.object({ __type: z.string() }).safeParse(json).data?.__type;
  return type === undefined ? '' : ` (it says ${JSON.stringify(type.slice(0, 80))})`;
}

/** What to do about invoices that cannot be true: a month that has begun with them goes on with them. */
export const WITHOUT_INVOICES =
  'run the same command again; if it stays so, report it to AWS support, and fetch the month with --no-invoices, which pays for its cost anew';

/** An answer that is whole, but holds what cannot be true: it is not staged. */
export function wrongAnswer(message: string, where: string, cause?: unknown): DataError {
  return new DataError(message, {
    where,
    next: 'run the same command again; if it stays so, report it to AWS support',
    cause,
  });
}
