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

/** The product's one question to Cost Explorer; a token belongs to exactly this request. */
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
 */
export function costAndUsage(
  session: Session,
  month: Month,
  tokens: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<CostPage, void, undefined> {
  const call = { operation: 'GetCostAndUsage', month } as const;
  const where = session.describe(call);
  return followTokens(
    async (token) => {
      const command = new GetCostAndUsageCommand(costQuery(month, token));
      const output = await session.call(call, signal, ({ costExplorer }, options) =>
        costExplorer.send(command, options),
      );
      return readCostPage(serializeAnswer(output), where);
    },
    tokens,
    where,
  );
}
