import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { parse } from 'yaml';
import { startCloud } from '../fixtures/cloud/cloud.js';
import { startS3 } from '../fixtures/cloud/s3.js';
import { demoData, organizationData } from '../fixtures/demo/data.js';
import { resolveConfig } from '../pipeline/config.js';
import { lastCompleteMonth, monthsBetween, parseMonth } from '../pipeline/month.js';
import { organizationSchema, sources } from '../pipeline/settings.js';
import type { Column } from '../pipeline/staging/tables.js';
import { tableNames, tables } from '../pipeline/staging/tables.js';
import { awsFiles, keysSection } from './support/aws-files.js';
import { bareEnvironment, cliFile, pipeline, root, temporaryFolder } from './support/cli.js';
import { query } from './support/duckdb.js';

const readme = await readFile(join(root, 'README.md'), 'utf8');
const run = promisify(execFile);

/** The README without the padding that lines its tables up. */
const unpadded = readme.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---');

/** The README's code blocks in one language, in order. */
function blocks(language: string, text = readme): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(
    ([, block = '']) => block,
  );
}

test('its commands for the monthly run do what they say', async (t) => {
  const folder = await temporaryFolder(t);
  // As npm would link an installed package's command.
  await mkdir(join(folder, 'node_modules/.bin'), { recursive: true });
  await chmod(cliFile, 0o755);
  await symlink(cliFile, join(folder, 'node_modules/.bin/pipeline'));
  const months = monthsBetween(parseMonth('2026-07'), lastCompleteMonth(new Date()));
  const organizations = [
    { name: 'oab', accounts: 21 },
    { name: 'internal', accounts: 3 },
  ];
  const cloud = await startCloud({ data: demoData({ months, organizations }) });
  const s3 = await startS3({ buckets: ['bucket'] });
  t.teardown(() => Promise.all([cloud.close(), s3.close()]));
  const commands = blocks('sh')
    .join('')
    .split('\n')
    .filter((line) => line.startsWith('npx pipeline '));
  t.true(commands.length >= 6);
  for (const command of commands) {
    const [, ...words] = command.replace(/#.*/, '').trim().split(/\s+/);
    const ran = run('npx', ['--no-install', ...words], {
      cwd: folder,
      env: {
        ...bareEnvironment(),
        ...cloud.environment,
        ...s3.environment,
        // Another staging area, without the charges of the first: loaded beside it, not over it.
        ...(command.includes('s3://') ? { PIPELINE_DATABASE: 'sqlite:s3.sqlite' } : {}),
      },
    });
    const { stdout } = await ran;
    if (command.startsWith('npx pipeline run')) t.regex(stdout, / (done|unchanged)[,;]/, command);
    t.true(stdout.length > 0, command);
    t.notRegex(stdout, /failed/, command);
  }

  const [sql = ''] = blocks('sql').filter((text) => text.includes('staging/parquet'));
  const rows = await query(
    sql.replace("'staging/", `'${folder}/staging/`).replace(/2026-\d\d-28/, '2026-09-28'),
  );
  t.true(rows.length > 10);
});

test('its two first commands are scripts of the package', async (t) => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  t.deepEqual(
    blocks('sh')
      .join('')
      .split('\n')
      .filter((line) => line.startsWith('npm ci')),
    ['npm ci && npm run demo', 'npm ci && npm test'],
  );
  const folder = await temporaryFolder(t);
  const { stdout } = await run('npm', ['run', 'demo', '--', '--folder', folder], {
    cwd: root,
    env: bareEnvironment(),
  });
  t.regex(stdout, /12 done/);
  t.truthy(scripts['test']);
});

test('its configuration file is accepted', (t) => {
  const [text = ''] = blocks('yaml').filter((block) => block.includes('vault:'));
  const config = resolveConfig(
    {},
    { VAULT_ROLE_ID: 'r', VAULT_SECRET_ID: 's' },
    parse(text) as Record<string, unknown>,
    { organizations: true, database: true },
  );
  t.is(config.database.kind, 'suivi');
  t.is(config.tags['oab'], 'aws-oab');
});

test('its configuration without Vault is all that its commands need', async (t) => {
  const [section = ''] = /^### Without Vault$[^]*?^### /m.exec(readme) ?? [];
  const [text = ''] = blocks('yaml', section);
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'pipeline.config.yaml'), text);
  const months = [lastCompleteMonth(new Date())];
  const data = demoData({ months, organizations: [{ name: 'oab', accounts: 3 }] });
  const oab = organizationData(data, 'oab');
  oab.directAccess = true;
  const cloud = await startCloud({ data });
  t.teardown(() => cloud.close());
  const files = await awsFiles(t, { credentials: keysSection('billing', oab) });
  const env = { ...files.environment, AWS_ENDPOINT_URL: cloud.url };
  const commands = blocks('sh', section).join('').trim().split('\n');
  t.deepEqual(commands, ['npx pipeline check', 'npx pipeline run']);
  for (const command of commands) {
    const { code, stdout } = await pipeline(command.split(' ').slice(2), { cwd: folder, env });
    t.is(code, 0, stdout);
  }
  t.false(cloud.requests.some(({ service }) => service === 'vault'));
});

test('its table of the list has every key', (t) => {
  for (const key of Object.keys(organizationSchema.shape))
    t.regex(unpadded, new RegExp(`^\\| \`${key}\` \\| [^|]+ \\| `, 'm'), key);
});

test('its policy allows what the pipeline calls, and no more', (t) => {
  const [policy = ''] = blocks('json');
  const { Statement } = JSON.parse(policy) as { Statement: { Action: string[] }[] };
  t.deepEqual(
    Statement.flatMap(({ Action }) => Action),
    ['organizations:ListAccounts', 'ce:GetCostAndUsage'],
  );
});

test('its settings are the declared ones', (t) => {
  for (const { path, flag, env } of sources) {
    const row = new RegExp(
      `^\\| [^|]+\\| ${flag === undefined ? '' : `\`--(no-)?${flag}\` `}\\| ${env === undefined ? '' : `\`${env}\` `}\\| \`${path}(\\.<name>)?\` \\|`,
      'm',
    );
    t.regex(unpadded, row, path);
  }
});

const typeNames: Record<Column['type'], string> = {
  string: 'string',
  decimal: 'decimal(38,18)',
  date: 'date',
  timestamp: 'timestamp, UTC, ms',
  boolean: 'boolean',
};

for (const table of tableNames) {
  test(`its table of ${table} is the declared one`, (t) => {
    const rows = tables[table].map((column) => {
      const length = column.type === 'string' ? `(${column.length})` : '';
      const nullable = column.nullable === true ? ', null' : '';
      return `| ${column.name} | ${typeNames[column.type]}${length}${nullable} | ${column.description} |`;
    });
    const expected = [`| ${table} | type | what it is |`, '| --- | --- | --- |', ...rows].join(
      '\n',
    );
    t.true(unpadded.includes(expected), `the README needs:\n${expected}`);
  });
}

const athenaTypes: Record<Column['type'], string> = {
  string: 'string',
  decimal: 'decimal(38,18)',
  date: 'date',
  timestamp: 'timestamp',
  boolean: 'boolean',
};

test("its statement for Athena has the declared table's columns", (t) => {
  const columns = tables.consumption.map(({ name, type }) => `  ${name} ${athenaTypes[type]}`);
  const expected = `CREATE EXTERNAL TABLE consumption (\n${columns.join(',\n')}\n) PARTITIONED BY (month string)`;
  t.true(readme.includes(expected), `the README needs:\n${expected}`);
});
