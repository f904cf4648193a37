import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { select } from '../config/selection.js';
import { rememberOwn } from '../shared/commands.js';
import { UsageError, describeError } from '../shared/errors.js';
import { command, off, one, pick } from './command.js';
import { runStages } from './run.js';

/** `pipeline demo`: the real run, with the real SDK clients over HTTP, against a cloud inside this process. */
export const demo = command({
  name: 'demo',
  describe: 'Try it: a whole run against a local stand-in cloud; needs no account, server or key',
  flags: {
    folder: {
      ...one(),
      default: 'demo',
      describe: 'Folder for the staging area and the database',
    },
    force: { ...off(), describe: 'Do every stage even where nothing changed' },
    ...pick('json', 'log-file', 'log-level'),
  },
  async work(args, context) {
    const folder = resolve(args.folder);
    await claim(folder);
    rememberOwn({ instead: ['pipeline', 'demo', '--folder', args.folder] });
    const selection = select({}, new Date());
    const { startCloud } = await import('../../fixtures/cloud/cloud.js');
    const { demoData } = await import('../../fixtures/demo/data.js');
    const { resolveConfig } = await import('../config/config.js');
    const cloud = await startCloud({ data: demoData({ months: selection.months }) });
    try {
      isolate(process.env, cloud.environment);
      const staging = resolve(folder, 'staging');
      const file = resolve(folder, 'billing.sqlite');
      const config = resolveConfig(
        { staging, database: `sqlite:${file}` },
        process.env,
        {},
        { organizations: true, database: true },
      );
      const answer = await runStages({ config, selection, force: args.force }, context);
      if (answer.failed || context.signal.aborted) return answer;
      return { ...answer, text: () => `${answer.text()}\n${guide(staging, file)}` };
    } finally {
      await cloud.close();
    }
  },
});

/** The file by which the demo knows a folder of its own. */
const MARK = '.pipeline-demo';

/**
 * Makes the folder the demo's, so that its invented rows never come among real ones.
 * @throws {UsageError} when it is the current one, or holds a staging area or a database that no demo made.
 */
async function claim(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    const names = await readdir(folder);
    const isTaken = names.includes('staging') || names.includes('billing.sqlite');
    // Where a run without settings puts its data, the next one would find the demo's.
    if (folder === process.cwd() || (isTaken && !names.includes(MARK)))
      throw new UsageError('the folder is, or may become, that of real data', {
        where: folder,
        next: 'name another one with --folder',
      });
    await writeFile(resolve(folder, MARK), 'made by "pipeline demo": invented data\n');
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`the folder cannot be used: ${describeError(cause)}`, {
      where: folder,
      next: 'name another one with --folder',
      cause,
    });
  }
}

/** Takes every setting of a real cloud out of the environment, so that the demo can reach none. */
function isolate(env: NodeJS.ProcessEnv, demoEnvironment: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(env))
    if (/^(AWS|VAULT|PIPELINE)_|_proxy$/i.test(name)) Reflect.deleteProperty(env, name);
  Object.assign(
    env,
    { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true', AWS_EC2_METADATA_DISABLED: 'true' },
    demoEnvironment,
  );
}

function guide(staging: string, database: string): string {
  return `
Where it lies
  raw answers      ${staging}/raw
  Parquet exports  ${staging}/parquet
  CSV exports      ${staging}/csv
  database         ${database}

What to open
  duckdb -c "SELECT Organization, sum(Amount) FROM '${staging}/parquet/consumption/*/*.parquet' GROUP BY ALL"
  sqlite3 ${database} "SELECT TenantName, round(sum(Amount), 2), Currency FROM costs GROUP BY Reference, Currency ORDER BY 2 DESC LIMIT 10"`;
}
