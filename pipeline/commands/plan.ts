import type { Config, Flags, Needs } from '../config/config.js';
import { select } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import { command, configure, off, pick } from './command.js';

/** `pipeline plan`: what `pipeline run` with the same flags would do, and what AWS would charge for it. */
export const plan = command({
  name: 'plan',
  describe: 'Show what a run would do and what it would cost; AWS is not asked, nothing is written',
  flags: {
    ...pick('stage', 'month', 'from', 'to', 'organization'),
    force: { ...off(), describe: 'Plan a run with --force' },
    ...pick('staging', 'database', 'parquet', 'detail', 'metric', 'by-record-type', 'aws-total'),
    ...pick('tolerance', 'config', 'timeout', 'json', 'log-level'),
  },
  epilogue:
    "The organizations come from the Vault secret and the configuration file; where Vault is needed but not set up, or does not answer, those of the staging area take the place of the secret's. Requests go by the organization's last extraction. Exit code 1 when a stage is sure to fail, or the database cannot be asked.",
  async work(args, { log, signal }) {
    const now = (): Date => new Date();
    const selection = select(args, now());
    const settled = await withVault(args, {
      organizations: selection.stages.includes('extract'),
      database: selection.stages.includes('load'),
    });
    const { formatPlan, makePlan, planToJson } = await import('../inspect/run-plan.js');
    const wanted = { ...settled, selection, force: args.force };
    const { slices, notes } = await makePlan({ ...wanted, log, signal, now });
    return {
      text: () => formatPlan(slices, selection.stages, notes),
      json: () => planToJson(slices, notes),
      failed: slices.some(({ stages }) =>
        Object.values(stages).some(({ error }) => error !== undefined),
      ),
    };
  },
});

/** The settings; without those of Vault, where only they are missing. */
async function withVault(
  flags: Flags,
  needs: Needs,
): Promise<{ config: Config; notSetUp: UsageError | undefined }> {
  const without = await configure(flags, { ...needs, organizations: false });
  try {
    return { config: await configure(flags, needs), notSetUp: undefined };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const next = '"pipeline check" names what is missing';
    return { config: without, notSetUp: new UsageError('it is not set up', { next }) };
  }
}
