import { selectStaged } from '../config/selection.js';
import { command, configure, flags, pick } from './command.js';

/** `pipeline reconcile`: whether every layer of the staged months still holds the same rows and sums. */
export const reconcile = command({
  name: 'reconcile',
  describe: 'Check staged pages, exports and database against each other; asks AWS for nothing',
  flags: {
    month: {
      ...flags.month,
      describe: 'Month YYYY-MM, repeatable (default: all that are staged)',
    },
    ...pick('from', 'to', 'organization', 'staging', 'database', 'tolerance', 'config', 'timeout'),
    ...pick('json', 'log-level'),
  },
  epilogue: 'Reads the staging area and the database alone, and writes nothing.',
  examples: [
    ['reconcile', 'every month that is staged'],
    ['reconcile --month 2026-10 --json', 'one month, for a program'],
  ],
  async work(args, { signal, open }) {
    const { months, organizations } = selectStaged(args, new Date());
    const config = await configure(args, { organizations: false, database: true });
    const { formatReconciled, reconcile, reconciledToJson } =
      await import('../inspect/reconciliation.js');
    const resources = await open(config);
    const { tolerance, provisionalDays } = config;
    const { staging } = resources;
    const database = await resources.reading();
    const results = await reconcile({
      ...{ staging, database, months, organizations, tolerance, provisionalDays, signal },
    });
    return {
      text: () => formatReconciled(results),
      json: () => reconciledToJson(results),
      failed: results.some(({ findings }) => findings.length > 0),
    };
  },
});
