import type { Config, Flags } from '../config/config.js';
import { select } from '../config/selection.js';
import type { Checklist } from '../inspect/checklist.js';
import { UsageError } from '../shared/errors.js';
import { lastCompleteMonth } from '../shared/month.js';
import { command, configure, off, pick } from './command.js';

/** `pipeline check`: whether everything that a run needs is there. */
export const check = command({
  name: 'check',
  describe: 'Check settings, Vault, AWS rights, staging area and database; says what to do',
  flags: {
    paid: {
      ...off(),
      describe: 'Ask Cost Explorer too, once for each organization ($0.01 each)',
    },
    ...pick('organization', 'staging', 's3-sse', 's3-kms-key', 'database', 'config', 'timeout'),
    ...pick('json', 'log-level'),
  },
  epilogue:
    'Writes one small file below check/ in the staging area and removes it, and makes the tables in a database server or an SQLite file that is there where they are missing, as the first load would. Exit code 1 if anything fails.',
  async work(args, { log, signal }) {
    const { organizations } = select({ organization: args.organization }, new Date());
    const { check, checklist, formatChecklist } = await import('../inspect/checklist.js');
    const list = checklist();
    const config = await checkSettings(args, list);
    const paidMonth = args.paid ? lastCompleteMonth(new Date()) : undefined;
    if (config !== undefined) await check({ config, organizations, paidMonth, log, signal }, list);
    const { lines } = list;
    const failed = lines.some(({ state }) => state === 'failed');
    return {
      text: () => formatChecklist(lines),
      json: () => ({ ok: !failed, checks: lines }),
      failed,
    };
  },
});

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
