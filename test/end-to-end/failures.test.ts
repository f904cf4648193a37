import { appendFile, mkdir, readFile, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cloud, CloudOptions } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Finished } from '../support/cli.js';
import { cliFile, pipeline, temporaryFolder } from '../support/cli.js';
import { querySqlite } from '../support/sqlite.js';

const month = parseMonth('2026-10');
const small = [
  { name: 'oab', accounts: 23 },
  { name: 'internal', accounts: 4 },
];

interface World {
  cloud: Cloud;
  folder: string;
  run: (...args: string[]) => Promise<Finished>;
  runWith: (env: Record<string, string>, ...args: string[]) => Promise<Finished>;
}

async function world(t: ExecutionContext, options: Partial<CloudOptions> = {}): Promise<World> {
  const folder = await temporaryFolder(t);
  const data = options.data ?? demoData({ months: [month], organizations: small });
  const cloud = await startCloud({ groupsPerPage: 20, ...options, data });
  t.teardown(() => cloud.close());
  const runWith = (env: Record<string, string>, ...args: string[]): Promise<Finished> =>
    pipeline(['run', '--month', month, ...args], {
      cwd: folder,
      env: { ...cloud.environment, AWS_MAX_ATTEMPTS: '1', ...env },
    });
  return { cloud, folder, runWith, run: (...args) => runWith({}, ...args) };
}

/** Every failure: one readable message, no stack trace. */
function readable(t: ExecutionContext, { stdout, stderr }: Finished, ...expected: RegExp[]): void {
  const text = stdout + stderr;
  for (const pattern of expected) t.regex(text, pattern);
  t.notRegex(text, /^\s+at /m);
}

/** The failed organization's command, as the summary prints it, split into words. */
function resumeOf({ stdout }: Finished): string[] {
  const command = /resume with: node \S+ (.*)/.exec(stdout)?.[1];
  if (command === undefined) throw new Error(`no resume command in ${stdout}`);
  return command.split(' ');
}

test('one organization fails, the others go on, and the printed command resumes it', async (t) => {
  const { cloud, folder, run } = await world(t);
  cloud.faults.push({
    service: 'cost-explorer',
    organization: 'oab',
    afterRequests: 2,
    kind: 'error',
    code: 'InternalFailure',
    status: 500,
    times: Infinity,
  });
  const broken = await run('--staging', 'here');
  t.is(broken.code, 1);
  readable(
    t,
    broken,
    /2026-10 oab extract failed: /,
    /^1 failed, 2 skipped, 3 done;/,
    /2026-10\s+internal\s+done\s+done\s+done/,
    /2026-10\s+oab\s+failed\s+skipped\s+skipped/,
  );
  const words = resumeOf(broken);
  t.deepEqual(words, [
    'run',
    ...['--month', month],
    ...['--organization', 'oab'],
    ...['--staging', 'here'],
  ]);

  const paid = cloud.requests.filter(
    ({ charged, organization }) => charged && organization === 'oab',
  ).length;
  t.is(paid, 2);
  const all = cloud.requests.filter(({ charged }) => charged).length;
  t.true(broken.stdout.includes(`; ${all} Cost Explorer requests, `), 'what failed was paid too');
  cloud.faults.length = 0;
  const resumed = await pipeline(words, { cwd: folder, env: cloud.environment });
  t.is(resumed.code, 0, resumed.stderr);
  const asked = cloud.requests
    .filter(({ charged, organization }) => charged && organization === 'oab')
    .map(({ input }) => JSON.stringify(input));
  t.is(new Set(asked).size, asked.length, 'a page was paid for twice');
  t.true(
    querySqlite(
      join(folder, 'billing.sqlite'),
      "SELECT * FROM consumption WHERE Organization = 'oab'",
    ).length > 40,
  );
});

test('what a forced run could not finish is resumed, not taken for done', async (t) => {
  const { cloud, folder, run } = await world(t);
  t.is((await run('--stage', 'extract')).code, 0);
  cloud.faults.push({
    service: 'cost-explorer',
    organization: 'oab',
    afterRequests: 2,
    kind: 'throttle',
    times: Infinity,
  });
  const broken = await run('--stage', 'extract', '--force');
  t.is(broken.code, 1);
  cloud.faults.length = 0;
  const resumed = await pipeline(resumeOf(broken), { cwd: folder, env: cloud.environment });
  t.regex(resumed.stdout, /oab\s+done/);
  const extractions = await readdir(join(folder, 'staging', 'raw', `month=${month}`, 'oab'));
  t.is(extractions.length, 2);
});

test('with --json the result is one document, failures included', async (t) => {
  const { cloud, run } = await world(t);
  cloud.faults.push({
    service: 'sts',
    organization: 'oab',
    kind: 'error',
    code: 'AccessDenied',
    status: 403,
    times: Infinity,
  });
  const { code, stdout } = await run('--json', '--stage', 'extract');
  t.is(code, 1);
  const { tasks } = JSON.parse(stdout) as {
    tasks: { organization: string; state: string; error?: { class: string }; resume?: string }[];
  };
  const failed = tasks.find(({ organization }) => organization === 'oab');
  t.is(failed?.state, 'failed');
  t.is(failed?.error?.class, 'ConfigurationError');
  t.regex(failed?.resume ?? '', /--organization oab/);
  t.is(tasks.find(({ organization }) => organization === 'internal')?.state, 'done');
});

const runFailures: [string, (cloud: Cloud) => Record<string, string>, RegExp[]][] = [
  [
    'a Vault that is not there',
    () => ({ VAULT_ADDR: 'http://127.0.0.1:9' }),
    [/Vault/, /127\.0\.0\.1:9/, /VAULT_ADDR/],
  ],
  ['a sealed Vault', (cloud) => ((cloud.vault.sealed = true), {}), [/sealed/]],
  [
    'a wrong secret id',
    () => ({ VAULT_SECRET_ID: 'wrong-one' }),
    [/VAULT_ROLE_ID|VAULT_SECRET_ID/],
  ],
  [
    'a denied path',
    (cloud) => (cloud.vault.denied.push('secret/data/billing/aws'), {}),
    [/secret\/data\/billing\/aws/, /polic/i],
  ],
  [
    'an absent secret',
    () => ({ VAULT_AWS_SECRET_PATH: 'secret/data/nowhere' }),
    [/secret\/data\/nowhere/],
  ],
];
for (const [what, arrange, expected] of runFailures) {
  test(`${what} is a clear error`, async (t) => {
    const { cloud, runWith } = await world(t);
    const env = arrange(cloud);
    const result = await runWith(env);
    t.is(result.code, 1);
    readable(t, result, ...expected);
    t.notRegex(result.stdout + result.stderr, /wrong-one/);
    t.is(cloud.requests.filter(({ service }) => service !== 'vault').length, 0);
  });
}

test('a missing key fails its organization by the name of the key', async (t) => {
  const data = demoData({ months: [month], organizations: small });
  Reflect.deleteProperty(data.secret, 'aws_oab_roleSessionName');
  const { run } = await world(t, { data });
  const result = await run();
  t.is(result.code, 1);
  readable(
    t,
    result,
    /oab extract failed: .*aws_oab_roleSessionName/,
    /internal\s+done\s+done\s+done/,
  );
});

test('an unknown organization is wrong usage', async (t) => {
  const { cloud, run } = await world(t);
  const result = await run('--organization', 'obb', '--json');
  t.is(result.code, 2);
  t.like(JSON.parse(result.stdout), { error: { class: 'UsageError' } });
  readable(t, result, /no organization obb; did you mean oab\? choose among internal, oab/);
  t.is(cloud.requests.filter(({ service }) => service !== 'vault').length, 0);
});

test('a month that was never staged cannot be transformed or loaded', async (t) => {
  const { folder } = await world(t);
  for (const stage of ['transform', 'load']) {
    const result = await pipeline(['run', '--month', month, '--stage', stage], { cwd: folder });
    t.is(result.code, 1);
    readable(t, result, /nothing is staged for 2026-10/);
  }
});

const damages: [string, string, (file: string) => Promise<unknown>, RegExp[]][] = [
  ['a truncated page', 'transform', (file) => truncate(file, 100), [/cost-and-usage-00001\.json/]],
  [
    'an altered page',
    'transform',
    async (file) => writeFile(file, (await readFile(file, 'utf8')).replace('"USD"', '"EUR"')),
    [/cost-and-usage-00001\.json/, /sha256|checksum|altered/i],
  ],
];
for (const [what, stage, damage, expected] of damages) {
  test(`${what} stops ${stage} and leaves tables and database as they were`, async (t) => {
    const { folder, run } = await world(t);
    t.is((await run()).code, 0);
    const csv = join(folder, `staging/csv/consumption/month=${month}/oab.csv`);
    const before = await readFile(csv);
    const raw = join(folder, `staging/raw/month=${month}/oab`);
    const [extraction = ''] = await readdir(raw);
    await damage(join(raw, extraction, 'cost-and-usage-00001.json'));
    const result = await pipeline(
      ['run', '--month', month, '--stage', 'transform', '--stage', 'load', '--force'],
      { cwd: folder },
    );
    t.is(result.code, 1);
    readable(t, result, /oab transform failed/, ...expected);
    t.deepEqual(await readFile(csv), before);
    t.true(
      querySqlite(
        join(folder, 'billing.sqlite'),
        "SELECT * FROM consumption WHERE Organization = 'oab'",
      ).length > 0,
    );
  });
}

test('a Parquet file that does not match its sha256 is not loaded', async (t) => {
  const { folder, run } = await world(t);
  t.is((await run()).code, 0);
  const file = join(folder, 'billing.sqlite');
  const before = querySqlite(file, 'SELECT * FROM consumption ORDER BY Organization, Line');
  await appendFile(join(folder, `staging/parquet/consumption/month=${month}/oab.parquet`), 'x');
  const result = await pipeline(['run', '--month', month, '--stage', 'load', '--force'], {
    cwd: folder,
  });
  t.is(result.code, 1);
  readable(t, result, /oab load failed/, /oab\.parquet/, /--stage transform/);
  t.deepEqual(querySqlite(file, 'SELECT * FROM consumption ORDER BY Organization, Line'), before);
});

test("a failure's advice has this run's month, organization and flags, and mends it as it stands", async (t) => {
  const { folder, run } = await world(t);
  const own = ['--staging', 'a place', '--database', 'sqlite:other.sqlite', '--by', 'record-type'];
  t.is((await run(...own)).code, 0);
  await appendFile(join(folder, `a place/parquet/consumption/month=${month}/oab.parquet`), 'x');
  const load = ['run', '--month', month, '--stage', 'load', '--force', ...own];
  const broken = await pipeline(load, { cwd: folder });
  t.is(broken.code, 1);
  const advised = `node ${cliFile} run --stage transform --force --month ${month} --organization oab --staging 'a place' --database sqlite:other.sqlite --by record-type`;
  t.true(broken.stdout.includes(`make it anew with "${advised}"\n`), broken.stdout);
  const { stdout } = await pipeline([...load, '--json'], { cwd: folder });
  t.true(JSON.stringify(JSON.parse(stdout)).includes(`make it anew with \\"${advised}\\"`), stdout);
  const words = advised.replaceAll("'a place'", 'a_place').split(' ').slice(2);
  const mended = await pipeline(
    words.map((word) => word.replace('_', ' ')),
    { cwd: folder },
  );
  t.is(mended.code, 0, mended.stdout);
  t.is((await pipeline(load, { cwd: folder })).code, 0);
});

test('a database that refuses fails the load, and the resuming command is the load alone', async (t) => {
  const { folder, runWith } = await world(t);
  const result = await runWith({
    PIPELINE_DATABASE: 'mysql://billing:s3cret-pw@127.0.0.1:9/suivi',
  });
  t.is(result.code, 1);
  readable(t, result, /oab load failed/, /127\.0\.0\.1:9/);
  t.notRegex(result.stdout + result.stderr, /s3cret-pw/);
  t.deepEqual(resumeOf(result).slice(0, 3), ['run', '--stage', 'load']);
  t.true(
    (await readdir(join(folder, `staging/parquet/consumption/month=${month}`))).includes(
      'oab.parquet',
    ),
  );
});

test('Ctrl-C stops cleanly with 130, and the same command goes on without paying twice', async (t) => {
  const { cloud, folder } = await world(t);
  const args = ['run', '--month', month];
  const options = { cwd: folder, env: cloud.environment };
  // The third question is on its way, and no answer comes, however fast the machine is.
  cloud.faults.push({
    service: 'cost-explorer',
    kind: 'hang',
    afterRequests: 2,
    times: Infinity,
  });
  const stopped = await pipeline(args, {
    ...options,
    running(child) {
      const hangs = cloud.arrival(
        ({ service, status }) => service === 'cost-explorer' && status === 0,
      );
      void hangs.then(() => child.kill('SIGINT'));
    },
  });
  cloud.faults.length = 0;
  t.is(cloud.requests.filter(({ charged }) => charged).length, 2);
  t.is(stopped.code, 130, stopped.stderr);
  readable(t, stopped, /interrupted/);
  t.regex(stopped.stdout, /^2 stopped, 4 skipped; /);
  const resumed = await pipeline(args, options);
  t.is(resumed.code, 0, resumed.stderr);
  const paid = cloud.requests
    .filter(({ charged }) => charged)
    .map(({ organization, input }) => `${organization} ${JSON.stringify(input)}`);
  // The answer that was on its way when the run was stopped may be asked for again.
  t.true(paid.length - new Set(paid).size <= small.length);
});

const usage: [string, string[], RegExp][] = [
  ['no command', [], /name a command/],
  ['an unknown command', ['rum'], /rum/],
  ['an unknown flag', ['run', '--mounth', '2026-10'], /mounth/],
  ['an unknown stage', ['run', '--stage', 'extrakt'], /"extrakt" is not a stage/],
  ['a text that is no month', ['run', '--month', '2026-13'], /"2026-13" is not a month/],
  ['a future month', ['run', '--month', '2199-01'], /lies in the future/],
  ['a range the wrong way round', ['run', '--from', '2026-02', '--to', '2026-01'], /lies after/],
  [
    'a password on the command line',
    ['run', '--database', 'mysql://u:hunter2@h/d'],
    /process list/,
  ],
  ['another database', ['run', '--database', 'postgres://h/d'], /--database or PIPELINE_DATABASE/],
  [
    'a staging area of another kind',
    ['run', '--staging', 'gs://bucket/x'],
    /--staging or PIPELINE_STAGING/,
  ],
  ['an unknown Parquet profile', ['run', '--parquet', 'best'], /--parquet/],
  ['a bound of nought', ['run', '--concurrency', '0'], /--concurrency/],
  ['an unknown log level', ['run', '--log-level', 'loud'], /log-level/],
  ['a flag without its value', ['run', '--month'], /--month is given without its value/],
  [
    'a flag given twice that takes one value',
    ['run', '--staging', 'a', '--staging', 'b'],
    /--staging is given more than once/,
  ],
  ['an empty value', ['run', '--organization', ''], /--organization is empty; give it a value/],
  ['an empty folder for the demo', ['demo', '--folder', ''], /--folder is empty/],
  ['the current folder for the demo', ['demo', '--folder', '.'], /may become, that of real data/],
  ['an empty log file', ['run', '--log-file', ' '], /--log-file is empty/],
  ['an empty configuration file name', ['status', '--config', ''], /--config is empty/],
  ['a number in hexadecimal', ['run', '--timeout', '0x10'], /--timeout or .* written in digits/],
  ['a switch with another word', ['run', '--aws-total=no'], /--aws-total is neither true nor f/],
  ['a switch in camel case', ['run', '--awsTotal=yes'], /--awsTotal is neither true nor/],
  ['a missing configuration file', ['run', '--config', 'nowhere.yaml'], /nowhere\.yaml/],
  [
    'missing settings, all at once',
    ['run'],
    /VAULT_ADDR[^]*VAULT_ROLE_ID[^]*VAULT_SECRET_ID[^]*VAULT_AWS_SECRET_PATH/,
  ],
];
for (const [what, args, message] of usage) {
  test(`${what} is wrong usage: exit 2 before anything is contacted or written`, async (t) => {
    const folder = await temporaryFolder(t);
    const result = await pipeline(args, { cwd: folder });
    t.is(result.code, 2);
    readable(t, result, message);
    t.is(result.stdout, '');
    t.notRegex(result.stderr, /hunter2/);
    t.deepEqual(await readdir(folder), []);
  });
}

test('no secret reaches a log, an output or a staged file', async (t) => {
  const data = demoData({ months: [month], organizations: small });
  const { cloud, folder, run } = await world(t, { data });
  await mkdir(join(folder, 'logs'));
  cloud.faults.push({
    service: 'cost-explorer',
    organization: 'internal',
    kind: 'error',
    code: 'AccessDeniedException',
    times: Infinity,
  });
  const result = await run('--log-file', 'logs/run.log', '--log-level', 'debug');
  t.is(result.code, 1);
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const contents = await Promise.all(
    files
      .filter((file) => file.isFile())
      .map((file) => readFile(join(file.parentPath, file.name), 'latin1')),
  );
  const everything = [result.stdout, result.stderr, ...contents].join('\n');
  t.true(everything.includes('AccessDenied'));
  const secrets = [
    cloud.vault.roleId,
    cloud.vault.secretId,
    ...data.organizations.map(({ secretAccessKey }) => secretAccessKey),
    ...data.organizations.map(({ accessKeyId }) => accessKeyId),
  ];
  for (const secret of secrets) t.false(everything.includes(secret));
});

const documents: [string, string[], number][] = [
  ['reconcile without a database', ['reconcile'], 1],
  ['prune of a staging area of another kind', ['prune', '--keep', '1', '--staging', 'gs://x'], 2],
  ['run without settings', ['run'], 2],
  ['plan with a wrong month', ['plan', '--month', 'x'], 2],
  ['status with an unknown flag', ['status', '--nothing'], 2],
  ['changes of nothing', ['changes'], 1],
];
for (const [what, args, code] of documents) {
  test(`with --json there is one document, also after ${what}`, async (t) => {
    const result = await pipeline([...args, '--json'], { cwd: await temporaryFolder(t) });
    t.is(result.code, code, result.stderr);
    const { error } = JSON.parse(result.stdout) as { error: { class: string; message: string } };
    t.true(result.stderr.includes(error.message.split('\n')[0] ?? error.message));
  });
}

test('a log where the document goes is refused, whatever its name', async (t) => {
  const { runWith } = await world(t);
  const { code, stdout, stderr } = await runWith({}, '--json', '--log-file', '/proc/self/fd/1');
  t.is(code, 2);
  t.like(JSON.parse(stdout), { error: { class: 'UsageError' } });
  t.regex(stderr, /the log would mix with the result on standard output \[--log-file\]/);
});
