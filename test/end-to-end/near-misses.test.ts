import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { cliFile, pipeline, root, temporaryFolder } from '../support/cli.js';
import { month, world } from '../support/world.js';

const misses: [string, string[], RegExp[]][] = [
  ['a short form of a flag', ['run', '--org', 'oab'], [/run has no --org/, /--organization\?/]],
  ['another spelling', ['run', '--organisation', 'oab'], [/did you mean --organization\?/]],
  ['a plural', ['run', '--months', '2026-10'], [/did you mean --month\?/]],
  ['another name', ['status', '--db', 'sqlite:x'], [/did you mean --database\?/]],
  ['capitals', ['run', '--maxRequest', '5'], [/did you mean --max-requests\?/]],
  ['the end of a range', ['run', '--until', '2026-10'], [/did you mean --to\?/]],
  ['more words', ['run', '--verbose'], [/did you mean --log-level info\?/]],
  [
    "another command's flag",
    ['plan', '--max-requests', '5'],
    [/plan has no --max-requests, which is of .*run/, /plan --help/],
  ],
  [
    'a second value without its flag',
    ['run', '--stage', 'transform', 'load'],
    [/"load" stands without a flag; did you mean --stage load\?/],
  ],
  ['a month without its flag', ['status', '2026-10'], [/did you mean --month 2026-10\?/]],
  ['an organization without its flag', ['run', 'oab'], [/did you mean --organization oab\?/]],
  ['a stage as a command', ['extract'], [/no command extract/, /run --stage extract"\?/]],
  ['letters turned round', ['stauts'], [/no command stauts/, /cli\.js status"\?/]],
  ['another name of a command', ['diff'], [/cli\.js changes"\?/]],
  ['a stage by another name', ['run', '--stage', 'fetch'], [/did you mean extract\?/]],
  ['a range in one value', ['run', '--month', '2026-07..2026-09'], [/--from with its first month/]],
  [
    'a short form where a file is named',
    ['export', '--org', 'a', 'x.csv'],
    [/export has no --org/],
  ],
  ['one hyphen', ['run', '-month', '2026-10'], [/-month has one hyphen; did you mean --month\?/]],
  ['a name of another command', ['status', '--since', '2026-08'], [/did you mean --from\?/]],
  [
    'a form of output that a command has not',
    ['ddl', '--engine', 'duckdb', '--output', 'csv'],
    [/ddl has no --output, .* did you mean --json\?/],
  ],
  ['a flag without value', ['run', '--org', '--quiet'], [/did you mean --organization\?/]],
  ['a level that is none', ['run', '--log-level', 'loud'], [/--log-level is "loud" and has to be/]],
  ['what has to be given', ['prune'], [/--keep is missing; see .*prune --help/]],
  ['a word that is near to nothing', ['run', '--colour', 'red'], [/no --colour; see .*run --help/]],
];
for (const [what, words, answers] of misses) {
  test(`${what} is answered by the right word and the right page of help`, async (t) => {
    const cwd = await temporaryFolder(t);
    const { code, stdout, stderr } = await pipeline(words, { cwd });
    t.is(code, 2);
    t.is(stdout, '');
    for (const answer of answers) t.regex(stderr, answer);
  });
}

test('a near miss is answered in the same words whatever language the machine speaks', async (t) => {
  const cwd = await temporaryFolder(t);
  const env = { LC_ALL: 'fr_FR.UTF-8', LANG: 'fr_FR.UTF-8' };
  const { stderr } = await pipeline(['run', '--org', 'oab'], { cwd, env });
  t.regex(stderr, /run has no --org; did you mean --organization\?/);
});

test('an unknown key of the configuration file is answered by the known ones', async (t) => {
  const cwd = await temporaryFolder(t);
  const file = join(cwd, 'pipeline.config.yaml');
  for (const [text, ...answers] of [
    ['stagging: here', /"stagging" \(did you mean "staging"\?\); it may have vault, staging, /],
    ['max_requests: 5', /"max_requests" \(did you mean "maxRequests"\?\)/],
    [
      'vault:\n  adress: http://x',
      /"adress" \(did you mean "address"\?\); it may have address, ro/,
    ],
    [
      'organizations:\n  - name: oab\n    role_arn: x',
      /"role_arn" \(did you mean "roleArn"\?\); it may have name, profile, roleArn/,
    ],
    [
      "customers:\n  - name: Big\n    account: ['000000000012']",
      /"account" \(did you mean "accounts"\?\); it may have name, accounts$/m,
    ],
    ['colour: red', /no such key as "colour"; it may have vault/],
  ] as const) {
    await writeFile(file, `${text}\n`);
    const { code, stderr } = await pipeline(['status'], { cwd });
    t.is(code, 2);
    for (const answer of answers) t.regex(stderr, answer);
  }
});

test('run --dry-run is the plan of the same run, and asks AWS for nothing', async (t) => {
  const { run, asked } = await world(t);
  const planned = await run('plan', '--from', '2026-09', '--stage', 'extract,transform');
  const dry = await run('run', '--from', '2026-09', '--stage', 'extract,transform', '--dry-run');
  t.is(dry.code, 0);
  t.is(dry.stdout, planned.stdout);
  t.regex(dry.stdout, /^2026-09 +internal +fetch +run +/m);
  t.regex(dry.stdout, /^2026-10 +oab +fetch +run +/m);
  t.is(asked(), 0);
  const { stdout } = await run('run', '--dry-run', '--json', '--month', month);
  t.is((JSON.parse(stdout) as { slices: unknown[] }).slices.length, 2);
});

test('a command that is shown can be pasted: npx at home, the file elsewhere', async (t) => {
  const elsewhere = await temporaryFolder(t);
  const words = ['run', '--colour', 'red'];
  const [there, home] = [
    await pipeline(words, { cwd: elsewhere }),
    await pipeline(words, { cwd: root }),
  ];
  t.true(there.stderr.includes(`see "node ${cliFile} run --help"`), there.stderr);
  t.true(home.stderr.includes('see "npx pipeline run --help"'), home.stderr);
});

test('check says which file and variables were read, and what each tells', async (t) => {
  const { folder, runWith } = await world(t);
  await writeFile(join(folder, 'pipeline.config.yaml'), 'staging: elsewhere\ntimeout: 30\n');
  const env = { PIPELINE_STAGGING: 'x', PIPELINE_STAGING: 'here' };
  const { stdout } = await runWith(env, 'check', '--timeout', '20', '--json');
  const { checks } = JSON.parse(stdout) as {
    checks: { check: string; state: string; text: string }[];
  };
  const textsOf = (name: string): string[] =>
    checks.filter(({ check }) => check === name).map(({ text }) => text);
  t.deepEqual(textsOf('configuration file'), [join(folder, 'pipeline.config.yaml')]);
  t.deepEqual(textsOf('from flags'), ['--timeout']);
  t.regex(textsOf('from environment')[0] ?? '', /^VAULT_ADDR, .*PIPELINE_STAGING/);
  t.is(
    textsOf('from environment')[1],
    'PIPELINE_STAGGING is read by nothing; did you mean PIPELINE_STAGING?',
  );
  t.deepEqual(textsOf('from file'), []);
  await writeFile(join(folder, 'other.yaml'), 'concurrency: 2\ntags:\n  oab: x\n');
  const other = await runWith({}, 'check', '--config', 'other.yaml');
  t.regex(other.stdout, /^ok +configuration file +\/.*other\.yaml$/m);
  t.regex(other.stdout, /^ok +from file +concurrency, tags$/m);
  const none = await runWith({}, 'check', '--config', 'nowhere.yaml');
  t.is(none.code, 1);
  t.regex(none.stdout, /^failed +configuration file .*nowhere\.yaml/m);
});
