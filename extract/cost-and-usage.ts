import type { GetCostAndUsageCommandInput } from '@aws-sdk/client-cost-explorer';
import { GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { addTo, parseAmount } from '../pipeline/money.js';
import type { Month } from '../pipeline/month.js';
import { timePeriod } from '../pipeline/month.js';
import type { Page } from './page.js';
import { followTokens, givenToken, parsePageContent, serializeAnswer } from './page.js';
import type { Session } from './session.js';

/** One answer of GetCostAndUsage, with what the manifest says about it. */
export interface CostPage extends Page {
  /** Sum of the page's groups per currency. */
  totals: Totals;
  /** Whether AWS calls any part of the page estimated. */
  estimated: boolean;
}

const METRIC = 'UnblendedCost';

const group = z.object({
  Keys: z.array(z.string()),
  Metrics: z.object({ [METRIC]: z.object({ Amount: z.string(), Unit: z.string() }) }),
});
const answer = z.object({
  NextPageToken: z.string().optional().transform(givenToken),
  ResultsByTime: z
    .array(z.object({ Groups: z.array(group).optional(), Estimated: z.boolean().optional() }))
    .optional(),
});

/**
 * Reads an answer of GetCostAndUsage, fresh from AWS or staged.
 * @throws {DataError} when it is none, or when a group has no exact amount.
 */
export function readCostPage(content: Uint8Array, where: string): CostPage {
  const parsed = answer.safeParse(parsePageContent(content, where));
  if (!parsed.success) {
    throw new DataError(`not an answer of GetCostAndUsage: ${z.prettifyError(parsed.error)}`, {
      where,
    });
  }
  const results = parsed.data.ResultsByTime ?? [];
  const groups = results.flatMap((result) => result.Groups ?? []);
  const totals: Totals = new Map();
  for (const { Keys, Metrics } of groups) {
    const { Amount, Unit } = Metrics[METRIC];
    addTo(totals, Unit, unitsOf(Amount, Keys, where));
  }
  return {
    content,
    rows: groups.length,
    nextToken: parsed.data.NextPageToken,
    totals,
    estimated: results.some((result) => result.Estimated === true),
  };
}

function unitsOf(amount: string, keys: readonly string[], where: string): bigint {
  try {
    return parseAmount(amount).units;
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw new DataError(`${cause.message} (group ${keys.join(', ')})`, { where, cause });
  }
}

/** The answer with the month's ungrouped cost. */
export interface TotalPage extends Page {
  /** The cost per currency; empty when AWS gives none, as it may for a month without cost. */
  totals: Totals;
}

const total = z.object({
  ResultsByTime: z
    .array(
      z.object({
        Total: z
          .object({ [METRIC]: z.object({ Amount: z.string(), Unit: z.string() }).optional() })
          .optional(),
      }),
    )
    .optional(),
});

/**
 * Reads an answer of GetCostAndUsage without groups, fresh from AWS or staged.
 * @throws {DataError} when it is none, or its amount is not exact.
 */
export function readTotalPage(content: Uint8Array, where: string): TotalPage {
  const parsed = total.safeParse(parsePageContent(content, where));
  if (!parsed.success) {
    throw new DataError(`not an ungrouped total: ${z.prettifyError(parsed.error)}`, { where });
  }
  const totals: Totals = new Map();
  for (const { Total } of parsed.data.ResultsByTime ?? []) {
    const sum = Total?.[METRIC];
    if (sum !== undefined) addTo(totals, sum.Unit, unitsOf(sum.Amount, ['total'], where));
  }
  return { content, rows: 0, nextToken: undefined, totals };
}

/** The question for the month's groups; a token belongs to exactly this request. */
export function costQuery(month: Month, token: string | undefined): GetCostAndUsageCommandInput {
  return {
    TimePeriod: timePeriod(month),
    Granularity: 'MONTHLY',
    Metrics: [METRIC],
    GroupBy: [
      { Type: 'DIMENSION', Key: 'SERVICE' },
      { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' },
    ],
    ...(token === undefined ? {} : { NextPageToken: token }),
  };
}

/**
 * The month's cost pages after those whose tokens are given, to the last one; with no tokens, from
 * the first. Each page is one request that AWS charges $0.01 for, asked for only when the consumer
 * wants it.
 * @param onPaid called for each answer as it comes, also for one that cannot be read.
 */
export function costAndUsage(
  session: Session,
  month: Month,
  tokens: readonly string[],
  signal: AbortSignal,
  onPaid: () => void,
): AsyncGenerator<CostPage, void, undefined> {
  const call = { operation: 'GetCostAndUsage', month } as const;
  const where = session.describe(call);
  return followTokens(
    async (token) => {
      const command = new GetCostAndUsageCommand(costQuery(month, token));
      const output = await session.call(call, signal, ({ costExplorer }, options) =>
        costExplorer.send(command, options),
      );
      onPaid();
      return readCostPage(serializeAnswer(output), where);
    },
    tokens,
    where,
  );
}

/**
 * The month's ungrouped cost: the same question without groups. One request that AWS charges $0.01 for.
 * @param onPaid called for the answer, also for one that cannot be read.
 */
export async function ungroupedTotal(
  session: Session,
  month: Month,
  signal: AbortSignal,
  onPaid: () => void,
): Promise<TotalPage> {
  const call = { operation: 'GetCostAndUsage', month } as const;
  const command = new GetCostAndUsageCommand({
    TimePeriod: timePeriod(month),
    Granularity: 'MONTHLY',
    Metrics: [METRIC],
  });
  const output = await session.call(call, signal, ({ costExplorer }, options) =>
    costExplorer.send(command, options),
  );
  onPaid();
  return readTotalPage(serializeAnswer(output), session.describe(call));
}
