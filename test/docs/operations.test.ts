import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { z } from 'zod';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { EXIT } from '../../pipeline/commands/journal.js';
import { readConfigFile } from '../../pipeline/config/config-file.js';
import { resolveConfig } from '../../pipeline/config/config.js';
import { hookKinds, occasions } from '../../pipeline/config/hooks.js';
import { hookEntry } from '../../pipeline/config/formats.js';
import { signatureOf } from '../../pipeline/run/notify.js';
import { runRecord } from '../../pipeline/run/record.js';
import { lastCompleteMonth } from '../../pipeline/shared/month.js';
import { bareEnvironment, cliFile, root, temporaryFolder } from '../support/cli.js';
import { installPackages } from '../support/debian.js';
import { hookServer } from '../support/hook-server.js';

/** What docs/operations.md shows: its commands run as they stand, its units and manifests are checked, its receivers receive. */
const execute = promisify(execFile);
const text = await readFile(join(root, 'docs/operations.md'), 'utf8');

/** The section of a heading, up to the next one of its level or above; a comment in a code block is none. */
function section(heading: string): string {
  const [marks = ''] = heading.split(' ');
  const ends = new RegExp(`^#{1,${marks.length}} `);
  const lines: string[] = [];
  let isInside = false;
  let isCode = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) isCode = !isCode;
    if (!isCode && ends.test(line)) isInside = line === heading;
    else if (isInside) lines.push(line);
  }
  if (lines.length === 0) throw new Error(`there is no ${heading}`);
  return lines.join('\n');
}

/** The code blocks of a section. */
function blocks(heading: string, language: string): string[] {
  const found = section(heading).matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'));
  return [...found].map(([, block = '']) => block);
}

const secret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

/** A stand-in cloud with last month, and a folder that is an installed checkout, whose command is on the path. */
async function place(t: ExecutionContext) {
  const folder = await temporaryFolder(t);
  const months = [lastCompleteMonth(new Date())];
  const data = demoData({ months, organizations: [{ name: 'oab', accounts: 3 }] });
  const cloud = await startCloud({ data });
  t.teardown(() => cloud.close());
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await chmod(cliFile, 0o755);
  await symlink(cliFile, join(bin, 'pipeline'));
  await symlink(join(root, 'dist'), join(folder, 'dist'));
  const PATH = `${bin}${delimiter}${process.env['PATH'] ?? ''}`;
  const env = { ...bareEnvironment(), ...cloud.environment, PATH };
  const sh = (script: string, more: Record<string, string> = {}) =>
    execute('sh', ['-ec', script], { cwd: folder, env: { ...env, ...more } });
  return { folder, cloud, env, sh };
}

test('the commands do what they say, and jq reads the summary', async (t) => {
  t.is(await installPackages('command -v jq', 'jq'), undefined);
  const { folder, sh } = await place(t);
  const scripts = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, script = '']) =>
    script
      .replaceAll('npx pipeline', 'pipeline')
      .replace('/var/lib/prometheus/node-exporter', folder),
  );
  t.true(scripts.length >= 5);
  let printed = '';
  // The summary's own come first: the run that the others find is theirs.
  for (const script of scripts.sort(
    (a, b) => Number(b.includes('jq')) - Number(a.includes('jq')),
  )) {
    // 5: the figures are provisional, in the first days of a month.
    const tolerant = script.replaceAll(
      /^(pipeline status --check.*?)( +#.*)?$/gm,
      '$1 || test $? = 5',
    );
    printed += (await sh(tolerant)).stdout;
  }
  const [line = ''] = (await readFile(join(folder, 'runs.jsonl'), 'utf8')).split('\n');
  const record = runRecord.parse(JSON.parse(line));
  t.like(record, { outcome: 'ok', organizations: ['oab'] });
  t.true(
    printed.includes([record.ended, 'ok', 0, record.requests, record.amounts['USD']].join('\t')),
  );
  t.true(printed.includes(`"runId": "${record.runId}"`));
  t.true(printed.includes('dollars for Cost Explorer'));
  t.regex(await readFile(join(folder, 'billing.prom'), 'utf8'), /^aws_billing_pipeline_rows\{/m);
});

/** A unit file's settings by `section.key`. */
function unit(content: string): Map<string, string> {
  const settings = new Map<string, string>();
  let of = '';
  for (const line of content.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) {
    const [, heading] = /^\[(\w+)\]$/.exec(line) ?? [];
    const [, key = '', value = ''] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (heading === undefined) settings.set(`${of}.${key}`, value);
    of = heading ?? of;
  }
  return settings;
}

test('systemd takes the units, their timer is due, and what the service starts runs', async (t) => {
  t.is(await installPackages('command -v systemd-analyze', 'systemd'), undefined);
  const { folder, cloud } = await place(t);
  const [service = '', timer = ''] = blocks('## A systemd timer', 'ini');
  const ours = service
    .replaceAll('/opt/billing', folder)
    .replace('/usr/bin/node', process.execPath)
    .replace('User=billing', 'User=root');
  await writeFile(join(folder, 'billing.service'), ours);
  await writeFile(join(folder, 'billing.timer'), timer);
  const verify = (...files: string[]) =>
    execute('systemd-analyze', ['verify', '--man=no', ...files.map((file) => join(folder, file))]);
  t.is((await verify('billing.service', 'billing.timer')).stderr, '');
  await writeFile(join(folder, 'wrong.service'), ours.replace('Type=oneshot', 'Type=once'));
  t.regex((await verify('wrong.service')).stderr, /Failed to parse service type/);

  const calendar = unit(timer).get('Timer.OnCalendar') ?? '';
  const due = await execute('systemd-analyze', ['calendar', '--iterations=3', calendar]);
  t.is(due.stdout.match(/\b\d{4}-\d\d-(02|08|15) 06:00:00 UTC/g)?.length, 3, due.stdout);

  const settings = unit(ours);
  t.is(settings.get('Service.EnvironmentFile'), '/etc/billing.env');
  const [program = '', ...args] = settings.get('Service.ExecStart')?.split(' ') ?? [];
  // As systemd does: the file's variables, and hardly another.
  const env = { PATH: '/usr/bin:/bin', HOME: folder, ...cloud.environment };
  const { stdout, stderr } = await execute(program, args, { cwd: folder, env });
  t.deepEqual([stdout, stderr], ['', '']);
  const log = (await readFile(join(folder, 'billing.log'), 'utf8')).trim().split('\n');
  t.like(JSON.parse(log.at(-1) ?? ''), { msg: 'run ends', exitCode: 0 });
  const [file] = settings.get('Service.ReadWritePaths')?.split(' ') ?? [];
  t.is(file, settings.get('Service.WorkingDirectory'), 'it may write where it works');
});

const cronJob = z.strictObject({
  apiVersion: z.literal('batch/v1'),
  kind: z.literal('CronJob'),
  metadata: z.strictObject({ name: z.string() }),
  spec: z.strictObject({
    schedule: z.string(),
    timeZone: z.literal('Etc/UTC'),
    concurrencyPolicy: z.enum(['Allow', 'Forbid', 'Replace']),
    startingDeadlineSeconds: z.int(),
    jobTemplate: z.strictObject({
      spec: z.strictObject({
        backoffLimit: z.int(),
        podFailurePolicy: z.strictObject({
          rules: z.tuple([
            z.strictObject({
              action: z.literal('FailJob'),
              onExitCodes: z.strictObject({
                containerName: z.string(),
                operator: z.literal('In'),
                values: z.array(z.int().min(1)),
              }),
            }),
          ]),
        }),
        template: z.strictObject({
          spec: z.strictObject({
            // What podFailurePolicy asks for.
            restartPolicy: z.literal('Never'),
            terminationGracePeriodSeconds: z.int(),
            containers: z.tuple([
              z.strictObject({
                name: z.string(),
                image: z.string(),
                command: z.array(z.string()),
                env: z.array(z.strictObject({ name: z.string(), value: z.string() })),
                envFrom: z.array(
                  z.strictObject({ secretRef: z.strictObject({ name: z.string() }) }),
                ),
                volumeMounts: z.tuple([
                  z.strictObject({ name: z.string(), mountPath: z.string() }),
                ]),
              }),
            ]),
            volumes: z.tuple([
              z.strictObject({
                name: z.string(),
                configMap: z.strictObject({ name: z.string() }),
              }),
            ]),
          }),
        }),
      }),
    }),
  }),
});

test("the CronJob's pod runs, with the settings that are mounted, on the bucket that it names", async (t) => {
  const [manifest = ''] = blocks('## A Kubernetes CronJob', 'yaml');
  const { schedule, jobTemplate } = cronJob.parse(parse(manifest)).spec;
  const [line = ''] = blocks('## Cron', 'cron')[0]?.split('\n').slice(1) ?? [];
  t.true(line.startsWith(schedule), 'as cron has it');
  const { podFailurePolicy, template } = jobTemplate.spec;
  const [container] = template.spec.containers;
  const [mount] = container.volumeMounts;
  const [rule] = podFailurePolicy.rules;
  t.is(rule.onExitCodes.containerName, container.name);
  t.deepEqual(rule.onExitCodes.values, [EXIT.usage, EXIT.differs, EXIT.budget]);
  t.is(template.spec.volumes[0].name, mount.name);

  const { folder, env } = await place(t);
  const s3 = await startS3({ buckets: ['bucket'] });
  t.teardown(() => s3.close());
  const hook = await hookServer(t);
  const settings = { notify: [{ slack: hook.url, on: 'always' }] };
  await writeFile(join(folder, 'pipeline.config.yaml'), JSON.stringify(settings));
  const [program = '', ...args] = container.command.map((word) =>
    word.replace(mount.mountPath, folder),
  );
  const own = Object.fromEntries(container.env.map(({ name, value }) => [name, value]));
  const all = { ...env, ...s3.environment, ...own };
  const work = join(folder, 'work');
  await mkdir(work);
  const { stdout } = await execute(program, args, { cwd: work, env: all });
  t.is(stdout, '');
  t.is(hook.told.length, 1, 'the mounted file was read');
  t.true(s3.requests.some(({ operation }) => operation === 'PutObject'));
});

test('the settings of who is told are accepted, and every key and occasion is in the tables', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'pipeline.config.yaml');
  const [settings = ''] = blocks('## Being told', 'yaml');
  t.true(settings.startsWith('# pipeline.config.yaml\n'));
  await writeFile(path, settings);
  const env = {
    SLACK_WEBHOOK: 'https://hooks.slack.example/services/T/B/x',
    TEAMS_WEBHOOK: 'https://teams.example/x',
    BILLING_WEBHOOK_SECRET: secret,
  };
  const needs = { organizations: false, database: false, hooks: true };
  const { hooks } = resolveConfig({}, env, await readConfigFile(path), needs);
  t.deepEqual(
    hooks.map(({ kind, on }) => [kind, on]),
    [
      ['slack', ['failure', 'restated']],
      ['teams', ['failure']],
      ['webhook', ['always']],
    ],
  );
  const rows = section('## Being told')
    .split('\n')
    .filter((row) => row.startsWith('|'));
  const heads = rows.map((row) => row.split('|')[1] ?? '').join('\n');
  for (const name of [...occasions, ...hookKinds]) t.true(heads.includes(`\`${name}\``), name);
  for (const key of Object.keys(hookEntry.shape))
    t.true(heads.includes(`\`${key}\``) || key === 'webhookFrom', key);
  const [, make = ''] = /made with `(echo .*?)`/.exec(section('## Being told')) ?? [];
  const made = (await execute('sh', ['-c', make])).stdout.trim();
  const again = { ...env, BILLING_WEBHOOK_SECRET: made };
  t.is(resolveConfig({}, again, await readConfigFile(path), needs).hooks[2]?.key?.length, 32);
});

const [example = ''] = blocks('### The webhook', 'json');

test("the webhook's body is a record, and has every key of one", (t) => {
  const record = runRecord.parse(JSON.parse(example));
  t.deepEqual(Object.keys(record), Object.keys(runRecord.shape));
  for (const list of ['slices', 'restated', 'finalized', 'failures'] as const) {
    const shown = new Set(record[list].flatMap((one) => Object.keys(one)));
    t.deepEqual([...shown].sort(), Object.keys(runRecord.shape[list].element.shape).sort(), list);
  }
});

test('the receiver in JavaScript takes what a run sends, and nothing else', async (t) => {
  const { folder, sh } = await place(t);
  const [script = ''] = blocks('### The webhook', 'js');
  t.true(script.includes('listen(8080)'));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  const listening = "listen(0, '127.0.0.1', () => console.log(server.address().port))";
  await writeFile(join(folder, 'receiver.mjs'), script.replace('listen(8080)', listening));
  const env = { ...bareEnvironment(), BILLING_WEBHOOK_SECRET: secret };
  const child = spawn(process.execPath, ['receiver.mjs'], { cwd: folder, env });
  t.teardown(() => child.kill());
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const port = String((await lines.next()).value);
  const webhook = `http://127.0.0.1:${port}/`;
  const notify = [{ webhook, secretFrom: 'BILLING_WEBHOOK_SECRET', on: 'always' }];
  await writeFile(join(folder, 'pipeline.config.yaml'), JSON.stringify({ notify }));
  const run = 'pipeline run --stage extract --quiet';
  t.is((await sh(run, { BILLING_WEBHOOK_SECRET: secret })).stderr, '');
  t.regex(String((await lines.next()).value), /^ok 0 \d+\.\d+$/);
  const other = `whsec_${Buffer.alloc(32, 6).toString('base64')}`;
  const { stderr } = await sh(run, { BILLING_WEBHOOK_SECRET: other });
  t.regex(stderr, /webhook at 127\.0\.0\.1:\d+ was not told of the run: it answered 401/);
  child.kill();
  await once(child, 'close');
});

test('the check in Python takes what is signed, and nothing that is old, forged or changed', async (t) => {
  t.is(await installPackages('command -v python3', 'python3'), undefined);
  const folder = await temporaryFolder(t);
  const [script = ''] = blocks('### The webhook', 'python');
  const key = Buffer.alloc(32, 5);
  const signed = signatureOf(key, 'id', example);
  const old = signatureOf(key, 'id', example, new Date(Date.now() - 600_000));
  const rotated = { ...signed, 'webhook-signature': `v1,x ${signed['webhook-signature']}` };
  const cases = [
    [signed, example],
    [rotated, example],
    [old, example],
    [signatureOf(Buffer.alloc(32, 6), 'id', example), example],
    [{ ...signed, 'webhook-id': 'other' }, example],
    [signed, example.replace('failed', 'ok')],
  ];
  await writeFile(join(folder, 'cases.json'), JSON.stringify(cases));
  const ask = `${script}
import json
print([is_ours(headers, body.encode(), "${secret}") for headers, body in json.load(open("cases.json"))])
`;
  const { stdout } = await execute('python3', ['-c', ask], { cwd: folder });
  t.is(stdout, '[True, True, False, False, False, False]\n');
});

test('the table of exit codes has each of them, once', (t) => {
  const rows = section('## Exit codes').matchAll(/^\| (\d+) +\| (.+?) +\|/gm);
  const codes = [...rows].map(([, code]) => Number(code));
  t.deepEqual(
    codes,
    [0, ...Object.values(EXIT)].sort((a, b) => a - b),
  );
});
