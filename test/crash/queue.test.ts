import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import type { Random } from '../../fixtures/demo/random.js';
import { createRandom } from '../../fixtures/demo/random.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Finished } from '../support/cli.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import type { DatabasePlace, Result, StagedPlace } from '../support/crash-place.js';
import { bucketPlace, folderPlace, mariadbPlace, resultOf } from '../support/crash-place.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';
import type { WorkerProcess } from '../support/queue.js';
import { paidAgain, paidPages, startWorker } from '../support/queue.js';
import type { TestRedis } from '../support/redis.js';
import { startRedis } from '../support/redis.js';

/**
 * Strikes the real workers and the real Redis at random moments of runs over a queue. Each run ends in the same
 * result as one process, or in a clear failure that the next run mends. `CRASH_FAULTS` says how often in all,
 * `CRASH_SEED` repeats the draws.
 */

const faults = Number(process.env['CRASH_FAULTS'] ?? '4');
const seed = process.env['CRASH_SEED'] ?? randomBytes(4).toString('hex');

const kinds = [
  'worker killed',
  'machine frozen',
  'Redis killed',
  'Redis emptied',
  'machine killed',
  'worker frozen',
] as const;
type Kind = (typeof kinds)[number];

interface Strike {
  kind: Kind;
  /** Number of the request to AWS or Vault that it strikes at, counted over all of the series. */
  request: number;
  /** Which of the workers. */
  worker: number;
  /** How long what was frozen or ended stays away, in milliseconds. */
  awayMs: number;
}

/** What is struck in one series at most, before its months are let finish. */
const LONGEST_SERIES = 4;
const WORKERS = 2;
/** Months of organizations that a worker does at once: each may lose the page that it waits for. */
const SLOTS = 2;
/** Beyond the time after which a job's lock is lost, and the job given to another worker. */
const FROZEN = [12_000, 17_000] as const;
const REDIS_AWAY = [0, 3_000] as const;

const months = ['2026-09', '2026-10'].map(parseMonth);
const organizations = [
  { name: 'oab', accounts: 14 },
  { name: 'internal', accounts: 5 },
  { name: 'spp_pm', accounts: 9 },
];

let server: TestServer;
test.before(async () => {
  server = await openServer();
});
test.after.always(() => server.stop());

interface Series {
  cloud: Cloud;
  staged: StagedPlace;
  tables: DatabasePlace;
  redis: TestRedis;
  run: (queue: boolean) => Promise<Finished>;
  work: () => WorkerProcess;
  /** Called as a request arrives. */
  arrivals: { listener: () => void };
}

async function series(t: ExecutionContext, where: 'folder' | 'S3'): Promise<Series> {
  const folder = await temporaryFolder(t);
  const arrivals = { listener: (): void => undefined };
  const [cloud, s3, redis, tables] = await Promise.all([
    startCloud({
      data: demoData({ months, organizations }),
      groupsPerPage: 12,
      accountsPerPage: 5,
      latencyMs: 20,
      onRequest: () => {
        arrivals.listener();
      },
    }),
    startS3(),
    startRedis(),
    mariadbPlace(server),
  ]);
  t.teardown(() => Promise.all([cloud.close(), s3.close(), redis.stop()]));
  const staged = where === 'S3' ? bucketPlace(s3, 'billing') : folderPlace(folder);
  const env = {
    ...cloud.environment,
    ...s3.environment,
    PIPELINE_DATABASE: tables.address,
    PIPELINE_STAGING: staged.location,
  };
  const queued = { ...env, PIPELINE_QUEUE: redis.address };
  return {
    cloud,
    staged,
    tables,
    redis,
    run: (queue) =>
      pipeline(['run', '--from', '2026-09', '--to', '2026-10'], {
        cwd: folder,
        env: queue ? queued : env,
      }),
    work: () =>
      startWorker(t, { args: ['--concurrency', String(SLOTS)], cwd: folder, env: queued }),
    arrivals,
  };
}

interface Reference {
  result: Result;
  pages: number;
  requests: number;
}

let reference: Promise<Reference> | undefined;

/** What one process makes without any fault. */
function expected(t: ExecutionContext): Promise<Reference> {
  const make = async (): Promise<Reference> => {
    const { run, staged, tables, cloud } = await series(t, 'folder');
    const { code, stdout, stderr } = await run(false);
    t.is(code, 0, stdout + stderr);
    const result = await resultOf(staged, tables);
    t.is(result.exports.size, 24);
    const pages = paidPages(cloud.requests).length;
    return { result, pages, requests: cloud.requests.length };
  };
  return (reference ??= make());
}

function drawStrikes(random: Random, first: number, count: number, requests: number): Strike[] {
  const between = ([least, most]: readonly [number, number]): number =>
    least + random.below(most - least + 1);
  return Array.from({ length: count }, (_, index) => {
    const kind = kinds[(first + index) % kinds.length] ?? 'worker killed';
    return {
      kind,
      request: 1 + random.below(requests),
      worker: random.below(WORKERS),
      awayMs: between(kind.startsWith('Redis') ? REDIS_AWAY : FROZEN),
    };
  }).sort((a, b) => a.request - b.request);
}

for (const [index, where] of (['folder', 'S3'] as const).entries()) {
  const share = Math.floor(faults / 2) + (index < faults % 2 ? 1 : 0);
  test(`workers and Redis struck ${share} times: ${where}`, async (t) => {
    t.timeout(3_600_000);
    t.log(`CRASH_SEED=${seed}`);
    const whole = await expected(t);
    let struck = 0;
    for (let round = 0; struck < share; round += 1) {
      const count = Math.min(LONGEST_SERIES, share - struck);
      const random = createRandom([seed, where, round].join('/'));
      // Both tests together strike in every way.
      const first = index * Math.ceil(faults / 2) + struck;
      const strikes = drawStrikes(random, first, count, whole.requests);
      struck += await strikeSeries(t, where, strikes, whole);
    }
  });
}

/** Runs until all is done and every strike that found its moment has happened. @returns how many did. */
async function strikeSeries(
  t: ExecutionContext,
  where: 'folder' | 'S3',
  strikes: readonly Strike[],
  whole: Reference,
): Promise<number> {
  const current = await series(t, where);
  const { run, work, arrivals, redis } = current;
  const told: string[] = [];
  const all: WorkerProcess[] = [];
  const start = (): WorkerProcess => {
    const worker = work();
    all.push(worker);
    return worker;
  };
  const workers = Array.from({ length: WORKERS }, start);
  await Promise.all(workers.map(({ ready }) => ready));

  const strike = async ({ kind, worker: at, awayMs }: Strike): Promise<void> => {
    const worker = workers[at] ?? start();
    const [what, how] = kind.split(' ');
    const signal = (name: NodeJS.Signals): void => {
      if (what === 'machine') worker.signalAll(name);
      else worker.signal(name);
    };
    if (how === 'killed' && what !== 'Redis') {
      signal('SIGKILL');
      workers[at] = start();
    } else if (how === 'frozen') {
      signal('SIGSTOP');
      await sleep(awayMs);
      signal('SIGCONT');
    } else if (how === 'emptied') {
      await redis.empty();
    } else {
      await redis.kill();
      await sleep(awayMs);
      await redis.restart();
    }
  };
  const due = [...strikes];
  const underWay: Promise<void>[] = [];
  let requests = 0;
  // One after the other: a Redis that is away cannot be emptied.
  let busy = Promise.resolve();
  arrivals.listener = () => {
    requests += 1;
    const [next] = due;
    if (next === undefined || requests < next.request) return;
    due.shift();
    told.push(`${next.kind} at request ${next.request}`);
    busy = busy.then(() => strike(next));
    underWay.push(busy);
  };

  for (let runs = 0; ; runs += 1) {
    const { code, stdout, stderr } = await run(true);
    const text = `after ${told.join(', ')}: ${stdout}\n${stderr}`;
    await Promise.all(underWay);
    if (code === 0) break;
    t.is(code, 1, text);
    t.notRegex(text, /^\s+at /m, text);
    t.regex(text, /resume with: .* run |run the same command again|the same run once more/, text);
    if (runs > strikes.length) throw new Error(`no run mends it ${text}`);
  }
  t.log(told.join(', '));
  arrivals.listener = () => undefined;
  for (const worker of workers) worker.signal('SIGTERM');
  for (const worker of all) await worker.gone(20);
  await check(t, current, whole, told);
  return strikes.length - due.length;
}

/** Compares the finished months with those of an uninterrupted process. */
async function check(
  t: ExecutionContext,
  { staged, tables, cloud }: Series,
  { result, pages }: Reference,
  told: readonly string[],
): Promise<void> {
  const points = told.join(', ');
  const { exports, tables: rows } = await resultOf(staged, tables);
  t.deepEqual([...exports.keys()], [...result.exports.keys()], points);
  for (const [key, bytes] of result.exports)
    t.true(exports.get(key)?.equals(bytes), `${key} differs after ${points}`);
  t.deepEqual(rows, result.tables, points);
  t.deepEqual(paidAgain(cloud.requests), [], `paid twice after ${points}`);
  const lost = paidPages(cloud.requests).length - pages;
  t.true(lost <= told.length * SLOTS, `${lost} pages were lost by ${points}`);

  const keys = [...(await staged.files()).keys()];
  const others = keys.filter((key) => !/^(raw|parquet|csv|manifests)\//.test(key));
  t.deepEqual(others, [], `left behind after ${points}`);
  const extractions = new Set(keys.map((key) => /^raw\/[^/]+\/[^/]+\/[^/]+/.exec(key)?.[0]));
  extractions.delete(undefined);
  t.is(extractions.size, months.length * organizations.length, points);
  t.is(staged.uploads(), 0, points);
}
