import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { localStaging } from '../../pipeline/staging/local.js';
import { s3Staging } from '../../pipeline/staging/s3.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { stagingContract } from '../pipeline/staging/contract.js';
import { needlesslyPaid } from '../support/crash.js';
import { exportsOf } from '../support/exports.js';
import { countSteps, killAtStep } from '../support/kill-at-step.js';
import { freePort } from '../support/private-server.js';
import { querySqlite } from '../support/sqlite.js';
import type { World } from '../support/world.js';
import { month, world } from '../support/world.js';
import { goProgram } from './go.js';
import { startMoto } from './moto.js';
import { npmPackage } from './npm.js';
import { startHttpServer } from './server.js';
import type { Attempt, Trial } from './trial.js';
import { trial } from './trial.js';

/** Servers that speak S3, as staging area. */

const BUCKET = 'billing';
const login = {
  AWS_ACCESS_KEY_ID: 'AKIAREALSERVERS00000',
  AWS_SECRET_ACCESS_KEY: 'not-a-secret-at-all',
};

/** Starts a server; what of {@link login} is another one there, and its address. */
type Start = (t: Attempt) => Promise<Record<string, string>>;

const versity: Start = async (t) => {
  const { program, version } = await goProgram(t.cache, {
    module: 'github.com/versity/versitygw',
    version: 'v1.8.0',
    command: 'cmd/versitygw',
  });
  t.version(version);
  const files = join(t.folder, 'files');
  await mkdir(files);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const words = ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', files];
  await startHttpServer(t, [program, ...words], url, {
    ROOT_ACCESS_KEY_ID: login.AWS_ACCESS_KEY_ID,
    ROOT_SECRET_ACCESS_KEY: login.AWS_SECRET_ACCESS_KEY,
  });
  return { AWS_ENDPOINT_URL_S3: url };
};

const moto: Start = async (t) => ({ AWS_ENDPOINT_URL_S3: await startMoto(t) });

const s3rver: Start = async (t) => {
  const { folder, version } = await npmPackage(t.cache, 's3rver');
  t.version(`${version} from npm`);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const words = [join(folder, 'bin/s3rver.js'), '-a', '127.0.0.1', '-p', String(port)];
  await startHttpServer(t, [process.execPath, ...words, '-d', join(t.folder, 'files')], url);
  // Its own, and no others.
  const own = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };
  return { ...own, AWS_ENDPOINT_URL_S3: url };
};

/** What reaches a server: the environment of a command, and an area of this process with nothing in it. */
interface Place {
  environment: Record<string, string>;
  area: () => Staging;
}

async function placeAt(t: Attempt, start: Start): Promise<Place> {
  const environment = { ...login, AWS_REGION: 'us-east-1', ...(await start(t)) };
  const before = { ...process.env };
  t.teardown(() => {
    process.env = before;
  });
  Object.assign(process.env, environment);
  const client = new S3Client({ forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  client.destroy();
  let areas = 0;
  return { environment, area: () => s3Staging(BUCKET, `area-${(areas += 1)}/staging`) };
}

/** A world of its own, which ends with the work; `run` is `pipeline run` of its month on an area of the place. */
async function inWorld(
  { environment, area }: Place,
  work: (
    there: World & {
      staging: Staging;
      on: (...args: string[]) => ReturnType<World['run']>;
      onWith: World['runWith'];
    },
  ) => Promise<void>,
): Promise<void> {
  const ends: (() => Promise<void>)[] = [];
  try {
    const made = await world({ teardown: (end) => void ends.push(end) });
    const staging = area();
    const onWith: World['runWith'] = (env, command = '', ...args) =>
      made.runWith(
        { ...environment, AWS_MAX_ATTEMPTS: '3', ...env },
        command,
        ...args,
        '--staging',
        staging.location,
      );
    await work({ ...made, staging, onWith, on: (...args) => onWith({}, ...args) });
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

interface Made {
  exports: Record<string, string>;
  rows: unknown[];
  pages: number;
}

const rowsIn = (folder: string): unknown[] =>
  ['customers', 'consumption'].flatMap((table) =>
    querySqlite(
      join(folder, 'billing.sqlite'),
      `SELECT * FROM ${table} ORDER BY BillingPeriod, Organization, Line`,
    ),
  );

const madeIn = async ({ folder, charged }: World, staging: Staging): Promise<Made> => ({
  exports: await exportsOf(staging),
  rows: rowsIn(folder),
  pages: charged(),
});

/** What a folder makes of the month: no server's may differ from it. */
async function onFolder(): Promise<Made> {
  let made: Made | undefined;
  const nowhere = { environment: {}, area: () => localStaging('') };
  await inWorld(nowhere, async (there) => {
    const { code, stderr } = await there.run('run', '--month', month);
    assert.equal(code, 0, stderr);
    made = await madeIn(there, localStaging(join(there.folder, 'staging')));
  });
  assert.ok(made !== undefined && made.pages > 5);
  assert.equal(Object.keys(made.exports).length, 8);
  return made;
}

/** Whole months, beside what a folder makes of them. */
async function months(t: Attempt, place: Place): Promise<void> {
  const expected = await onFolder();
  const left = async (staging: Staging): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of staging.list('')) keys.push(key);
    return keys.filter((key) => !/^(raw|parquet|csv|manifests)\//.test(key));
  };

  await t.holds('a month, byte for byte as on a folder; again: unchanged', () =>
    inWorld(place, async (there) => {
      const { on, staging, charged } = there;
      const checked = await on('check');
      assert.equal(checked.code, 0, checked.stdout);
      for (let turn = 0; turn < 2; turn += 1) {
        const { code, stderr, stdout } = await on('run', '--month', month);
        assert.equal(code, 0, stderr);
        assert.equal(/unchanged/.test(stdout), turn === 1, stdout);
        assert.deepEqual(await madeIn(there, staging), expected);
      }
      assert.equal(charged(), expected.pages);
      assert.equal((await on('reconcile', '--month', month)).code, 0);
      assert.deepEqual(await left(staging), []);
    }),
  );

  await t.holds(
    'killed at six points, each gone on with: the same, and no page needlessly paid',
    async () => {
      let steps = 0;
      await inWorld(place, async ({ onWith, folder }) => {
        const file = join(folder, 'steps');
        const { code, stderr } = await onWith(countSteps(file), 'run', '--month', month);
        assert.equal(code, 0, stderr);
        steps = Number(await readFile(file, 'utf8'));
      });
      for (let seventh = 1; seventh < 7; seventh += 1)
        await inWorld(place, async (there) => {
          const step = Math.floor((steps * seventh) / 7);
          const struck = await there.onWith(killAtStep(step), 'run', '--month', month);
          assert.equal(struck.signal, 'SIGKILL', `at ${step} of ${steps}: ${struck.stderr}`);
          const ended = await there.on('run', '--month', month);
          assert.equal(ended.code, 0, ended.stderr);
          const { exports, rows } = await madeIn(there, there.staging);
          assert.deepEqual({ exports, rows }, { exports: expected.exports, rows: expected.rows });
          assert.deepEqual(needlesslyPaid(there.cloud.requests), []);
          assert.deepEqual(await left(there.staging), []);
        });
    },
  );

  await t.holds('two runs at once: one waits, nothing is paid for twice', () =>
    inWorld(place, async (there) => {
      const run = () => there.on('run', '--month', month, '--wait', '120');
      for (const { code, stderr } of await Promise.all([run(), run()]))
        assert.equal(code, 0, stderr);
      assert.deepEqual(await madeIn(there, there.staging), expected);
      assert.deepEqual(await left(there.staging), []);
    }),
  );

  await t.holds('prune: old extractions go, the current one stays', () =>
    inWorld(place, async (there) => {
      const { on, staging } = there;
      for (let turn = 0; turn < 3; turn += 1) {
        const { code, stderr } = await on('run', '--month', month, '--force');
        assert.equal(code, 0, stderr);
      }
      const pruned = await on('prune', '--keep', '1');
      assert.equal(pruned.code, 0, pruned.stderr);
      assert.match(pruned.stdout, /removed 4 extractions/);
      const extractions = new Set<string>();
      for await (const { key } of staging.list('raw/'))
        extractions.add(key.split('/').slice(0, 4).join('/'));
      assert.equal(extractions.size, 2);
      const paid = there.charged();
      const { code, stdout } = await on('run', '--month', month);
      assert.equal(code, 0);
      assert.match(stdout, /unchanged/);
      assert.equal(there.charged(), paid);
      assert.deepEqual((await madeIn(there, staging)).exports, expected.exports);
    }),
  );
}

/** The contract of every driver, over a server; all that failed of it is told. */
async function contract(t: Attempt, { area }: Place): Promise<void> {
  const checks: [title: string, run: Parameters<Parameters<typeof stagingContract>[0]>[1]][] = [];
  stagingContract(
    (title, run) => void checks.push([title, run]),
    () => Promise.resolve(area()),
  );
  await t.holds(
    `the contract of staging areas (${checks.length} tests), conditional writes among them`,
    async () => {
      const failures: string[] = [];
      for (const [title, run] of checks) {
        try {
          await run({
            is: assert.equal,
            true: (actual) => {
              assert.equal(actual, true);
            },
            false: (actual) => {
              assert.equal(actual, false);
            },
            deepEqual: assert.deepEqual,
            notDeepEqual: assert.notDeepEqual,
            async throwsAsync(work, expected, message = 'nothing was thrown') {
              const error = await work.then(
                () => assert.fail(message),
                (thrown: unknown) => thrown,
              );
              if (expected !== undefined)
                assert.ok(error instanceof expected.instanceOf, String(error));
              return error;
            },
            teardown: t.teardown,
          });
        } catch (error) {
          failures.push(`${title}: ${String(error).slice(0, 600)}`);
        }
      }
      if (failures.length > 0) throw new Error(failures.join('\n'));
    },
  );
}

/** A server that overwrites what is to be written only once. */
async function refused(t: Attempt, place: Place): Promise<void> {
  await t.holds(
    'it ignores If-None-Match: check and run refuse it, with nothing staged or paid',
    () =>
      inWorld(place, async ({ on, staging, charged }) => {
        for (const words of [['check'], ['run', '--month', month]]) {
          const { code, stdout, stderr } = await on(...words);
          assert.equal(code, 1);
          const told = (stdout + stderr).replaceAll(/\s+/g, ' ');
          assert.match(told, /the staging area overwrites what is to be written only once/);
          assert.match(told, /take a store that honours conditional writes \(If-None-Match\)/);
        }
        assert.equal(charged(), 0);
        for await (const { key } of staging.list('')) assert.fail(`${key} is left`);
      }),
  );
}

export const s3Trials: readonly Trial[] = [
  trial('Versity S3 Gateway', async (t) => {
    const place = await placeAt(t, versity);
    await contract(t, place);
    await months(t, place);
  }),
  trial('moto (S3)', async (t) => {
    const place = await placeAt(t, moto);
    await contract(t, place);
    await months(t, place);
  }),
  trial('s3rver', async (t) => {
    await refused(t, await placeAt(t, s3rver));
  }),
];
