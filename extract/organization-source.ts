import { GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { ListAccountsCommand } from '@aws-sdk/client-organizations';
import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { z } from 'zod';
import { DataError, TransientError } from '../pipeline/shared/errors.js';
import type { Units } from '../pipeline/shared/money.js';
import { parseAmount } from '../pipeline/shared/money.js';
import type { Month } from '../pipeline/shared/month.js';
import type { Metric, Scope } from '../pipeline/shared/scope.js';
import { plainScope } from '../pipeline/shared/scope.js';
import {
  accountFault,
  currencyFault,
  descriptionFault,
  keyFault,
  periodFault,
  textFault,
} from '../pipeline/staging/answers.js';
import type { Dimension, Query } from '../pipeline/staging/manifest.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import { columnOf } from '../pipeline/staging/tables.js';
import { AGAIN } from './aws-errors.js';
import type { OrganizationAccess } from './organizations.js';
import { metricsOf, requestOf } from './questions.js';
import type { Session, SessionOptions } from './session.js';
import { openSession } from './session.js';

/** Where an organization's pages come from: one for each organization and run, shared by its months. */
export interface OrganizationSource {
  readonly name: string;
  readonly region: string;
  /**
   * Every page of the organization's accounts. AWS is asked once in a run; `requests` counts the
   * answers that this very call brought, 0 for the callers that share another's.
   */
  accounts(signal: AbortSignal): Promise<{ pages: readonly Page[]; requests: number }>;
  /**
   * The pages of a question's answer after those that gave `tokens`; from the first one, when there are none. A page is asked for only when its consumer wants it. `onPaid` is called for each answer.
   */
  costAndUsage(
    question: Question,
    tokens: readonly string[],
    signal: AbortSignal,
    onPaid: () => void,
  ): AsyncIterable<CostPage>;
  close(): void;
}

/** Opens an organization; nothing is contacted, and no role assumed, before the first request. */
export function openOrganization(
  access: OrganizationAccess,
  options: SessionOptions,
): OrganizationSource {
  const session = openSession(access, options);
  let listed: Promise<readonly Page[]> | undefined;

  async function list(signal: AbortSignal): Promise<readonly Page[]> {
    const pages: Page[] = [];
    for await (const page of listAccounts(session, signal)) pages.push(page);
    return pages;
  }

  return {
    name: access.name,
    region: access.region,

    async accounts(signal) {
      if (listed !== undefined) return { pages: await listed, requests: 0 };
      const attempt = list(signal);
      listed = attempt;
      try {
        const pages = await attempt;
        return { pages, requests: pages.length };
      } catch (error) {
        listed = undefined;
        throw error;
      }
    },

    costAndUsage: (question, tokens, signal, onPaid) =>
      costAndUsage(session, question, tokens, signal, onPaid),

    close: () => {
      session.close();
    },
  };
}

/** Most accounts that a page may hold (AWS Organizations API reference, ListAccounts, MaxResults). */
const PAGE_SIZE = 20;

const text = z.string().optional();
const answer = z.object({
  Accounts: z.array(
    z.object({
      Id: text,
      Name: text,
      Email: text,
      State: text,
      Status: text,
      JoinedTimestamp: z.unknown().optional(),
    }),
  ),
  NextToken: z.string().optional().transform(givenToken),
});

/**
 * Reads an answer of ListAccounts.
 * @throws {TransientError} when it is none. @throws {DataError} naming an account that is no customer.
 */
export function readAccountsPage(content: Uint8Array, where: string): Page {
  const { Accounts, NextToken } = parseAnswer('ListAccounts', answer, content, where);
  for (const [index, account] of Accounts.entries()) {
    const fault = accountFault(account);
    if (fault === undefined) continue;
    const { Id } = account;
    const named = Id === undefined ? '' : ` (${JSON.stringify(Id.slice(0, 40))})`;
    throw wrongAnswer(`account ${index + 1}${named} ${fault}`, where);
  }
  return { content, rows: Accounts.length, nextToken: NextToken };
}

/**
 * Every page of the organization's accounts, to the last token; a page may be empty before the last.
 * @throws {TransientError} when all of them are: an organization has at least its management account.
 */
export async function* listAccounts(
  session: Session,
  signal: AbortSignal,
): AsyncGenerator<Page, void, undefined> {
  const call = { operation: 'ListAccounts' } as const;
  const where = session.describe(call);
  let accounts = 0;
  const pages = followTokens(
    async (NextToken, page) => {
      const command = new ListAccountsCommand({ MaxResults: PAGE_SIZE, NextToken });
      const output = await session.call(call, signal, ({ organizations }, options) =>
        organizations.send(command, options),
      );
      return readAccountsPage(serializeAnswer(output), `${where}, page ${page}`);
    },
    [],
    where,
  );
  for await (const page of pages) {
    accounts += page.rows;
    yield page;
  }
  if (accounts > 0) return;
  throw new TransientError(
    'not an answer of ListAccounts: it lists no account, and an organization has at least its management account',
    { where, next: AGAIN },
  );
}

/** A question about a month. */
export interface Question {
  month: Month;
  scope: Scope;
  query: Query;
}

/** Exact values by metric, in units of 10^-18 of the currency, or of the usage unit. */
export type Amounts = ReadonlyMap<Metric, { units: Units; unit: string }>;

export interface CostGroup {
  /** Values of the dimensions that the question groups by, in its order. */
  keys: readonly string[];
  amounts: Amounts;
}

/** One answer of GetCostAndUsage, read. */
export interface CostPage extends Page {
  /** The request, or the staged file. */
  where: string;
  groups: readonly CostGroup[];
  /** The ungrouped cost; empty when the question groups, or the month has no cost. */
  total: readonly Amounts[];
  /** Whether AWS calls any part of the page estimated. */
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

const cost = z.object({ Amount: z.string(), Unit: z.string() });
/** AWS may leave out the unit of a quantity that has none. */
const quantity = z.object({ Amount: z.string(), Unit: z.string().default('N/A') });

function answerOf(metrics: readonly Metric[]) {
  const amounts = z.object(
    Object.fromEntries(metrics.map((name) => [name, name === 'UsageQuantity' ? quantity : cost])),
  );
  return z.object({
    NextPageToken: z.string().optional().transform(givenToken),
    GroupDefinitions: z.array(z.object({ Key: z.string() })).default([]),
    ResultsByTime: z.array(
      z.object({
        TimePeriod: z.object({ Start: z.string(), End: z.string() }),
        Groups: z.array(z.object({ Keys: z.array(z.string()), Metrics: amounts })).default([]),
        Total: amounts.partial().default({}),
        Estimated: z.boolean().default(false),
      }),
    ),
    DimensionValueAttributes: z
      .array(
        z.object({
          Value: z.string().optional(),
          Attributes: z.object({ description: z.string().optional() }).optional(),
        }),
      )
      .default([]),
  });
}

type Answer = z.infer<ReturnType<typeof answerOf>>;
type Result = Answer['ResultsByTime'][number];

/**
 * Reads an answer of GetCostAndUsage, fresh from AWS or staged.
 * @throws {TransientError} when it is none. @throws {DataError} when it answers another question, or holds what
 * no row can, naming the group.
 */
export function readCostPage(content: Uint8Array, where: string, asked: Asked): CostPage {
  const { month, groupBy, metrics, page } = asked;
  const answer = parseAnswer('GetCostAndUsage', answerOf(metrics), content, where);
  const { ResultsByTime: results, NextPageToken: nextToken } = answer;
  const fault =
    periodFault(results, month, page === 1 && nextToken === undefined) ??
    results.map((result) => formFault(result, groupBy)).find((found) => found !== undefined);
  if (fault !== undefined) throw wrongAnswer(`the answer ${fault}`, where);
  const order = keyOrder(answer, groupBy, where);
  const groups: CostGroup[] = [];
  for (const { Groups } of results) {
    for (const { Keys, Metrics } of Groups) {
      const place = `group ${groups.length + 1} (${Keys.join(', ').slice(0, 200)})`;
      if (Keys.length !== groupBy.length)
        throw wrongAnswer(`${place} has ${Keys.length} keys instead of ${groupBy.length}`, where);
      const keys = groupBy.map((dimension, index) => {
        const key = Keys[order[index] ?? index] ?? '';
        const wrong = keyFault(dimension, key);
        if (wrong !== undefined) throw wrongAnswer(`${place} ${wrong}`, where);
        return key;
      });
      groups.push({ keys, amounts: amountsOf(Metrics, place, where) });
    }
  }
  checkDescriptions(answer, where);
  return {
    where,
    content,
    rows: groups.length,
    nextToken,
    groups,
    total:
      groupBy.length > 0
        ? []
        : results.flatMap(({ Total }) =>
            Object.keys(Total).length === 0 ? [] : [totalOf(Total, metrics, where)],
          ),
    estimated: results.some(({ Estimated }) => Estimated),
  };
}

/** What tells that an answer belongs to a question that groups, or does not, unlike the one that was asked. */
function formFault({ Groups, Total }: Result, groupBy: readonly Dimension[]): string | undefined {
  if (groupBy.length === 0)
    return Groups.length === 0
      ? undefined
      : `has ${Groups.length} groups, where the ungrouped total was asked for`;
  if (Groups.length > 0) return undefined;
  // AWS may tell a total of 0 beside no groups.
  const said = Object.entries(Total).find(
    ([, value]) => value !== undefined && !/^[-+]?[0.]*(?:[eE].*)?$/.test(value.Amount),
  );
  return said === undefined
    ? undefined
    : `has a total (${said[0]} ${said[1]?.Amount.slice(0, 60) ?? ''}) and no groups, where ${groupBy.join(' and ')} were asked for`;
}

/** Where each dimension's value stands in a group's keys: in the order that the answer repeats. */
function keyOrder(
  { GroupDefinitions }: Answer,
  groupBy: readonly Dimension[],
  where: string,
): number[] {
  const given = GroupDefinitions.map(({ Key }) => Key);
  if (given.length === 0) return [...groupBy.keys()];
  const order = groupBy.map((dimension) => given.indexOf(dimension));
  if (given.length === groupBy.length && !order.includes(-1)) return order;
  const list = (names: readonly string[]): string => names.join(' and ') || 'nothing';
  throw wrongAnswer(
    `the answer groups by ${list(given).slice(0, 200)}, where ${list(groupBy)} was asked for`,
    where,
  );
}

function checkDescriptions({ DimensionValueAttributes }: Answer, where: string): void {
  for (const { Value = '', Attributes: { description = '' } = {} } of DimensionValueAttributes) {
    const fault = descriptionFault(Value, description);
    if (fault !== undefined) throw wrongAnswer(`the name of account ${Value} ${fault}`, where);
  }
}

type Metrics = Readonly<Record<string, z.infer<typeof cost> | undefined>>;

function totalOf(total: Metrics, metrics: readonly Metric[], where: string): Amounts {
  const missing = metrics.find((metric) => total[metric] === undefined);
  if (missing !== undefined) throw wrongAnswer(`the total has no ${missing}`, where);
  return amountsOf(total, 'the total', where);
}

const unitColumn = columnOf('consumption', 'Unit');

function amountsOf(metrics: Metrics, place: string, where: string): Amounts {
  const amounts = new Map<Metric, { units: Units; unit: string }>();
  for (const [name, value] of Object.entries(metrics)) {
    if (value === undefined) continue;
    const { Amount, Unit: unit } = value;
    const fault = name === 'UsageQuantity' ? textFault(unitColumn, unit) : currencyFault(unit);
    if (fault !== undefined) throw wrongAnswer(`${place} ${fault} of its ${name}`, where);
    amounts.set(name as Metric, { units: unitsOf(Amount, place, where), unit });
  }
  return amounts;
}

function unitsOf(amount: string, place: string, where: string): Units {
  try {
    return parseAmount(amount).units;
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw wrongAnswer(`${cause.message} (${place})`, where, cause);
  }
}

/**
 * The pages of a question's answer after those whose tokens are given, to the last one; with no tokens,
 * from the first. Each page is one request that AWS charges $0.01 for, asked for only when the consumer
 * wants it.
 * @param onPaid called for each answer as it comes, also for one that cannot be read.
 */
export function costAndUsage(
  session: Session,
  { month, scope, query }: Question,
  tokens: readonly string[],
  signal: AbortSignal,
  onPaid: () => void,
): AsyncGenerator<CostPage, void, undefined> {
  const call = { operation: 'GetCostAndUsage', month } as const;
  const where = session.describe(call);
  const metrics = metricsOf(scope, query);
  return followTokens(
    async (token, page) => {
      const command = new GetCostAndUsageCommand(requestOf(month, scope, query, token));
      const continued = { ...call, continued: token !== undefined };
      const output = await session.call(continued, signal, ({ costExplorer }, options) =>
        costExplorer.send(command, options),
      );
      onPaid();
      const asked = { month, groupBy: query.groupBy, metrics, page };
      return readCostPage(serializeAnswer(output), `${where}, ${query.name} page ${page}`, asked);
    },
    tokens,
    where,
  );
}

/** Pages of one answer, far more than there are accounts in any organization or groups in any month. */
const MOST_PAGES = 10_000;

/** One answer of AWS, as it is staged. */
export interface Page {
  /** The file's bytes: the operation's output as JSON, without the SDK's `$metadata`, timestamps as ISO 8601. */
  content: Uint8Array;
  /** Accounts or groups in the answer; 0 is normal, even where more pages follow. */
  rows: number;
  /** The continuation token that the next page is asked for with; `undefined` on the last page. */
  nextToken: string | undefined;
}

/** An answer of the SDK as the bytes that are staged. */
export function serializeAnswer(answer: { $metadata: unknown }): Uint8Array {
  const text = JSON.stringify({ ...answer, $metadata: undefined });
  return new TextEncoder().encode(`${text}\n`);
}

/**
 * The JSON value of a page, fresh from AWS or staged by an earlier run.
 * @throws {DataError} when the bytes are not JSON, as after a truncation.
 */
export function parsePageContent(content: Uint8Array, where: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content));
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
export function parseAnswer<T>(
  operation: string,
  schema: z.ZodType<T>,
  content: Uint8Array,
  where: string,
): T {
  const json = parsePageContent(content, where);
  const parsed = schema.safeParse(json);
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

/** An answer that is whole, but holds what cannot be true: it is not staged. */
export function wrongAnswer(message: string, where: string, cause?: unknown): DataError {
  return new DataError(message, {
    where,
    next: 'run the same command again; if it stays so, report it to AWS support',
    cause,
  });
}

/** A token as the schemas read it: AWS leaves it out on the last page; an empty one means the same. */
export function givenToken(token: string | undefined): string | undefined {
  return token === '' ? undefined : token;
}

/**
 * Asks for page after page until AWS gives no token, and for none before its consumer has taken the
 * one before. Pages are numbered from 1, those of the given tokens too.
 * @param given tokens of the pages that are staged already, in order: the first page asked for is the
 * one after them.
 * @throws {DataError} when AWS gives a token it has given before: every further page would be paid
 * for and bring nothing new. The page that repeats it is not handed out. Nor is more than
 * {@link MOST_PAGES}, whose tokens lead on for ever.
 */
export async function* followTokens<P extends Page>(
  ask: (token: string | undefined, page: number) => Promise<P>,
  given: readonly string[],
  where: string,
): AsyncGenerator<P, void, undefined> {
  const seen = new Set(given);
  let token = given.at(-1);
  let number = given.length;
  do {
    const page = await ask(token, ++number);
    token = page.nextToken;
    if (token !== undefined && seen.has(token)) {
      throw wrongAnswer(
        'AWS gave the same continuation token twice, so the pages do not advance',
        where,
      );
    }
    yield page;
    if (token !== undefined) seen.add(token);
    if (seen.size >= MOST_PAGES) {
      throw new DataError(`AWS gave ${MOST_PAGES} pages, and each names another one`, {
        where,
        next: 'check any AWS_ENDPOINT_URL; if it stays so, report it to AWS support',
      });
    }
  } while (token !== undefined);
}

/** One request for each right that an extraction needs; each throws a PipelineError that says what is missing. */
export interface AccessProbe {
  /** Assumes the role or, where there is none, asks whose the credentials are. @returns the ARN. */
  prove(signal: AbortSignal): Promise<string>;
  /** One page of ListAccounts, which is free. */
  listAccounts(signal: AbortSignal): Promise<void>;
  /** One page of GetCostAndUsage, which AWS charges $0.01 for. */
  askCost(month: Month, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** Prepares the probe; nothing is contacted before the first call. */
export function probeAccess(access: OrganizationAccess, options: SessionOptions): AccessProbe {
  const session = openSession(access, options);
  return {
    async prove(signal) {
      const { role } = access;
      // The session assumes the role before every request, so that one that sends nothing proves it.
      if (role !== undefined) {
        await session.call({ operation: 'AssumeRole' }, signal, () => Promise.resolve());
        return role.arn;
      }
      const call = { operation: 'GetCallerIdentity' } as const;
      const { Arn } = await session.call(call, signal, ({ sts }, options) =>
        sts.send(new GetCallerIdentityCommand(), options),
      );
      return Arn ?? 'unknown';
    },
    async listAccounts(signal) {
      await listAccounts(session, signal).next();
    },
    async askCost(month, signal) {
      const { billingViewArn = null } = access;
      const scope = { ...plainScope, billingViewArn };
      const question = { month, scope, query: costQuery };
      await costAndUsage(session, question, [], signal, () => undefined).next();
    },
    close: () => {
      session.close();
    },
  };
}
