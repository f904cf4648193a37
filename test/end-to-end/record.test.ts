import { mkdirSync, renameSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData, restate } from '../../fixtures/demo/data.js';
import { costs, units } from '../../fixtures/demo/model.js';
import { expectedConsumption, expectedTotal } from '../../fixtures/demo/truth.js';
import type { RunRecord } from '../../pipeline/run/record.js';
import { runRecord } from '../../pipeline/run/record.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { startWorker } from '../support/queue.js';
import { startRedis } from '../support/redis.js';
import { month } from '../support/world.js';

/** What a run leaves for those who watch it: its line of --summary, the file of --metrics, its exit code. */

test('however a run ends, its exit code, its line and its figures say so', async (t) => {
  const folder = await temporaryFolder(t);
  const organizations = ['oab', 'spp'].map((name) => ({ name, accounts: 5 }));
  const data = demoData({ months: [month], organizations });
  /** What happens at the next request to the cloud. */
  let strike: (() => void) | undefined;
  const cloud = await startCloud({ data, onRequest: () => strike?.() });
  t.teardown(() => cloud.close());
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  const [summary, metrics] = [join(folder, 'runs.jsonl'), join(folder, 'billing.prom')];
  const env = { ...cloud.environment, AWS_MAX_ATTEMPTS: '1' };

  const run = async (
    words: readonly string[],
    { more = {}, signal }: { more?: Record<string, string>; signal?: NodeJS.Signals } = {},
  ) => {
    const args = ['run', '--month', month, '--summary', summary, '--metrics', metrics, ...words];
    const before = await readFile(summary, 'utf8').catch(() => '');
    const { code, stderr } = await pipeline(args, {
      cwd: folder,
      env: { ...env, ...more },
      running: (child) => {
        if (signal === undefined) return;
        strike = () => {
          strike = undefined;
          child.kill(signal);
        };
      },
    });
    const added = (await readFile(summary, 'utf8')).slice(before.length);
    const lines = added.split('\n').filter((line) => line !== '');
    const records = lines.map((line): RunRecord => runRecord.parse(JSON.parse(line)));
    for (const record of records) t.true(record.exitCode === code);
    return { code, stderr, lines, record: records[0], count: records.length };
  };
  const figure = async (name: string): Promise<number | undefined> => {
    const text = await readFile(metrics, 'utf8');
    const line = text.split('\n').find((one) => one.startsWith(`aws_billing_pipeline_${name} `));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  };
  const success = (organization: string) =>
    figure(`last_success_timestamp_seconds{organization="${organization}"}`);

  // The budget alone.
  const stopped = await run(['--max-requests', '1']);
  t.is(stopped.code, 4);
  t.like(stopped.record, { outcome: 'failed', requests: 1, priceUsd: '0.01', rows: 0 });
  t.deepEqual(
    new Set(stopped.record?.failures.map((failure) => failure.class)),
    new Set(['BudgetError']),
  );
  t.is(await figure('run_exit_code'), 4);
  t.is(await success('oab'), undefined);

  // A difference of one organization alone.
  const spp = data.organizations.find(({ name }) => name === 'spp');
  spp!.months.get(month)!.outsideGroups = parseAmount('5').units;
  const differs = await run([]);
  t.is(differs.code, 3);
  t.like(differs.record?.tasks, { done: 5, failed: 1 });
  const [oab, apart] = differs.record?.slices ?? [];
  t.like(oab, {
    state: 'done',
    rows: expectedConsumption(data, 'oab', month).length,
    amounts: { USD: formatAmount(expectedTotal(data, 'oab', month)) },
    differences: { USD: '0' },
  });
  t.like(apart, { state: 'failed', differences: { USD: '5' } });
  t.is(await figure('difference{organization="spp",currency="USD"}'), 5);
  const first = await success('oab');
  t.is(first, Date.parse(differs.record?.ended ?? '') / 1000);
  t.is(await success('spp'), undefined);
  const check = await pipeline(['status', '--check', '--month', month], { cwd: folder, env });
  t.is(check.code, 3, check.stdout);
  t.regex(
    check.stdout,
    /2026-10 spp not loaded: spp's total of 2026-10 is .* a difference of 5 USD/,
  );

  // Through a queue the same figures, class and code.
  const queue = ['--queue', redis.address];
  const worker = startWorker(t, { args: queue, cwd: folder, env });
  await worker.ready;
  const queued = await run([...queue, '--stage', 'transform,load', '--force']);
  t.is(queued.code, 3);
  t.deepEqual(
    queued.record?.slices.map(({ amounts, differences }) => ({ amounts, differences })),
    differs.record?.slices.map(({ amounts, differences }) => ({ amounts, differences })),
  );
  t.deepEqual(
    queued.record?.failures.map(({ organization, stage, class: of }) => [organization, stage, of]),
    [['spp', 'load', 'DifferenceError']],
  );
  worker.signal('SIGTERM');
  await worker.ended;

  // One that could not begin forgets nothing.
  const away = await run([], { more: { VAULT_ADDR: 'http://127.0.0.1:9' } });
  t.is(away.code, 1);
  t.like(away.record, { months: [month], organizations: [], slices: [] });
  t.like(away.record?.failures, [{ class: 'TransientError' }]);
  t.is(away.record?.failures[0]?.month, undefined);
  t.is(await figure('run_exit_code'), 1);
  t.is(await success('oab'), Date.parse(queued.record?.ended ?? '') / 1000);
  const wrong = await run(['--concurrency', 'many']);
  t.is(wrong.code, 2);
  t.regex(wrong.record?.failures[0]?.message ?? '', /--concurrency/);

  // Ctrl-C leaves its line; whoever is killed leaves none, and the figures of before.
  const interrupted = await run(['--force'], { signal: 'SIGINT' });
  t.is(interrupted.code, 130);
  t.like(interrupted.record, { outcome: 'interrupted', failures: [] });
  t.is(await figure('run_exit_code'), 130);
  const text = await readFile(metrics, 'utf8');
  const killed = await run(['--force'], { signal: 'SIGKILL' });
  t.is(killed.code, null);
  t.is(killed.count, 0);
  t.is(await readFile(metrics, 'utf8'), text);

  // What cannot be told at the end is a warning, and the work is done.
  strike = () => {
    strike = undefined;
    for (const file of [summary, metrics]) {
      renameSync(file, `${file}.was`);
      mkdirSync(file);
    }
  };
  const args = ['run', '--month', month, '--summary', summary, '--metrics', metrics];
  const untold = await pipeline([...args, '--organization', 'oab'], { cwd: folder, env });
  t.is(untold.code, 0);
  const warnings = untold.stderr.split('\n').filter((line) => line.startsWith('warning: '));
  t.is(warnings.length, 2, untold.stderr);
  t.regex(untold.stderr, /the summary file has no line of this run: EISDIR.* \[.*runs\.jsonl\]/);
  t.regex(untold.stderr, /the metrics' file says nothing of this run: .* \[.*billing\.prom\]/);

  // Beforehand it is refused, and nothing is asked.
  const asked = cloud.requests.length;
  const refused = await pipeline(args, { cwd: folder, env });
  t.is(refused.code, 2);
  for (const flag of ['summary', 'metrics']) {
    const queueless = [...queue, '--detach', `--${flag}`, join(folder, 'x.prom')];
    const detached = await pipeline(['run', ...queueless], { cwd: folder, env });
    t.is(detached.code, 2);
    t.regex(detached.stderr, new RegExp(`--${flag} goes without --detach`));
    const dry = ['run', '--dry-run', `--${flag}`, join(folder, 'x.prom')];
    const planned = await pipeline(dry, { cwd: folder, env });
    t.is(planned.code, 2);
    t.regex(planned.stderr, new RegExp(`--${flag} goes without --dry-run`));
  }
  const mixed = await pipeline(['run', '--summary', '/dev/stdout'], { cwd: folder, env });
  t.deepEqual([mixed.code, mixed.stdout], [2, '']);
  t.regex(mixed.stderr, /would mix with the result/);
  t.is(cloud.requests.length, asked);
  for (const file of [summary, metrics]) {
    await rm(file, { recursive: true });
    await rename(`${file}.was`, file);
  }

  // What AWS restated, and a record without a secret.
  spp!.months.get(month)!.outsideGroups = 0n;
  restate(data, 'oab', month, ([item, ...items]) => [
    { ...item!, costs: costs(units('12345.67'), 0) },
    ...items,
  ]);
  const restated = await run(['--force']);
  t.is(restated.code, 0);
  const [one, ...others] = restated.record?.restated ?? [];
  t.deepEqual(others, []);
  t.like(one, { month, organization: 'oab', changed: 1, provisionalAgain: false });
  t.is(one?.before['USD'], oab?.amounts?.['USD']);
  t.is(one?.after['USD'], formatAmount(expectedTotal(data, 'oab', month)));
  const all = await readFile(summary, 'utf8');
  const secrets = [
    ...[cloud.environment['VAULT_ROLE_ID'], cloud.environment['VAULT_SECRET_ID']],
    ...Object.entries(data.secret).map(([key, value]) => (/_key/.test(key) ? value : undefined)),
  ].filter((value) => value !== undefined);
  t.is(secrets.length, 6);
  for (const secret of secrets) t.false(all.includes(secret));
});
