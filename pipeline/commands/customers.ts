import { select } from '../config/selection.js';
import type { SelectionFlags } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { shiftMonth } from '../shared/month.js';
import { command, configure, off, pick } from './command.js';

/** `pipeline customers`: who the customers of a month are, and who came, left or changed since another. */
export const customers = command({
  name: 'customers',
  describe: 'List the customers of a month, or who is new, closed, renamed or moved since another',
  flags: {
    changes: {
      ...off(),
      describe:
        'What differs between two months: --from and --to, or the --month and the one before it',
    },
    ...pick('month', 'from', 'to', 'organization'),
    ...pick('staging', 'config', 'timeout', 'output', 'json', 'log-level'),
  },
  epilogue:
    'Reads the staged Parquet files alone. A customer is an account; its status is that of AWS Organizations, or "unlisted" where it has cost and is not listed any more. With --changes a customer is new, closed (its state says so), gone (AWS lists it no more), moved (to another organization), renamed, reopened, or in another state. An organization whose month is not there is named, and none of its customers is taken for new or gone.',
  examples: [
    ['customers --month 2026-10', 'every customer of a month, with its status and its cost'],
    ['customers --changes', 'what changed from the month before to the last complete one'],
    ['customers --changes --from 2026-07 --to 2026-10', 'the same between any two months'],
    ['customers --output csv > customers.csv', 'the list as CSV'],
  ],
  async work(args, { signal, open }) {
    const now = new Date();
    const { months, organizations } = select(args, now);
    const pair = args.changes ? pairOf(args, months) : undefined;
    const config = await configure(args, { organizations: false, database: false });
    const { customersTable, customersToJson, findCustomers, formatCustomers } =
      await import('../inspect/month-customers.js');
    const { staging } = await open(config);
    const { provisionalDays } = config;
    const found = await findCustomers({
      ...{ staging, organizations, provisionalDays, now, signal },
      months: pair ?? months,
    });
    if (pair === undefined)
      return {
        text: () => formatCustomers(found),
        json: () => customersToJson(found),
        table: () => customersTable(found),
        failed: false,
      };
    const { compareCustomers, customerChangesTable, customerChangesToJson, formatCustomerChanges } =
      await import('../inspect/customer-changes.js');
    const changes = compareCustomers(found, ...pair);
    return {
      text: () => formatCustomerChanges(changes),
      json: () => customerChangesToJson(changes),
      table: () => customerChangesTable(changes),
      failed: false,
    };
  },
});

/**
 * The two months to compare: both ends of a range, or a month and the one before.
 * @throws {UsageError} on several months that are no range.
 */
function pairOf({ from }: SelectionFlags, months: readonly Month[]): [Month, Month] {
  const [first, last] = [months[0], months.at(-1)];
  if (first === undefined || last === undefined || (from === undefined && months.length > 1))
    throw new UsageError('--changes compares two months', {
      next: 'give them as --from and --to, or one --month to compare with the one before',
    });
  if (from === undefined) return [shiftMonth(last, -1), last];
  if (first === last)
    throw new UsageError('--from and --to are the same month', {
      next: 'name two months, or one --month to compare with the one before',
    });
  return [first, last];
}
