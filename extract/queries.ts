import type { GetCostAndUsageCommandInput } from '@aws-sdk/client-cost-explorer';
import type { Month } from '../pipeline/month.js';
import { timePeriod } from '../pipeline/month.js';
import type { Metric, Scope } from '../pipeline/scope.js';
import { costMetrics } from '../pipeline/scope.js';
import type { QueryName } from '../pipeline/staging/layout.js';
import type { Query } from '../pipeline/staging/manifest.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import type { ServicesOf } from './shared-usage-types.js';
import { sharedQueries } from './shared-usage-types.js';

const query = (name: QueryName, ...groupBy: Query['groupBy']): Query => ({ name, groupBy });

export const totalQuery = query('total');
const usageTypeServices = query('usage-type-service', 'USAGE_TYPE', 'SERVICE');
const usageTypeAccounts = query('usage-type-account', 'USAGE_TYPE', 'LINKED_ACCOUNT');
const recordTypes = query('record-type', 'RECORD_TYPE', 'LINKED_ACCOUNT');

/**
 * The questions of a scope, in the order in which they are asked. What usage types share is known only
 * from the first answers, so the questions are to be taken one at a time, each after the whole answer to
 * the one before.
 * The ungrouped total comes last: groups that cannot be had cost no cent for it.
 * @param services what the answers so far say; read when it is needed.
 */
export function* queriesOf(
  { detail, byRecordType }: Pick<Scope, 'detail' | 'byRecordType'>,
  awsTotal: boolean,
  services: ServicesOf,
): Generator<Query, void, undefined> {
  if (detail === 'service') yield costQuery;
  else {
    yield usageTypeServices;
    yield usageTypeAccounts;
    yield* sharedQueries(services);
  }
  if (byRecordType) yield recordTypes;
  if (awsTotal) yield totalQuery;
}

/** The metrics that a question asks for: quantities only where rows show them. */
export function metricsOf(scope: Scope, { name }: Pick<Query, 'name'>): Metric[] {
  return name.startsWith('usage-type-')
    ? [...costMetrics(scope), 'UsageQuantity']
    : costMetrics(scope);
}

/** The request for a page of a question's answer; a token belongs to exactly this request. */
export function requestOf(
  month: Month,
  scope: Scope,
  { name, groupBy, filter }: Query,
  token: string | undefined,
): GetCostAndUsageCommandInput {
  const parts = Object.entries(filter ?? {}).map(([Key, Values]) => ({
    Dimensions: { Key: Key as 'SERVICE' | 'USAGE_TYPE', Values },
  }));
  const [only] = parts;
  return {
    TimePeriod: timePeriod(month),
    Granularity: 'MONTHLY',
    Metrics: metricsOf(scope, { name }),
    ...(groupBy.length === 0
      ? {}
      : { GroupBy: groupBy.map((Key) => ({ Type: 'DIMENSION' as const, Key })) }),
    ...(only === undefined ? {} : { Filter: parts.length === 1 ? only : { And: parts } }),
    ...(scope.billingViewArn === null ? {} : { BillingViewArn: scope.billingViewArn }),
    ...(token === undefined ? {} : { NextPageToken: token }),
  };
}
