import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { localStaging } from '../../../pipeline/staging/local.js';
import { temporaryFolder } from '../../support/cli.js';
import { keysOf } from './contract.js';

test('a folder goes with its last file, up to the root and no further', async (t) => {
  const folder = await temporaryFolder(t);
  const staging = localStaging(folder);
  await staging.write('raw/a/x/1', Buffer.from('1'));
  await staging.write('raw/a/x/2', Buffer.from('2'));
  await staging.write('raw/b/3', Buffer.from('3'));
  await staging.remove('raw/a/x/1');
  t.deepEqual(await readdir(join(folder, 'raw/a/x')), ['2']);
  await staging.remove('raw/a/x/2');
  t.deepEqual(await readdir(join(folder, 'raw')), ['b']);
  await staging.remove('raw/b/3');
  t.deepEqual(await readdir(folder), ['.tmp']);
});

test('what others keep in a folder stays', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'kept/by-others'), { recursive: true });
  const staging = localStaging(folder);
  await staging.write('kept/file', Buffer.from('1'));
  await staging.remove('kept/file');
  t.deepEqual((await readdir(folder)).sort(), ['.tmp', 'kept']);
  t.deepEqual(await readdir(join(folder, 'kept')), ['by-others']);
});

test('a write arrives although others remove the last files around it', async (t) => {
  const folder = await temporaryFolder(t);
  const areas = Array.from({ length: 8 }, () => localStaging(folder));
  const turns = async (staging: (typeof areas)[number], index: number): Promise<void> => {
    for (let turn = 0; turn < 500; turn += 1) {
      const key = `deep/er/still/${index}`;
      t.true(await staging.write(key, Buffer.from('x'), { ifAbsent: turn % 2 === 0 }));
      await staging.remove(key);
    }
    await staging.write(`deep/er/still/${index}`, Buffer.from('x'));
  };
  await Promise.all(areas.map(turns));
  const keys = areas.map((_, index) => `deep/er/still/${index}`);
  t.deepEqual(await keysOf(localStaging(folder), ''), keys);
});
