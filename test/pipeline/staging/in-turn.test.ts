import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readFile, readdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { inTurn } from '../../../pipeline/staging/in-turn.js';
import { finished, temporaryFolder } from '../../support/cli.js';

const module = new URL('../../../pipeline/staging/in-turn.js', import.meta.url).href;
/** A script that has `inTurn`, and the file as its argument. */
const script = (work: string): string[] => [
  '--input-type=module',
  '-e',
  `import { readFile, writeFile } from 'node:fs/promises';
   const { inTurn } = await import(${JSON.stringify(module)});
   const file = process.argv[1];
   ${work}`,
];

test('what several processes add to one file at once is all in it', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'sum');
  await writeFile(file, '0');
  const add = `
    process.stdout.write('ready');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    for (let i = 0; i < 30; i++)
      await inTurn(file, async () => writeFile(file, String(Number(await readFile(file, 'utf8')) + 1)));
    process.exit();`;
  const processes = Array.from({ length: 3 }, () =>
    spawn(process.execPath, [...script(add), file], { stdio: 'pipe' }),
  );
  // All are loaded before the first begins.
  await Promise.all(
    processes.map(({ stdout }) => new Promise((resolve) => stdout.once('data', resolve))),
  );
  const ends = Promise.all(processes.map(finished));
  for (const { stdin } of processes) stdin.write('go');
  for (const { code, stderr } of await ends) t.deepEqual([code, stderr], [0, '']);
  t.is(await readFile(file, 'utf8'), '90');
  t.deepEqual(await readdir(folder), ['sum']);
});

test('a turn that a killed process left is taken over at once', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'sum');
  const turn = join(folder, '.sum.turn');
  const kill = "await inTurn(file, () => process.kill(process.pid, 'SIGKILL'));";
  t.is(spawnSync(process.execPath, [...script(kill), file]).signal, 'SIGKILL');
  t.is((await readdir(turn)).length, 1);
  t.deepEqual(await inTurn(file, () => readdir(folder)), ['.sum.turn']);
  t.deepEqual(await readdir(folder), []);
  // One that nobody ended has no name in it.
  await mkdir(turn);
  t.is(await inTurn(file, () => Promise.resolve('done')), 'done');
  t.deepEqual(await readdir(folder), []);
});

test("another container's turn has its time, whatever its file server's clock says, and then ends", async (t) => {
  // Whether that process is gone, nobody can tell. A day in the past and in the future, and a name that leads nowhere.
  const name = `${'0'.repeat(12)}.1.${'0'.repeat(12)}`;
  const leave = [
    ...[-1, 1].map((days) => async (left: string) => {
      const time = new Date(Date.now() + days * 24 * 60 * 60 * 1000);
      await writeFile(left, '');
      await utimes(left, time, time);
    }),
    (left: string) => symlink('nowhere', left),
  ];
  const waits = leave.map(async (put) => {
    const folder = await temporaryFolder(t);
    await mkdir(join(folder, '.sum.turn'));
    await put(join(folder, '.sum.turn', name));
    const began = performance.now();
    await inTurn(join(folder, 'sum'), () => Promise.resolve());
    t.deepEqual(await readdir(folder), []);
    return performance.now() - began;
  });
  for (const wait of await Promise.all(waits)) t.true(wait > 5000, String(wait));
});

test('what fails in its turn ends it, and a folder that is not there is told', async (t) => {
  const folder = await temporaryFolder(t);
  await t.throwsAsync(
    inTurn(join(folder, 'sum'), () => Promise.reject(new Error('no'))),
    { message: 'no' },
  );
  t.deepEqual(await readdir(folder), []);
  await t.throwsAsync(
    inTurn(join(folder, 'none', 'sum'), () => Promise.resolve()),
    { message: /cannot be written \(ENOENT\)/ },
  );
});
