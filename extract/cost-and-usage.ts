import { GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import type { Units } from '../pipeline/money.js';
import { parseAmount } from '../pipeline/money.js';
import type { Month } from '../pipeline/month.js';
import type { Metric, Scope } from '../pipeline/scope.js';
import {
  columnOf,
  currencyFault,
  descriptionFault,
  keyFault,
  periodFault,
  textFault,
} from '../pipeline/staging/answers.js';
import type { Dimension, Query } from '../pipeline/staging/manifest.js';
import type { Page } from './page.js';
import { followTokens, givenToken, parseAnswer, serializeAnswer, wrongAnswer } from './page.js';
import { metricsOf, requestOf } from './queries.js';
import type { Session } from './session.js';

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
