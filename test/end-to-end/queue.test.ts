import { randomUUID } from 'node:crypto';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { S3Server } from '../../fixtures/cloud/s3.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Finished } from '../support/cli.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import type { DatabasePlace, Result, StagedPlace } from '../support/crash-place.js';
import { bucketPlace, folderPlace, mariadbPlace, resultOf } from '../support/crash-place.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';
import { paidPages, startWorker } from '../support/queue.js';
import { moveAccount } from '../support/moved-account.js';
import type { TestRedis } from '../support/redis.js';
import { startRedis } from '../support/redis.js';

/** However many workers there are, they make what one process makes, and pay for what it pays for. */

const months = ['2026-09', '2026-10'].map(parseMonth);
const organizations = [
  { name: 'oab', accounts: 14 },
  { name: 'internal', accounts: 5 },
  { name: 'spp_pm', accounts: 9 },
];
const range = ['--from', '2026-09', '--to', '2026-10'];

let server: TestServer;
let redis: TestRedis;
let s3: S3Server;
test.before(async () => {
  [server, redis, s3] = await Promise.all([openServer(), startRedis(), startS3()]);
});
test.after.always(() => Promise.all([server.stop(), redis.stop(), s3.close()]));

interface Place {
  cloud: Cloud;
  staged: StagedPlace;
  tables: DatabasePlace;
  run: (...args: string[]) => Promise<Finished>;
  work: (...args: string[]) => ReturnType<typeof startWorker>;
}

async function place(t: ExecutionContext, where: 'folder' | 'S3', queue?: string): Promise<Place> {
  const folder = await temporaryFolder(t);
  const data = demoData({ months, organizations });
  // Made before the organization that lists it is fetched, unless that is looked for again.
  moveAccount(data, months, { left: 'internal', joined: 'spp_pm' });
  const cloud = await startCloud({
    data,
    groupsPerPage: 12,
    accountsPerPage: 5,
    latencyMs: 10,
  });
  t.teardown(() => cloud.close());
  const staged = where === 'S3' ? bucketPlace(s3, `queue-${randomUUID()}`) : folderPlace(folder);
  const tables = await mariadbPlace(server);
  const settings = {
    cwd: folder,
    env: {
      ...cloud.environment,
      ...s3.environment,
      PIPELINE_DATABASE: tables.address,
      PIPELINE_STAGING: staged.location,
      ...(queue === undefined ? {} : { PIPELINE_QUEUE: queue }),
    },
  };
  return {
    cloud,
    staged,
    tables,
    run: (...args) => pipeline(['run', ...range, ...args], settings),
    work: (...args) => startWorker(t, { args, ...settings }),
  };
}

let reference: Promise<{ result: Result; paid: string[]; table: string[] }> | undefined;

/** What one process makes, and what it pays for. */
function alone(t: ExecutionContext) {
  const make = async () => {
    const { run, staged, tables, cloud } = await place(t, 'folder');
    const { code, stdout, stderr } = await run();
    t.is(code, 0, stdout + stderr);
    const result = await resultOf(staged, tables);
    t.is(result.exports.size, 24);
    t.true(result.tables.consumption.length > 200);
    return { result, paid: paidPages(cloud.requests), table: tableOf(stdout) };
  };
  return (reference ??= make());
}

/** The rows of the summary's table, without times. */
function tableOf(stdout: string): string[] {
  return stdout
    .split('\n')
    .filter((line) => /^20\d\d-\d\d /.test(line))
    .map((line) => line.replaceAll(/\d+\.\d+ s\b/g, 'S').replaceAll(/ +/g, ' '));
}

/** How often a month was loaded depends on whether it was made before the organization that lists the moved account was. */
function withLastLoads({ loads, ...rows }: Result['tables']): unknown {
  const last = new Map(
    loads.map((load) => [JSON.stringify([load['Month'], load['Organization']]), load]),
  );
  return { ...rows, loads: [...last.values()] };
}

for (const [database, [workers, atOnce, where]] of (
  [
    [1, 3, 'S3'],
    [2, 2, 'folder'],
    [4, 1, 'S3'],
  ] as const
).entries())
  test(`what ${workers} workers make on ${where}, and pay for, is what one process does`, async (t) => {
    const queue = redis.address.replace(/\d+$/, String(database));
    const many = await place(t, where, queue);
    const started = Array.from({ length: workers }, () =>
      many.work('--concurrency', String(atOnce)),
    );
    await Promise.all(started.map(({ ready }) => ready));
    const { code, stdout, stderr } = await many.run();
    t.is(code, 0, stdout + stderr);
    const expected = await alone(t);
    const { exports, tables } = await resultOf(many.staged, many.tables);
    t.deepEqual([...exports.keys()], [...expected.result.exports.keys()]);
    for (const [key, bytes] of expected.result.exports)
      t.true(exports.get(key)?.equals(bytes), key);
    t.deepEqual(withLastLoads(tables), withLastLoads(expected.result.tables));
    t.deepEqual(paidPages(many.cloud.requests), expected.paid);
    t.deepEqual(tableOf(stdout), expected.table);
    const others = [...(await many.staged.files()).keys()].filter(
      (key) => !/^(raw|parquet|csv|manifests)\//.test(key),
    );
    t.deepEqual(others, [], 'no lease is left behind');

    const again = await many.run();
    t.is(again.code, 0, again.stdout + again.stderr);
    const states = tableOf(again.stdout).map((line) => line.split(' ').slice(2, 5).join(' '));
    t.deepEqual(states, Array(6).fill('unchanged unchanged unchanged'));
    t.deepEqual(paidPages(many.cloud.requests), expected.paid, 'a second run pays for nothing');

    for (const worker of started) worker.signal('SIGTERM');
    for (const { ended } of started) t.is((await ended).signal, null);
    await holdsNoSecret(t, many);
  });

/** Of all that was ever written into Redis nothing is a secret of Vault, of AWS or of the database. */
async function holdsNoSecret(t: ExecutionContext, { cloud, tables }: Place): Promise<void> {
  const written = (await redis.written()).toString('latin1');
  t.true(written.includes('2026-10'), 'the jobs are in it');
  const { vault } = cloud;
  const aws = Object.values(vault.secrets).flatMap((secret) => Object.values(secret));
  const secrets = [
    vault.secretId,
    vault.roleId,
    decodeURIComponent(new URL(tables.address).password),
    ...aws.filter((value) => typeof value === 'string').filter((value) => value.length > 19),
  ];
  t.true(secrets.length > 5);
  for (const secret of secrets) t.false(written.includes(secret));
}
