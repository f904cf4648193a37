import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import mysql from 'mysql2/promise';
import type { Cloud, Fault } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { S3Fault } from '../../fixtures/cloud/s3-wire.js';
import { slowDown } from '../../fixtures/cloud/s3-wire.js';
import type { S3Server } from '../../fixtures/cloud/s3.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Finished } from '../support/cli.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import type { DatabasePlace, Result, StagedPlace } from '../support/crash-place.js';
import {
  bucketPlace,
  folderPlace,
  mariadbPlace,
  resultOf,
  sqlitePlace,
} from '../support/crash-place.js';
import { needlesslyPaid } from '../support/crash.js';
import { startServer } from '../support/mariadb.js';
import { clockJumpsBy, clockOffBy } from '../support/shift-clock.js';
import { smallDisk } from '../support/small-disk.js';

/** Each fault ends in a clear message and leaves a state from which the same command goes on. */

const month = parseMonth('2026-10');
const organizations = [{ name: 'oab', accounts: 9 }];
const stages = ['extract', 'transform', 'load'] as const;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

interface World {
  folder: string;
  cloud: Cloud;
  staged: StagedPlace;
  tables: DatabasePlace;
  run: (
    args?: readonly string[],
    env?: Record<string, string>,
    running?: (child: ChildProcess) => void,
  ) => Promise<Finished>;
}

interface WorldOptions {
  folder?: string;
  s3?: S3Server;
  tables?: DatabasePlace;
  onRequest?: () => void;
}

async function world(t: ExecutionContext, options: WorldOptions = {}): Promise<World> {
  const folder = options.folder ?? (await temporaryFolder(t));
  const cloud = await startCloud({
    data: demoData({ months: [month], organizations }),
    groupsPerPage: 10,
    accountsPerPage: 5,
    ...(options.onRequest === undefined ? {} : { onRequest: options.onRequest, latencyMs: 50 }),
  });
  t.teardown(() => cloud.close());
  const { s3, tables = sqlitePlace(folder) } = options;
  const staged = s3 === undefined ? folderPlace(folder) : bucketPlace(s3, 'billing');
  return {
    folder,
    cloud,
    staged,
    tables,
    run: (args = [], env = {}, running) =>
      pipeline(['run', '--month', month, '--staging', staged.location, ...args], {
        cwd: folder,
        env: {
          ...cloud.environment,
          ...s3?.environment,
          PIPELINE_DATABASE: tables.address,
          ...env,
        },
        ...(running === undefined ? {} : { running }),
      }),
  };
}

async function bucketWorld(t: ExecutionContext): Promise<World & { s3: S3Server }> {
  const s3 = await startS3();
  t.teardown(() => s3.close());
  return { ...(await world(t, { s3 })), s3 };
}

let reference: Promise<Result> | undefined;

/** What a run without any fault makes. */
function expectedResult(t: ExecutionContext): Promise<Result> {
  const make = async (): Promise<Result> => {
    const { run, staged, tables } = await world(t);
    t.is((await run()).code, 0);
    return resultOf(staged, tables);
  };
  return (reference ??= make());
}

/** Exit 1 and one readable message that says what failed and what is next. */
function failed(t: ExecutionContext, { code, stdout, stderr }: Finished, message: RegExp): void {
  const text = stdout + stderr;
  t.is(code, 1, text);
  t.regex(text, message);
  t.notRegex(text, /^\s+at /m);
}

/** The same command goes on to the same result as without the fault, and nothing is left behind. */
async function goesOn(
  t: ExecutionContext,
  { run, cloud, staged, tables }: World,
  args: readonly string[] = [],
): Promise<void> {
  const { code, stdout, stderr } = await run(args);
  t.is(code, 0, stdout + stderr);
  const { exports, tables: rows } = await resultOf(staged, tables);
  const expected = await expectedResult(t);
  t.deepEqual(exports, expected.exports);
  t.deepEqual(rows, expected.tables);
  t.deepEqual(needlesslyPaid(cloud.requests), []);
  const others = [...(await staged.files()).keys()].filter(
    (key) => !/^(raw|parquet|csv|manifests)\//.test(key),
  );
  t.deepEqual(others, []);
}

const roomFor: Record<(typeof stages)[number], number> = {
  extract: 25_000,
  transform: 13_000,
  load: 41_000,
};
for (const [index, stage] of stages.entries()) {
  test(`the disk fills up during ${stage}`, async (t) => {
    const disk = await smallDisk(t);
    const full = await world(t, { folder: disk.folder });
    const before = stages.slice(0, index).flatMap((name) => ['--stage', name]);
    if (before.length > 0) t.is((await full.run(before)).code, 0);
    const result = await full.run([], await disk.fill(roomFor[stage]));
    failed(t, result, new RegExp(`oab ${stage} failed: .*disk is full.*make room`));
    await disk.clear();
    await goesOn(t, full);
  });
}

test('a bucket that answers 503 for a moment is waited for', async (t) => {
  const bucket = await bucketWorld(t);
  for (const skip of [0, 20, 40, 60]) {
    bucket.s3.faults.push({ effect: slowDown, skip, times: 1 });
  }
  await goesOn(t, bucket);
  t.is(bucket.s3.requests.filter(({ status }) => status === 503).length, 4);
});

for (const [stage, operation, key] of [
  ['extract', 'PutObject', undefined],
  ['transform', 'GetObject', `manifests/month=${month}/oab.json`],
  ['load', 'GetObject', `parquet/consumption/month=${month}/oab.parquet`],
] as const) {
  test(`a bucket that goes on answering 503 fails ${stage}`, async (t) => {
    const bucket = await bucketWorld(t);
    const struck: S3Fault = { effect: slowDown, operation, times: Infinity };
    if (key !== undefined) struck.key = `billing/staging/${key}`;
    bucket.s3.faults.push(struck);
    const result = await bucket.run();
    failed(t, result, new RegExp(`oab ${stage} failed: S3 goes on answering SlowDown.*wait a`));
    bucket.s3.faults.length = 0;
    await goesOn(t, bucket);
  });
}

test('the database goes away in mid load and comes back', async (t) => {
  const server = await startServer();
  t.teardown(() => server.stop());
  const tables = await mariadbPlace(server);
  const load = await world(t, { tables });
  t.is((await load.run()).code, 0);
  const { tables: rows } = await resultOf(load.staged, load.tables);

  // The load has replaced the customers, and now waits for the other table.
  const lock = await mysql.createConnection(tables.address);
  lock.on('error', () => undefined);
  await lock.query('LOCK TABLES consumption WRITE');
  const running = load.run(['--stage', 'load', '--force']);
  const waiting = `SELECT id FROM information_schema.processlist WHERE db = '${new URL(tables.address).pathname.slice(1)}' AND state LIKE 'Waiting%' AND info LIKE '%consumption%'`;
  while ((await tables.query(waiting)).length === 0) await sleep(20);
  await server.kill();
  failed(t, await running, /oab load failed: .*connection to the database broke.*run the same/);
  lock.destroy();

  const away = await load.run(['--stage', 'load', '--force']);
  failed(t, away, /oab load failed: .*cannot be reached.*run the same/);
  await server.restart();
  const { tables: unchanged } = await resultOf(load.staged, load.tables);
  t.deepEqual(unchanged, rows);
  t.is((await load.run(['--stage', 'load', '--force'])).code, 0);
  const { tables: loaded } = await resultOf(load.staged, load.tables);
  t.deepEqual({ ...loaded, loads: loaded.loads.slice(0, 1) }, rows);
  t.is(loaded.loads.length, 2);
});

const stalls: [Omit<Fault, 'kind'>, RegExp][] = [
  [{ service: 'vault', operation: 'login' }, /Vault gave no answer in time/],
  [{ service: 'sts' }, /AWS gave no answer within 3 s.*AssumeRole/],
  [{ service: 'organizations', afterRequests: 1 }, /AWS gave no answer within 3 s.*ListAccounts/],
  [
    { service: 'cost-explorer', afterRequests: 2 },
    /AWS gave no answer within 3 s.*GetCostAndUsage/,
  ],
];
for (const [where, message] of stalls) {
  test(`a request to ${where.service} that never answers is given up`, async (t) => {
    const stalled = await world(t);
    stalled.cloud.faults.push({ ...where, kind: 'hang', times: Infinity });
    const result = await stalled.run(['--timeout', '3'], { AWS_MAX_ATTEMPTS: '1' });
    failed(t, result, message);
    stalled.cloud.faults.length = 0;
    await goesOn(t, stalled);
  });
}

for (const [operation, kind] of [
  ['ListObjectsV2', 'hang'],
  ['PutObject', 'hang'],
  ['GetObject', 'hang'],
  ['GetObject', 'stall'],
] as const) {
  test(`a bucket's ${operation} that ${kind}s is given up`, async (t) => {
    const stalled = await bucketWorld(t);
    const effect = kind === 'hang' ? { kind } : { kind, after: 100 };
    stalled.s3.faults.push({ effect, operation, skip: 3, times: Infinity });
    const result = await stalled.run(['--timeout', '3'], { AWS_MAX_ATTEMPTS: '1' });
    failed(t, result, /oab \w+ failed: (S3 did not answer in time|the connection broke)/);
    stalled.s3.faults.length = 0;
    await goesOn(t, stalled);
  });
}

/** A run whose clock is wrong as `env` says, and which gets a signal as its 8th request arrives. */
async function runSignalled(
  t: ExecutionContext,
  signal: NodeJS.Signals,
  env: Record<string, string>,
): Promise<{ signalled: World; finished: Finished }> {
  let requests = 0;
  let strike = (): void => undefined;
  const signalled = await world(t, {
    onRequest: () => {
      requests += 1;
      if (requests === 8) strike();
    },
  });
  const running = (child: ChildProcess): void => {
    strike = () => void child.kill(signal);
  };
  const finished = await signalled.run([], env, running);
  t.true(requests >= 8);
  return { signalled, finished };
}

for (const [how, jump] of [
  ['back by an hour', -HOUR],
  ['forward by two days', 2 * DAY],
] as const) {
  test(`the clock jumps ${how} in the middle of a run`, async (t) => {
    const { signalled, finished } = await runSignalled(t, 'SIGUSR2', clockJumpsBy(jump));
    t.is(finished.code, 0, finished.stdout + finished.stderr);
    await goesOn(t, signalled);
  });
}

for (const [how, offset] of [
  ['an hour ahead', HOUR],
  ['three days ahead', 3 * DAY],
  ['an hour behind', -HOUR],
] as const) {
  test(`a run that was killed while its clock was ${how} is gone on with`, async (t) => {
    const { signalled, finished } = await runSignalled(t, 'SIGKILL', clockOffBy(offset));
    t.is(finished.signal, 'SIGKILL', finished.stdout + finished.stderr);
    await goesOn(t, signalled);
  });
}
