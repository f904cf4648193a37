import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import {
  ConfigurationError,
  InterruptedError,
  TransientError,
} from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { self } from '../../../pipeline/staging/holder.js';
import { leaseKey } from '../../../pipeline/staging/layout.js';
import type { Lease, LeaseOptions, LeaseRecord } from '../../../pipeline/staging/lease.js';
import { newRecord, serializeRecord, takeLease } from '../../../pipeline/staging/lease.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import { temporaryStaging } from '../../support/staging.js';
import { keysOf, textAt } from './contract.js';
import { startBuckets } from './s3-buckets.js';

const slice = { month: parseMonth('2026-10'), organization: 'oab' };
const program = fileURLToPath(new URL('../../support/lease-holder.js', import.meta.url));
const { bucketFor } = await startBuckets(test);
const drivers: Record<string, (t: ExecutionContext) => Promise<Staging>> = {
  'a folder': temporaryStaging,
  'a bucket': () => Promise.resolve(bucketFor({ pageSize: 2 }).staging),
};

interface HolderOptions {
  turns?: number;
  holdMs?: number;
  wait?: number;
  seconds?: number;
}

/** Starts a process that takes the lease, see `lease-holder.ts`. */
function startHolder(
  t: ExecutionContext,
  { location }: Staging,
  { turns = 1, holdMs = 600_000, wait = 0, seconds = 60 }: HolderOptions,
) {
  const args = [program, location, turns, holdMs, wait, seconds].map(String);
  const child = spawn(process.execPath, args, {
    env: { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  const reader = createInterface(child.stdout).on('line', (line) => lines.push(line));
  return {
    pid: child.pid,
    lines,
    next: async () => String((await once(reader, 'line'))[0]),
    ended: once(reader, 'close'),
    /** Lets it give the lease back before its time is up. */
    giveBack: () => void child.stdin.end('enough\n'),
    async kill() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

function take(staging: Staging, options: Partial<LeaseOptions> = {}) {
  return takeLease(staging, slice, {
    waitSeconds: 0,
    signal: new AbortController().signal,
    ...options,
  });
}

/** Seconds of a lease that is renewed soon, and yet does not run out while a machine is busy. */
const SHORT = 8;

/** Waits until a lease is lost, which it may be already. */
async function lost({ lost: signal }: Lease): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

/** Puts a lease file there as another machine would, if nothing else is said. */
async function plant(
  staging: Staging,
  number: number,
  changes: Partial<LeaseRecord> = {},
): Promise<void> {
  const now = new Date();
  const record = { ...newRecord(now, now, 60), machine: 'elsewhere', pid: 7, ...changes };
  await staging.write(leaseKey(slice, number), serializeRecord(record));
}

const gone = { machine: self.machine, pid: 2 ** 22 + 1 };

for (const [place, open] of Object.entries(drivers)) {
  test.serial(`of many processes on ${place} one at a time holds`, async (t) => {
    const staging = await open(t);
    await plant(staging, 5, gone);
    const holders = Array.from({ length: 5 }, () =>
      startHolder(t, staging, { turns: 3, holdMs: 5, wait: 120 }),
    );
    await Promise.all(holders.map(({ ended }) => ended));
    for (const { lines } of holders) {
      t.deepEqual(lines, ['took', 'gave', 'took', 'gave', 'took', 'gave']);
    }
    t.deepEqual(await keysOf(staging, ''), []);
  });

  test.serial(
    `${place}: a living holder is named, and a killed one gives way at once`,
    async (t) => {
      const staging = await open(t);
      const holder = startHolder(t, staging, {});
      t.is(await holder.next(), 'took');
      const error = await t.throwsAsync(take(staging), { instanceOf: TransientError });
      const since = String(new Date().getUTCFullYear());
      t.regex(
        error.message,
        new RegExp(
          `^another run holds 2026-10 of oab: process ${holder.pid} on ${self.machine}, since ${since}-`,
        ),
      );
      t.regex(error.next ?? '', /--wait SECONDS/);
      t.is(error.where, staging.location);
      await holder.kill();
      const lease = await take(staging);
      t.is((await keysOf(staging, 'leases/')).length, 1);
      await lease.release();
      t.deepEqual(await keysOf(staging, 'leases/'), []);
    },
  );

  test.serial(`${place}: who waits gets the lease when it is given back`, async (t) => {
    const staging = await open(t);
    const holder = startHolder(t, staging, {});
    t.is(await holder.next(), 'took');
    const told: string[] = [];
    const lease = await take(staging, {
      waitSeconds: 120,
      onWait: (text) => {
        told.push(text);
        holder.giveBack();
      },
    });
    t.is(told.length, 1);
    t.true(told[0]?.startsWith(`process ${holder.pid} on `));
    await lease.release();
  });

  test.serial(`${place}: a lease is renewed while its holder lives`, async (t) => {
    const staging = await open(t);
    const holder = startHolder(t, staging, { seconds: SHORT });
    t.is(await holder.next(), 'took');
    const [key = ''] = await keysOf(staging, 'leases/');
    const read = async () => JSON.parse(await textAt(staging, key)) as LeaseRecord;
    const before = await read();
    let after = before;
    // However long it takes, until it has been renewed a second time at least.
    while (Date.parse(after.expires) <= Date.parse(before.expires) + (SHORT / 4) * 1000)
      after = await read();
    await t.throwsAsync(take(staging, { seconds: SHORT }), { message: /another run/ });
    t.is(after.since, before.since);
    t.deepEqual(holder.lines, ['took']);
  });

  test(`${place}: a dead lease of another machine is taken over, whatever its clock said`, async (t) => {
    for (const expires of ['2020-01-01T00:00:00.000Z', '2199-01-01T00:00:00.000Z', 'nonsense']) {
      const staging = await open(t);
      await plant(staging, 3, { expires });
      const told: string[] = [];
      const lease = await take(staging, { seconds: 1, onWait: (text) => told.push(text) });
      t.is(told.length, 1);
      const keys = await keysOf(staging, 'leases/');
      t.is(keys.length, 1);
      t.not(keys[0], leaseKey(slice, 3));
      await lease.release();
    }
  });

  test(`${place}: a holder sees that its lease was taken over, and leaves the other's alone`, async (t) => {
    const staging = await open(t);
    const lease = await take(staging, { seconds: SHORT });
    const [key = ''] = await keysOf(staging, 'leases/');
    const number = Number(/(\d+)\.json$/.exec(key)?.[1]);
    await plant(staging, number + 1);
    await staging.remove(key);
    await lost(lease);
    const reason = lease.lost.reason as TransientError;
    t.true(reason instanceof TransientError);
    t.regex(reason.message, /was taken over by another run: process 7 on elsewhere, since /);
    await lease.release();
    t.deepEqual(await keysOf(staging, 'leases/'), [leaseKey(slice, number + 1)]);
  });

  test(`${place}: a file of the same number in another's hands is no longer ours`, async (t) => {
    const staging = await open(t);
    const lease = await take(staging, { seconds: SHORT });
    const [key = ''] = await keysOf(staging, 'leases/');
    await plant(staging, Number(/(\d+)\.json$/.exec(key)?.[1]));
    await lost(lease);
    t.regex((lease.lost.reason as Error).message, /was taken over/);
    await lease.release();
    t.regex(await textAt(staging, key), /elsewhere/);
  });

  test(`${place}: who comes too late gives way, above or below`, async (t) => {
    for (const offset of [-1, 0, 1]) {
      const staging = await open(t);
      const number = Math.floor(Date.now() / 60_000) + offset;
      // Another machine takes the slice just after this one has looked.
      let planted = false;
      const behind: Staging = {
        ...staging,
        async write(...args) {
          if (!planted) await plant(staging, number);
          planted = true;
          return staging.write(...args);
        },
      };
      await t.throwsAsync(take(behind), { message: /process 7 on elsewhere/ });
      t.deepEqual(await keysOf(staging, 'leases/'), [leaseKey(slice, number)], String(offset));
    }
  });
}

test('a lease that cannot be renewed is lost when it runs out, even while the renewal hangs', async (t) => {
  const staging = await temporaryStaging(t);
  const failures: ((broken: { now: boolean }) => Staging)[] = [
    (broken) => ({
      ...staging,
      write: (...args) =>
        broken.now ? Promise.reject(new TransientError('no space')) : staging.write(...args),
    }),
    (broken) => ({
      ...staging,
      write: (...args) => (broken.now ? new Promise(() => undefined) : staging.write(...args)),
    }),
  ];
  for (const [index, failing] of failures.entries()) {
    const broken = { now: false };
    const started = performance.now();
    const lease = await take(failing(broken), { seconds: 2 });
    broken.now = true;
    await lost(lease);
    t.true(performance.now() - started >= 2000, 'a lease is good until it runs out');
    const reason = lease.lost.reason as TransientError;
    t.regex(reason.message, /could not be renewed in time/);
    t.regex(reason.next ?? '', /same command again/);
    if (index === 0) {
      t.is((reason.cause as Error).message, 'no space');
      await lease.release();
      t.deepEqual(await keysOf(staging, 'leases/'), []);
    }
  }
});

test('who is interrupted stops waiting', async (t) => {
  const staging = await temporaryStaging(t);
  await plant(staging, 1);
  const controller = new AbortController();
  const waiting = take(staging, {
    waitSeconds: 600,
    signal: controller.signal,
    onWait: () => {
      controller.abort();
    },
  });
  await t.throwsAsync(waiting, { instanceOf: InterruptedError });
});

test('where the staging area fails halfway, no lease of ours is left behind', async (t) => {
  const staging = await temporaryStaging(t);
  let lists = 0;
  const failing: Staging = {
    ...staging,
    list(prefix) {
      lists += 1;
      if (lists === 2) throw new TransientError('the bucket is busy');
      return staging.list(prefix);
    },
  };
  await t.throwsAsync(take(failing), { message: 'the bucket is busy' });
  t.deepEqual(await keysOf(staging, 'leases/'), []);
});

test('a bucket that swallows the answer to the winning write gives the lease nevertheless', async (t) => {
  const { staging, strike } = bucketFor();
  strike({ operation: 'PutObject', effect: { kind: 'lose-answer' } });
  const lease = await take(staging);
  await t.throwsAsync(take(staging), { message: /another run holds/ });
  await lease.release();
  await (await take(staging)).release();
});

test('other months and organizations are free', async (t) => {
  const staging = await temporaryStaging(t);
  const options = { waitSeconds: 0, signal: new AbortController().signal };
  const lease = await take(staging);
  await t.throwsAsync(take(staging));
  const month = parseMonth('2026-09');
  for (const other of [
    { ...slice, month },
    { ...slice, organization: 'oab2' },
    { ...slice, organization: 'oa' },
  ]) {
    await (await takeLease(staging, other, options)).release();
  }
  await lease.release();
});

test('a bucket that overwrites what is there gives no lease, and keeps none', async (t) => {
  const { staging, sent } = bucketFor({ conditional: false });
  const error = await t.throwsAsync(take(staging), { instanceOf: ConfigurationError });
  t.regex(error.message, /^the staging area overwrites what is to be written only once$/);
  t.regex(error.next ?? '', /If-None-Match/);
  t.deepEqual(await keysOf(staging, ''), []);
  const other = bucketFor();
  for (let turn = 0; turn < 3; turn += 1) await (await take(other.staging)).release();
  t.deepEqual(
    [sent('PutObject').length, other.sent('PutObject').length],
    [4, 4],
    'asked once in a process; told only by several that were taken',
  );
});
