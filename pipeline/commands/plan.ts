import type { CommandModule, InferredOptionTypes } from 'yargs';
import type { Config, Flags, Needs } from '../config/config.js';
import { select } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import { answer } from './answer.js';
import { configure } from './configure.js';
import { selectionOptions, settingOptions } from './options.js';

const options = {
  ...selectionOptions,
  'force': { type: 'boolean', default: false, describe: 'Plan a run with --force' },
  'staging': settingOptions.staging,
  'database': settingOptions.database,
  'parquet': settingOptions.parquet,
  'detail': settingOptions.detail,
  'metric': settingOptions.metric,
  'by-record-type': settingOptions['by-record-type'],
  'aws-total': settingOptions['aws-total'],
  'tolerance': settingOptions.tolerance,
  'config': settingOptions.config,
  'timeout': settingOptions.timeout,
  'json': settingOptions.json,
  'log-level': settingOptions['log-level'],
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline plan`: what `pipeline run` with the same flags would do, and what AWS would charge for it. */
export const plan: CommandModule<object, Arguments> = {
  command: 'plan',
  describe: 'Show what a run would do and what it would cost; AWS is not asked, nothing is written',
  builder: (yargs) =>
    yargs
      .options(options)
      .epilogue(
        "The organizations come from the Vault secret and the configuration file; where Vault is needed but not set up, or does not answer, those of the staging area take the place of the secret's. Requests go by the organization's last extraction. Exit code 1 when a stage is sure to fail, or the database cannot be asked.",
      ),
  async handler(args) {
    const selection = select(args, new Date());
    const { config, notSetUp } = await withVault(args, {
      organizations: selection.stages.includes('extract'),
      database: selection.stages.includes('load'),
    });
    await answer(args, async ({ log, signal }) => {
      const [{ makePlan }, report] = await Promise.all([
        import('../inspect/run-plan.js'),
        import('../inspect/run-plan.js'),
      ]);
      const request = { config, selection, force: args.force, notSetUp, log, signal };
      const { slices, notes } = await makePlan({ ...request, now: () => new Date() });
      return {
        text: report.formatPlan(slices, selection.stages, notes),
        json: report.planToJson(slices, notes),
        failed: slices.some(({ stages }) =>
          Object.values(stages).some(({ error }) => error !== undefined),
        ),
      };
    });
  },
};

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
