import { selectStaged } from '../config/selection.js';
import { shownCommand } from '../shared/commands.js';
import { describeError } from '../shared/errors.js';
import { command, configure, flags, pick } from './command.js';

/** `pipeline status`: how far each month of each organization is. */
export const status = command({
  name: 'status',
  describe: 'Show what is extracted, transformed and loaded, and what is stale; AWS is not asked',
  flags: {
    month: {
      ...flags.month,
      describe: 'Month YYYY-MM, repeatable (default: all that are staged)',
    },
    ...pick('from', 'to', 'organization', 'staging', 'database', 'config', 'timeout'),
    ...pick('json', 'log-level'),
  },
  epilogue:
    'Reads the staging area and the database alone, and writes nothing. A database that cannot be reached makes the column "loaded" say unknown, with a warning and exit code 1; a missing SQLite file counts as nothing loaded. Times are UTC.',
  async work(args, { log, signal, open }) {
    const { months, organizations } = selectStaged(args, new Date());
    const config = await configure(args, { organizations: false, database: true });
    const { formatStatus, status, statusToJson } = await import('../inspect/slice-status.js');
    const { openLoads } = await import('../inspect/loads.js');
    const { staging, secrets } = await open(config);
    const { timeoutMs, provisionalDays } = config;
    const loads = await openLoads(() => secrets.database(), { log, signal, timeoutMs });
    const { fault } = loads;
    await loads.close();
    const slices = await status({ staging, months, organizations, loads, provisionalDays });
    if (fault !== undefined)
      log.warn(`the database cannot be asked what is loaded: ${describeError(fault)}`);
    const isChosen = (months ?? organizations) !== undefined;
    return {
      text: () =>
        slices.length === 0
          ? nothingStaged(staging.location, isChosen)
          : formatStatus(slices, fault),
      json: () => statusToJson(slices, staging.location, fault),
      failed: fault !== undefined || slices.some(({ faults }) => faults.length > 0),
    };
  },
});

function nothingStaged(location: string, isChosen: boolean): string {
  return isChosen
    ? `nothing is staged in ${location} for the chosen months and organizations; "pipeline status" alone shows all`
    : `nothing is staged in ${location} yet; "${shownCommand({})}" fetches the last complete month`;
}
