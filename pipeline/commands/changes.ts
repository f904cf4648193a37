import { select } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { print } from '../shared/output.js';
import { printableLines } from '../shared/printable.js';
import { command, configure, flags, one, pick } from './command.js';

/** `pipeline changes`: what AWS changed in a month from one of its extractions to another. */
export const changes = command({
  name: 'changes',
  describe: 'Show what changed in a month from one extraction to another',
  flags: {
    month: { ...flags.month, describe: 'Month YYYY-MM (default: the last complete one)' },
    ...pick('organization'),
    customer: { ...one(), describe: 'Only this customer: an account id, or its whole name' },
    since: {
      ...one(),
      describe: 'Extraction or date to compare from (default: the one before the other)',
    },
    until: {
      ...one(),
      describe: 'Extraction or date to compare with (default: the newest)',
    },
    ...pick('staging', 'config', 'timeout', 'output', 'json'),
  },
  examples: [
    ['changes --month 2026-10', 'the newest extraction against the one before'],
    [
      'changes --month 2026-10 --since 2026-11-02',
      'all that changed since the figures of 2 November',
    ],
    ['changes --month 2026-10 --customer 123456789012', 'what changed for one customer'],
  ],
  async work(args, { signal, open }) {
    const { months, organizations: chosen } = select(
      { month: args.month, organization: args.organization },
      new Date(),
    );
    const points = await checkUsage(args, months);
    const config = await configure(args, { organizations: false, database: false });
    const { month } = points;
    const { changesLines, changesRows, changesToJson } =
      await import('../inspect/month-changes-report.js');
    const { findChanges } = await import('../inspect/month-changes.js');
    const { checkMonths, checkOrganizations } = await import('../inspect/chosen.js');
    const { stagedOrganizations } = await import('../run/resources.js');
    const { staging } = await open(config);
    const staged = await stagedOrganizations(staging, month, 'raw');
    checkMonths(staging.location, staged.length === 0 ? [] : [month], [month]);
    checkOrganizations(staged, chosen);
    const { provisionalDays } = config;
    const organizations = chosen ?? staged;
    const found = await findChanges({
      ...{ staging, organizations, ...points, provisionalDays, signal },
      customer: args.customer,
    });
    return {
      async text() {
        for (const line of changesLines(month, found)) await print(printableLines(`${line}\n`));
      },
      json: () => changesToJson(month, found),
      table: () => changesRows(month, found),
      failed: false,
    };
  },
});

/** @throws {UsageError} on several months, a text that is no moment, or moments the wrong way round. */
async function checkUsage(
  args: { since: string | undefined; until: string | undefined },
  [month, ...more]: readonly Month[],
): Promise<{ month: Month; since: string | undefined; until: string | undefined }> {
  if (month === undefined || more.length > 0)
    throw new UsageError('the changes of one month at a time', { next: 'give one --month' });
  const { parseMoment } = await import('../inspect/month-changes.js');
  const since = args.since === undefined ? undefined : parseMoment(args.since);
  const until = args.until === undefined ? undefined : parseMoment(args.until);
  if (since !== undefined && until !== undefined && since >= until)
    throw new UsageError('--since is not before --until', { next: 'swap the two' });
  return { month, since, until };
}
