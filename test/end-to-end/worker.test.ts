import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parse } from 'csv-parse/sync';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { CloudOptions } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { openQueue, runCount } from '../../pipeline/run/queue.js';
import { parseQueueUrl } from '../../pipeline/config/queue-address.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { paidPages, startWorker } from '../support/queue.js';
import type { TestRedis } from '../support/redis.js';
import { startRedis } from '../support/redis.js';

/** What workers may do, and when: retries, bounds, how they end, and what a queue shows of it. */

let redis: TestRedis;
test.before(async () => {
  redis = await startRedis();
});
test.after.always(() => redis.stop());

/** A database of Redis of its own for each test. */
let database = 0;

async function place(t: ExecutionContext, options: Partial<CloudOptions> = {}) {
  const folder = await temporaryFolder(t);
  const months = ['2026-08', '2026-09', '2026-10'].map(parseMonth);
  const organizations = [
    { name: 'oab', accounts: 9 },
    { name: 'internal', accounts: 4 },
  ];
  const data = demoData({ months, organizations });
  const cloud = await startCloud({ groupsPerPage: 20, ...options, data });
  t.teardown(() => cloud.close());
  const address = redis.address.replace(/\d+$/, String(database));
  database += 1;
  const env = { ...cloud.environment, AWS_MAX_ATTEMPTS: '1', PIPELINE_QUEUE: address };
  const settings = { cwd: folder, env };
  return {
    cloud,
    address,
    run: (...args: string[]) => pipeline(['run', ...args], settings),
    status: (...args: string[]) => pipeline(['status', '--queue', address, ...args], settings),
    /** The same, given once it says on standard error what is waited for. */
    running: (args: string[], onChild: Parameters<typeof pipeline>[1]['running']) =>
      pipeline(['run', ...args], {
        ...settings,
        ...(onChild === undefined ? {} : { running: onChild }),
      }),
    work: async (...args: string[]) => {
      const worker = startWorker(t, { args, ...settings });
      await worker.ready;
      return worker;
    },
    /** A worker that finds other secrets in Vault. */
    workElsewhere: async (path: string) => {
      const elsewhere = { ...env, VAULT_AWS_SECRET_PATH: path };
      await startWorker(t, { args: [], cwd: folder, env: elsewhere }).ready;
    },
    queue: async () => {
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const queue = await openQueue(
        { location: parseQueueUrl(address), password: undefined, keepDays: 1 },
        { timeoutMs: 5000, log },
      );
      t.teardown(() => queue.close());
      return queue;
    },
    folder,
  };
}

const AWS_PATH = 'secret/data/billing/aws';
const VIEW = 'arn:aws:billing::999900009999:billingview/what-we-pay';

const october = ['--month', '2026-10', '--organization', 'oab'];

test('what says "again later" is tried again, and told; what is wrong fails at once', async (t) => {
  const { cloud, run, work } = await place(t);
  await work('--concurrency', '2');
  cloud.faults.push({
    service: 'cost-explorer',
    organization: 'oab',
    kind: 'throttle',
    times: 1,
  });
  const first = await run(...october, '--json');
  t.is(first.code, 0, first.stdout + first.stderr);
  t.regex(first.stderr, /2026-10 {2}oab +is tried again: /);
  t.is(
    (JSON.parse(first.stdout) as { requests: number }).requests,
    paidPages(cloud.requests).length,
  );

  const before = cloud.requests.length;
  const denied = { kind: 'error', code: 'AccessDeniedException', times: Infinity } as const;
  cloud.faults.push({ service: 'cost-explorer', organization: 'internal', ...denied });
  const second = await run('--month', '2026-10', '--organization', 'internal');
  t.is(second.code, 1);
  t.regex(second.stdout, /internal +failed +skipped +skipped/);
  t.regex(second.stdout, /ce:GetCostAndUsage[^]*resume with: .*--organization internal/);
  const costs = cloud.requests.slice(before).filter(({ service }) => service === 'cost-explorer');
  t.is(costs.length, 1);
});

test('an organization is fetched by one job at a time, whatever the workers, its oldest month first', async (t) => {
  const { cloud, run, work } = await place(t, { latencyMs: 20 });
  await Promise.all([work('--concurrency', '3'), work('--concurrency', '3')]);
  const { code, stdout, stderr } = await run('--from', '2026-08', '--to', '2026-10');
  t.is(code, 0, stdout + stderr);
  for (const name of ['oab', 'internal']) {
    const months = cloud.requests
      .filter(({ charged, organization }) => charged && organization === name)
      .map(({ input }) => /2026-\d\d/.exec(JSON.stringify(input))?.[0]);
    const turns = months.filter((month, index) => month !== months[index - 1]);
    t.is(turns.length, 3, `the months of ${name} were fetched together: ${turns.join(' ')}`);
  }
});

test('--max-requests holds over the whole run, and no worker asks for more than the run has left', async (t) => {
  const { cloud, run, work } = await place(t);
  await Promise.all([work('--concurrency', '2'), work('--concurrency', '2')]);
  const args = ['--from', '2026-09', '--to', '2026-10', '--max-requests', '5'];
  const first = await run(...args);
  t.is(first.code, 4, first.stdout + first.stderr);
  t.is(paidPages(cloud.requests).length, 5);
  t.regex(first.stdout, /5 Cost Explorer requests, \$0\.05/);
  t.regex(first.stdout, /the run's limit of 5 Cost Explorer requests is reached/);
  const second = await run('--from', '2026-09', '--to', '2026-10');
  t.is(second.code, 0, second.stdout + second.stderr);
  const paid = paidPages(cloud.requests);
  t.is(new Set(paid).size, paid.length, 'a page was paid for twice');
});

test('a count that Redis has lost grants nothing', async (t) => {
  const { client } = await (await place(t)).queue();
  const count = runCount(client);
  await count.begin('limited', 2);
  t.deepEqual(
    [await count.take('limited'), await count.take('limited'), await count.take('limited')],
    ['taken', 'taken', 'refused'],
  );
  await count.giveBack('limited');
  t.is(await count.take('limited'), 'taken');
  await client.del('pipeline:run:limited');
  t.is(await count.take('limited'), 'lost');
  await count.giveBack('limited');
  t.is(await count.take('limited'), 'lost');
  t.true((await client.ttl('pipeline:run:limited')) > 0);
});

// Alone: it has to end in a time that other tests would take from it.
test.serial(
  'SIGTERM: a worker gives back what it does, in time, and another one goes on from what is staged',
  async (t) => {
    const { cloud, run, work } = await place(t, { latencyMs: 150 });
    const first = await work('--concurrency', '2');
    const following = run('--month', '2026-10');
    // In the middle of an organization's pages.
    await cloud.arrival(() => paidPages(cloud.requests).length > 2);
    const began = performance.now();
    first.signal('SIGTERM');
    const { code, stderr, stdout } = await first.ended;
    t.is(code, 0, stderr);
    t.true(performance.now() - began < 10_000);
    t.regex(stderr, /given back/);
    t.regex(stdout, /[12] given back/);
    await first.gone(5);
    await work('--concurrency', '2');
    const result = await following;
    t.is(result.code, 0, result.stdout + result.stderr);
    const paid = paidPages(cloud.requests);
    t.true(
      paid.length - new Set(paid).size <= 2,
      'more than the pages under way were paid for again',
    );
  },
);

test('a worker of another staging area refuses the job by name, before anything is paid', async (t) => {
  const { cloud, run, work } = await place(t);
  await work('--staging', 'elsewhere');
  const { code, stdout } = await run(...october);
  t.is(code, 1);
  t.regex(
    stdout,
    /--staging or PIPELINE_STAGING or [^]* for the run and .*elsewhere for this worker/,
  );
  t.regex(stdout, /same configuration/);
  t.is(paidPages(cloud.requests).length, 0);
});

test('a cost view that does not go with the detail is refused before anything is in the queue', async (t) => {
  const { cloud, run, queue } = await place(t);
  const { secrets } = cloud.vault;
  secrets[AWS_PATH] = { ...secrets[AWS_PATH], aws_oab_costViewArn: VIEW };
  for (const more of [[], ['--detach']]) {
    const { code, stderr } = await run(...october, '--detail', 'usage-type', ...more);
    t.is(code, 2, stderr);
    t.regex(stderr, /oab has a costViewArn[^]*usage-type/);
  }
  const { months, loads } = await queue();
  t.is((await months.count()) + (await loads.count()), 0);
});

test('a worker to which an organization has another cost view refuses the job, before anything is paid', async (t) => {
  const { cloud, run, workElsewhere } = await place(t);
  const { secrets } = cloud.vault;
  const elsewhere = `${AWS_PATH}-other`;
  secrets[elsewhere] = { ...secrets[AWS_PATH], aws_oab_costViewArn: VIEW };
  await workElsewhere(elsewhere);
  const { code, stdout } = await run(...october);
  t.is(code, 1);
  t.regex(stdout, /organizations\.oab\.costViewArn[^]* is none for the run and arn:aws:billing/);
  t.is(paidPages(cloud.requests).length, 0);
});

test('what others write into Redis stops no worker, and hides no job from status', async (t) => {
  const { run, status, work, queue } = await place(t);
  const { months, client } = await queue();
  const held = await months.add('held', {}, { delay: 3_600_000 });
  const broken = { data: '{', progress: '{', timestamp: 'x', failedReason: '\u001b[2J' };
  await client.hset(`pipeline:months:${held.id ?? ''}`, broken);
  await months.add('\u001b[2Jname', { version: '9.9.9', organization: '../..' });
  await months.add('other', 'text');
  await work('--concurrency', '1');
  const { code, stdout, stderr } = await run(...october);
  t.is(code, 0, stdout + stderr);
  const shown = await status();
  t.is(shown.code, 0, shown.stderr);
  t.regex(shown.stdout, /2 failed/);
  t.regex(shown.stdout, /\\u001b\[2Jname +failed[^]*version 9\.9\.9, and this worker/);
  t.regex(shown.stdout, /other +failed[^]*none of the pipeline/);
  t.regex(shown.stdout, /held or again[^]*none of the pipeline/);
});

test('Ctrl-C takes back what nobody has begun; --detach leaves it, and status shows it', async (t) => {
  const { running, run, status, queue } = await place(t);
  const stopped = await running(['--month', '2026-10'], (child) => {
    child.stderr?.on('data', (text: Buffer) => {
      if (String(text).includes('no worker is connected')) child.kill('SIGINT');
    });
  });
  t.is(stopped.code, 130);
  t.regex(stopped.stdout, /oab +stopped +skipped +skipped/);
  const { months, loads } = await queue();
  t.is((await months.count()) + (await loads.count()), 0);

  const detached = await run('--month', '2026-10', '--detach', '--json');
  t.is(detached.code, 0, detached.stderr);
  const { runId, queued } = JSON.parse(detached.stdout) as { runId: string; queued: unknown[] };
  t.is(queued.length, 2);
  const shown = JSON.parse((await status('--json')).stdout) as {
    counts: Record<string, number>;
    workers: string[];
    jobs: { name: string; run: string; state: string }[];
  };
  t.deepEqual(shown.workers, []);
  t.is(shown.counts['waiting'], 4);
  const csv = await status('--output', 'csv');
  t.deepEqual(
    parse<Record<string, string>>(csv.stdout, { columns: true }).map((row) => ({
      name: row['name'],
      run: row['run'],
      state: row['state'],
    })),
    shown.jobs.map(({ name, run: of, state }) => ({ name, run: of, state })),
  );
  t.regex(csv.stderr, /4 waiting.*no worker/);
  t.deepEqual([...new Set(shown.jobs.map(({ run: of }) => of))], [runId]);
  t.regex(
    (await status()).stdout,
    /4 waiting[^]*no worker[^]*2026-10 {2}internal +extract, transform/,
  );
});

test('loads are bounded over all workers, jobs go after their time, and status names who failed', async (t) => {
  const { cloud, run, status, work, queue } = await place(t);
  await work('--load-concurrency', '1');
  const denied = { kind: 'error', code: 'AccessDeniedException', times: Infinity } as const;
  cloud.faults.push({ service: 'cost-explorer', organization: 'internal', ...denied });
  t.is((await run('--month', '2026-10')).code, 1);
  const { loads, months, client } = await queue();
  t.is(await loads.getGlobalConcurrency(), 1);
  const { stdout } = await status();
  t.regex(stdout, /2026-10 {2}internal +extract, transform +failed +\S+\/\d+ +20/);
  t.regex(stdout, /2026-10 {2}internal +load +failed .* there is nothing to load: what comes/);
  t.notRegex(stdout, /pipeline:months/);
  const [job] = await months.getCompleted();
  t.is(job?.opts.removeOnComplete instanceof Object, true);
  t.deepEqual(job?.opts.removeOnFail, { age: 7 * 86_400 });
  for (const key of ['pipeline:months:completed', 'pipeline:months:failed'])
    for (const id of await client.zrange(key, '0', '-1')) await client.zadd(key, 'XX', '1', id);
  t.is((await run(...october)).code, 0);
  t.is(await client.exists(`pipeline:months:${job?.id ?? ''}`), 0);
  t.is(await months.getFailedCount(), 0);
});

test('Ctrl-C ends a run whose Redis is away, and tells what is left there', async (t) => {
  const own = await startRedis();
  t.teardown(() => own.stop());
  const { cloud, folder } = await place(t);
  const { code, stderr, stdout } = await pipeline(['run', ...october], {
    cwd: folder,
    env: { ...cloud.environment, PIPELINE_QUEUE: own.address },
    running: (child) => {
      let isStopped = false;
      child.stderr?.on('data', (text: Buffer) => {
        if (String(text).includes('no worker is connected')) void own.kill();
        if (isStopped || !String(text).includes('trying again')) return;
        isStopped = child.kill('SIGINT');
      });
    },
  });
  t.is(code, 130, stderr);
  t.regex(stderr, /2 jobs are left in the queue, since Redis gave no answer/);
  t.regex(stdout, /oab +stopped +skipped +skipped/);
});

test('what goes with a queue alone, or not at all, is wrong usage', async (t) => {
  const { folder } = await place(t);
  const options = { cwd: folder };
  const cases: [string[], RegExp][] = [
    [['worker'], /no queue is named/],
    [['run', '--detach'], /--detach needs a queue/],
    [
      ['run', '--queue', 'redis://127.0.0.1:1', '--detach', '--report'],
      /--report goes without --detach/,
    ],
    [['status', '--queue', 'redis://127.0.0.1:1', '--check'], /--queue shows the whole queue/],
  ];
  const env = { PIPELINE_STAGING: join(folder, 'staging'), VAULT_ADDR: 'http://127.0.0.1:1' };
  const login = { VAULT_ROLE_ID: 'r', VAULT_SECRET_ID: 's', VAULT_AWS_SECRET_PATH: 'kv/aws' };
  for (const [args, message] of cases) {
    const { code, stderr } = await pipeline(args, { ...options, env: { ...env, ...login } });
    t.is(code, 2, args.join(' '));
    t.regex(stderr, message);
  }
});
