import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import Libsql from 'libsql';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { thisProcess } from '../../pipeline/staging/holder.js';
import { exportKey, leaseKey } from '../../pipeline/staging/layout.js';
import { newRecord, serializeRecord } from '../../pipeline/staging/lease.js';
import { s3Staging } from '../../pipeline/staging/s3.js';
import { world } from '../support/world.js';

const months = ['2026-09', '2026-10'].map(parseMonth);
const organizations = [
  { name: 'oab', accounts: 3 },
  { name: 'internal', accounts: 2 },
];

interface Task {
  month: string;
  organization: string;
  stage: string;
  state: string;
  seconds: number;
}

const s3 = await startS3({ buckets: ['area'] });
Object.assign(process.env, s3.environment);
test.after.always(() => s3.close());

test('where nothing is to be done no lease is taken, and all else is left to the stages', async (t) => {
  const { folder, runWith } = await world(t, { data: demoData({ months, organizations }) });
  const staging = s3Staging('area', '');
  const run = async () => {
    const before = s3.requests.length;
    const range = ['--from', '2026-09', '--to', '2026-10', '--wait', '0'];
    const args = ['run', ...range, '--staging', 's3://area', '--json'];
    const { code, stdout } = await runWith(s3.environment, ...args);
    const { tasks } = JSON.parse(stdout) as { tasks: Task[] };
    const written = s3.requests
      .slice(before)
      .filter(({ method }) => method !== 'GET')
      .map(({ key }) => key);
    return { code, stdout, written, tasks: tasks.map((task) => ({ ...task, seconds: 0 })) };
  };
  const changed = (tasks: readonly Task[]) =>
    tasks
      .filter(({ state }) => state !== 'unchanged')
      .map(({ month, organization, stage, state }) => `${month} ${organization} ${stage} ${state}`);
  t.is((await run()).code, 0);

  const unchanged = await run();
  t.deepEqual(changed(unchanged.tasks), []);
  t.deepEqual(unchanged.written, []);

  // What a run left that was killed: its lease is taken over, and the stages themselves say the same.
  const [month] = months;
  const slice = { month: month ?? '', organization: 'oab' } as {
    month: (typeof months)[0];
    organization: string;
  };
  const now = new Date();
  const gone = { self: { ...thisProcess.self, pid: spawnSync('true').pid, token: 'gone' } };
  await staging.write(leaseKey(slice, 1), serializeRecord(newRecord(now, now, 60, gone)));
  const leased = await run();
  t.deepEqual(leased.tasks, unchanged.tasks);
  const folders = leased.written.map((key) => key.slice(0, key.lastIndexOf('/')));
  // The other organization names accounts that this one lists, which is still the same extraction.
  t.deepEqual([...new Set(folders)], ['leases/month=2026-09/oab']);

  // Another one that lives holds the slice; of two others a row, and a file, are lost.
  await staging.write(leaseKey(slice, 1), serializeRecord(newRecord(now, now, 60)));
  const database = new Libsql(join(folder, 'billing.sqlite'));
  database.exec(
    "DELETE FROM customers WHERE BillingPeriod = '2026-09-28' AND Organization = 'internal' AND Line = 1",
  );
  database.close();
  await staging.remove(
    exportKey('csv', 'customers', { ...slice, month: months[1] ?? slice.month }),
  );
  const odd = await run();
  t.is(odd.code, 1);
  t.deepEqual(changed(odd.tasks), [
    '2026-09 internal load done',
    '2026-09 oab extract failed',
    '2026-09 oab transform skipped',
    '2026-09 oab load skipped',
    '2026-10 oab transform done',
  ]);
  t.regex(odd.stdout, /another run holds 2026-09 of oab/);
});
