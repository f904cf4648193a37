import test from 'ava';
import { TransientError } from '../../pipeline/errors.js';
import { leaseKey, leasePrefix } from '../../pipeline/staging/layout.js';
import { takeLease } from '../../pipeline/staging/lease.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { october } from '../support/staged-slice.js';
import { temporaryStaging } from '../support/staging.js';

/** The lease that a process of another machine writes, whose clock is a day ahead of ours. */
function foreignLease(renewals: number): Uint8Array {
  const written = Date.now() + 86_400_000 + renewals * 15_000;
  const lease = {
    machine: 'elsewhere',
    pid: 4711,
    token: 'abcdef',
    since: new Date(written).toISOString(),
    expires: new Date(written + 60_000).toISOString(),
  };
  return Buffer.from(`${JSON.stringify(lease)}\n`);
}

async function keysOf(staging: Staging): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of staging.list(leasePrefix(october))) keys.push(key);
  return keys;
}

// Time by which processes measure how long something takes, not what the clock says, runs fast here.
const FASTER = 100;
const measured = performance.now.bind(performance);
test.before(() => {
  performance.now = () => measured() * FASTER;
});
test.after.always(() => {
  performance.now = measured;
});

const signal = new AbortController().signal;

test('a lease of a clock that is ahead is taken over by who waits and sees that nobody renews it', async (t) => {
  const staging = await temporaryStaging(t);
  await staging.write(leaseKey(october, 1), foreignLease(0));
  await t.throwsAsync(takeLease(staging, october, { waitSeconds: 0, signal }), {
    instanceOf: TransientError,
    message: /another run holds 2026-10 of oab: process 4711 on elsewhere, since/,
  });
  t.deepEqual(await keysOf(staging), [leaseKey(october, 1)]);

  const waitedFor: string[] = [];
  const onWait = (holder: string): void => void waitedFor.push(holder);
  const lease = await takeLease(staging, october, { waitSeconds: 600, signal, onWait });
  t.is(waitedFor.length, 1);
  t.deepEqual(await keysOf(staging), [leaseKey(october, 2)]);
  await lease.release();
  t.deepEqual(await keysOf(staging), []);
});

test('a lease of a clock that is ahead is left to a holder who renews it', async (t) => {
  const staging = await temporaryStaging(t);
  let renewals = 0;
  let renewed: Promise<unknown> = Promise.resolve();
  const renew = (): void => {
    renewals += 1;
    renewed = staging.write(leaseKey(october, 1), foreignLease(renewals));
  };
  renew();
  await renewed;
  const timer = setInterval(renew, 15_000 / FASTER);
  try {
    await t.throwsAsync(takeLease(staging, october, { waitSeconds: 300, signal }), {
      instanceOf: TransientError,
      message: /process 4711 on elsewhere/,
    });
  } finally {
    clearInterval(timer);
    await renewed;
  }
  t.true(renewals > 5);
});
