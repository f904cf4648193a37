import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { readConfigFile } from '../config/config-file.js';
import type { Config, Flags } from '../config/config.js';
import { select } from '../config/selection.js';
import type { Checklist } from '../inspect/checklist.js';
import { UsageError } from '../shared/errors.js';
import { lastCompleteMonth } from '../shared/month.js';
import { command, off, pick } from './command.js';

/** `pipeline check`: whether everything that a run needs is there. */
export const check = command({
  name: 'check',
  describe: 'Check settings, Vault, AWS rights, staging area, database and queue; says what to do',
  flags: {
    paid: {
      ...off(),
      describe: 'Ask Cost Explorer too, once for each organization ($0.01 each)',
    },
    ...pick(
      'organization',
      'staging',
      's3-sse',
      's3-kms-key',
      'database',
      'queue',
      'config',
      'timeout',
    ),
    ...pick('invoices', 'output', 'json', 'log-level'),
  },
  epilogue:
    'Writes one small file below check/ in the staging area and removes it, and makes the tables in a database server or an SQLite file that is there where they are missing, as the first load would. Exit code 1 if anything fails.',
  async work(args, { log, signal }) {
    const { organizations } = select({ organization: args.organization }, new Date());
    const { check, checklist, formatChecklist } = await import('../inspect/checklist.js');
    const list = checklist();
    const file = await readSources(args, list);
    const config = file === undefined ? undefined : await checkSettings(args, file, list);
    const paidMonth = args.paid ? lastCompleteMonth(new Date()) : undefined;
    if (config !== undefined) await check({ config, organizations, paidMonth, log, signal }, list);
    if (config?.queue !== undefined) {
      const { checkQueue } = await import('../inspect/queue-check.js');
      await checkQueue(config.queue, config, list);
    }
    const { lines } = list;
    const failed = lines.some(({ state }) => state === 'failed');
    return {
      text: () => formatChecklist(lines),
      json: () => ({ ok: !failed, checks: lines }),
      table: () => ({ columns: ['check', 'state', 'text'], rows: lines }),
      failed,
    };
  },
});

/**
 * Reads the configuration file, and tells where each setting comes from.
 * @returns what the file says; `undefined` where it cannot be read.
 */
async function readSources(flags: Flags, list: Checklist): Promise<File | undefined> {
  const { CONFIG_FILE, readConfigFile } = await import('../config/config-file.js');
  const named = typeof flags['config'] === 'string' ? flags['config'] : undefined;
  const path = resolve(named ?? CONFIG_FILE);
  const isNone = named === undefined && !existsSync(path);
  const file = await list.step('configuration file', async () => ({
    found: await readConfigFile(named),
    text: isNone ? `none: there is no ${path}` : path,
  }));
  const { settingSources } = await import('../config/config.js');
  const told = settingSources({ flags, env: process.env, file: file ?? {} });
  for (const [place, texts] of Object.entries(told.settings))
    if (texts.length > 0) list.note(`from ${place}`, texts.join(', '));
  for (const { variable, meant } of told.unread) {
    const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
    list.skip('from environment', `${variable} is read by nothing${hint}`);
  }
  return file;
}

type File = Awaited<ReturnType<typeof readConfigFile>>;

/** The settings; those of Vault may be missing, as all else can be checked without them. */
async function checkSettings(
  flags: Flags,
  file: File,
  list: Checklist,
): Promise<Config | undefined> {
  const { resolveConfig } = await import('../config/config.js');
  const settle = (needed: boolean): Config =>
    resolveConfig(flags, process.env, file, { organizations: needed, database: needed });
  const complete = await list.step('settings', () =>
    Promise.resolve().then(() => ({ found: settle(true), text: 'complete' })),
  );
  if (complete !== undefined) return complete;
  try {
    return settle(false);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    list.skip('everything else', 'the settings have to be right first');
    return undefined;
  }
}
