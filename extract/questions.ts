import type { GetCostAndUsageCommandInput } from '@aws-sdk/client-cost-explorer';
import type { Month } from '../pipeline/shared/month.js';
import { timePeriod } from '../pipeline/shared/month.js';
import type { Metric, Scope } from '../pipeline/shared/scope.js';
import { costMetrics } from '../pipeline/shared/scope.js';
import { definitionOf } from '../pipeline/shared/dimensions.js';
import type { QueryName, RegionPart } from '../pipeline/staging/layout.js';
import { regionQueryName, sharedQueryName } from '../pipeline/staging/layout.js';
import type { FilterDimension, Query } from '../pipeline/staging/manifest.js';
import {
  breakdownOf,
  breakdownQuery,
  costQuery,
  costViewPart,
  costViewQuery,
  serviceQuery,
  usageTypeServices,
} from '../pipeline/staging/manifest.js';
import { regionOf } from '../pipeline/staging/tables.js';

const query = (name: QueryName, ...groupBy: Query['groupBy']): Query => ({ name, groupBy });

export const totalQuery = query('total');
const usageTypeAccounts = query('usage-type-account', 'USAGE_TYPE', 'LINKED_ACCOUNT');
const usageTypeRegions = query('usage-type-region', 'USAGE_TYPE', 'REGION');

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
  { detail, by, costViewArn }: Pick<Scope, 'detail' | 'by' | 'costViewArn'>,
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
  if (costViewArn !== null) yield costViewQuery;
  for (const dimension of by) yield breakdownQuery(dimension);
  if (awsTotal) yield totalQuery;
  if (services()) yield serviceQuery;
}

/**
 * The part that a question is by itself: where AWS refuses it, with one of these error codes, the extraction goes on
 * without it. `undefined`: nothing is whole without its answer. A right that is denied is none of these codes for a
 * breakdown: the same right has just given the rows.
 */
export function partOf(
  query: Query,
  { costViewArn }: Pick<Scope, 'costViewArn'>,
): { name: string; refusals: RegExp } | undefined {
  if (query.name === costViewQuery.name)
    return { name: costViewPart(costViewArn), refusals: NO_VIEW };
  const name = breakdownOf(query);
  return name === undefined ? undefined : { name, refusals: UNKNOWN };
}

/** What AWS answers to a dimension that it does not group by, and to a cost category that there is not. */
const UNKNOWN = /^(ValidationException|ResourceNotFoundException)$/;

/** What AWS answers of a billing view that is not healthy, is not there, or may not be read. */
const NO_VIEW =
  /^(BillingViewHealthStatusException|ResourceNotFoundException|ValidationException|AccessDenied(Exception)?)$/;

/** The metrics that a question asks for: quantities only where rows show them, one where none is looked at. */
export function metricsOf(scope: Scope, { name }: Pick<Query, 'name'>): Metric[] {
  if (name.startsWith('usage-type-region') || name === costViewQuery.name) return ['UnblendedCost'];
  return name.startsWith('usage-type-')
    ? [...costMetrics(scope), 'UsageQuantity']
    : costMetrics(scope);
}

/** The billing view that a question is put to; null: the organization's own. */
export function viewOf(scope: Scope, { name }: Pick<Query, 'name'>): string | null {
  return name === costViewQuery.name ? scope.costViewArn : scope.billingViewArn;
}

/** The request for a page of a question's answer; a token belongs to exactly this request. */
export function requestOf(
  month: Month,
  scope: Scope,
  { name, groupBy, filter }: Query,
  token: string | undefined,
): GetCostAndUsageCommandInput {
  const parts = Object.entries(filter ?? {}).map(([Key, Values]) => ({
    Dimensions: { Key: Key as FilterDimension, Values },
  }));
  const [only] = parts;
  const view = viewOf(scope, { name });
  return {
    TimePeriod: timePeriod(month),
    Granularity: 'MONTHLY',
    Metrics: metricsOf(scope, { name }),
    ...(groupBy.length === 0 ? {} : { GroupBy: groupBy.map(definitionOf) }),
    ...(only === undefined ? {} : { Filter: parts.length === 1 ? only : { And: parts } }),
    ...(view === null ? {} : { BillingViewArn: view }),
    ...(token === undefined ? {} : { NextPageToken: token }),
  };
}

/** Usage type → the services that AWS bills it for; none where it does not say. */
type ServicesOf = ReadonlyMap<string, ReadonlySet<string>>;

/** Usage type → values of the dimension REGION under which AWS bills it. */
type RegionsOf = ReadonlyMap<string, ReadonlySet<string>>;

/** What the answers so far say of usage types. */
interface UsageTypeFacts {
  readonly services: ServicesOf;
  readonly regions: RegionsOf;
  /** Of those that have several services and several regions: service → regions. */
  readonly regionsByService: ReadonlyMap<string, RegionsOf>;
}

/**
 * The questions that tell the cost of usage types that several services share, or that AWS names no service
 * of, by service and account.
 * Cost Explorer groups by two dimensions at most, so the third is fixed by a filter: either one usage
 * type, grouped by service and account, or one service, grouped by usage type and account. Each pair of a
 * usage type and a service is asked for exactly once, and no other set of such questions is smaller.
 */
export function sharedQueries(services: ServicesOf): Query[] {
  const shared = [...services]
    .filter(([, of]) => of.size !== 1)
    .map(([type, of]) => [type, [...of].sort()] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const cover = smallestCover(new Map(shared));
  const byType = shared
    .filter(([type, of]) => of.length === 0 || cover.left.has(type))
    .map(([type]): Unnamed => ({
      groupBy: ['SERVICE', 'LINKED_ACCOUNT'],
      filter: { USAGE_TYPE: [type] },
    }));
  const byService = [...cover.right].sort().map((service): Unnamed => ({
    groupBy: ['USAGE_TYPE', 'LINKED_ACCOUNT'],
    filter: {
      SERVICE: [service],
      USAGE_TYPE: shared
        .filter(([type, of]) => of.includes(service) && !cover.left.has(type))
        .map(([type]) => type),
    },
  }));
  return [...byType, ...byService].map((query, index) => ({
    name: sharedQueryName(index + 1),
    ...query,
  }));
}

type Unnamed = Omit<Query, 'name'>;

/**
 * The questions that tell, by service, the regions of usage types that have several services and several
 * regions: CloudFront's `EU-DataTransfer-Out-Bytes` is of edge locations, that of Amazon S3 is of eu-west-1.
 */
function regionsByServiceQueries({ services, regions }: UsageTypeFacts): Query[] {
  const some = [...regions].filter(([type]) => (services.get(type)?.size ?? 0) > 1);
  return regionQueries('service', new Map(some));
}

/** Those that tell, by account, the regions of what has several even within one service. */
function regionsByAccountQueries({ regions, regionsByService }: UsageTypeFacts): Query[] {
  const open = [...regions].map(([type, all]) => {
    const byService = [...(regionsByService.get(type)?.values() ?? [])];
    const several = byService.filter((of) => countRegions(of) > 1).flatMap((of) => [...of]);
    return [type, byService.length === 0 ? all : new Set(several)] as const;
  });
  return regionQueries('account', new Map(open));
}

function countRegions(values: ReadonlySet<string>): number {
  return new Set([...values].map(regionOf)).size;
}

/**
 * A third dimension is fixed by a filter here too: one usage type, grouped by region; or one region,
 * grouped by usage type. The values of REGION that are no regions count as one. No set of such questions
 * is smaller, and there are never more of them than regions.
 */
function regionQueries(part: RegionPart, regions: RegionsOf): Query[] {
  const beside = part === 'service' ? 'SERVICE' : 'LINKED_ACCOUNT';
  const several = [...regions]
    // Nothing tells whether Cost Explorer takes an empty value in a filter: it has no region then.
    .filter(([type, of]) => type !== '' && countRegions(of) > 1)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const cover = smallestCover(
    new Map(several.map(([type, of]) => [type, [...new Set([...of].map(regionOf))].sort()])),
  );
  const byType = several
    .filter(([type]) => cover.left.has(type))
    .map(([type]): Unnamed => ({ groupBy: ['REGION', beside], filter: { USAGE_TYPE: [type] } }));
  const byRegion = [...cover.right].sort().map((region): Unnamed => {
    const here = several.flatMap(([type, of]) => {
      const values = [...of].filter((value) => regionOf(value) === region);
      return cover.left.has(type) || values.length === 0 ? [] : [{ type, values }];
    });
    return {
      groupBy: ['USAGE_TYPE', beside],
      filter: {
        REGION: [...new Set(here.flatMap(({ values }) => values))].sort(),
        USAGE_TYPE: here.map(({ type }) => type),
      },
    };
  });
  return [...byType, ...byRegion].map((query, index) => ({
    name: regionQueryName(part, index + 1),
    ...query,
  }));
}

/**
 * The fewest vertices of a bipartite graph that touch every edge, by Kőnig's theorem: as many as a largest
 * matching has edges. The matching is grown by augmenting paths.
 * @param edges left vertex → its right neighbours.
 */
export function smallestCover(edges: ReadonlyMap<string, readonly string[]>): {
  left: Set<string>;
  right: Set<string>;
} {
  const leftOf = new Map<string, string>();
  const augment = (left: string, tried: Set<string>): boolean =>
    (edges.get(left) ?? []).some((right) => {
      if (tried.has(right)) return false;
      tried.add(right);
      const holder = leftOf.get(right);
      if (holder !== undefined && !augment(holder, tried)) return false;
      leftOf.set(right, left);
      return true;
    });
  const unmatched = [...edges.keys()].filter((left) => !augment(left, new Set()));
  // What alternating paths from unmatched left vertices reach: the cover is the rest of the left side and
  // the reached part of the right side.
  const reachedLeft = new Set<string>();
  const reachedRight = new Set<string>();
  const reach = (left: string): void => {
    if (reachedLeft.has(left)) return;
    reachedLeft.add(left);
    for (const right of edges.get(left) ?? []) {
      reachedRight.add(right);
      const holder = leftOf.get(right);
      if (holder !== undefined) reach(holder);
    }
  };
  // A left vertex that was matched when it was tried stays matched: later paths only swap its partner.
  unmatched.forEach(reach);
  return {
    left: new Set([...edges.keys()].filter((left) => !reachedLeft.has(left))),
    right: reachedRight,
  };
}
