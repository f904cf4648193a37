import type { SelectionFlags } from '../config/selection.js';
import { selectStaged } from '../config/selection.js';
import { shownCommand } from '../shared/commands.js';
import { UsageError, describeError } from '../shared/errors.js';
import { lastCompleteMonth } from '../shared/month.js';
import type { Context, TableAnswer } from './command.js';
import { EXIT } from './journal.js';
import { command, configure, configureAnyway, flags, off, pick } from './command.js';

/** `pipeline status`: how far each month of each organization is. */
export const status = command({
  name: 'status',
  describe:
    'Show what is extracted, transformed and loaded, what is missing, and what is stale; AWS is not asked',
  flags: {
    month: {
      ...flags.month,
      describe: 'Month YYYY-MM, repeatable (default: all that are staged; with --check, the last)',
    },
    ...pick('from', 'to', 'organization', 'staging', 'database', 'queue', 'tolerance'),
    ...pick('config', 'timeout'),
    check: {
      ...off(),
      describe: 'Say by the exit code whether the month is complete, current, fresh and final',
    },
    ...pick('output', 'json', 'log-level'),
  },
  epilogue:
    'Reads the staging area and the database, and asks Vault, where it is set up, which organizations there are; writes nothing. A database that cannot be reached makes the column "loaded" say unknown, with a warning and exit code 1; a missing SQLite file counts as nothing loaded. Times are UTC. With --check the exit code is 0 when every organization is extracted, transformed and loaded, nothing is stale, and the figures are final; 5 when all is so, but AWS may still change the figures, which were fetched within 8 days; 3 when all that is missing is a load that was refused, since a figure differs beyond the tolerance; 1 otherwise. With --queue it shows what waits, runs and failed in a queue instead, by whom and since when.',
  examples: [
    ['status', 'every month that is staged'],
    ['status --queue redis://queue.example:6379/0', 'what waits, runs and failed in a queue'],
    ['status --check', 'whether the last complete month is all there, for cron and monitors'],
  ],
  async work(args, { log, signal, open }) {
    if (args.queue !== undefined) return queueStatus(args, log);
    const now = new Date();
    const { months: chosen, organizations } = selectStaged(args, now);
    const { config, notSetUp } = await configureAnyway(args, {
      organizations: true,
      database: true,
    });
    const { formatStatus, status, statusTable, statusToJson } =
      await import('../inspect/slice-status.js');
    const { check, describeProblem, describeCheck, problemsOf } =
      await import('../inspect/status-check.js');
    const { openLoads } = await import('../../load/loads.js');
    const { absentSlices, knownOrganizations } = await import('../run/known-organizations.js');
    const { stagedSlices } = await import('../staging/extractions.js');
    const { staging, secrets } = await open(config);
    const { timeoutMs, provisionalDays, tolerance } = config;
    const known = await knownOrganizations(secrets, notSetUp);
    const loads = await openLoads(() => secrets.database(), { log, signal, timeoutMs });
    const { fault } = loads;
    await loads.close();
    if (fault !== undefined)
      log.warn(`the database cannot be asked what is loaded: ${describeError(fault)}`);

    const all = await stagedSlices(staging);
    const there = [...new Set(all.map(({ slice }) => slice.month))];
    const months = chosen ?? (args.check ? [lastCompleteMonth(now)] : there);
    const staged = all.filter(
      ({ slice: { month, organization } }) =>
        months.includes(month) && (organizations?.includes(organization) ?? true),
    );
    const slices = await status({ staging, staged, loads, provisionalDays, tolerance });
    const everything = all.map(({ slice }) => slice);
    const absence = absentSlices(known, everything, months, organizations, now);
    const problems = problemsOf(slices, absence, fault, now);
    const told = problems.map(describeProblem);
    const noted = absence.note === undefined ? [] : [absence.note];
    const document = statusToJson(slices, staging.location, fault);
    if (args.check) {
      const checked = check(slices, problems, absence, fault);
      const exitCode = exitCodes[checked.verdict];
      return {
        text: () => [...told, ...noted, describeCheck(checked, months)].join('\n'),
        json: () => ({ ...document, check: { ...checked, exitCode }, problems: told }),
        table: () => statusTable(document, [...told, ...noted, describeCheck(checked, months)]),
        failed: exitCode !== 0,
        exitCode,
      };
    }
    const table =
      slices.length === 0
        ? nothingStaged(staging.location, (chosen ?? organizations) !== undefined)
        : formatStatus(slices, fault);
    const besides = [...told, ...(absence.slices.length > 0 ? noted : [])];
    return {
      text: () => [table, ...besides].join('\n'),
      json: () => ({ ...document, problems: told }),
      table: () => statusTable(document, besides),
      failed: fault !== undefined || slices.some(({ faults }) => faults.length > 0),
    };
  },
});

/** Exit codes of `--check`. */
const exitCodes = {
  well: 0,
  failed: EXIT.failed,
  differs: EXIT.differs,
  provisional: EXIT.provisional,
} as const;

/** What a queue holds; the months' own state is another question. */
async function queueStatus(args: QueueFlags, log: Context['log']): Promise<TableAnswer> {
  const { month, from, to, organization, check } = args;
  if (check || [month, from, to, organization].some((flag) => flag !== undefined))
    throw new UsageError('--queue shows the whole queue', {
      next: 'leave out --month, --from, --to, --organization and --check',
    });
  const { queue, timeoutMs } = await configure(args, { organizations: false, database: false });
  if (queue === undefined)
    throw new UsageError('no queue is named', { next: 'name it with --queue' });
  const { formatQueue, queueStatus: look, queueTable } = await import('../run/queue-status.js');
  const found = await look(queue, { timeoutMs, log });
  return {
    text: () => formatQueue(found),
    json: () => found,
    table: () => queueTable(found),
    failed: false,
  };
}

interface QueueFlags extends SelectionFlags {
  check: boolean;
  [flag: string]: unknown;
}

function nothingStaged(location: string, isChosen: boolean): string {
  return isChosen
    ? `nothing is staged in ${location} for the chosen months and organizations; "pipeline status" alone shows all`
    : `nothing is staged in ${location} yet; "${shownCommand({})}" fetches the last complete month`;
}
