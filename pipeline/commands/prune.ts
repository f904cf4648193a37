import { selectStaged } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import { tell } from '../shared/output.js';
import { printable } from '../shared/printable.js';
import { command, configure, flags, off, one, pick } from './command.js';

/** `pipeline prune`: removes old extractions, never the current one. */
export const prune = command({
  name: 'prune',
  describe: 'Remove old extractions of staged months, never the current one',
  flags: {
    'keep': {
      ...one(),
      demandOption: true,
      describe: 'Finished extractions to keep of each month, organization and detail, at least 1',
    },
    'dry-run': { ...off(), describe: 'Print what would be removed, and remove nothing' },
    'month': {
      ...flags.month,
      describe: 'Month YYYY-MM, repeatable (default: every staged one)',
    },
    ...pick('from', 'to', 'organization', 'staging', 'config', 'concurrency', 'wait', 'timeout'),
    ...pick('s3-sse', 's3-kms-key', 'output', 'json', 'log-file', 'log-level'),
  },
  examples: [['prune --keep 2 --dry-run', 'what would go if the newest two stay']],
  async work(args, { log, signal }) {
    const keep = parseKeep(args.keep);
    const chosen = selectStaged(args, new Date());
    const config = await configure(args, { organizations: false, database: false });
    const { 'dry-run': dryRun } = args;
    const { formatPrune, prune, pruneTable, pruneToJson } = await import('../inspect/pruning.js');
    const report = await prune({
      ...chosen,
      config,
      keep,
      dryRun,
      signal,
      log,
      onWait: ({ month, organization }, holder) => {
        tell(printable(`${month}  ${organization}  waiting for ${holder}`));
      },
      now: () => new Date(),
    });
    return {
      text: () => formatPrune(report, dryRun),
      json: () => pruneToJson(report, dryRun),
      table: () => pruneTable(report, dryRun),
      failed: report.failures.length > 0,
    };
  },
});

function parseKeep(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) {
    throw new UsageError('--keep takes a whole number from 1', {
      next: 'the current extraction always stays: --keep 1 removes all but it',
    });
  }
  return Number(text);
}
