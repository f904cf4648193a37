import type { CommandModule, InferredOptionTypes } from 'yargs';
import type { Config, Flags } from '../config/config.js';
import { select } from '../config/selection.js';
import type { CheckLine, Checklist } from '../inspect/checklist.js';
import { UsageError } from '../shared/errors.js';
import { lastCompleteMonth } from '../shared/month.js';
import type { Answer } from './answer.js';
import { answer } from './answer.js';
import { configure } from './configure.js';
import { selectionOptions, settingOptions } from './options.js';

const options = {
  'paid': {
    type: 'boolean',
    default: false,
    describe: 'Ask Cost Explorer too, once for each organization ($0.01 each)',
  },
  'organization': selectionOptions.organization,
  'staging': settingOptions.staging,
  's3-sse': settingOptions['s3-sse'],
  's3-kms-key': settingOptions['s3-kms-key'],
  'database': settingOptions.database,
  'config': settingOptions.config,
  'timeout': settingOptions.timeout,
  'json': settingOptions.json,
  'log-level': settingOptions['log-level'],
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline check`: whether everything that a run needs is there. */
export const check: CommandModule<object, Arguments> = {
  command: 'check',
  describe: 'Check settings, Vault, AWS rights, staging area and database; says what to do',
  builder: (yargs) =>
    yargs
      .options(options)
      .epilogue(
        'Writes one small file below check/ in the staging area and removes it, and makes the tables in a database server or an SQLite file that is there where they are missing, as the first load would. Exit code 1 if anything fails.',
      ),
  async handler(args) {
    const { organizations } = select({ organization: args.organization }, new Date());
    await answer(args, async ({ log, signal }) => {
      const { checklist, formatChecklist } = await import('../inspect/checklist.js');
      const list = checklist();
      const config = await checkSettings(args, list);
      if (config !== undefined) {
        const { check } = await import('../inspect/checklist.js');
        const paidMonth = args.paid ? lastCompleteMonth(new Date()) : undefined;
        await check({ config, organizations, paidMonth, log, signal }, list);
      }
      return answerOf(list.lines, formatChecklist);
    });
  },
};

/** The settings; those of Vault may be missing, as all else can be checked without them. */
async function checkSettings(flags: Flags, list: Checklist): Promise<Config | undefined> {
  const resolve = (needed: boolean): Promise<Config> =>
    configure(flags, { organizations: needed, database: needed });
  const complete = await list.step('settings', async () => ({
    found: await resolve(true),
    text: 'complete',
  }));
  if (complete !== undefined) return complete;
  try {
    return await resolve(false);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    list.skip('everything else', 'the settings have to be right first');
    return undefined;
  }
}

function answerOf(
  lines: readonly CheckLine[],
  format: (lines: readonly CheckLine[]) => string,
): Answer {
  const failed = lines.some(({ state }) => state === 'failed');
  return { text: format(lines), json: { ok: !failed, checks: lines }, failed };
}
