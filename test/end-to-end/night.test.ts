import { readFile, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { demoData, monthData, restate } from '../../fixtures/demo/data.js';
import { costs, units } from '../../fixtures/demo/model.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { hookServer } from '../support/hook-server.js';
import { clockOffBy } from '../support/shift-clock.js';
import { month, world } from '../support/world.js';

interface Line {
  level: number;
  msg: string;
  [field: string]: unknown;
}

async function linesOf(file: string): Promise<Line[]> {
  const text = await readFile(file, 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

const denied = {
  service: 'sts',
  organization: 'oab',
  kind: 'error',
  code: 'AccessDenied',
  status: 403,
  times: Infinity,
} as const;

test("a failed run's log has the failure with its cause, remedy and command, and ends with figures and exit code", async (t) => {
  const { cloud, folder, run } = await world(t);
  cloud.faults.push(denied);
  const result = await run('run', '--month', month, '--log-file', 'run.log');
  t.is(result.code, 1);
  const lines = await linesOf(join(folder, 'run.log'));
  t.like(lines[0], { level: 30, msg: 'run begins' });
  const errors = lines.filter(({ level }) => level === 50);
  t.is(errors.length, 1);
  t.like(errors[0], { month, organization: 'oab', stage: 'extract', class: 'ConfigurationError' });
  t.regex(String(errors[0]?.msg), /^extract failed: /);
  t.regex(String(errors[0]?.['next']), /trust policy/);
  t.regex(String(errors[0]?.['resume']), /run --month 2026-10 --organization oab$/);
  t.regex(JSON.stringify(errors[0]?.['err']), /AccessDenied/);
  t.like(lines.at(-1), { msg: 'run ends', done: 3, failed: 1, skipped: 2, exitCode: 1 });
  t.is(typeof lines.at(-1)?.['requests'], 'number');
  t.regex(String(lines.at(-1)?.['priceUsd']), /^0\.0\d$/);
  // People read it once, at the end; the first line counts it.
  t.regex(result.stdout, /^1 failed, 2 skipped, 3 done; /);
  t.regex(result.stdout, /\n2026-10 oab extract failed: [^\n]*\n {2}resume with: [^\n]*\n$/);
  t.notRegex(result.stderr, /trust policy/);
});

test('what is wrong with the settings or the flags stands in the log too', async (t) => {
  const cwd = await temporaryFolder(t);
  const log = join(cwd, 'run.log');
  await writeFile(join(cwd, 'bad.yaml'), 'timeout: soon\n');
  for (const [words, message] of [
    [['run'], /settings are wrong:[^]*VAULT_ADDR/],
    [['run', '--config', 'bad.yaml'], /--timeout/],
    [['run', '--config', 'nowhere.yaml'], /configuration file cannot be read/],
    [['run', '--month', '2026-13'], /is not a month/],
    [['run', '--org', 'oab'], /no --org/],
    [['run', '--month'], /month/],
    [['rum'], /no command rum/],
    [['run', '-month', '2026-10'], /-month has one hyphen/],
  ] as const) {
    await writeFile(log, '');
    const { code } = await pipeline([...words, '--log-file', log], { cwd });
    t.is(code, 2, words.join(' '));
    const lines = await linesOf(log);
    t.deepEqual(
      lines.map(({ level }) => level),
      [30, 50, 30],
      words.join(' '),
    );
    t.regex(String(lines[1]?.msg), message);
    t.is(lines[1]?.['class'], 'UsageError');
    t.like(lines[2], { exitCode: 2 });
  }
});

test('a warning is words, told once with all that it is about, and whole in the log', async (t) => {
  const { folder, run } = await world(t);
  t.is((await run('run', '--month', month, '--metric', 'AmortizedCost')).code, 0);
  const again = ['run', '--month', month, '--by', 'record-type', '--log-file', 'run.log'];
  const { code, stderr } = await run(...again);
  t.is(code, 0, stderr);
  const warnings = stderr.split('\n').filter((line) => line.startsWith('warning: '));
  t.is(warnings.length, 1, stderr);
  t.regex(
    warnings[0] ?? '',
    /^warning: 2026-10 internal, oab \(2 times\): widened, with RECORD_TYPE; what was fetched on \d{4}-\d\d-\d\d stays staged/,
  );
  t.notRegex(stderr, /[{}]/);
  const plan = await run('plan', '--month', month, '--metric', 'BlendedCost');
  t.is(plan.stdout.match(/fetched anew/g)?.length, 1, plan.stdout);
  t.regex(
    plan.stdout,
    /^note: 2026-10 internal, oab: fetched anew, with BlendedCost, without [A-Za-z]+; what was/m,
  );
  const followed = await run(...again, '--metric', 'BlendedCost', '--log-level', 'info');
  const lines = followed.stderr.split('\n').filter((line) => line.includes(' WARN '));
  t.is(lines.length, 2);
  for (const line of lines)
    t.regex(
      line,
      /^\d\d:\d\d:\d\d WARN {2}2026-10 (oab|internal) extract: fetched anew, with [^{}[\]]+$/,
    );
  const told = (await linesOf(join(folder, 'run.log'))).filter(({ level }) => level === 40);
  t.is(told.length, 4);
  for (const line of told) t.like(line, { month, stage: 'extract' });
  const raw = join(folder, `staging/raw/month=${month}/oab`);
  const [newest = ''] = (await readdir(raw)).sort().reverse();
  await truncate(join(raw, newest, 'cost-and-usage-00001.json'), 10);
  const damaged = await run('plan', '--month', month);
  t.regex(damaged.stderr, /^warning: 2026-10 oab: the month's extraction is damaged/m);
});

test('on a pipe there is one line for each month and organization', async (t) => {
  const { run } = await world(t);
  const { stderr } = await run('run', '--month', month);
  t.deepEqual(
    stderr
      .trim()
      .split('\n')
      .map((line) => line.replace(/;.*/, ''))
      .sort(),
    [
      '2026-10  internal    extract, transform, load done',
      '2026-10  oab         extract, transform, load done',
    ],
  );
});

test('--quiet tells nothing of what is as it should be, and all of what is not', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  const { cloud, folder, runWith } = await world(t, { data });
  const hook = await hookServer(t);
  const notify = [
    { slack: `${hook.url}/restated`, on: 'restated' },
    { slack: `${hook.url}/far`, on: 'restated', threshold: '1%' },
    { slack: `${hook.url}/farther`, on: 'restated', threshold: ['1%', '99999USD'] },
    { slack: `${hook.url}/final`, on: 'provisional-final' },
    { slack: `${hook.url}/failure` },
  ];
  await writeFile(join(folder, 'pipeline.config.yaml'), JSON.stringify({ notify }));
  const at = (instant: string, ...words: string[]) =>
    runWith(
      // The SDK sets its clock by the first refusal.
      { AWS_MAX_ATTEMPTS: '3', ...clockOffBy(Date.parse(instant) - Date.now()) },
      ...['run', '--month', month, '--quiet', '--summary', 'runs.jsonl', ...words],
    );
  for (const instant of ['2026-11-02T06:00:00Z', '2026-11-02T07:00:00Z', '2026-11-04T06:00:00Z']) {
    const { code, stdout, stderr } = await at(instant);
    t.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '', stderr: '' }, instant);
  }
  restate(data, 'oab', month, ([first, ...rest]) => [
    { ...first!, costs: costs(units('12345.67'), 0) },
    ...rest,
  ]);
  const restated = await at('2026-11-15T06:00:00Z');
  t.is(restated.code, 0);
  t.regex(
    restated.stdout,
    /^2026-10 oab restated, 1 amount differs, since it was fetched at 2026-11-04 06:00 UTC: \d+\.\d\d → \d+\.\d\d USD\n {2}see what changed with: node .*changes --month 2026-10 --organization oab$/m,
  );
  t.is(restated.stderr, '');
  const toldOf = (): string[] => hook.told.splice(0).map(({ url }) => url.slice(1));
  t.deepEqual(toldOf().sort(), ['far', 'final', 'restated']);
  t.is((await at('2026-11-16T06:00:00Z')).stdout, '');

  monthData(data, 'oab', month).estimated = true;
  const open = await at('2026-11-17T06:00:00Z', '--force');
  t.regex(open.stdout, /^2026-10 oab provisional again, since it was fetched at 2026-11-15/m);
  t.deepEqual(toldOf(), ['restated'], 'no amount has moved');
  cloud.faults.push(denied);
  const failed = await at('2026-11-18T06:00:00Z');
  t.is(failed.code, 1);
  t.regex(failed.stdout, /^1 failed, 2 skipped; [^]*oab extract failed/);
  t.is(failed.stderr, '');
  t.deepEqual(toldOf(), ['failure']);

  const runs = (await readFile(join(folder, 'runs.jsonl'), 'utf8')).trim().split('\n');
  const told = runs.map((line) => {
    const { restated: news, finalized } = JSON.parse(line) as Record<string, { since: string }[]>;
    return [news, finalized].map((some = []) => some.map(({ since }) => since.slice(0, 10)));
  });
  const nothing = [[], []];
  const final = [['2026-11-04'], ['2026-11-04']];
  t.deepEqual(told.slice(2), [nothing, final, nothing, [['2026-11-15'], []], nothing]);
});
