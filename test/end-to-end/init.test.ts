import { spawn } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import test from 'ava';
import { settings } from '../../pipeline/config/settings.js';
import { bareEnvironment, cliFile, finished, pipeline, temporaryFolder } from '../support/cli.js';
import { world } from '../support/world.js';

const FILE = 'pipeline.config.yaml';

test('from Vault: the file is written once, and the next three commands run with it', async (t) => {
  const { cloud, folder, runWith } = await world(t);
  const flags = [
    '--vault',
    cloud.vaultUrl,
    '--aws-secret',
    cloud.environment['VAULT_AWS_SECRET_PATH'] ?? '',
  ];
  const written = await runWith({}, 'init', ...flags);
  t.is(written.code, 0, written.stderr);
  const lines = written.stdout.trimEnd().split('\n');
  // As they can be pasted here, where npx would fetch a stranger's package.
  const own = (name: string): string => `  node ${cliFile} ${name}`;
  t.deepEqual(lines.slice(-3), ['check', 'plan', 'run'].map(own));
  t.is((await stat(join(folder, FILE))).mode & 0o777, 0o600);

  const text = await readFile(join(folder, FILE), 'utf8');
  const words = text.replaceAll(/\n *(# *)+/g, ' ');
  for (const [path, { meaning }] of Object.entries(settings)) {
    t.true(words.includes(meaning), path);
    t.regex(text, new RegExp(`^ *(# )? *${path.replace(/.*\./, '')}:`, 'm'));
  }
  const env = { VAULT_ADDR: '', VAULT_AWS_SECRET_PATH: '' };
  for (const command of ['check', 'plan', 'run']) {
    const ran = await runWith(env, command);
    t.is(ran.code, 0, ran.stdout + ran.stderr);
  }

  const again = await runWith({}, 'init', ...flags);
  t.is(again.code, 2);
  t.regex(again.stderr, /the file is there already, and stays as it is \[pipeline\.config\.yaml\]/);
  t.is(await readFile(join(folder, FILE), 'utf8'), text);
});

test('the settings that are commented out are what holds without them', async (t) => {
  const cwd = await temporaryFolder(t);
  const written = await pipeline(['init', '--organization', 'acme', '--organization', 'zeta'], {
    cwd,
  });
  t.is(written.code, 0, written.stderr);
  const text = await readFile(join(cwd, FILE), 'utf8');
  t.regex(text, /^organizations:\n {2}- name: acme\n {2}- name: zeta$/m);
  // Taken in, they are accepted as they stand; what has no default is not set.
  const keys = Object.keys(settings).flatMap((path) => path.split('.'));
  const comments = new RegExp(`^( *)# (?= *(${keys.join('|')}):( |$))`, 'gm');
  const all = text.replaceAll(comments, '$1');
  t.true(all.includes('\nvault:\n') && all.includes('\n  skipVerify: false\n'));
  await writeFile(join(cwd, 'all.yaml'), all);
  const checked = await pipeline(['status', '--config', 'all.yaml', '--json'], { cwd });
  t.is(checked.code, 0, checked.stderr + checked.stdout);
});

for (const [what, flags, says] of [
  ['nothing', [], /there is no terminal to ask .*give --vault and --aws-secret, or --organization/],
  ['half of Vault', ['--vault', 'https://v.example'], /--vault and --aws-secret go together/],
  ['a profile alone', ['--profile', 'x'], /--profile needs the --organization/],
  ['both', ['--vault', 'https://v', '--organization', 'x'], /from Vault or from a list/],
  ['no address', ['--vault', 'v', '--aws-secret', 'x'], /is no http:\/\/ or https:\/\/ address/],
  ['no name', ['--organization', '../x'], /is not an organization's name/],
] as const) {
  test(`with ${what} nothing is written, and it is said why`, async (t) => {
    const cwd = await temporaryFolder(t);
    const refused = await pipeline(['init', ...flags], { cwd });
    t.is(refused.code, 2);
    t.regex(refused.stderr.replaceAll(/\s+/g, ' '), says);
    await t.throwsAsync(stat(join(cwd, FILE)));
  });
}

/** Runs the command at a terminal, and answers its questions as they come. */
async function atTerminal(
  cwd: string,
  answers: readonly (readonly [question: RegExp, answer: string])[],
): Promise<{ code: number | null; shown: string; asked: number }> {
  const command = `'${process.execPath}' '${cliFile}' init`;
  const child = spawn('script', ['-qec', command, '/dev/null'], { cwd, env: bareEnvironment() });
  let shown = '';
  let asked = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    const [question, answer] = answers[asked] ?? [];
    if (question?.test(stripVTControlCharacters(shown)) !== true) return;
    asked += 1;
    child.stdin.write(answer ?? '');
  });
  const { code } = await finished(child);
  return { code, shown, asked };
}

test('at a terminal it asks for what it needs', async (t) => {
  const cwd = await temporaryFolder(t);
  const { code, shown, asked } = await atTerminal(cwd, [
    [/vault or profile: $/, 'neither\n'],
    [/vault or profile: neither\s+vault or profile: $/, 'p\n'],
    [/a name for the organization.*: $/, 'acme\n'],
    [/its AWS profile.*: $/, 'billing\n'],
  ]);
  t.is(code, 0, shown);
  t.is(asked, 4);
  const text = await readFile(join(cwd, FILE), 'utf8');
  t.regex(text, /^organizations:\n {2}- name: acme\n {4}profile: billing$/m);
});

test('who does not answer is let go, and nothing is written', async (t) => {
  const cwd = await temporaryFolder(t);
  for (const key of ['\u0003', '\u0004']) {
    const { code, shown } = await atTerminal(cwd, [[/vault or profile: $/, key]]);
    t.is(code, 130, shown);
    t.regex(shown, /interrupted/);
    await t.throwsAsync(stat(join(cwd, FILE)));
  }
});
