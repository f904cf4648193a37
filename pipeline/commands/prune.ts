import type { CommandModule, InferredOptionTypes } from 'yargs';
import { select } from '../config/selection.js';
import { InterruptedError, UsageError } from '../shared/errors.js';
import { printDocument, printText, tell } from '../shared/output.js';
import { printable } from '../shared/printable.js';
import { configure } from './configure.js';
import { interruptible, openLog } from './execute.js';
import { selectionOptions, settingOptions } from './options.js';

const options = {
  'keep': {
    type: 'string',
    requiresArg: true,
    demandOption: true,
    describe: 'Finished extractions to keep of each month and organization, at least 1',
  },
  'dry-run': {
    type: 'boolean',
    default: false,
    describe: 'Print what would be removed, and remove nothing',
  },
  'month': {
    ...selectionOptions.month,
    describe: 'Month YYYY-MM, repeatable (default: every staged one)',
  },
  'from': selectionOptions.from,
  'to': selectionOptions.to,
  'organization': selectionOptions.organization,
  'staging': settingOptions.staging,
  'config': settingOptions.config,
  'concurrency': settingOptions.concurrency,
  'wait': settingOptions.wait,
  'timeout': settingOptions.timeout,
  's3-sse': settingOptions['s3-sse'],
  's3-kms-key': settingOptions['s3-kms-key'],
  'json': settingOptions.json,
  'log-file': settingOptions['log-file'],
  'log-level': settingOptions['log-level'],
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline prune`: removes old extractions, never the current one. */
export const prune: CommandModule<object, Arguments> = {
  command: 'prune',
  describe: 'Remove old extractions of staged months, never the current one',
  builder: (yargs) =>
    yargs
      .options(options)
      .example('$0 prune --keep 2 --dry-run', 'what would go if the newest two stay'),
  async handler(args) {
    const keep = parseKeep(args.keep);
    const chosen = args.month !== undefined || args.from !== undefined || args.to !== undefined;
    const { months, organizations } = select(args, new Date());
    const needs = { organizations: false, database: false };
    const config = await configure(args, needs);
    const line = (text: string): void => {
      tell(`${text}\n`);
    };
    const { log, flush } = await openLog(args, line);
    const interrupt = interruptible();
    try {
      const { prune: remove } = await import('../inspect/pruning.js');
      const { formatPrune, pruneToJson } = await import('../inspect/pruning.js');
      const report = await remove({
        config,
        keep,
        months: chosen ? months : undefined,
        organizations,
        dryRun: args['dry-run'],
        signal: interrupt.signal,
        log,
        onWait: ({ month, organization }, holder) => {
          line(printable(`${month}  ${organization}  waiting for ${holder}`));
        },
      });
      interrupt.end();
      await (args.json
        ? printDocument(pruneToJson(report, args['dry-run']))
        : printText(formatPrune(report, args['dry-run'])));
      if (interrupt.signal.aborted) throw new InterruptedError();
      if (report.failures.length > 0) process.exitCode = 1;
    } finally {
      interrupt.end();
      flush();
    }
  },
};

function parseKeep(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) {
    throw new UsageError('--keep takes a whole number from 1', {
      next: 'the current extraction always stays: --keep 1 removes all but it',
    });
  }
  return Number(text);
}
