import { randomBytes } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { createRandom } from '../../fixtures/demo/random.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { temporaryFolder } from '../support/cli.js';
import type { DatabasePlace, Result, StagedPlace } from '../support/crash-place.js';
import {
  bucketPlace,
  folderPlace,
  mariadbPlace,
  resultOf,
  sqlitePlace,
} from '../support/crash-place.js';
import type { Command, Kill } from '../support/crash.js';
import { createArrivals, drawKill, needlesslyPaid, runKilled, runWhole } from '../support/crash.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';

/**
 * Kills the real command at random points of a whole run, again and again, and lets it finish.
 * `CRASH_KILLS` says how often in all, `CRASH_SEED` repeats a run's draws.
 */

const kills = Number(process.env['CRASH_KILLS'] ?? '12');
const seed = process.env['CRASH_SEED'] ?? randomBytes(4).toString('hex');

/** Kills after which a month is let finish at the latest. */
const LONGEST_SERIES = 6;

const month = parseMonth('2026-10');
const organizations = [
  { name: 'oab', accounts: 14 },
  { name: 'internal', accounts: 5 },
];
const combinations = [
  ['folder', 'SQLite'],
  ['folder', 'MariaDB'],
  ['S3', 'SQLite'],
  ['S3', 'MariaDB'],
] as const;

let server: TestServer;
test.before(async () => {
  server = await openServer();
});
test.after.always(() => server.stop());

/** The exports of whichever combination was the first; no other may differ from them. */
let exportsOfAll: Result['exports'] | undefined;

for (const [index, [staging, database]] of combinations.entries()) {
  const share =
    Math.floor(kills / combinations.length) + (index < kills % combinations.length ? 1 : 0);

  test(`killed at ${share} points, a run goes on as if nothing had been: ${staging}, ${database}`, async (t) => {
    t.timeout(3_600_000);
    t.log(`CRASH_SEED=${seed}`);
    const arrivals = createArrivals();
    const s3 = await startS3({ onRequest: arrivals.notify });
    t.teardown(() => s3.close());
    let bucket = 0;
    // Draws of their own for each month and kill: a run that ended earlier than last time shifts none.
    const pointOf = (...place: number[]): Kill =>
      drawKill(createRandom([seed, staging, database, ...place].join('/')), whole);

    const series = async (): Promise<Series> => {
      const folder = await temporaryFolder(t);
      const staged =
        staging === 'S3' ? bucketPlace(s3, `billing-${(bucket += 1)}`) : folderPlace(folder);
      const tables = database === 'SQLite' ? sqlitePlace(folder) : await mariadbPlace(server);
      const cloud = await startCloud({
        data: demoData({ months: [month], organizations }),
        groupsPerPage: 12,
        accountsPerPage: 5,
        invoicesPerPage: 1,
        latencyMs: 5,
        onRequest: arrivals.notify,
      });
      t.teardown(() => cloud.close());
      const args = ['run', '--month', month, '--invoices', '--staging', staged.location];
      const env = {
        ...cloud.environment,
        ...s3.environment,
        PIPELINE_DATABASE: tables.address,
      };
      return { folder, staged, tables, cloud, command: { args, cwd: folder, env } };
    };

    const reference = await series();
    const stepsFile = join(reference.folder, 'steps');
    const { finished, whole } = await runWhole(reference.command, arrivals, stepsFile, async () =>
      Number(await readFile(stepsFile, 'utf8')),
    );
    t.is(finished.code, 0, finished.stderr);
    const expected = await resultOf(reference.staged, reference.tables);
    t.is(expected.exports.size, 12);
    t.true(expected.tables.consumption.length > 50);
    t.deepEqual(expected.exports, (exportsOfAll ??= expected.exports));
    t.log(`a whole run: ${whole.steps} steps, ${whole.requests} requests`);

    for (let [done, months] = [0, 0]; done < share; months += 1) {
      const current = await series();
      const struck: Kill[] = [];
      for (;;) {
        const last = done === share || struck.length === LONGEST_SERIES;
        const kill = last ? undefined : pointOf(months, struck.length);
        const { code, signal, stdout, stderr } = await runKilled(current.command, arrivals, kill);
        const points = [...struck, ...(kill === undefined ? [] : [kill])];
        if (signal !== 'SIGKILL') {
          t.is(code, 0, `after ${describe(points)}: ${stdout}\n${stderr}`);
          break;
        }
        if (kill === undefined) return t.fail('killed by somebody else');
        struck.push(kill);
        done += 1;
      }
      t.log(`${struck.length} kills: ${describe(struck)}`);
      await check(t, current, expected, describe(struck));
    }
  });
}

interface Series {
  folder: string;
  staged: StagedPlace;
  tables: DatabasePlace;
  cloud: Awaited<ReturnType<typeof startCloud>>;
  command: Command;
}

function describe(points: readonly Kill[]): string {
  return points.map(({ kind, number }) => `${kind} ${number}`).join(', ');
}

/** Compares a finished month with the one of an uninterrupted run. */
async function check(
  t: ExecutionContext,
  { folder, staged, tables, cloud }: Series,
  expected: Result,
  points: string,
): Promise<void> {
  const { exports, tables: rows } = await resultOf(staged, tables);
  t.deepEqual([...exports.keys()], [...expected.exports.keys()], points);
  for (const [key, bytes] of expected.exports) {
    t.true(exports.get(key)?.equals(bytes), `${key} differs after ${points}`);
  }
  t.deepEqual(rows, expected.tables, points);
  t.deepEqual(needlesslyPaid(cloud.requests), [], `paid twice after ${points}`);

  const keys = [...(await staged.files()).keys()];
  const others = keys.filter((key) => !/^(raw|parquet|csv|manifests)\//.test(key));
  t.deepEqual(others, [], `left behind after ${points}`);
  const extractions = new Set(keys.map((key) => /^raw\/[^/]+\/[^/]+\/[^/]+/.exec(key)?.[0]));
  extractions.delete(undefined);
  t.is(extractions.size, organizations.length, points);
  t.is(staged.uploads(), 0, points);
  const beside = await readdir(folder);
  t.deepEqual(
    beside.filter((name) => name !== 'staging' && name !== 'billing.sqlite'),
    [],
    points,
  );
}
