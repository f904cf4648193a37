import { throwIfInterrupted, TransientError } from '../errors.js';
import { pause } from '../waits.js';
import type { Slice } from './layout.js';
import { leaseKey } from './layout.js';
import { holdLease } from './lease-hold.js';
import type { Lease } from './lease-hold.js';
import type { FoundLease, Verdict } from './lease-record.js';
import {
  describeLease,
  findLeases,
  leaseJudge,
  newRecord,
  serializeRecord,
} from './lease-record.js';
import type { Staging } from './staging.js';

export type { Lease } from './lease-hold.js';

/**
 * One process at a time works on a slice. A lease is a file with a number; whoever creates a number
 * above all others, which only one process can (`ifAbsent`), and then sees none above it and no other
 * that is alive, holds the slice. Of two that create files at the same time, each looks only after it has
 * created its own, so that at least one sees the other and gives way. The holder renews its file while it
 * lives; a lease ends when its holder removes it, when its process on this very machine is gone, or when
 * it is no longer renewed.
 */

/** Seconds that a lease outlives its last renewal. */
export const LEASE_SECONDS = 60;

/** Times that leases may come and go in between before something must be wrong with the staging area. */
const MOST_COLLISIONS = 100;

export interface LeaseOptions {
  /** How long to wait for another holder before giving up. */
  waitSeconds: number;
  signal: AbortSignal;
  /** Called once when the slice is held by another process and this one begins to wait. */
  onWait?: (holder: string) => void;
  /** Default {@link LEASE_SECONDS}; the same for all processes of a staging area. */
  seconds?: number;
}

/**
 * Takes the slice's lease, waiting for another holder as long as the options say. A holder that may be
 * dead is watched before the lease is taken over, for half a lease at most, without being asked to wait.
 * @throws {TransientError} naming the holder and since when, when it is still held then.
 * @throws {InterruptedError} when the signal aborts the waiting.
 */
export async function takeLease(
  staging: Staging,
  slice: Slice,
  { waitSeconds, signal, onWait, seconds = LEASE_SECONDS }: LeaseOptions,
): Promise<Lease> {
  const deadline = performance.now() + waitSeconds * 1000;
  const judge = leaseJudge(seconds);
  let polls = 0;
  for (let collisions = 0; collisions < MOST_COLLISIONS;) {
    throwIfInterrupted(signal);
    const attempt = await tryTake(staging, slice, judge, seconds);
    if (attempt === 'collided') {
      collisions += 1;
      // Two that gave way to each other at the same moment must not meet again for ever.
      await pause(50 + 200 * Math.random(), signal);
      continue;
    }
    if ('lease' in attempt) return attempt.lease;
    const rest = deadline - performance.now();
    if (attempt.verdict === 'held' && rest <= 0) {
      throw new TransientError(
        `another run holds ${slice.month} of ${slice.organization}: ${attempt.holder}`,
        {
          where: staging.location,
          next: 'run again when it has ended, or wait for it with --wait SECONDS',
        },
      );
    }
    if (polls === 0) onWait?.(attempt.holder);
    polls += 1;
    const next = Math.min(3000, 250 * (polls + 1)) * (0.5 + Math.random() / 2);
    await pause(rest > 0 ? Math.min(next, rest) : next, signal);
  }
  throw new TransientError(
    `the lease on ${slice.month} of ${slice.organization} cannot be taken: others come and go in between`,
    { where: staging.location, next: 'run the same command again' },
  );
}

type Judge = (found: FoundLease) => Verdict;

async function tryTake(
  staging: Staging,
  slice: Slice,
  judge: Judge,
  seconds: number,
): Promise<{ lease: Lease } | { holder: string; verdict: Verdict } | 'collided'> {
  const before = await findLeases(staging, slice);
  const alive = before
    .map((found) => ({ holder: describeLease(found), verdict: judge(found) }))
    .filter(({ verdict }) => verdict !== 'dead');
  const holder = alive.find(({ verdict }) => verdict === 'held') ?? alive[0];
  if (holder !== undefined) return holder;

  const now = new Date();
  const taken = performance.now();
  // Numbers grow with the clock, so that a process that slept does not find its own in another's hands.
  const number = Math.max(
    Math.floor(now.getTime() / (seconds * 1000)),
    ...before.map((found) => found.number + 1),
  );
  const key = leaseKey(slice, number);
  const record = newRecord(now, now, seconds);
  if (!(await staging.write(key, serializeRecord(record), { ifAbsent: true }))) return 'collided';
  try {
    const others = (await findLeases(staging, slice)).filter((found) => found.number !== number);
    if (others.some((found) => found.number > number || judge(found) !== 'dead')) {
      await staging.remove(key);
      return 'collided';
    }
    for (const dead of others) await staging.remove(dead.key);
  } catch (error) {
    // Nobody will renew it: what cannot be removed either runs out by itself.
    await staging.remove(key).catch(() => undefined);
    throw error;
  }
  return { lease: holdLease(staging, slice, { key, number, since: now, taken, seconds }) };
}
