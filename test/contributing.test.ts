import { spawn } from 'node:child_process';
import { cp, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import { startCloud } from '../fixtures/cloud/cloud.js';
import { demoData } from '../fixtures/demo/data.js';
import { parseMonth } from '../pipeline/shared/month.js';
import { bareEnvironment, finished, root, temporaryFolder } from './support/cli.js';
import { querySqlite } from './support/sqlite.js';

/** The folders of the product; the tests mirror them. */
const rooms = ['pipeline', 'extract', 'transform', 'load', 'fixtures'];

test('contributing.md names every file of the product, and no other', async (t) => {
  const text = await readFile(join(root, 'docs/contributing.md'), 'utf8');
  const [, house = ''] = /^## The house$[^]*?^```\n([^]*?)^```$/m.exec(text) ?? [];
  const named: string[] = [];
  let folder = '';
  for (const line of house.split('\n').filter((some) => some !== '')) {
    folder = /^(\S+\/)( |$)/.exec(line)?.[1] ?? folder;
    const [, files = '', words = ''] = /^ {2}((?:\S+\.tsx? ?)+) +(.+)$/.exec(line) ?? [];
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
      if (/\.tsx?$/.test(file)) there.push(`${room}/${file}`);
  t.deepEqual(named.sort(), there.sort());
});

/** A change of a file: what is found there is replaced; a file without `find` is new. */
interface Edit {
  file: string;
  find?: RegExp;
  to: string | ((found: string) => string);
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
      file: 'transform/customer-rows.ts',
      find: /^( *)Contact: constant\(''\),\n/m,
      to: "$&$1CostCenter: constant('none'),\n",
    },
  ],
  'a table': [
    {
      file: 'pipeline/staging/tables.ts',
      find: /^export const tables = \{.*breakdowns/m,
      to: '$&, ledger: breakdowns',
    },
    {
      file: 'pipeline/staging/manifest.ts',
      find: /^( *)breakdowns: (breakdownTable\..*)$/m,
      to: '$&\n$1ledger: $2',
    },
    {
      file: 'transform/transform.ts',
      find: /\(table !== 'breakdowns' \|\| /,
      to: "((table !== 'breakdowns' && table !== 'ledger') || ",
    },
    {
      file: 'transform/transform.ts',
      find: /^( *)breakdowns: split,$/m,
      to: '$&\n$1ledger: split,',
    },
    {
      file: 'transform/transform.ts',
      find: /^( *)(for await .*\n *)(await exports\.write\('breakdowns', batch\);)$/m,
      to: "$1$2{\n$3\nawait exports.write('ledger', batch);\n}",
    },
    {
      file: 'transform/transform.ts',
      find: /^ *\.\.\.\(recipe\.tables\.includes\('breakdowns'\)[^]*?files\.breakdowns[^]*?: \{\}\),\n/m,
      to: (found) => found + found.replaceAll('breakdowns', 'ledger'),
    },
    {
      file: 'test/transform/exports.test.ts',
      find: /^( *)breakdowns: (\w+\(\)),$/m,
      to: '$&\n$1ledger: $2,',
    },
    {
      file: 'docs/tables.md',
      find: /$(?![^])/,
      to: '\n<!-- ledger: written by npm run docs -->\n<!-- ledger: end -->\n',
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
      find: /^type StagingLocation =\n?/m,
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
      to: `import test from 'ava';
import { shelfStaging } from '../../../pipeline/staging/shelf.js';
import { temporaryFolder } from '../../support/cli.js';
import { stagingContract } from './contract.js';
stagingContract(test, async (t) => shelfStaging(await temporaryFolder(t)));
`,
    },
  ],
  'a command': [
    {
      file: 'pipeline/commands/greet.ts',
      to: `import type { CommandModule } from 'yargs';
import { printText } from '../shared/output.js';
export const greet: CommandModule = {
  command: 'greet',
  describe: 'Say hello',
  builder: { loud: { type: 'boolean', describe: 'In capitals' } },
  handler: () => printText('hello'),
};
`,
    },
    {
      file: 'pipeline/command-line.ts',
      find: /^import { demo } .*$/m,
      to: "$&\nimport { greet } from './commands/greet.js';",
    },
    { file: 'pipeline/command-line.ts', find: /^ *\.command\(demo\)$/m, to: '$&.command(greet)' },
  ],
  'a setting': [
    {
      file: 'pipeline/config/settings.ts',
      find: /^ {2}'?maxRequests'?: \{$/m,
      to: `  'greeting': {
    flag: 'greeting',
    env: 'PIPELINE_GREETING',
    meaning: 'What to say',
    unset: 'nothing',
    schema: ({ text }) => text,
  },
$&`,
    },
  ],
  'a field of an organization': [
    {
      file: 'pipeline/config/organization-fields.ts',
      find: /^ {2}listAccounts: \{$/m,
      to: `  costCenter: {
    pattern: /^[A-Z]+$/,
    write: 'write it in capitals',
    meaning: 'who bears it',
    unset: 'nobody',
  },
$&`,
    },
  ],
};

test('what contributing.md names is all that one of each needs', async (t) => {
  const guide = await readFile(join(root, 'docs/contributing.md'), 'utf8');
  const copy = await temporaryFolder(t);
  for (const name of [
    ...rooms,
    'test',
    'docs',
    'README.md',
    'package.json',
    'tsconfig.json',
    'ava.config.js',
  ])
    await cp(join(root, name), join(copy, name), { recursive: true });
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (const [what, edits] of Object.entries(additions)) {
    const row = guide.split('\n').find((line) => line.startsWith(`| ${what} `)) ?? '';
    for (const edit of edits) {
      const isNamed = [edit.file, `${dirname(edit.file)}/`].some((name) =>
        row.includes(`\`${name}\``),
      );
      t.true(isNamed, `contributing.md does not name ${edit.file} for ${what}`);
      await apply(join(copy, edit.file), edit);
    }
  }
  const inCopy = async (...args: string[]): Promise<string> => {
    const child = spawn(process.execPath, args, {
      cwd: copy,
      env: { ...bareEnvironment(), ...cloud.environment },
    });
    const { code, stdout, stderr } = await finished(child);
    t.is(code, 0, `${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  const months = [parseMonth('2026-10')];
  const cloud = await startCloud({
    data: demoData({ months, organizations: [{ name: 'oab', accounts: 3 }] }),
  });
  t.teardown(() => cloud.close());
  await inCopy(
    'node_modules/typescript/bin/tsc',
    '--incremental',
    'false',
    '--tsBuildInfoFile',
    'null',
  );

  const pipeline = 'dist/pipeline/cli.js';
  const flags = ['--month', '2026-10', '--staging', 'shelf://area'];
  await inCopy(pipeline, 'run', ...flags, '--by', 'record-type');
  await inCopy(pipeline, 'reconcile', ...flags);
  const csv = await readFile(join(copy, 'area/csv/customers/month=2026-10/oab.csv'), 'utf8');
  t.regex(csv, /^[^\r]*CostCenter/);
  const database = join(copy, 'billing.sqlite');
  t.deepEqual(querySqlite(database, 'SELECT DISTINCT CostCenter FROM customers'), [
    { CostCenter: 'none' },
  ]);
  const rowsOf = (table: string): unknown =>
    querySqlite(database, `SELECT Value, Amount FROM ${table} ORDER BY Line`);
  t.deepEqual(rowsOf('ledger'), rowsOf('breakdowns'));
  t.not((rowsOf('ledger') as unknown[]).length, 0);

  t.regex(await inCopy(pipeline, '--help'), /^ {2}pipeline greet +Say hello$/m);
  t.is(await inCopy(pipeline, 'greet'), 'hello\n');
  await inCopy('node_modules/ava/entrypoints/cli.mjs', 'dist/test/pipeline/staging/shelf.test.js');
  const script = `import { declaredParts } from './dist/test/docs/generate.js';
    process.stdout.write(JSON.stringify([...(await declaredParts())]));`;
  const parts = new Map(
    JSON.parse(await inCopy('--input-type=module', '-e', script)) as [string, string][],
  );
  t.regex(parts.get('customers') ?? '', /^\| CostCenter \| string\(32\) \| Who bears it \|$/m);
  t.regex(parts.get('ledger') ?? '', /^\| Dimension /m);
  t.regex(await inCopy(pipeline, 'run', '--help'), /^ +--greeting +What to say/m);
  t.regex(
    parts.get('settings') ?? '',
    /^\| `greeting` \| `--greeting` .*`PIPELINE_GREETING`.* What to say/m,
  );
  t.regex(
    parts.get('organizations') ?? '',
    /^\| `costCenter` .*`aws_<name>_costCenter`.* who bears it/m,
  );
  t.regex(parts.get('flags') ?? '', /^\| `--loud` \| greet \| In capitals \|$/m);
});

/** @throws {Error} where the file has not what is to be replaced. */
async function apply(path: string, { file, find, to }: Edit): Promise<void> {
  if (find === undefined) return writeFile(path, String(to), { flag: 'wx' });
  const text = await readFile(path, 'utf8');
  if (!find.test(text)) throw new Error(`${file} has no ${String(find)} any more: adapt the edit`);
  return writeFile(path, typeof to === 'string' ? text.replace(find, to) : text.replace(find, to));
}
