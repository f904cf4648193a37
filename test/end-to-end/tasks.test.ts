import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { cliFile } from '../support/cli.js';
import { month, world } from '../support/world.js';

const execute = promisify(execFile);
const former = parseMonth('2026-09');

interface Piece {
  month: string;
  organization: string;
  command: string;
  args: string[];
}

const piecesOf = (text: string): Piece[] => (JSON.parse(text) as { tasks: Piece[] }).tasks;
const nameOf = (of: { month: string; organization: string }): string =>
  `${of.month} ${of.organization}`;

/** The words of a command as a shell reads them. */
async function wordsOf(command: string): Promise<string[]> {
  const { stdout } = await execute('sh', ['-c', `printf '%s\\0' ${command}`]);
  return stdout.split('\0').slice(0, -1);
}

test('the pieces are those of a run with the same flags, oldest first, and AWS is not asked for them', async (t) => {
  const organizations = [
    { name: 'oab', accounts: 3 },
    { name: 'internal', accounts: 2 },
  ];
  const data = demoData({ months: [former, month], organizations });
  const { folder, run, asked } = await world(t, { data });
  const range = ['--from', former, '--to', month];
  const listed = piecesOf((await run('tasks', ...range, '--json')).stdout);
  t.deepEqual(listed.map(nameOf), [
    ...[`${former} internal`, `${former} oab`],
    ...[`${month} internal`, `${month} oab`],
  ]);
  t.is(asked(), 0);
  t.deepEqual(await readdir(folder), []);
  // What is staged tells which there are, once nothing is fetched: of September oab alone.
  t.is((await run('run', '--month', former, '--organization', 'oab')).code, 0);
  t.is((await run('run', '--month', month)).code, 0);
  // Whoever runs several months of one organization is told what of them the others lack.
  const some = await run('run', ...range, '--organization', 'oab');
  t.regex(some.stdout, new RegExp(`\\n${former} internal: absent, though the AWS secret`));
  for (const flags of [
    range,
    [...range, '--organization', 'oab'],
    [...range, '--stage', 'transform'],
    [...range, '--stage', 'load,transform'],
    ['--month', former, '--stage', 'load'],
  ]) {
    const pieces = piecesOf((await run('tasks', ...flags, '--json')).stdout);
    const done = piecesOf((await run('run', ...flags, '--json')).stdout);
    t.deepEqual(pieces.map(nameOf), [...new Set(done.map(nameOf))], flags.join(' '));
  }
  for (const flags of [
    ['--month', month, '--organization', 'oxb'],
    ['--month', '2026-08', '--stage', 'transform'],
    ['--month', '2099-01'],
  ]) {
    const [told, failed] = [await run('tasks', ...flags), await run('run', ...flags)];
    t.is(told.stderr, failed.stderr);
    t.deepEqual([told.code, told.stdout], [failed.code, '']);
  }
});

test('each command does its piece as the flags said, whatever stands in them', async (t) => {
  const { folder, run, runWith } = await world(t);
  const staging = `it's "$HOME" \`id\` {} %41 é`;
  const settings = ['--staging', staging, '--metric', 'BlendedCost', '--no-aws-total'];
  const flags = ['--month', month, '--stage', 'transform,extract', '--force', ...settings];
  const secret = { PIPELINE_DATABASE: 'mysql://user:hunter2@127.0.0.1:1/none' };
  const json = await runWith(secret, 'tasks', ...flags, '--json');
  const pieces = piecesOf(json.stdout);
  t.deepEqual(pieces[1]?.args, [
    ...['run', '--stage', 'extract,transform', '--force'],
    ...['--month', month, '--organization', 'oab', ...settings],
  ]);
  for (const { command, args } of pieces)
    t.deepEqual(await wordsOf(command), ['node', cliFile, ...args]);
  const lines = await runWith(secret, 'tasks', ...flags, '--output', 'lines');
  t.is(lines.stdout, pieces.map(({ command }) => `${command}\n`).join(''));
  const table = await runWith(secret, 'tasks', ...flags);
  t.deepEqual(table.stdout.trimEnd().split('\n'), [
    'month    organization  command',
    ...pieces.map((piece) => `${piece.month}  ${piece.organization.padEnd(12)}  ${piece.command}`),
  ]);
  for (const { stdout, stderr } of [json, lines, table])
    t.notRegex(stdout + stderr, /hunter2|role|AKIA/i);

  const done = await run(...(pieces[1]?.args ?? []));
  t.is(done.code, 0);
  // What the other pieces are to do is nothing that this one lacks.
  t.notRegex(done.stdout, /absent|internal/);
  t.deepEqual(await readdir(folder), [staging]);
  const status = await run('status', '--staging', staging, '--json');
  t.regex(status.stdout, /"organization": "oab"/);
  t.notRegex(status.stdout, /"organization": "internal"/);
});

test('a setting that a terminal would turn round is not shown, and a password on the command line no command', async (t) => {
  const { run } = await world(t);
  for (const output of ['lines', 'table']) {
    const { code, stdout, stderr } = await run(
      'tasks',
      '--staging',
      'a\u202eb',
      '--output',
      output,
    );
    t.deepEqual([code, stdout], [2, '']);
    t.regex(stderr, /a character that no line can show .*a\\u202eb.*take --json/);
  }
  const [piece] = piecesOf((await run('tasks', '--staging', 'a\u202eb', '--json')).stdout);
  t.is(piece?.args.at(-1), 'a\u202eb');
  const refused = await run('tasks', '--database', 'mysql://user:hunter2@127.0.0.1:1/none');
  t.is(refused.code, 2);
  t.notRegex(refused.stdout + refused.stderr, /hunter2/);
});

test('pieces that their own run would put into a queue are none', async (t) => {
  const { run, runWith } = await world(t);
  const address = 'redis://127.0.0.1:1/0';
  for (const refused of [
    await run('tasks', '--month', month, '--queue', address),
    await runWith({ PIPELINE_QUEUE: address }, 'tasks', '--month', month),
  ]) {
    t.deepEqual([refused.code, refused.stdout], [2, '']);
    t.regex(refused.stderr, /a queue is named; leave out --queue, PIPELINE_QUEUE/);
  }
});
