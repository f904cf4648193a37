import { select } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { print } from '../shared/output.js';
import { printableLines } from '../shared/printable.js';
import { parseThreshold } from '../shared/threshold.js';
import { command, configure, each, flags, off, one, pick } from './command.js';
import { EXIT } from './journal.js';

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
    threshold: {
      ...each(),
      describe:
        'Only what changed by so much, and exit code 3 where anything did: 20% or 100USD; of several, repeatable, each has to be reached',
    },
    ...pick('staging', 'config', 'timeout', 'output', 'json'),
    quiet: { ...off(), describe: 'Print nothing where nothing reached the --threshold' },
  },
  epilogue:
    'Reads the staged pages alone. The exit code is 0 whatever changed; with --threshold it is 3 when a change of an account and service reached it. An amount is a threshold for its own currency alone, and any change is more than any percentage of nothing.',
  examples: [
    ['changes --month 2026-10', 'the newest extraction against the one before'],
    [
      'changes --month 2026-10 --since 2026-11-02',
      'all that changed since the figures of 2 November',
    ],
    ['changes --month 2026-10 --customer 123456789012', 'what changed for one customer'],
    [
      'changes --threshold 20% --threshold 100USD --quiet',
      'for cron: nothing, or what changed by both, and exit code 3',
    ],
  ],
  async work(args, { signal, open }) {
    const { months, organizations: chosen } = select(
      { month: args.month, organization: args.organization },
      new Date(),
    );
    const points = await checkUsage(args, months);
    const thresholds = thresholdsOf(args);
    const config = await configure(args, { organizations: false, database: false });
    const { month } = points;
    const { changesLines, changesRows, changesToJson, countChanges } =
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
      thresholds,
    });
    const isReached = thresholds.length > 0 && countChanges(found) > 0;
    return {
      async text() {
        for (const line of changesLines(month, found)) await print(printableLines(`${line}\n`));
      },
      json: () => changesToJson(month, found),
      table: () => changesRows(month, found),
      failed: isReached,
      exitCode: EXIT.differs,
      isUsual: !isReached,
    };
  },
});

/** @throws {UsageError} on a text that is no threshold, and on --quiet with nothing to be quiet about. */
function thresholdsOf({ threshold, quiet }: { threshold: string[] | undefined; quiet: boolean }) {
  if (quiet && threshold === undefined)
    throw new UsageError('--quiet needs a --threshold', { next: 'say what is news to you' });
  // Several may stand in one, as months do.
  return (threshold ?? [])
    .flatMap((text) => text.split(','))
    .map((text) => parseThreshold(text.trim(), '--threshold'));
}

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
