import { resolve } from 'node:path';
import type { CommandModule, InferredOptionTypes } from 'yargs';
import { select } from '../selection.js';
import { print } from '../output.js';
import { execute } from './execute.js';
import { settingOptions } from './options.js';

const options = {
  'folder': {
    type: 'string',
    requiresArg: true,
    default: 'demo',
    describe: 'Folder for the staging area and the database',
  },
  'force': {
    type: 'boolean',
    default: false,
    describe: 'Do every stage even where nothing changed',
  },
  'json': settingOptions.json,
  'log-file': settingOptions['log-file'],
  'log-level': settingOptions['log-level'],
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline demo`: the real run, with the real SDK clients over HTTP, against a cloud inside this process. */
export const demo: CommandModule<object, Arguments> = {
  command: 'demo',
  describe: 'Try it: a whole run against a local stand-in cloud; needs no account, server or key',
  builder: (yargs) => yargs.options(options),
  async handler(args) {
    const { startCloud } = await import('../../fixtures/cloud/cloud.js');
    const { demoData } = await import('../../fixtures/demo/data.js');
    const { resolveConfig } = await import('../config.js');
    const { quoted } = await import('../failures.js');
    const selection = select({}, new Date());
    const cloud = await startCloud({ data: demoData({ months: selection.months }) });
    try {
      isolate(process.env, cloud.environment);
      const staging = resolve(args.folder, 'staging');
      const file = resolve(args.folder, 'billing.sqlite');
      const config = resolveConfig(
        { staging, database: `sqlite:${file}` },
        process.env,
        {},
        { organizations: true, database: true },
      );
      const resume = (): string => quoted(['pipeline', 'demo', '--folder', args.folder]);
      await execute({ config, selection, args, resume });
      if (!args.json && process.exitCode === undefined) await print(guide(staging, file));
    } finally {
      await cloud.close();
    }
  },
};

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
  sqlite3 ${database} "SELECT Service, count(*) FROM consumption GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
`;
}
