import type { LineItem } from '../../fixtures/demo/data.js';

/**
 * What the replaced script's `get_aws_invoices` makes of a month: it asks for usage types by service and for
 * usage types by account, joins the two on the usage type alone, and keeps the last service for one that
 * several services share.
 * @returns `account\tservice\tusage type` → cost, in units of 10^-18.
 */
export function scriptsJoin(items: readonly LineItem[]): Map<string, bigint> {
  const pairs = items.map(({ usageType, service }) => `${usageType}\n${service}`);
  const serviceOf = new Map<string, string>();
  for (const pair of [...new Set(pairs)].sort()) {
    const [usageType = '', service = ''] = pair.split('\n');
    serviceOf.set(usageType, service);
  }
  const joined = new Map<string, bigint>();
  for (const { account, usageType, costs } of items) {
    const place = [account, serviceOf.get(usageType) ?? '', usageType].join('\t');
    joined.set(place, (joined.get(place) ?? 0n) + costs.UnblendedCost);
  }
  return joined;
}
