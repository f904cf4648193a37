import type { CloudData, LineItem, OrganizationSize } from '../../fixtures/demo/data.js';
import { demoData, monthData, organizationData } from '../../fixtures/demo/data.js';
import type { DemoView } from '../../fixtures/demo/model.js';
import { costs, units } from '../../fixtures/demo/model.js';
import type { Month } from '../../pipeline/shared/month.js';

/** The billing view that tells what the data's cost is for the reseller. */
export const COST_VIEW = 'arn:aws:billing::999900009999:billingview/what-we-pay';
/** Stands in the bill alone, and in the cost view alone. */
export const [ONLY_BILL, ONLY_COST] = ['Amazon Braket', 'AWS <b>Ground Station</b>'];

/** Data of which the organization `oab` names two views: the bill's, and that of what it costs, 10 % less. */
export function resold(
  months: Month[],
  organizations: readonly OrganizationSize[] = [{ name: 'oab', accounts: 9 }],
): CloudData {
  const data = demoData({ months, organizations });
  const oab = organizationData(data, 'oab');
  const [, first, second] = oab.accounts;
  for (const one of months) {
    const { items } = monthData(data, 'oab', one);
    const like = items.find(({ account }) => account === first!.id)!;
    monthData(data, 'oab', one).items = [
      ...items,
      { ...like, service: ONLY_BILL, costs: costs(units('12.0000000001'), 0) },
    ];
  }
  const own = new Map(
    [...oab.months].map(([one, { items, ...rest }]) => {
      const paid = items
        .filter(({ service }) => service !== ONLY_BILL)
        .map((item): LineItem => {
          const unblended = (item.costs.UnblendedCost * 9n) / 10n / 10n ** 8n;
          return { ...item, costs: costs(unblended * 10n ** 8n, 0) };
        });
      const like = paid.find(({ account }) => account === second!.id)!;
      const extra = { ...like, service: ONLY_COST, costs: costs(units('-3.0000000007'), 0) };
      return [one, { ...rest, items: [...paid, extra] }];
    }),
  );
  oab.views = new Map<string, DemoView>([[COST_VIEW, { accounts: oab.accounts, months: own }]]);
  data.secret['aws_oab_costViewArn'] = COST_VIEW;
  return data;
}

/** The cost view's cost by account and service. */
export function paidBy(data: CloudData, month: Month): Map<string, bigint> {
  const sums = new Map<string, bigint>();
  const { items } = organizationData(data, 'oab').views!.get(COST_VIEW)!.months.get(month)!;
  for (const { account, service, costs: of } of items) {
    if (account === '') continue;
    const key = `${account}\t${service}`;
    sums.set(key, (sums.get(key) ?? 0n) + of.UnblendedCost);
  }
  return sums;
}
