import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { root } from './support/cli.js';

/** The folders of the product; the tests mirror them. */
const rooms = ['pipeline', 'extract', 'transform', 'load', 'fixtures'];

test('contributing.md names every file of the product, and no other', async (t) => {
  const text = await readFile(join(root, 'docs/contributing.md'), 'utf8');
  const [, house = ''] = /^## The house$[^]*?^```\n([^]*?)^```$/m.exec(text) ?? [];
  const named: string[] = [];
  let folder = '';
  for (const line of house.split('\n').filter((some) => some !== '')) {
    folder = /^(\S+\/)( |$)/.exec(line)?.[1] ?? folder;
    const [, files = '', words = ''] = /^ {2}((?:\S+\.ts ?)+) +(.+)$/.exec(line) ?? [];
    if (line.startsWith(' ')) t.truthy(words, `the house: ${line}`);
    named.push(
      ...files
        .split(' ')
        .filter((file) => file !== '')
        .map((file) => folder + file),
    );
  }
  const there: string[] = [];
  for (const room of rooms)
    for (const file of await readdir(join(root, room), { recursive: true }))
      if (file.endsWith('.ts')) there.push(`${room}/${file}`);
  t.deepEqual(named.sort(), there.sort());
});
