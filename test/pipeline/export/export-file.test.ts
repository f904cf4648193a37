import { spawnSync } from 'node:child_process';
import { readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { writeAside } from '../../../pipeline/export/export-file.js';
import { temporaryFolder } from '../../support/cli.js';

const module = new URL('../../../pipeline/export/export-file.js', import.meta.url).href;

/** A process that is killed when half of its file is written. */
function killedWriter(file: string): NodeJS.Signals | null {
  const script = `
    import { writeFile } from 'node:fs/promises';
    const { writeAside } = await import(${JSON.stringify(module)});
    await writeAside(process.argv[1], async (aside) => {
      await writeFile(aside, 'half');
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => undefined);
    });`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', script, file]).signal;
}

test('what a killed process left of a file goes with the next one of that name, and nothing else does', async (t) => {
  const folder = await temporaryFolder(t);
  const [file, other] = [join(folder, 'a.csv'), join(folder, 'b.csv')];
  await writeFile(file, 'before');
  for (const one of [file, other]) t.is(killedWriter(one), 'SIGKILL');
  const left = (await readdir(folder)).filter((name) => name.endsWith('.tmp')).sort();
  t.is(left.length, 2);
  t.is(await readFile(file, 'utf8'), 'before');

  // One of a process that still runs, and one of another machine.
  const [own = '', others = ''] = left;
  const [machine = '', , ...rest] = own.slice('.a.csv.'.length).split('.');
  const kept = [
    `.a.csv.${[machine, process.ppid, ...rest].join('.')}`,
    `.a.csv.${['0'.repeat(12), 1, ...rest].join('.')}`,
    `.a.csv.bak.${[machine, ...rest].join('.')}`,
  ];
  for (const name of kept) await writeFile(join(folder, name), '');
  await writeAside(file, (aside) => writeFile(aside, 'after', { flag: 'wx' }));
  t.is(await readFile(file, 'utf8'), 'after');
  t.deepEqual((await readdir(folder)).sort(), [...kept, others, 'a.csv'].sort());
  await rename(file, other);
  await writeAside(other, (aside) => writeFile(aside, 'again', { flag: 'wx' }));
  t.deepEqual((await readdir(folder)).sort(), [...kept, 'b.csv'].sort());
});
