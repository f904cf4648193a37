import type { Flags } from '../config/config.js';
import type { SelectionFlags } from '../config/selection.js';
import { select } from '../config/selection.js';
import type { Context, TableAnswer } from './command.js';
import { command, configureAnyway, off, pick } from './command.js';

/** `pipeline plan`: what `pipeline run` with the same flags would do, and what AWS would charge for it. */
export const plan = command({
  name: 'plan',
  describe: 'Show what a run would do and what it would cost; AWS is not asked, nothing is written',
  flags: {
    ...pick('stage', 'month', 'from', 'to', 'organization'),
    force: { ...off(), describe: 'Plan a run with --force' },
    ...pick('staging', 'database', 'parquet', 'detail', 'metric', 'by', 'aws-total'),
    ...pick('invoices', 'tolerance', 'config', 'timeout', 'output', 'json', 'log-level'),
  },
  epilogue:
    "The organizations come from the Vault secret and the configuration file; where Vault is needed but not set up, or does not answer, those of the staging area take the place of the secret's. Requests go by the organization's last extraction. Exit code 1 when a stage is sure to fail, or the database cannot be asked.",
  work: planRun,
});

/** What a run with these flags would do. */
export async function planRun(
  args: Flags & SelectionFlags & { force: boolean },
  { log, signal }: Pick<Context, 'log' | 'signal'>,
): Promise<TableAnswer> {
  const now = (): Date => new Date();
  const selection = select(args, now());
  const settled = await configureAnyway(args, {
    organizations: selection.stages.includes('extract'),
    database: selection.stages.includes('load'),
  });
  const { formatPlan, makePlan, planTable, planToJson } = await import('../inspect/run-plan.js');
  const wanted = { ...settled, selection, force: args.force };
  const { slices, notes } = await makePlan({ ...wanted, log, signal, now });
  return {
    text: () => formatPlan(slices, selection.stages, notes),
    json: () => planToJson(slices, notes),
    table: () => planTable(slices, notes),
    failed: slices.some(({ stages }) =>
      Object.values(stages).some(({ error }) => error !== undefined),
    ),
  };
}
