import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { z } from 'zod';
import { demoData } from '../../fixtures/demo/data.js';
import { lastCompleteMonth, shiftMonth } from '../../pipeline/shared/month.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { bareEnvironment, cliFile, root, temporaryFolder } from '../support/cli.js';
import { installPackages } from '../support/debian.js';
import { exportsOf } from '../support/exports.js';
import { world } from '../support/world.js';

/** The recipes of docs/several-machines.md: those for one machine run as they stand, of the others what each piece runs. */
const execute = promisify(execFile);
const text = await readFile(join(root, 'docs/several-machines.md'), 'utf8');

/** A code block of a section. */
function block(section: string, language: string): string {
  const [, own = ''] = text.split(`\n## ${section}\n`);
  const [found = ''] = own.split('\n## ');
  return new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm').exec(found)?.[1] ?? '';
}

/** A folder whose `pipeline` is the built command, as an installed package's is. */
async function installed(t: ExecutionContext): Promise<{ folder: string; PATH: string }> {
  const folder = await temporaryFolder(t);
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await chmod(cliFile, 0o755);
  await symlink(cliFile, join(bin, 'pipeline'));
  return { folder, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
}

test('a shell and GNU parallel make what one process makes', async (t) => {
  const last = lastCompleteMonth(new Date());
  const months = [shiftMonth(last, -1), last];
  const organizations = [
    { name: 'oab', accounts: 5 },
    { name: 'internal', accounts: 3 },
  ];
  const { cloud, charged } = await world(t, { data: demoData({ months, organizations }) });
  const { folder, PATH } = await installed(t);
  t.is(await installPackages('command -v parallel', 'parallel'), undefined);
  const sh = async (name: string, script: string) => {
    const cwd = join(folder, name);
    await mkdir(cwd);
    const env = { ...bareEnvironment(), ...cloud.environment, PATH, HOME: folder };
    // The months of the example are those of its day.
    const ours = script.replaceAll('npx pipeline', 'pipeline').replace('2026-09', months[0] ?? '');
    await execute('sh', ['-ec', ours], { cwd, env });
    return exportsOf(localStaging(join(cwd, 'staging')));
  };
  const reference = await sh('one', 'npx pipeline run --from 2026-09');
  const paid = charged();
  t.is(Object.keys(reference).length, 2 * 2 * 2 * 2);
  for (const [name, section] of [
    ['shell', 'A shell'],
    ['parallel', 'GNU parallel'],
  ] as const) {
    const before = charged();
    const script = block(section, 'sh');
    t.true(script.includes('--from 2026-09'), section);
    t.deepEqual(await sh(name, script), reference, section);
    t.is(charged() - before, paid, section);
  }
  const log = await readFile(join(folder, 'parallel/tasks.log'), 'utf8');
  const ends = log.trim().split('\n').slice(1);
  t.deepEqual(
    ends.map((line) => line.split('\t')[6]),
    ['0', '0', '0', '0'],
  );
  // In the order in which they ended.
  t.deepEqual(
    ends.map((line) => line.split('\t').at(-1)).sort(),
    months.flatMap((of) =>
      ['internal', 'oab'].map((name) => `pipeline run --month ${of} --organization ${name}`),
    ),
  );
  await t.throwsAsync(readFile(join(folder, 'shell/failed.txt')), { code: 'ENOENT' });
});

test('the shell goes on after a piece that failed, and keeps it', async (t) => {
  const { folder, PATH } = await installed(t);
  const [, loop = ''] = block('A shell', 'sh').split('\n');
  await writeFile(join(folder, 'tasks.txt'), `cat; exit 3\necho "it's" 'done' > done.txt\n`);
  await execute('sh', ['-ec', loop], { cwd: folder, env: { ...bareEnvironment(), PATH } });
  t.is(await readFile(join(folder, 'failed.txt'), 'utf8'), 'cat; exit 3\n');
  t.is(await readFile(join(folder, 'done.txt'), 'utf8'), "it's done\n");
});

const pod = z.object({
  apiVersion: z.literal('batch/v1'),
  kind: z.literal('Job'),
  metadata: z.object({ name: z.string() }),
  spec: z.strictObject({
    completionMode: z.literal('Indexed'),
    completions: z.int(),
    parallelism: z.int(),
    backoffLimitPerIndex: z.int(),
    template: z.object({
      spec: z.object({
        restartPolicy: z.literal('Never'),
        containers: z.tuple([
          z.object({
            command: z.array(z.string()),
            volumeMounts: z.tuple([z.object({ name: z.string(), mountPath: z.string() })]),
          }),
        ]),
        volumes: z.tuple([
          z.object({ name: z.string(), configMap: z.object({ name: z.string() }) }),
        ]),
      }),
    }),
  }),
});

const arrayJob = z.object({
  jobName: z.string(),
  jobQueue: z.string(),
  jobDefinition: z.string(),
  arrayProperties: z.object({ size: z.int().min(2).max(10_000) }),
  retryStrategy: z.object({ attempts: z.int().min(1).max(10) }),
  containerOverrides: z.object({ command: z.array(z.string()) }),
});

/** Words that a recipe has a container run, on the list of pieces and with the place in it that a variable tells. */
interface Container {
  words: string[];
  variable: string;
  list: string;
}

const kubernetes = (): Container => {
  const { template } = pod.parse(parse(block('Kubernetes', 'yaml'))).spec;
  const [{ command, volumeMounts }] = template.spec.containers;
  const [volume] = template.spec.volumes;
  const { name, mountPath } = volumeMounts[0];
  if (name !== volume.name) throw new Error('nothing is mounted');
  const [, made, file] = /create configmap (\S+) --from-file=(\S+)$/m.exec(
    block('Kubernetes', 'sh'),
  ) ?? [undefined, '', ''];
  if (made !== volume.configMap.name) throw new Error(`the ConfigMap is not ${made}`);
  const list = `${mountPath}/${file}`;
  return { words: command, variable: 'JOB_COMPLETION_INDEX', list };
};

const batch = (): Container => {
  const { command } = arrayJob.parse(JSON.parse(block('AWS Batch', 'json'))).containerOverrides;
  const [, list = ''] = /^aws s3 cp tasks\.txt (\S+)$/m.exec(block('AWS Batch', 'sh')) ?? [];
  return { words: command, variable: 'AWS_BATCH_JOB_ARRAY_INDEX', list };
};

for (const [engine, recipe] of Object.entries({ kubernetes, batch })) {
  test(`${engine}: each index runs its own line, and one without a line fails`, async (t) => {
    const { folder, PATH } = await installed(t);
    const list = join(folder, 'tasks.txt');
    await writeFile(list, `echo "it's" 'one' \\$\necho two; exit 7\necho three\n`);
    // The bucket is a file.
    await writeFile(join(folder, 'bin/aws'), '#!/bin/sh\nexec cat "$3"\n', { mode: 0o755 });
    const { words, variable, list: shared } = recipe();
    t.true(words.join(' ').includes(shared), 'what is made is what is read');
    const [program = '', ...args] = words.map((word) => word.replace(shared, list));
    const at = (index: number) =>
      execute(program, args, { env: { ...bareEnvironment(), PATH, [variable]: String(index) } });
    t.is((await at(0)).stdout, "it's one $\n");
    await t.throwsAsync(at(1), { message: /Command failed/, code: 7 } as object);
    t.is((await at(2)).stdout, 'three\n');
    await t.throwsAsync(at(3), { message: /no such line/ });
    await writeFile(list, '');
    await t.throwsAsync(at(0), { message: /no such line/ });
  });
}

test('Step Functions: a piece is the command of the document that goes in', (t) => {
  const machine = z.object({
    StartAt: z.literal('Pieces'),
    States: z.object({
      Pieces: z.object({
        Type: z.literal('Map'),
        ItemsPath: z.literal('$.tasks'),
        End: z.literal(true),
        ItemProcessor: z.object({
          StartAt: z.literal('Piece'),
          States: z.object({
            Piece: z.object({
              Type: z.literal('Task'),
              Resource: z.literal('arn:aws:states:::batch:submitJob.sync'),
              Parameters: z.object({
                ContainerOverrides: z.object({
                  'Command.$': z.literal("States.Array('sh', '-c', $.command)"),
                }),
              }),
              End: z.literal(true),
            }),
          }),
        }),
      }),
    }),
  });
  const found = machine.safeParse(JSON.parse(block('AWS Step Functions', 'json')));
  t.true(found.success, found.error?.message);
});

test('Airflow: what it maps over are the commands of the pieces', async (t) => {
  t.is(await installPackages('command -v python3', 'python3'), undefined);
  const { folder, PATH } = await installed(t);
  const { cloud } = await world(t);
  await writeFile(join(folder, 'billing.py'), block('Airflow', 'python'));
  // As much of Airflow as the file asks for: a task is called at once, and what is mapped is printed.
  await writeFile(
    join(folder, 'check.py'),
    `import json, sys, types
made = []
class Dag:
    def __init__(self, name, **given): made.append((name, sorted(given)))
    def __enter__(self): return self
    def __exit__(self, *error): pass
class Operator:
    @staticmethod
    def partial(**given):
        made.append(sorted(given))
        return types.SimpleNamespace(expand=lambda **mapped: made.append(mapped))
def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)
for name in ("airflow", "airflow.providers", "airflow.providers.standard", "airflow.providers.standard.operators"):
    module(name)
module("airflow.providers.standard.operators.bash", BashOperator=Operator)
module("airflow.sdk", DAG=Dag, task=lambda work: work)
module("pendulum", datetime=lambda *at, tz: at)
exec(compile(open("billing.py").read(), "billing.py", "exec"))
print(json.dumps(made))
`,
  );
  const env = { ...bareEnvironment(), ...cloud.environment, PATH };
  const { stdout } = await execute('python3', ['check.py'], { cwd: folder, env });
  const month = lastCompleteMonth(new Date());
  t.deepEqual(JSON.parse(stdout), [
    ['billing', ['catchup', 'max_active_runs', 'schedule', 'start_date']],
    ['max_active_tis_per_dag', 'retries', 'task_id'],
    {
      bash_command: ['internal', 'oab'].map(
        (name) => `pipeline run --month ${month} --organization ${name}`,
      ),
    },
  ]);
});

test('the example of the list is what is printed', async (t) => {
  const { folder, PATH } = await installed(t);
  const { cloud } = await world(t);
  const [typed = '', ...lines] = block('The list of pieces', 'console').trimEnd().split('\n');
  const words = typed.replace('$ npx pipeline ', '').split(' ');
  const flags = words.flatMap((word) => (word === '--from' ? [word, '2026-09', '--to'] : [word]));
  const at = flags.indexOf('--to');
  flags[at + 1] = '2026-10';
  const env = { ...bareEnvironment(), ...cloud.environment, PATH };
  const { stdout } = await execute('pipeline', flags, { cwd: folder, env });
  t.is(stdout, `${lines.join('\n').replaceAll('npx pipeline', 'pipeline')}\n`);
});
