import type { GetCostAndUsageCommandInput } from '@aws-sdk/client-cost-explorer';
import type { Month } from '../pipeline/month.js';
import { timePeriod } from '../pipeline/month.js';
import type { Metric, Scope } from '../pipeline/scope.js';
import { costMetrics } from '../pipeline/scope.js';
import type { QueryName } from '../pipeline/staging/layout.js';
import type { Dimension, Query } from '../pipeline/staging/manifest.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import type { UsageTypeFacts } from './shared-usage-types.js';
import {
  regionsByAccountQueries,
  regionsByServiceQueries,
  sharedQueries,
} from './shared-usage-types.js';

const query = (name: QueryName, ...groupBy: Query['groupBy']): Query => ({ name, groupBy });

export const totalQuery = query('total');
const serviceQuery = query('service', 'SERVICE');
const usageTypeServices = query('usage-type-service', 'USAGE_TYPE', 'SERVICE');
const usageTypeAccounts = query('usage-type-account', 'USAGE_TYPE', 'LINKED_ACCOUNT');
const usageTypeRegions = query('usage-type-region', 'USAGE_TYPE', 'REGION');
const recordTypes = query('record-type', 'RECORD_TYPE', 'LINKED_ACCOUNT');

/**
 * The questions of a scope, in the order in which they are asked. What usage types share is known only
 * from the first answers, so the questions are to be taken one at a time, each after the whole answer to
 * the one before.
 * The ungrouped total comes after all groups: those that cannot be had cost no cent for it. Where it lies
 * too far from them, the cost by service alone tells which services have cost that no account bears.
 * @param facts what the answers so far say; read when it is needed.
 * @param services whether the cost by service alone is wanted; asked after the total.
 */
export function* queriesOf(
  { detail, byRecordType }: Pick<Scope, 'detail' | 'byRecordType'>,
  awsTotal: boolean,
  facts: UsageTypeFacts,
  services: () => boolean,
): Generator<Query, void, undefined> {
  if (detail === 'service') yield costQuery;
  else {
    yield usageTypeServices;
    yield usageTypeAccounts;
    yield* sharedQueries(facts.services);
    yield usageTypeRegions;
    yield* regionsByServiceQueries(facts);
    yield* regionsByAccountQueries(facts);
  }
  if (byRecordType) yield recordTypes;
  if (awsTotal) yield totalQuery;
  if (services()) yield serviceQuery;
}

/** The metrics that a question asks for: quantities only where rows show them, one where none is looked at. */
export function metricsOf(scope: Scope, { name }: Pick<Query, 'name'>): Metric[] {
  if (name.startsWith('usage-type-region')) return ['UnblendedCost'];
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
    Dimensions: { Key: Key as Dimension, Values },
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
