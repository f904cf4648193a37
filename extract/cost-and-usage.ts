import { GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import type { Units } from '../pipeline/money.js';
import { parseAmount } from '../pipeline/money.js';
import type { Month } from '../pipeline/month.js';
import type { Metric, Scope } from '../pipeline/scope.js';
import type { Query } from '../pipeline/staging/manifest.js';
import type { Page } from './page.js';
import { followTokens, givenToken, parsePageContent, serializeAnswer } from './page.js';
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
  groups: readonly CostGroup[];
  /** The ungrouped cost; empty when the question groups, or the month has no cost. */
  total: readonly Amounts[];
  /** Whether AWS calls any part of the page estimated. */
  estimated: boolean;
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
    ResultsByTime: z
      .array(
        z.object({
          Groups: z.array(z.object({ Keys: z.array(z.string()), Metrics: amounts })).optional(),
          Total: amounts.partial().optional(),
          Estimated: z.boolean().optional(),
        }),
      )
      .optional(),
  });
}

/**
 * Reads an answer of GetCostAndUsage, fresh from AWS or staged.
 * @param metrics what was asked for: every group has to have them.
 * @throws {DataError} when it is none, or when a group has no exact amount.
 */
export function readCostPage(
  content: Uint8Array,
  where: string,
  metrics: readonly Metric[] = ['UnblendedCost'],
): CostPage {
  const parsed = answerOf(metrics).safeParse(parsePageContent(content, where));
  if (!parsed.success) {
    throw new DataError(`not an answer of GetCostAndUsage: ${z.prettifyError(parsed.error)}`, {
      where,
    });
  }
  const results = parsed.data.ResultsByTime ?? [];
  const groups = results.flatMap(({ Groups = [] }) =>
    Groups.map(({ Keys, Metrics }) => ({ keys: Keys, amounts: amountsOf(Metrics, Keys, where) })),
  );
  return {
    content,
    rows: groups.length,
    nextToken: parsed.data.NextPageToken,
    groups,
    total: results.flatMap(({ Total = {} }) =>
      Object.keys(Total).length === 0 ? [] : [amountsOf(Total, ['total'], where)],
    ),
    estimated: results.some((result) => result.Estimated === true),
  };
}

function amountsOf(
  metrics: Readonly<Record<string, z.infer<typeof cost> | undefined>>,
  keys: readonly string[],
  where: string,
): Amounts {
  const amounts = new Map<Metric, { units: Units; unit: string }>();
  for (const [name, value] of Object.entries(metrics)) {
    if (value === undefined) continue;
    amounts.set(name as Metric, { units: unitsOf(value.Amount, keys, where), unit: value.Unit });
  }
  return amounts;
}

function unitsOf(amount: string, keys: readonly string[], where: string): Units {
  try {
    return parseAmount(amount).units;
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw new DataError(`${cause.message} (group ${keys.join(', ')})`, { where, cause });
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
    async (token) => {
      const command = new GetCostAndUsageCommand(requestOf(month, scope, query, token));
      const page = { ...call, continued: token !== undefined };
      const output = await session.call(page, signal, ({ costExplorer }, options) =>
        costExplorer.send(command, options),
      );
      onPaid();
      return readCostPage(serializeAnswer(output), where, metrics);
    },
    tokens,
    where,
  );
}
