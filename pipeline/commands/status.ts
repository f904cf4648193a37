import type { CommandModule, InferredOptionTypes } from 'yargs';
import { select } from '../config/selection.js';
import { shownCommand } from '../shared/commands.js';
import { describeError } from '../shared/errors.js';
import { answer } from './answer.js';
import { configure } from './configure.js';
import { selectionOptions, settingOptions } from './options.js';

const { month, from, to, organization } = selectionOptions;
const options = {
  'month': { ...month, describe: 'Month YYYY-MM, repeatable (default: all that are staged)' },
  from,
  to,
  organization,
  'staging': settingOptions.staging,
  'database': settingOptions.database,
  'config': settingOptions.config,
  'timeout': settingOptions.timeout,
  'json': settingOptions.json,
  'log-level': settingOptions['log-level'],
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline status`: how far each month of each organization is. */
export const status: CommandModule<object, Arguments> = {
  command: 'status',
  describe: 'Show what is extracted, transformed and loaded, and what is stale; AWS is not asked',
  builder: (yargs) =>
    yargs
      .options(options)
      .epilogue(
        'Reads the staging area and the database alone, and writes nothing. A database that cannot be reached makes the column "loaded" say unknown, with a warning and exit code 1; a missing SQLite file counts as nothing loaded. Times are UTC.',
      ),
  async handler(args) {
    const selection = select(args, new Date());
    const isChosen = [args.month, args.from, args.to].some((flag) => flag !== undefined);
    const needs = { organizations: false, database: true };
    const config = await configure(args, needs);
    await answer(args, async ({ log, signal }) => {
      const [{ status }, { readLoads }, { openSecrets }, { openStaging }, report] =
        await Promise.all([
          import('../inspect/slice-status.js'),
          import('../inspect/slice-status.js'),
          import('../run/resources.js'),
          import('../staging/open.js'),
          import('../inspect/slice-status.js'),
        ]);
      const staging = await openStaging(config.staging, { ...config.stagingOptions, signal });
      const secrets = openSecrets(config, { log, signal });
      try {
        const loads = await readLoads(() => secrets.database(), {
          log,
          signal,
          timeoutMs: config.timeoutMs,
        });
        const { fault } = loads;
        const slices = await status({
          staging,
          months: isChosen ? selection.months : undefined,
          organizations: selection.organizations,
          loads,
          provisionalDays: config.provisionalDays,
        });
        if (fault !== undefined)
          log.warn(`the database cannot be asked what is loaded: ${describeError(fault)}`);
        return {
          text:
            slices.length === 0
              ? nothingStaged(staging.location, isChosen || selection.organizations !== undefined)
              : report.formatStatus(slices, fault),
          json: report.statusToJson(slices, staging.location, fault),
          failed: fault !== undefined || slices.some(({ faults }) => faults.length > 0),
        };
      } finally {
        await secrets.close();
      }
    });
  },
};

function nothingStaged(location: string, isChosen: boolean): string {
  return isChosen
    ? `nothing is staged in ${location} for the chosen months and organizations; "pipeline status" alone shows all`
    : `nothing is staged in ${location} yet; "${shownCommand({})}" fetches the last complete month`;
}
