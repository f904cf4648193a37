import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { leaseKey, leasePrefix, parseExtractionKey } from '../../pipeline/staging/layout.js';
import { newRecord, serializeRecord } from '../../pipeline/staging/lease.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { s3Staging } from '../../pipeline/staging/s3.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import type { Finished } from '../support/cli.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { exportsOf } from '../support/exports.js';
import { querySqlite } from '../support/sqlite.js';

const month = parseMonth('2026-10');
const data = demoData({
  months: [parseMonth('2026-09'), month],
  organizations: [
    { name: 'oab', accounts: 23 },
    { name: 'internal', accounts: 4 },
  ],
});

const s3 = await startS3({ buckets: ['folder', 'bucket'] });
Object.assign(process.env, s3.environment);
test.after.always(() => s3.close());

interface World {
  cloud: Cloud;
  staging: Staging;
  folder: string;
  start: (...args: string[]) => { child: () => ChildProcess; result: Promise<Finished> };
  run: (...args: string[]) => Promise<Finished>;
}

async function world(t: Pick<ExecutionContext, 'teardown'>, place: string): Promise<World> {
  const folder = await temporaryFolder(t);
  const prefix = `area-${randomBytes(4).toString('hex')}`;
  const staging =
    place === 'folder' ? localStaging(join(folder, 'staging')) : s3Staging(place, prefix);
  const cloud = await startCloud({ data, groupsPerPage: 20, latencyMs: 100 });
  t.teardown(() => cloud.close());
  const start: World['start'] = (...args) => {
    let running: ChildProcess | undefined;
    const result = pipeline(['run', '--staging', staging.location, ...args], {
      cwd: folder,
      env: { ...cloud.environment, ...s3.environment },
      running: (child) => {
        running = child;
        t.teardown(() => child.kill('SIGKILL'));
      },
    });
    return {
      result,
      child: () => {
        if (running === undefined) throw new Error('the process does not run yet');
        return running;
      },
    };
  };
  return { cloud, staging, folder, start, run: (...args) => start(...args).result };
}

/** Starts a run that hangs at the third cost page of `oab`, its lease in hand. */
async function startHanging({ cloud, start }: World): Promise<ReturnType<World['start']>> {
  cloud.faults.push({
    service: 'cost-explorer',
    organization: 'oab',
    afterRequests: 2,
    kind: 'hang',
  });
  const hanging = start('--month', month, '--organization', 'oab', '--timeout', '600');
  await cloud.arrival(({ service, status }) => service === 'cost-explorer' && status === 0);
  return hanging;
}

/** What was paid for: month, organization and token of each page. */
function paidPages(cloud: Cloud): string[] {
  return cloud.requests
    .filter(({ charged }) => charged)
    .map(({ organization, token, input }) => JSON.stringify([organization, token, input]));
}

async function extractionsIn(staging: Staging): Promise<string[]> {
  const names = new Set<string>();
  for await (const { key } of staging.list('raw/')) {
    const parts = parseExtractionKey(key);
    if (parts !== undefined) names.add(`${parts.month} ${parts.organization} ${parts.extraction}`);
  }
  return [...names];
}

function rowsIn(folder: string): unknown[] {
  return ['customers', 'consumption'].flatMap((table) =>
    querySqlite(
      join(folder, 'billing.sqlite'),
      `SELECT * FROM ${table} ORDER BY BillingPeriod, Organization, Line`,
    ),
  );
}

let reference: { exports: Record<string, string>; rows: unknown[]; pages: number };
const cleanups: (() => unknown)[] = [];
test.before(async (t) => {
  const { run, staging, folder, cloud } = await world(
    { teardown: (step) => cleanups.push(step) },
    'folder',
  );
  const { code, stderr } = await run('--month', month);
  t.is(code, 0, stderr);
  const pages = paidPages(cloud).length;
  t.true(pages > 5);
  reference = { exports: await exportsOf(staging), rows: rowsIn(folder), pages };
});
test.after.always(async () => {
  for (const step of cleanups) await step();
});

for (const place of ['folder', 'bucket']) {
  test.serial(
    `two runs at once on a ${place}: one waits, and nothing is paid for twice`,
    async (t) => {
      const { run, staging, cloud, folder } = await world(t, place);
      const results = await Promise.all([
        run('--month', month, '--wait', '120', '--json'),
        run('--month', month, '--wait', '120', '--json'),
      ]);
      const requests = results.map(({ code, stdout, stderr }) => {
        t.is(code, 0, stderr);
        return (JSON.parse(stdout) as { requests: number }).requests;
      });
      const { exports, rows, pages } = reference;
      const paid = paidPages(cloud);
      t.is(new Set(paid).size, paid.length, 'a page was paid for twice');
      t.is(paid.length, pages);
      t.is(
        requests.reduce((sum, count) => sum + count, 0),
        pages,
      );
      t.is((await extractionsIn(staging)).length, 2);
      t.deepEqual(await exportsOf(staging), exports);
      t.deepEqual(rowsIn(folder), rows);
      for await (const { key } of staging.list('leases/')) t.fail(`${key} is left`);
    },
  );

  test.serial(
    `a run on a ${place} that another holds says who, and all else is free`,
    async (t) => {
      const there = await world(t, place);
      const { run, cloud, staging, folder } = there;
      const hanging = await startHanging(there);
      const pid = String(hanging.child().pid);

      const refused = await run('--month', month, '--organization', 'oab');
      t.is(refused.code, 1);
      t.regex(
        refused.stdout,
        new RegExp(
          `2026-10 oab extract failed: another run holds 2026-10 of oab: process ${pid} on \\S+, since 20\\d\\d-\\S+Z .*--wait`,
        ),
      );
      t.regex(refused.stdout, /2026-10\s+oab\s+failed\s+skipped\s+skipped/);
      const briefly = await run('--month', month, '--organization', 'oab', '--wait', '1');
      t.is(briefly.code, 1);
      t.regex(briefly.stderr, new RegExp(`waiting for process ${pid} on`));

      const others = [
        ['--month', month, '--organization', 'internal'],
        ['--month', '2026-09', '--organization', 'oab'],
      ];
      for (const args of others) {
        const { code, stderr } = await run(...args);
        t.is(code, 0, stderr);
      }
      t.is(hanging.child().exitCode, null, 'all this happened beside the first run');

      hanging.child().kill('SIGKILL');
      await hanging.result;
      const goesOn = await run('--month', month);
      t.is(goesOn.code, 0, goesOn.stderr);
      const paid = paidPages(cloud);
      t.is(new Set(paid).size, paid.length, 'a page was paid for twice');
      t.is((await extractionsIn(staging)).length, 3);
      const { exports, rows } = reference;
      const ofMonth = Object.entries(await exportsOf(staging)).filter(([key]) =>
        key.includes(month),
      );
      t.deepEqual(Object.fromEntries(ofMonth), exports);
      const all = rowsIn(folder) as { BillingPeriod: string }[];
      const stamped = all.filter(({ BillingPeriod }) => BillingPeriod.startsWith(month));
      t.deepEqual(stamped, rows);
    },
  );
}

test.serial('a run that loses its lease stops, and says to whom', async (t) => {
  const there = await world(t, 'folder');
  const { staging, cloud } = there;
  const slice = { month, organization: 'oab' };
  const hanging = await startHanging(there);
  const paid = paidPages(cloud).length;
  const number = Math.floor(Date.now() / 60_000) + 1;
  const now = new Date();
  const other = { ...newRecord(now, now, 60), machine: 'elsewhere', pid: 7 };
  await staging.write(leaseKey(slice, number), serializeRecord(other));
  const { code, stdout } = await hanging.result;
  t.is(code, 1);
  t.regex(stdout, /oab extract failed: the lease on 2026-10 of oab was taken over by another run/);
  t.regex(stdout, /process 7 on elsewhere, since /);
  t.regex(stdout, /oab\s+failed\s+skipped\s+skipped/);
  t.is(paidPages(cloud).length, paid);
  const keys: string[] = [];
  for await (const { key } of staging.list(leasePrefix(slice))) keys.push(key);
  t.deepEqual(keys, [leaseKey(slice, number)]);
});
