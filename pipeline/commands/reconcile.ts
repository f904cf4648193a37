import { selectStaged } from '../config/selection.js';
import type { FindingKind } from '../inspect/reconcile-findings.js';
import { tell } from '../shared/output.js';
import { command, configureAnyway, flags, off, pick } from './command.js';
import { EXIT, oneCode } from './journal.js';

/** The exit code of each kind of finding; where there are several, it is that of a fault. */
const codes: Readonly<Record<FindingKind, number>> = {
  difference: EXIT.differs,
  budget: EXIT.budget,
  unloaded: EXIT.failed,
  fault: EXIT.failed,
};

/** What `pipeline reconcile` exits with when it found something. */
export function reconciledCode(kinds: readonly FindingKind[]): number {
  return oneCode(kinds.map((kind) => codes[kind]));
}

/** `pipeline reconcile`: whether every layer of the staged months still holds the same rows and sums. */
export const reconcile = command({
  name: 'reconcile',
  describe: 'Check staged pages, exports and database against each other, and that none is absent',
  flags: {
    month: {
      ...flags.month,
      describe: 'Month YYYY-MM, repeatable (default: all that are staged)',
    },
    ...pick('from', 'to', 'organization', 'staging', 'database', 'tolerance'),
    ...pick('tolerance-invoice'),
    paid: {
      ...off(),
      describe:
        "Ask AWS for today's totals too ($0.01 a month and organization), and say what has moved since",
    },
    ...pick('max-requests', 'config', 'timeout', 'output', 'json', 'log-level'),
  },
  epilogue:
    'Reads the staging area and the database, asks Vault, where it is set up, which organizations there are, and writes nothing. AWS is asked for nothing without --paid. Exit code 3 where figures differ and all else is there: the layers hold other rows, or a total of AWS or of its invoices lies beyond the tolerance; 1 on any other finding, and when an organization is absent; 4 where --paid was stopped by --max-requests alone.',
  examples: [
    ['reconcile', 'every month that is staged'],
    ['reconcile --month 2026-10 --json', 'one month, for a program'],
    [
      'reconcile --month 2026-10 --tolerance-invoice 1',
      'whether the invoices, where they were fetched, are the cost but for 1 of the currency',
    ],
    ['reconcile --month 2026-10 --paid', "whether AWS's totals are still the same today"],
  ],
  async work(args, { signal, open }) {
    const { months, organizations } = selectStaged(args, new Date());
    const needs = { organizations: true, database: true };
    const { config, notSetUp } = await configureAnyway(args, needs);
    if (args.paid && notSetUp !== undefined) throw notSetUp;
    const { foundKinds, isWhole, reconcile } = await import('../inspect/reconciliation.js');
    const { formatReconciled, reconciledTable, reconciledToJson } =
      await import('../inspect/reconciliation-report.js');
    const { knownOrganizations } = await import('../run/known-organizations.js');
    const { price } = await import('../run/task.js');
    const resources = await open(config);
    const { tolerance, toleranceInvoice, provisionalDays } = config;
    const { staging, secrets } = resources;
    const database = await resources.reading();
    const known = await knownOrganizations(secrets, notSetUp);
    const found = await reconcile({
      ...{ staging, database, months, organizations, known, tolerance, provisionalDays, signal },
      toleranceInvoice,
      paid: args.paid ? (name) => resources.source(name) : undefined,
      onPlan: (requests) => {
        tell(
          `asking AWS for ${requests === 1 ? '1 total' : `${requests} totals`}: at most $${price(requests)}`,
        );
      },
      now: () => new Date(),
    });
    return {
      text: () => formatReconciled(found),
      json: () => reconciledToJson(found),
      table: () => reconciledTable(found),
      failed: !isWhole(found),
      exitCode: reconciledCode(foundKinds(found)),
    };
  },
});
