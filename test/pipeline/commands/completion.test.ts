import { execFile } from 'node:child_process';
import { mkdir, open, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { candidatesFor, shellWords } from '../../../pipeline/commands/complete.js';
import type { Finished } from '../../support/cli.js';
import { bareEnvironment, cliFile, pipeline, root, temporaryFolder } from '../../support/cli.js';
import { openTerminal, provideShells } from '../../support/terminal.js';

const run = promisify(execFile);

/** Names that a shell would take for more than a name; none is an organization's. */
const hostile = ['$(touch x)', '`touch x`', 'a b', "it's", '-rf', 'new\nline', '\u202Eoab', '*'];

/** A staging area with two months and organizations, among folders that are none. */
async function staged(t: Parameters<typeof temporaryFolder>[0]): Promise<string> {
  const cwd = await temporaryFolder(t);
  for (const [month, organization] of [
    ['2026-09', 'oab'],
    ['2026-10', 'oab'],
    ['2026-10', 'spp_pm'],
    ['2026-13', 'nomonth'],
    ...hostile.map((name) => ['2026-10', name] as const),
  ] as const)
    await mkdir(join(cwd, `staging/raw/month=${month}/${organization}`), { recursive: true });
  await mkdir(join(cwd, 'staging/manifests/month=2026-08'), { recursive: true });
  await writeFile(join(cwd, 'staging/manifests/month=2026-08/internal.json'), '{}');
  await mkdir(join(cwd, 'staging/csv/customers/month=2026-09'), { recursive: true });
  await mkdir(join(cwd, 'staging/manifests/month=2026-09'), { recursive: true });
  const by = [
    'RECORD_TYPE',
    'TAG:team',
    'TAG:a b',
    'TAG:$(touch x)',
    'COST_CATEGORY:Segment',
    'NO',
  ];
  await writeFile(
    join(cwd, 'staging/manifests/month=2026-09/oab.json'),
    JSON.stringify({ scope: { by } }),
  );
  // One that is no JSON any more, and one that nobody writes to.
  await writeFile(join(cwd, 'staging/manifests/month=2026-09/spp_pm.json'), '');
  await run('mkfifo', [join(cwd, 'staging/csv/customers/month=2026-09/spp_pm.csv')]);
  await writeFile(
    join(cwd, 'staging/csv/customers/month=2026-09/oab.csv'),
    [
      '"Reference","TenantName","Contact"',
      '000000000012,"Left, Ltd `touch x`",""',
      '000000000013,Nord & Co,""',
      '000000000014,"say ""x""\n000000000099",""',
    ].join('\r\n'),
  );
  await mkdir(join(cwd, 'staging/raw/month=$(touch x)/oab'), { recursive: true });
  await writeFile(join(cwd, 'settings.yaml'), 'staging: elsewhere\n');
  return cwd;
}

/** Every command's module, as the command line has them. */
async function importCommands(): Promise<void> {
  const folder = new URL('../../../pipeline/commands/', import.meta.url);
  for (const file of await readdir(folder))
    if (file.endsWith('.js')) await import(new URL(file, folder).href);
}

/** What is offered, without what it means. */
function offered({ stdout }: Finished): string[] {
  return stdout.split('\n').flatMap((line) => line.split('\t', 1).filter((one) => one !== ''));
}

test('what may be typed next: commands, flags, words, months and organizations', async (t) => {
  const cwd = await staged(t);
  await mkdir(join(cwd, 'elsewhere/raw/month=2020-01/far'), { recursive: true });
  await symlink(join(cwd, 'staging'), join(cwd, 'link'));
  await importCommands();
  const former = process.cwd();
  process.chdir(cwd);
  t.teardown(() => {
    process.chdir(former);
  });
  const months = ['2026-09', '2026-10'];
  const all = ['2026-08', ...months];
  const names = ['internal', 'oab', 'spp_pm'];
  const both = ['000000000012', '000000000014'].map((id) => `000000000013,${id}`);
  await Promise.all(
    (
      [
        [['st'], ['status']],
        [['--v'], ['--version']],
        [['nothing', ''], []],
        [
          ['completion', ''],
          ['bash', 'zsh', 'fish'],
        ],
        [['completion', 'bash', ''], []],
        [['export', ''], ['files']],
        [['run', '--mon'], ['--month']],
        [['run', '--json', '--js'], []],
        [['run', '--month', '2026-10', '--mon'], ['--month']],
        [['run', '--aws'], ['--aws-total']],
        [['run', '--no-a'], ['--no-aws-total']],
        [['status', '--month', ''], all],
        [['status', '--month=2026-1'], ['--month=2026-10']],
        [
          ['status', '--month', '2026-10,'],
          ['2026-10,2026-08', '2026-10,2026-09'],
        ],
        [['changes', '--month', '2026-10', '--organization', ''], names],
        [
          ['changes', '--customer', '0'],
          ['000000000012', '000000000013', '000000000014'],
        ],
        [['report', '--customer', '000000000013,'], both],
        [['changes', '--customer', 'nobody'], []],
        [['changes', '--staging', 's3://bucket/prefix', '--customer', ''], []],
        [
          ['run', '--by', 'r'],
          ['record-type', 'region', 'reservation-id'],
        ],
        [['run', '--by', 'tag:'], ['tag:team']],
        [['run', '--by', 'region,cost-category:'], ['region,cost-category:Segment']],
        [['run', '--staging', 's3://bucket/prefix', '--by', 'te'], ['tenancy']],
        [
          ['run', '--parquet', ''],
          ['standard', 'basic'],
        ],
        [
          ['status', '--organization', '', ''],
          ['--month', '--from', '--to', '--organization'],
        ],
        [['status', '--config', 'settings.yaml', '--organization', ''], ['far']],
        [['status', '--config=settings.yaml', '--organization', ''], ['far']],
        [['status', '--staging', 'link', '--from', ''], all],
        [['status', '--staging', './elsewhere', '--config', 'none', '--to', ''], ['2020-01']],
        [['status', '--staging', 's3://bucket/prefix', '--month', ''], []],
        [['status', '--staging', 'ftp://host/', '--month', ''], []],
        [['status', '--staging', 'nowhere', '--month', ''], []],
        [['status', '--staging', 'settings.yaml', '--month', ''], []],
        [['run', '--stage', 'extract,l'], ['extract,load']],
        [
          ['run', '--log-level', ''],
          ['debug', 'info', 'warn', 'error', 'silent'],
        ],
        [
          ['tasks', '--output', ''],
          ['table', 'lines', 'json', 'csv'],
        ],
        [['run', '--config', ''], ['files']],
        [['run', '--staging='], ['folders']],
        [['run', '--database', ''], []],
      ] as [string[], string[]][]
    ).map(async ([words, expected]) => {
      const found = await candidatesFor(words).catch(() => []);
      const names = typeof found === 'string' ? [found] : found.map(({ value }) => value);
      const fit = names.filter((name) => name === found || name.startsWith(words.at(-1) ?? ''));
      // Of the flags only the first are told here.
      t.deepEqual(
        expected.includes('--from') ? fit.slice(0, expected.length) : fit,
        expected,
        words.join(' '),
      );
    }),
  );
  const ask = async (words: string[], env: Record<string, string> = {}): Promise<string[]> => {
    const found = await pipeline(['complete', 'zsh', ...words], { cwd, env });
    t.deepEqual([found.code, found.stderr], [0, ''], words.join(' '));
    return offered(found);
  };
  t.deepEqual(await ask(['status', '--from', ''], { PIPELINE_STAGING: 'elsewhere' }), ['2020-01']);
  t.deepEqual(await ask(['status', '--from', ''], { PIPELINE_STAGING: '' }), all);
  const { stdout } = await pipeline(['complete', 'fish', 'changes', '--customer', ''], { cwd });
  t.deepEqual(stdout.split('\n').slice(0, 2), [
    '000000000012\tLeft, Ltd ·touch x·',
    '000000000013\tNord & Co',
  ]);
  const commands = await pipeline(['--help'], { cwd });
  t.deepEqual(
    (await ask([''])).sort(),
    [...commands.stdout.matchAll(/^ {2}pipeline (\w+) /gm)].map(([, name]) => name ?? '').sort(),
  );
  t.false((await readdir(cwd)).includes('x'));
});

test('nothing is offered, said or waited for where the settings cannot be read', async (t) => {
  const cwd = await temporaryFolder(t);
  await writeFile(join(cwd, 'broken.yaml'), 'staging: [');
  await writeFile(join(cwd, 'list.yaml'), 'staging: [a]\n');
  await run('mkfifo', [join(cwd, 'fifo')]);
  // Somebody has it open, and writes nothing.
  const writer = await open(join(cwd, 'fifo'), 'r+');
  t.teardown(() => writer.close());
  await Promise.all(
    ['broken.yaml', 'list.yaml', 'absent.yaml', '.', 'fifo'].map(async (file) => {
      const began = performance.now();
      const { stdout, stderr } = await pipeline(
        ['complete', 'zsh', 'status', '--config', file, '--month', ''],
        { cwd },
      );
      t.deepEqual([stdout, stderr], ['', ''], file);
      t.true(performance.now() - began < 60_000);
    }),
  );
});

test('a Tab loads neither what validates settings nor any client', async (t) => {
  const cwd = await staged(t);
  const NODE_V8_COVERAGE = join(cwd, 'coverage');
  const words = ['complete', 'zsh', 'status', '--month', ''];
  t.deepEqual(offered(await pipeline(words, { cwd, env: { NODE_V8_COVERAGE } })), [
    '2026-08',
    '2026-09',
    '2026-10',
  ]);
  const [file = ''] = await readdir(NODE_V8_COVERAGE);
  const { result } = JSON.parse(await readFile(join(NODE_V8_COVERAGE, file), 'utf8')) as {
    result: { url: string }[];
  };
  const packages = result.flatMap(
    ({ url }) => /node_modules\/(@[\w-]+|[\w-]+)/.exec(url)?.[1] ?? [],
  );
  t.true(packages.includes('yargs'), packages.join());
  for (const heavy of ['zod', '@aws-sdk', '@smithy', 'yaml', 'knex', 'pino', 'hyparquet'])
    t.false(packages.includes(heavy), heavy);
});

test("bash's line is read as bash reads it", async (t) => {
  t.deepEqual(shellWords('pipeline run '), ['pipeline', 'run', '']);
  t.deepEqual(shellWords('pipeline status --month "2026-1'), [
    'pipeline',
    'status',
    '--month',
    '2026-1',
  ]);
  t.deepEqual(shellWords("a '' b"), ['a', '', 'b']);
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.string({
          minLength: 1,
          unit: fc.constantFrom('a', ' ', "'", '"', '\\', '$', '=', ':', '-'),
        }),
        {
          maxLength: 5,
        },
      ),
      fc.constantFrom('single', 'double', 'backslash'),
      async (texts, way) => {
        const line = ['pipeline', ...texts.map((text) => quoteAs(way, text))].join(' ');
        const { stdout } = await run('bash', ['-c', `set -- ${line}; printf '%s\\n' "$@"`]);
        t.deepEqual(shellWords(line), stdout.slice(0, -1).split('\n'));
      },
    ),
    { numRuns: 60 },
  );
});

function quoteAs(way: string, text: string): string {
  if (way === 'single') return `'${text.replaceAll("'", "'\\''")}'`;
  if (way === 'double') return `"${text.replaceAll(/["\\$`]/g, '\\$&')}"`;
  return text.replaceAll(/[^a-z]/g, '\\$&');
}

/** How each shell starts, and the function that afterwards shows what was typed, in the command's place. */
const shells = {
  bash: ['bash --norc --noprofile -i', `pipeline() { printf '<%s>' "$@"; echo .; }`],
  zsh: ['zsh -f -i', `pipeline() { printf '<%s>' "$@"; echo .; }`],
  fish: ['fish --no-config -i', `function pipeline; printf '<%s>' $argv; echo .; end`],
} as const;

/** The lines that docs/set-up.md has for a shell's start file. */
async function startLines(shell: string): Promise<string> {
  const text = await readFile(join(root, 'docs/set-up.md'), 'utf8');
  const pattern = shell === 'fish' ? /^function pipeline.*\n.*/m : /^pipeline\(\) .*\n.*/m;
  const [lines = ''] = pattern.exec(text) ?? [];
  return lines
    .replaceAll('/opt/billing/dist/pipeline/cli.js', cliFile)
    .replace('completion bash', `completion ${shell}`);
}

/** What is typed, a Tab as `→`, and the words that the command then gets. */
const typed = [
  ['stat→', ['status']],
  ['status --mon→2026-1→', ['status', '--month', '2026-10']],
  ['status --month=2026-1→', ['status', '--month=2026-10']],
  [
    'status --month 2026-10,2026-08 --org→sp→',
    [...['status', '--month', '2026-10,2026-08', '--organization', 'spp_pm']],
  ],
  ['status --organization oab,i→', ['status', '--organization', 'oab,internal']],
  ['status --month "2026-1→', ['status', '--month', '2026-10']],
  ['run --config sett→', ['run', '--config', 'settings.yaml']],
  ['run --config=sett→', ['run', '--config=settings.yaml']],
  [
    'status --staging lone→ --month 20→',
    ['status', '--staging', 'lonely folder', '--month', '2019-01'],
  ],
  [
    'export --organization oab --format xl→',
    ['export', '--organization', 'oab', '--format', 'xlsx'],
  ],
  ['tasks --output li→', ['tasks', '--output', 'lines']],
  ['run --by tag:→', ['run', '--by', 'tag:team']],
  ['changes --customer 000000000013→', ['changes', '--customer', '000000000013']],
  ['run --nothing x→', ['run', '--nothing', 'x']],
] as const;

test.before(() => provideShells('bash', 'zsh', 'fish'));

for (const [shell, [start, show]] of Object.entries(shells))
  test(`${shell} completes at a terminal, and runs nothing that a name says`, async (t) => {
    const cwd = await staged(t);
    await mkdir(join(cwd, 'lonely folder/raw/month=2019-01/oab'), { recursive: true });
    const env = { ...bareEnvironment(), HOME: cwd, HISTFILE: '', PS1: '> ' };
    const terminal = openTerminal(t, start, { cwd, env });
    await writeFile(join(cwd, 'start'), `${await startLines(shell)}\n${show}\n`);
    await terminal.type(`source ./start; echo READY''READY\r`, /READYREADY/);
    for (const [line, words] of typed) {
      const shown = await terminal.type(`pipeline ${line.replaceAll('→', '\t')}\r`, /^.*>\.\r?\n/m);
      // zsh takes the slash behind a folder away again.
      const got = /(<.*>)\.\r?\n/.exec(shown)?.[1]?.replace('/>', '>');
      t.is(got, words.map((word) => `<${word}>`).join(''), `${shell}: ${line}`);
    }
    t.false((await readdir(cwd)).includes('x'));
  });
