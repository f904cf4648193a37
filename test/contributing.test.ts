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

/** A change of a file: what is found there is replaced; a file without `find` is new. */
interface Edit {
  file: string;
  find?: RegExp;
  to: string;
}

/**
 * One of each that contributing.md says where to add, in the files that it names for it; the key is its row.
 * Each does as little as it can.
 */
const additions: Record<string, readonly Edit[]> = {
  'a column': [
    {
      file: 'pipeline/staging/tables.ts',
      find: /^export const customers: readonly Column\[\] = \[\n/m,
      to: "$&  { name: 'CostCenter', type: 'string', length: 32, description: 'Who bears it' },\n",
    },
    {
      file: 'transform/customers.ts',
      find: /^( *)Contact: \(\) => '',\n/m,
      to: "$&$1CostCenter: () => 'none',\n",
    },
  ],
  'a table': [
    { file: 'pipeline/staging/layout.ts', find: /^export type TableName =/m, to: "$& 'ledger' |" },
    {
      file: 'pipeline/staging/tables.ts',
      find: /^( *)charges,\n(};[^]*?tableNames[^=]*= \[)/m,
      to: "$1charges,\n$1ledger: charges,\n$2'ledger', ",
    },
    { file: 'pipeline/staging/manifest.ts', find: /^( *)charges: (z\..*)$/m, to: '$&\n$1ledger: $2' },
    {
      file: 'transform/transform.ts',
      find: /tableNames\.filter\(\(table\) => table !== 'charges'\)/,
      to: "tableNames.filter((table) => table !== 'charges' && table !== 'ledger')",
    },
    { file: 'transform/transform.ts', find: /^( *)charges: charged,$/m, to: '$&\n$1ledger: charged,' },
    {
      file: 'transform/transform.ts',
      find: /^( *)(for await .*\n *)(await exports\.write\('charges', batch\);)$/m,
      to: "$1$2{\n$3\nawait exports.write('ledger', batch);\n}",
    },
    {
      file: 'transform/transform.ts',
      find: /^ *\.\.\.\(recipe\.tables\.includes\('charges'\)[^]*?files\.charges[^]*?: \{\}\),\n/m,
      to: "$&...(files.ledger.length > 0 ? { ledger: { ...figuresOf(charged), files: files.ledger } } : {}),\n",
    },
  ],
  'a storage driver': [
    {
      file: 'pipeline/staging/shelf.ts',
      to: `import { localStaging } from './local.js';
import type { Staging } from './staging.js';
export function shelfStaging(folder: string): Staging {
  return { ...localStaging(folder), location: \`shelf://\${folder}\` };
}
`,
    },
    {
      file: 'pipeline/staging/open.ts',
      find: /^export type StagingLocation =\n?/m,
      to: "import { shelfStaging } from './shelf.js';\n$& | { kind: 'shelf'; folder: string } |",
    },
    {
      file: 'pipeline/staging/open.ts',
      find: /^ *if \(scheme !== 's3'\)/m,
      to: "if (scheme === 'shelf') return { kind: 'shelf', folder: text.slice('shelf://'.length) };\n$&",
    },
    {
      file: 'pipeline/staging/open.ts',
      find: /^ *if \(location\.kind === 'folder'\)/m,
      to: "if (location.kind === 'shelf') return shelfStaging(location.folder);\n$&",
    },
    {
      file: 'test/pipeline/staging/shelf.test.ts',
      to: `import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shelfStaging } from '../../../pipeline/staging/shelf.js';
import { testStagingContract } from './contract.js';
testStagingContract('shelf', async () => shelfStaging(await mkdtemp(join(tmpdir(), 'shelf-'))));
`,
    },
  ],
};
