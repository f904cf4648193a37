import type { CommandModule, InferredOptionTypes } from 'yargs';
import { select } from '../config/selection.js';
import { createLog } from '../shared/log.js';
import { printDocument, printText, tell } from '../shared/output.js';
import { configure } from './configure.js';
import { selectionOptions, settingOptions } from './options.js';

const options = {
  'month': {
    ...selectionOptions.month,
    describe: 'Month YYYY-MM, repeatable (default: all that are staged)',
  },
  'from': selectionOptions.from,
  'to': selectionOptions.to,
  'organization': selectionOptions.organization,
  'staging': settingOptions.staging,
  'database': settingOptions.database,
  'tolerance': settingOptions.tolerance,
  'config': settingOptions.config,
  'timeout': settingOptions.timeout,
  'json': settingOptions.json,
  'log-level': settingOptions['log-level'],
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline reconcile`: whether every layer of the staged months still holds the same rows and sums. */
export const reconcile: CommandModule<object, Arguments> = {
  command: 'reconcile',
  describe: 'Check staged pages, exports and database against each other; asks AWS for nothing',
  builder: (yargs) =>
    yargs
      .options(options)
      .epilogue('Reads the staging area and the database alone, and writes nothing.')
      .example('$0 reconcile', 'every month that is staged')
      .example('$0 reconcile --month 2026-10 --json', 'one month, for a program'),
  async handler(args) {
    const isChosen = args.month !== undefined || args.from !== undefined || args.to !== undefined;
    const selection = select(args, new Date());
    const needs = { organizations: false, database: true };
    const config = await configure(args, needs);
    const { log } = await createLog({
      level: args['log-level'],
      file: undefined,
      print: (line) => {
        tell(`${line}\n`);
      },
      color: process.stderr.isTTY,
    });
    const { openResources } = await import('../run/resources.js');
    const { reconcile: check } = await import('../inspect/reconciliation.js');
    const { formatReconciled, reconciledToJson } = await import('../inspect/reconciliation.js');
    // Nothing is written, so that an interrupt may simply end the process.
    const { signal } = new AbortController();
    const resources = await openResources(config, { log, signal });
    try {
      const results = await check({
        staging: resources.staging,
        database: await resources.reading(),
        months: isChosen ? selection.months : undefined,
        organizations: selection.organizations,
        tolerance: config.tolerance,
        provisionalDays: config.provisionalDays,
        signal,
      });
      await (args.json
        ? printDocument(reconciledToJson(results))
        : printText(formatReconciled(results)));
      if (results.some(({ findings }) => findings.length > 0)) process.exitCode = 1;
    } finally {
      await resources.close();
    }
  },
};
