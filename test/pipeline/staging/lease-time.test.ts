import test from 'ava';
import { createRandom } from '../../../fixtures/demo/random.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import type { Lease } from '../../../pipeline/staging/lease.js';
import { takeLease } from '../../../pipeline/staging/lease.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import type { Actor, Schedule } from '../../simulation/schedule.js';
import { createSchedule } from '../../simulation/schedule.js';
import { calm, createStorage } from '../../simulation/storage.js';

/** What the simulation has found in the lease, each in the fewest steps, on virtual time. */

const slice = { month: parseMonth('2026-10'), organization: 'oab' };

/** Two machines with a process each, and a storage without faults. */
function world() {
  const random = createRandom('lease');
  const schedule = createSchedule(random);
  const storage = createStorage(
    schedule,
    random,
    () => calm,
    () => undefined,
  );
  const process = (name: string) => {
    const actor = schedule.process(name, { name: `machine-${name}`, skew: 0 }, 7);
    return { actor, staging: storage.open(actor, true) };
  };
  return { schedule, a: process('a'), b: process('b') };
}

function take(holder: Actor, staging: Staging): Promise<Lease> {
  const signal = new AbortController().signal;
  return takeLease(staging, slice, { waitSeconds: 600, signal, holder });
}

async function settled<T>(schedule: Schedule, promise: Promise<T>): Promise<T> {
  let isDone = false;
  const end = (): void => {
    isDone = true;
  };
  promise.then(end, end);
  await schedule.run(() => isDone);
  return promise;
}

for (const slow of ['list', 'read'] as const) {
  test(`whose second look, its ${slow}, took longer than a lease lasts does not hold it`, async (t) => {
    const { schedule, a, b } = world();
    const never = new AbortController().signal;
    const looks = { list: 0, read: 0 };
    const slowOnce = async (what: 'list' | 'read', time: number): Promise<void> => {
      looks[what] += 1;
      if (what === slow && looks[what] === time) await a.actor.pause(100_000, never);
    };
    const behind: Staging = {
      ...a.staging,
      async *list(prefix) {
        const found = [];
        for await (const file of a.staging.list(prefix)) found.push(file);
        await slowOnce('list', 2);
        yield* found;
      },
      async read(key) {
        const content = await a.staging.read(key);
        await slowOnce('read', 1);
        return content;
      },
    };
    const slowly = take(a.actor, behind);
    await schedule.run(() => looks[slow] === (slow === 'list' ? 2 : 1));
    const other = await settled(schedule, take(b.actor, b.staging));
    let isTaken = false;
    void slowly.then(() => (isTaken = true));
    await settled(schedule, b.actor.pause(200_000, never));
    t.false(isTaken, 'the other one holds it');
    t.false(other.lost.aborted);
    await settled(schedule, other.release());
    await settled(schedule, (await settled(schedule, slowly)).release());
  });
}

test('a lease that cannot be renewed is lost before anybody can take it over', async (t) => {
  for (const after of [1000, 16_000, 29_000]) {
    const { schedule, a, b } = world();
    const lease = await settled(schedule, take(a.actor, a.staging));
    await settled(schedule, a.actor.pause(after, new AbortController().signal));
    a.actor.cutOffUntil = Infinity;
    let wasLost: boolean | undefined;
    const other = take(b.actor, b.staging);
    void other.then(() => (wasLost = lease.lost.aborted));
    await settled(schedule, (await settled(schedule, other)).release());
    t.true(wasLost, `cut off after ${after} ms`);
  }
});

test('where a clock jumps, a holder that cannot renew is not taken over before it knows', async (t) => {
  const { schedule, a, b } = world();
  const lease = await settled(schedule, take(a.actor, a.staging));
  a.actor.cutOffUntil = Infinity;
  b.actor.machine.skew = 7 * 3_600_000;
  let wasLost: boolean | undefined;
  const other = take(b.actor, b.staging);
  void other.then(() => (wasLost = lease.lost.aborted));
  await settled(schedule, (await settled(schedule, other)).release());
  t.true(wasLost);
});

/** The same area, in which the first write of a process is followed by something before it comes back. */
function afterFirstWrite(staging: Staging, step: () => Promise<void>): Staging {
  let isFirst = true;
  return {
    ...staging,
    async write(...args) {
      const isWritten = await staging.write(...args);
      if (isFirst) {
        isFirst = false;
        await step();
      }
      return isWritten;
    },
  };
}

test('who was taken over before it could prove the area blames nobody, and waits', async (t) => {
  const { schedule, a, b } = world();
  const never = new AbortController().signal;
  let isPaused = false;
  const behind = afterFirstWrite(a.staging, async () => {
    isPaused = true;
    await a.actor.pause(200_000, never);
  });
  const slowly = take(a.actor, behind);
  await schedule.run(() => isPaused);
  const other = await settled(schedule, take(b.actor, b.staging));
  let isTaken = false;
  slowly.then(
    () => (isTaken = true),
    () => undefined,
  );
  await settled(schedule, b.actor.pause(300_000, never));
  t.false(isTaken, 'the other one holds it');
  t.false(other.lost.aborted);
  await settled(schedule, other.release());
  await settled(schedule, (await settled(schedule, slowly)).release());
});

test('a lease whose file is lost, although it was told to be written, is no fault of the area', async (t) => {
  const { schedule, a, b } = world();
  const losing = afterFirstWrite(a.staging, async () => {
    for await (const { key } of a.staging.list('')) await a.staging.remove(key);
  });
  const lease = await settled(schedule, take(a.actor, losing));
  const rival = takeLease(b.staging, slice, {
    waitSeconds: 0,
    signal: new AbortController().signal,
    holder: b.actor,
  });
  await t.throwsAsync(settled(schedule, rival), { message: /^another run holds/ });
  await settled(schedule, lease.release());
});

test('a file of the own number that another has written is not taken for the own, nor removed', async (t) => {
  const { schedule, a, b } = world();
  let other: Promise<Lease> | undefined;
  const losing = afterFirstWrite(a.staging, async () => {
    for await (const { key } of a.staging.list('')) await a.staging.remove(key);
    other = take(b.actor, b.staging);
    await other;
  });
  const first = take(a.actor, losing);
  let isTaken = false;
  first.then(
    () => (isTaken = true),
    () => undefined,
  );
  await settled(schedule, a.actor.pause(100_000, new AbortController().signal));
  const held = await other;
  t.false(isTaken, 'the other one holds it');
  t.false(held?.lost.aborted);
  await settled(schedule, held?.release() ?? Promise.resolve());
  await settled(schedule, (await settled(schedule, first)).release());
});
