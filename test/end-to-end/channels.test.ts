import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import anyTest from 'ava';
import type { TestFn } from 'ava';
import { bareEnvironment, cliFile, finished, temporaryFolder } from '../support/cli.js';
import { smallDisk } from '../support/small-disk.js';
import { querySqlite } from '../support/sqlite.js';
import { month, world } from '../support/world.js';
import type { World } from '../support/world.js';

const test = anyTest as TestFn<{ world: World }>;
const run = promisify(execFile);

/** Runs `pipeline WORDS` in a shell, where `$@` stands for the command: its channels are the shell's to choose. */
async function inShell(
  { folder, cloud }: Pick<World, 'folder' | 'cloud'>,
  script: string,
  ...words: string[]
) {
  const child = spawn(
    'bash',
    ['-o', 'pipefail', '-c', script, 'bash', process.execPath, cliFile, ...words],
    {
      cwd: folder,
      env: { ...bareEnvironment(), ...cloud.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  return finished(child);
}

/** Both organizations are in the database, each by one load that was committed. */
function isLoaded(t: ExecutionContext, { folder }: World): void {
  const loads = querySqlite(
    join(folder, 'billing.sqlite'),
    'SELECT Organization, ConsumptionRows FROM pipeline_loads ORDER BY Organization',
  );
  t.deepEqual(
    loads.map(({ Organization }) => Organization),
    ['internal', 'oab'],
  );
  for (const { ConsumptionRows } of loads) t.true(Number(ConsumptionRows) > 0);
}

for (const [name, script] of [
  ['full', '"$@" 2>/dev/full'],
  ['closed', '"$@" 2>&-'],
  ['a reader that leaves after one line', '{ "$@" 2>&1 1>&3 | head -1 >&2; } 3>&1'],
] as const) {
  test(`standard error ${name}: progress is lost, the work is not`, async (t) => {
    const w = await world(t);
    const { code, stdout } = await inShell(w, script, 'run', '--month', month);
    t.is(code, 0);
    t.regex(stdout, /6 done/);
    isLoaded(t, w);
  });
}

test.before(async (t) => {
  // One staged and loaded month, which the commands that look and tell share.
  const w = await world({ ...t, teardown: () => undefined });
  t.context.world = w;
  const { code } = await w.run('run', '--month', month);
  t.is(code, 0);
});
test.after.always(async (t) => {
  await t.context.world.cloud.close();
  await rm(t.context.world.folder, { recursive: true, force: true });
});

const commands = [
  ['run', '--month', month, '--wait', '60', '--json'],
  ['run', '--month', month, '--wait', '60'],
  ['status'],
  ['status', '--json'],
  ['plan'],
  ['changes', '--month', month, '--json'],
  ['changes', '--month', month, '--output', 'csv'],
  ['changes', '--month', month],
  ['reconcile'],
  ['prune', '--keep', '1'],
  ['check', '--json'],
  ['--help'],
  ['run', '--help'],
  ['--version'],
];

for (const words of commands) {
  test(`standard output full or closed: ${words.join(' ')}`, async (t) => {
    const { world } = t.context;
    const full = await inShell(world, '"$@" >/dev/full', ...words);
    t.not(full.code, 0);
    const complaint = /^pipeline: the result cannot be written to standard output \(ENOSPC\).*$/m;
    t.regex(full.stderr, complaint);
    t.notRegex(full.stderr, /^\s+at /m);
    // A reader that is gone before the first byte: the shell tells the command's own exit code, as if all was read.
    const closed = await inShell(
      world,
      '"$@" 3>&1 1> >(exec >&-; exit) ; echo "code $?" >&2',
      ...words,
    );
    t.regex(closed.stderr, /code 0$/m);
    t.notRegex(closed.stderr, /^\s+at |EPIPE/m);
  });
}

test('a log file on a full device: one warning, and the run goes on', async (t) => {
  const w = await world(t);
  const { code, stderr } = await w.run('run', '--month', month, '--log-file', '/dev/full');
  t.is(code, 0);
  t.is(stderr.match(/log file cannot be written any more/g)?.length, 1);
  t.regex(stderr, /\(ENOSPC\).*\[\/dev\/full\]/);
  isLoaded(t, w);
});

test('a log file on a disk that fills up keeps what fitted, and the run goes on', async (t) => {
  const w = await world(t);
  const disk = await smallDisk(t);
  const env = await disk.fill(0);
  const file = join(disk.folder, 'log');
  const { code, stderr } = await w.runWith(env, 'run', '--month', month, '--log-file', file);
  // Where no small disk can be mounted, every write of the process fails, and so the run.
  if (Object.keys(env).length === 0) {
    t.is(code, 0);
    isLoaded(t, w);
  }
  t.is(stderr.match(/log file cannot be written any more/g)?.length, 1);
});

test('a log file that is a FIFO without reader, a folder or a disk is refused before anything is asked', async (t) => {
  const w = await world(t);
  await run('mkfifo', [join(w.folder, 'fifo')]);
  await mkdir(join(w.folder, 'folder'));
  await writeFile(join(w.folder, 'file'), '');
  for (const [name, words] of [
    ['fifo', /nobody reads it/],
    ['folder', /EISDIR/],
    ['file/below', /EEXIST/],
    ['/proc/x/log', /ENOENT/],
  ] as const) {
    const { code, stderr } = await w.run('run', '--month', month, '--log-file', name);
    t.is(code, 2);
    t.regex(stderr, words);
    t.regex(stderr, /the log file cannot be written.*\[--log-file\]/);
  }
  t.is(w.cloud.requests.length, 0);
});

test('a log file that is a FIFO with a reader gets every line', async (t) => {
  const w = await world(t);
  await run('mkfifo', [join(w.folder, 'fifo')]);
  const reader = spawn('cat', [join(w.folder, 'fifo')], { stdio: ['ignore', 'pipe', 'ignore'] });
  const read = finished(reader);
  // The reader's end is open once a writer can open the other without waiting.
  const writer = spawn(
    'sh',
    ['-c', 'exec 3>"$1"; echo open; read _', 'sh', join(w.folder, 'fifo')],
    {
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
  await once(writer.stdout, 'data');
  const { code } = await w.run('run', '--month', month, '--log-file', 'fifo');
  writer.stdin.end();
  t.is(code, 0);
  const lines = (await read).stdout.trim().split('\n');
  t.regex(lines.at(-1) ?? '', /run ends/);
  for (const line of lines) t.notThrows(() => JSON.parse(line) as unknown);
});

test('a log file is appended to, in folders that are made', async (t) => {
  const w = await world(t);
  const file = join(w.folder, 'logs/deep/log.jsonl');
  const logged = ['run', '--month', month, '--log-file', file];
  await w.run(...logged);
  await w.run(...logged);
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  t.is(lines.filter((line) => line.includes('run begins')).length, 2);
  t.is(lines.filter((line) => line.includes('run ends')).length, 2);
  t.deepEqual(await readdir(join(w.folder, 'logs/deep')), ['log.jsonl']);
});

test('a reader who stops reading standard error stops nothing', async (t) => {
  const w = await world(t);
  const folder = await temporaryFolder(t);
  // A pipe that nobody empties, full to the brim before the run begins.
  const script = `mkfifo "$0/pipe"; exec 4<>"$0/pipe"; dd if=/dev/zero of="$0/pipe" bs=4096 oflag=nonblock 2>/dev/null; "$@" 2>"$0/pipe"`;
  const child = spawn(
    'bash',
    ['-c', script, folder, process.execPath, cliFile, 'run', '--month', month],
    {
      cwd: w.folder,
      env: { ...bareEnvironment(), ...w.cloud.environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const { code, stdout } = await finished(child);
  t.is(code, 0);
  t.regex(stdout, /6 done/);
});
