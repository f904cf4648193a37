import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData, organizationData } from '../../fixtures/demo/data.js';
import { readConfigFile } from '../../pipeline/config/config-file.js';
import { resolveConfig } from '../../pipeline/config/config.js';
import { fileFields } from '../../pipeline/config/organization-fields.js';
import type { Setting } from '../../pipeline/config/settings.js';
import { settings } from '../../pipeline/config/settings.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import { lastCompleteMonth, monthsBetween, parseMonth } from '../../pipeline/shared/month.js';
import { awsFiles, keysSection } from '../support/aws-files.js';
import { bareEnvironment, cliFile, pipeline, root, temporaryFolder } from '../support/cli.js';
import { openServer } from '../support/mariadb.js';
import { querySqlite } from '../support/sqlite.js';
import { generate, markdownFiles } from './generate.js';
import { commandFlags, flagsIn } from './help.js';
import { picture, pictureText } from './picture.js';
import { pictureOf } from './report-picture.js';
import { withoutTimes } from './samples.js';
import { sectionNames, withSection } from './sections.js';

const run = promisify(execFile);
/** Pages whose recipes have tests of their own. */
const apart = [
  'docs/dashboards.md',
  'docs/operations.md',
  'docs/reading.md',
  'docs/several-machines.md',
];
const files = await markdownFiles();
const texts = new Map(
  await Promise.all(
    files.map(async (file) => [file, await readFile(join(root, file), 'utf8')] as const),
  ),
);
const readme = textOf('README.md');
const help = commandFlags(root);

function textOf(file: string): string {
  const text = texts.get(file);
  if (text === undefined) throw new Error(`there is no ${file}`);
  return text;
}

interface Block {
  file: string;
  language: string;
  text: string;
}

/** The code blocks of a language, in the order of the files and in them. */
function blocks(language?: string, among: readonly string[] = files): Block[] {
  return among.flatMap((file) =>
    [...textOf(file).matchAll(/^```(\S*)\n([^]*?)^```$/gm)]
      .map(([, of = '', text = '']) => ({ file, language: of, text }))
      .filter((block) => language === undefined || block.language === language),
  );
}

/** The commands of the shell blocks, without their comments. */
function commands(among?: readonly string[]): { file: string; command: string }[] {
  return blocks('sh', among).flatMap(({ file, text }) =>
    text
      .trim()
      .split('\n')
      .map((line) => ({ file, command: line.replace(/ *#.*/, '') })),
  );
}

/** A text without its code blocks. */
function prose(file: string): string {
  return textOf(file).replaceAll(/^```\S*\n[^]*?^```$/gm, '');
}

test('what is generated is what its sources say, apart from times', async (t) => {
  const generated = await generate();
  t.deepEqual([...generated.keys()].sort(), [
    'README.md',
    'docs/demo.svg',
    'docs/guarantees.md',
    'docs/invoices.md',
    'docs/report.png',
    'docs/set-up.md',
    'docs/settings.md',
    'docs/tables.md',
  ]);
  for (const [file, expected] of generated)
    t.true(
      (await readFile(join(root, file))).equals(Buffer.from(expected)),
      `${file}: run npm run docs`,
    );
});

test('the picture says what the README says of the demo month', async (t) => {
  const [typed, ...lines] = pictureText(await readFile(join(root, 'docs/demo.svg'), 'utf8'));
  t.is(typed, '$ npm run demo');
  const slices = lines
    .map((line) => line.split(/ {2,}/))
    .filter(([, , , , load]) => load === 'done');
  t.is(slices.length, 4);
  const rows = slices.reduce((sum, cells) => sum + Number(cells[5]), 0);
  const [, told = '', whole = ''] =
    /([\d,]+) rows are ([\d,.]+) USD/.exec(readme.replaceAll(/\s+/g, ' ')) ?? [];
  t.is(told, rows.toLocaleString('en'));
  // Each organization's amount is rounded to a cent.
  const shown = slices.reduce((sum, cells) => sum + parseAmount(String(cells[6])).units, 0n);
  const off = shown - parseAmount(whole.replaceAll(',', '')).units;
  const most = 4n * parseAmount('0.005').units;
  t.true(off <= most && off >= -most);
});

test("the README's figures of speed are those of the bench", (t) => {
  const cells = (of: RegExp): string =>
    textOf('docs/performance.md')
      .split('\n')
      .find((line) => of.test(line))
      ?.split('|')
      .at(-3) ?? '';
  const [transform, load] = [/staged JSON pages/, /with all checks.*LOAD DATA/].map(cells);
  const told = readme.replaceAll(/\s+/g, ' ');
  const seconds = (text = ''): string => Number(/([\d.]+) s/.exec(text)?.[1]).toFixed(1);
  t.true(told.includes(`1,000,000 rows: ${seconds(transform)} s from JSON to Parquet and CSV`));
  t.true(told.includes(`${seconds(load)} s into MariaDB`));
  const memory = [transform, load].map((text = '') => Number(/([\d.]+) MiB/.exec(text)?.[1]));
  t.true(told.includes(`at most ${Math.max(...memory)} MiB`));
});

test('the README is one page, names every command and leads to every page of docs', async (t) => {
  t.true(readme.split('\n').length <= 151);
  for (const command of (await help).keys())
    t.regex(readme, new RegExp(`^\\| \`pipeline ${command}\` +\\| `, 'm'));
  for (const file of files.slice(1)) t.true(readme.includes(`](${file})`), file);
});

test('every link leads somewhere', async (t) => {
  const anchors = (file: string): string[] =>
    [...textOf(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    );
  let followed = 0;
  for (const file of files) {
    for (const [, target = ''] of prose(file).matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https:\/\//.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const to = path === '' ? file : normalize(join(dirname(file), path));
      t.true((await stat(join(root, to))).isFile(), `${file}: ${target}`);
      if (anchor !== undefined) t.true(anchors(to).includes(anchor), `${file}: ${target}`);
      followed += 1;
    }
  }
  t.true(followed > 20);
});

test('every command, flag and variable that is named exists', async (t) => {
  const known = await help;
  const bench = flagsIn(
    (await run('node', [join(root, 'dist/test/bench/run.js'), '--help'])).stdout,
  );
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const variables = new Set(Object.values<Setting>(settings).map(({ env }) => env));
  const everyFlag = new Set([
    'help',
    'version',
    ...[...known.values()].flatMap((of) => [...of.keys()]),
  ]);
  const isFlag = (flag: string, of: ReadonlySet<string> | ReadonlyMap<string, string>): boolean =>
    of.has(flag) || of.has(flag.replace(/^no-/, ''));
  let flags = 0;
  for (const file of files) {
    const text = textOf(file);
    for (const match of text.matchAll(/\bpipeline ([a-z]+)\b([^\n`|#]*)/g)) {
      const [all, name = '', rest = ''] = match;
      // Prose speaks of the pipeline too: a command stands in code or in a block.
      const before = text[match.index - 1];
      if (!known.has(name) && before !== '`' && !all.startsWith('npx')) continue;
      t.true(known.has(name), `${file}: ${all}`);
      for (const [, flag = ''] of rest.matchAll(/ --([a-z0-9-]+)/g))
        t.true(isFlag(flag, known.get(name) ?? new Map()), `${file}: ${all}`);
    }
    for (const [, script = ''] of text.matchAll(/\bnpm run ([a-z:]+)/g))
      t.true(script in scripts, `${file}: npm run ${script}`);
    for (const [line] of text.matchAll(/npm run bench [^\n`#]*/g))
      for (const [, flag = ''] of line.matchAll(/ --([a-z0-9-]+)/g))
        t.true(isFlag(flag, bench), `${file}: ${line}`);
    for (const [, flag = ''] of text
      .replaceAll(/npm run bench[^\n`]*/g, '')
      .matchAll(/`--([a-z0-9-]+)/g)) {
      t.true(isFlag(flag, everyFlag), `${file}: --${flag}`);
      flags += 1;
    }
    for (const [name] of text.matchAll(/\b(?:VAULT|PIPELINE)_[A-Z_]+\b/g))
      t.true(variables.has(name) || name === 'PIPELINE_TEST_DATABASE', `${file}: ${name}`);
  }
  t.true(flags > 30);
});

test('every block is of a kind that a test tries', (t) => {
  const others = files.filter((file) => !apart.includes(file));
  for (const { file, language } of blocks(undefined, others))
    t.true(
      ['sh', 'yaml', 'json', 'sql', 'cron', 'console', ''].includes(language),
      `${file}: ${language}`,
    );
});

test('the commands do what they say, and the statements read what they loaded', async (t) => {
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
  const tried = commands(files.filter((file) => !apart.includes(file))).filter(({ command }) =>
    command.startsWith('npx pipeline '),
  );
  t.true(tried.length >= 15);
  for (const { file, command } of tried) {
    const [, , ...words] = command.split(/\s+/);
    const env = {
      ...cloud.environment,
      ...s3.environment,
      // Another staging area: loaded beside the first, not over it.
      ...(command.includes('s3://') ? { PIPELINE_DATABASE: 'sqlite:s3.sqlite' } : {}),
    };
    // npx starts slowly: that it finds the command is tried on the first, since all begin alike.
    const { stdout } =
      command === tried[0]?.command
        ? await run('npx', ['--no-install', 'pipeline', ...words], {
            cwd: folder,
            env: { ...bareEnvironment(), ...env },
          })
        : await pipeline(words, { cwd: folder, env });
    if (command.startsWith('npx pipeline run')) t.regex(stdout, / (done|unchanged)[,;]/, command);
    t.true(stdout.length > 0, `${file}: ${command}`);
    t.notRegex(stdout, /failed/, command);
  }
  const queries = blocks('sql').filter(
    ({ file, text }) => !apart.includes(file) && text.startsWith('SELECT '),
  );
  t.true(queries.length > 0);
  // The last of the commands went back to the detail by service; one query is of usage types.
  const back = ['run', '--detail', 'usage-type'];
  t.regex((await pipeline(back, { cwd: folder, env: cloud.environment })).stdout, / done[,;]/);
  for (const { text } of queries)
    t.true(querySqlite(join(folder, 'billing.sqlite'), text).length > 1, text);

  const policies = blocks(
    'json',
    files.filter((file) => !apart.includes(file)),
  ).map(({ text }) => JSON.parse(text) as { Statement: { Action: string | string[] }[] });
  const allowed = policies.map(({ Statement }) => Statement.flatMap(({ Action }) => Action));
  t.deepEqual(allowed[0], ['organizations:ListAccounts', 'ce:GetCostAndUsage']);
  const asked = new Set(s3.requests.map(({ operation }) => operation));
  t.deepEqual(
    [...asked].filter((operation) => !(allowed[1] ?? []).includes(actionOf(operation))),
    [],
  );
});

/** The right that an operation of S3 needs (Amazon S3 User Guide, required permissions for API operations). */
function actionOf(operation: string): string {
  const actions: Record<string, string> = {
    ListObjectsV2: 's3:ListBucket',
    HeadObject: 's3:GetObject',
    CreateMultipartUpload: 's3:PutObject',
    UploadPart: 's3:PutObject',
    CompleteMultipartUpload: 's3:PutObject',
  };
  return actions[operation] ?? `s3:${operation}`;
}

test('the two first commands are scripts of the package', async (t) => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const setups = commands().filter(({ command }) => command.startsWith('npm ci'));
  t.deepEqual(setups, [
    { file: 'README.md', command: 'npm ci && npm run demo' },
    { file: 'docs/contributing.md', command: 'npm ci && npm test' },
  ]);
  t.truthy(scripts['test']);
  // The demo's own test runs it twice.
  t.regex(readme.replaceAll(/\s+/g, ' '), /The demo run again asks AWS for 0 pages/);
});

test('every configuration file is accepted', async (t) => {
  const folder = await temporaryFolder(t);
  const env = { VAULT_ROLE_ID: 'r', VAULT_SECRET_ID: 's' };
  const found = blocks(
    'yaml',
    files.filter((file) => !apart.includes(file)),
  );
  t.true(found.length >= 4);
  for (const [index, { file, text }] of found.entries()) {
    t.true(text.startsWith('# pipeline.config.yaml\n'), file);
    const path = join(folder, `${index}.yaml`);
    await writeFile(path, text);
    const config = resolveConfig({}, env, await readConfigFile(path), {
      organizations: true,
      database: true,
    });
    t.true(config.vault !== undefined || config.organizations.length > 0, file);
  }
});

test('the configuration without Vault is all that its commands need', async (t) => {
  const [text = ''] = blocks('yaml', ['README.md']).map((block) => block.text);
  t.is(text.trim().split('\n').length, 4);
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'pipeline.config.yaml'), text);
  const months = [lastCompleteMonth(new Date())];
  const data = demoData({ months, organizations: [{ name: 'oab', accounts: 3 }] });
  const oab = organizationData(data, 'oab');
  oab.directAccess = true;
  const cloud = await startCloud({ data });
  t.teardown(() => cloud.close());
  const shared = await awsFiles(t, { credentials: keysSection('billing', oab) });
  const env = { ...shared.environment, AWS_ENDPOINT_URL: cloud.url };
  for (const command of ['check', 'run']) {
    const { code, stdout } = await pipeline([command], { cwd: folder, env });
    t.is(code, 0, stdout);
  }
  t.false(cloud.requests.some(({ service }) => service === 'vault'));
});

test('the statements for the database give a user what a run needs', async (t) => {
  const [sql = ''] = blocks('sql', ['docs/set-up.md']).map(({ text }) => text);
  const server = await openServer();
  t.teardown(() => server.stop());
  const administrator = await server.createDatabase();
  const address = new URL(administrator);
  const name = `docs_${process.pid}`;
  const statements = sql.replaceAll(/\bbilling\b/g, name).split(';\n');
  t.is(statements.length, 4);
  t.teardown(() => server.query(administrator, `DROP DATABASE ${name}`, `DROP USER '${name}'@'%'`));
  await server.query(administrator, ...statements.filter((statement) => statement !== ''));
  address.pathname = `/${name}`;
  address.username = name;
  address.password = encodeURIComponent(/IDENTIFIED BY '([^']+)'/.exec(sql)?.[1] ?? '');
  const folder = await temporaryFolder(t);
  const months = [lastCompleteMonth(new Date())];
  const cloud = await startCloud({
    data: demoData({ months, organizations: [{ name: 'oab', accounts: 3 }] }),
  });
  t.teardown(() => cloud.close());
  const env = { ...cloud.environment, PIPELINE_DATABASE: address.href };
  for (const command of ['check', 'run', 'reconcile']) {
    const { code, stdout, stderr } = await pipeline([command], { cwd: folder, env });
    t.is(code, 0, `${stdout}${stderr}`);
    // They lack nothing, and so it has no line.
    t.notRegex(stdout, /^\w+ +views /m);
  }
});

test('the line for cron runs, and leaves nothing that others can read', async (t) => {
  const lines = blocks('cron');
  t.is(lines.length, 1);
  const [, command = ''] = /^(?:\S+ ){5} *(.+)$/m.exec(lines[0]?.text ?? '') ?? [];
  const folder = await temporaryFolder(t);
  const cloud = await startCloud({
    data: demoData({
      months: [lastCompleteMonth(new Date())],
      organizations: [{ name: 'oab', accounts: 3 }],
    }),
  });
  t.teardown(() => cloud.close());
  await symlink(join(root, 'dist'), join(folder, 'dist'));
  const exported = Object.entries(cloud.environment).map(
    ([name, value]) => `export ${name}='${value}'`,
  );
  await writeFile(join(folder, 'vault.env'), `${exported.join('\n')}\n`, { mode: 0o600 });
  // As cron does: no terminal, and hardly a variable.
  const env = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, HOME: folder };
  const { stdout, stderr } = await run('sh', ['-c', command.replace('/opt/billing', folder)], {
    env,
    cwd: '/',
  });
  t.deepEqual([stdout, stderr], ['', ''], 'all is as it should be: no mail');
  const log = (await readFile(join(folder, 'billing.log'), 'utf8')).trim().split('\n');
  t.like(JSON.parse(log.at(-1) ?? ''), { msg: 'run ends', done: 3, exitCode: 0 });
  const made = await readdir(folder, { recursive: true });
  const ours = made.filter((file) => !/^(?:dist|vault\.env)/.test(file));
  t.true(ours.includes('billing.sqlite') && ours.includes('billing.log'));
  for (const file of ours) t.is((await stat(join(folder, file))).mode & 0o007, 0, file);
});

test('the table of the list has every key of an organization', (t) => {
  for (const [key] of fileFields)
    t.regex(textOf('docs/settings.md'), new RegExp(`^\\| \`${key}\` +\\| [^|]+ \\| `, 'm'), key);
});

test('a picture holds its text, whatever it is', (t) => {
  const output = 'a <b>  & c   \n\n  d;  -1.234 USD  "e"\n';
  const svg = picture('run --x "<&>"', output);
  t.is(pictureText(svg).join('\n'), `$ run --x "<&>"\n${output.trimEnd()}`);
  t.notRegex(svg, /<b>/);
});

test("the report's picture is small, and says which page it shows", async (t) => {
  const png = await readFile(join(root, 'docs/report.png'));
  t.true(png.length < 150_000);
  t.regex(pictureOf(png) ?? '', /^[0-9a-f]{64}$/);
  t.is(pictureOf(Buffer.alloc(100)), undefined);
  // As in the demo's month that the README tells of.
  t.regex(readme, /^!\[[^\]]+\]\(docs\/report\.png\)$/m);
});

test('a part is replaced between its markers, and nothing else', (t) => {
  const part = (content: string): string =>
    `before\n<!-- a-part: written by npm run x -->\n\n${content}\n\n<!-- a-part: end -->\nafter\n`;
  t.deepEqual(sectionNames(part('old'), 'npm run x'), ['a-part']);
  t.deepEqual(sectionNames(part('old'), 'npm run y'), []);
  t.is(withSection(part('old $1'), 'a-part', 'new $1'), part('new $1'));
  t.throws(() => withSection('no markers', 'a-part', 'new'), { message: /markers/ });
});

test('only times are masked', (t) => {
  t.is(
    withoutTimes('a  3  0.4\n12 done; $0.23; 1.6 s\n'),
    withoutTimes('a  3  10.9\n12 done; $0.23; 0.1 s\n'),
  );
  t.not(withoutTimes('a  3  0.4\n'), withoutTimes('a  4  0.4\n'));
  t.not(withoutTimes('$0.23; 1.6 s'), withoutTimes('$0.24; 1.6 s'));
});
