import { organizationData } from '../../fixtures/demo/data.js';
import type { CloudData } from '../../fixtures/demo/model.js';
import type { Month } from '../../pipeline/shared/month.js';

/**
 * Has an account change payers within months: the organization that it left has cost of it, the one that it joined
 * lists it. @returns the account.
 */
export function moveAccount(
  data: CloudData,
  months: readonly Month[],
  { left, joined }: { left: string; joined: string },
) {
  const from = organizationData(data, left);
  const to = organizationData(data, joined);
  const account = to.accounts.find(({ id }) => id !== to.managementAccount)!;
  for (const month of months) {
    const { items, ...rest } = from.months.get(month)!;
    const moved = { ...items[0]!, account: account.id, service: 'AWS Lambda' };
    from.months.set(month, { ...rest, items: [...items, moved] });
  }
  return account;
}
