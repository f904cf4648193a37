import type { Breakdown } from './dimensions.js';
import { sortedBreakdowns } from './dimensions.js';
import { UsageError } from './errors.js';
import { printable } from './printable.js';

/** How finely a month's cost is told: by service, or by service and usage type. */
export const details = ['service', 'usage-type'] as const;
export type Detail = (typeof details)[number];

/**
 * The cost metrics of Cost Explorer that may stand beside UnblendedCost, each a column of that name
 * (AWS Cost Management API reference, GetCostAndUsage, Metrics).
 */
export const furtherMetrics = [
  'AmortizedCost',
  'BlendedCost',
  'NetAmortizedCost',
  'NetUnblendedCost',
] as const;
export type FurtherMetric = (typeof furtherMetrics)[number];

/** Every metric that is asked for; UnblendedCost always is. */
export type Metric = 'UnblendedCost' | FurtherMetric | 'UsageQuantity';

/** What of an organization's month is asked for. */
export interface Scope {
  readonly detail: Detail;
  /** Each once, sorted. */
  readonly metrics: readonly FurtherMetric[];
  /** What each account's cost is split by too: each once, sorted. */
  readonly by: readonly Breakdown[];
  /** Whether the Invoicing API is asked for the month's invoices too. */
  readonly invoices: boolean;
  /** ARN of the billing view that is asked; null: the organization's own cost. */
  readonly billingViewArn: string | null;
  /** ARN of the billing view that tells what the same costs the reseller; null: none is asked. */
  readonly costViewArn: string | null;
  /** Whether the organization's accounts are listed; without, Cost Explorer's own names of them have to do. */
  readonly listAccounts: boolean;
}

/** The part of a scope that is each organization's own. */
export type OrganizationView = Pick<Scope, 'billingViewArn' | 'costViewArn' | 'listAccounts'>;

/** The least that can be asked for: the detail by service alone, of the organization itself. */
export const plainScope: Scope = {
  detail: 'service',
  metrics: [],
  by: [],
  invoices: false,
  billingViewArn: null,
  costViewArn: null,
  listAccounts: true,
};

/**
 * A scope with open parts, for what is staged to decide: what people leave unset, and the organization's own part
 * where Vault cannot be asked.
 */
export type WantedScope = { readonly [Part in keyof Scope]: Scope[Part] | undefined };

/** The whole scope: what is wanted and, where that is open, what was asked for before. */
export function completeScope(wanted: WantedScope, before: Scope = plainScope): Scope {
  const view = (part: 'billingViewArn' | 'costViewArn'): string | null => {
    const own = wanted[part];
    return own === undefined ? before[part] : own;
  };
  return {
    detail: wanted.detail ?? before.detail,
    metrics: wanted.metrics ?? before.metrics,
    by: completeBreakdowns(wanted.by, before.by),
    invoices: wanted.invoices ?? before.invoices,
    billingViewArn: view('billingViewArn'),
    costViewArn: view('costViewArn'),
    listAccounts: wanted.listAccounts ?? before.listAccounts,
  };
}

/** What is wanted comes to what the month has already: who adds one loses none. None at all takes all back. */
function completeBreakdowns(wanted: Scope['by'] | undefined, before: Scope['by']): Breakdown[] {
  return wanted?.length === 0 ? [] : sortedBreakdowns([...(wanted ?? []), ...before]);
}

/** Whether what was asked for holds all that is wanted, in the wanted detail and view. */
export function covers(
  asked: Scope,
  { detail, metrics = [], by = [], ...wanted }: WantedScope,
): boolean {
  return (
    (detail === undefined || asked.detail === detail) &&
    (wanted.billingViewArn === undefined || asked.billingViewArn === wanted.billingViewArn) &&
    (asked.invoices || wanted.invoices !== true) &&
    // More than is wanted will do; but what another view says is nothing of the kind.
    (wanted.costViewArn == null || asked.costViewArn === wanted.costViewArn) &&
    (asked.listAccounts || wanted.listAccounts !== true) &&
    metrics.every((metric) => asked.metrics.includes(metric)) &&
    by.every((dimension) => asked.by.includes(dimension))
  );
}

/** Whether the same questions are asked for both, so that one's pages go on where the other's end. */
export function sameScope(a: Scope, b: Scope): boolean {
  const parts = Object.keys(plainScope) as (keyof Scope)[];
  return parts.every((part) => JSON.stringify(a[part]) === JSON.stringify(b[part]));
}

/**
 * Refuses a cost view that is the bill's own, and one beside the detail by usage type: what services cost is asked by
 * service and account, and would stand beside no one row.
 * @throws {UsageError} naming the organization and both settings.
 */
export function checkCostView(
  organization: string,
  {
    detail,
    billingViewArn,
    costViewArn,
  }: Pick<WantedScope, 'detail' | 'billingViewArn' | 'costViewArn'>,
): void {
  if (costViewArn == null) return;
  if (costViewArn === billingViewArn)
    throw new UsageError(`${organization} has one view for billingViewArn and costViewArn`, {
      where: costViewArn,
      next: 'name what is billed, and what that costs: two views, or take costViewArn away',
    });
  if (detail !== 'usage-type') return;
  throw new UsageError(
    `${organization} has a costViewArn, which tells cost by service, and the detail usage-type`,
    {
      where: `"detail" and costViewArn of ${organization}`,
      next: 'choose --detail service for it, or take its costViewArn away',
    },
  );
}

/**
 * What one scope has that another has not, in words: `by service instead of usage type, with AmortizedCost, without
 * RECORD_TYPE`. What both have is not told. Empty where they are the same.
 */
export function describeScopeChange(from: Scope, to: Scope): string {
  const list = new Intl.ListFormat('en');
  const parts = (scope: Scope): string[] => [
    ...scope.by.map(printable),
    ...scope.metrics,
    ...(scope.invoices ? ['invoices'] : []),
    ...(scope.listAccounts ? ['the list of accounts'] : []),
  ];
  const beyond = (word: string, some: Scope, others: Scope): string[] => {
    const own = parts(some).filter((part) => !parts(others).includes(part));
    return own.length === 0 ? [] : [`${word} ${list.format(own)}`];
  };
  const instead = (word: string, nameOf: (scope: Scope) => string): string[] =>
    nameOf(from) === nameOf(to) ? [] : [`${word} ${nameOf(to)} instead of ${nameOf(from)}`];
  return [
    ...instead('by', ({ detail }) => (detail === 'service' ? 'service' : 'usage type')),
    ...beyond('with', to, from),
    ...beyond('without', from, to),
    ...instead('of', ({ billingViewArn }) =>
      billingViewArn === null ? 'the organization itself' : `the billing view ${billingViewArn}`,
    ),
    ...instead('with', ({ costViewArn }) =>
      costViewArn === null ? 'no cost view' : `the cost view ${costViewArn}`,
    ),
  ].join(', ');
}

/**
 * The cost metrics of every question, UnblendedCost first. The detail by usage type needs BlendedCost,
 * its rows' DiscountedAmount.
 */
export function costMetrics({ detail, metrics }: Scope): Exclude<Metric, 'UsageQuantity'>[] {
  const further: readonly FurtherMetric[] =
    detail === 'usage-type' ? ['BlendedCost', ...metrics] : metrics;
  return ['UnblendedCost', ...[...new Set(further)].sort()];
}
