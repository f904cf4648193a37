import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { InterruptedError, TransientError } from '../errors.js';
import { readAll } from './bytes.js';
import { isGone, self } from './holder.js';
import type { Slice } from './layout.js';
import { leaseKey, leasePrefix, parseLeaseKey } from './layout.js';
import type { Staging } from './staging.js';

/**
 * One process at a time works on a slice. A lease is a file with a number; whoever creates the number
 * after the last one, which only one process can (`ifAbsent`), and then sees no other valid lease, holds
 * the slice. The holder renews its file while it lives; a lease ends when its holder removes it, when it
 * is not renewed in time, or when its process on this very host is gone. Who waits for a lease sees
 * whether it is renewed, so that one of a wrong clock, which seems to last for hours, ends as well.
 */

const record = z.object({
  machine: z.string(),
  pid: z.int(),
  token: z.string(),
  since: z.iso.datetime(),
  expires: z.iso.datetime(),
});
type LeaseRecord = z.infer<typeof record>;

/** Seconds that a lease outlives its last renewal: what a crash on another machine makes the next run wait at most. */
export const LEASE_SECONDS = 60;

export interface Lease {
  /** Aborts when the lease was lost: it could not be renewed, or another process took it over. */
  readonly lost: AbortSignal;
  /** Gives the slice free. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  /** How long to wait for another holder before giving up. */
  waitSeconds: number;
  signal: AbortSignal;
  /** Called once when the slice is held by another process and this one begins to wait. */
  onWait?: (holder: string) => void;
}

/**
 * Takes the slice's lease, waiting for another holder as long as the options say.
 * @throws {TransientError} naming the holder and since when, when it is still held then.
 * @throws {InterruptedError} when the signal aborts the waiting.
 */
export async function takeLease(
  staging: Staging,
  slice: Slice,
  { waitSeconds, signal, onWait }: LeaseOptions,
): Promise<Lease> {
  const deadline = performance.now() + waitSeconds * 1000;
  let told = false;
  const unrenewed = watchRenewals();
  for (;;) {
    const attempt = await tryTake(staging, slice, (lease) => isValid(lease) && !unrenewed(lease));
    if (attempt === 'vanished') continue;
    if ('number' in attempt) return hold(staging, slice, attempt.number);
    const holder = describe(attempt.held);
    if (performance.now() >= deadline) {
      throw new TransientError(
        `another run holds ${slice.month} of ${slice.organization}: ${holder}`,
        {
          where: staging.location,
          next: 'run again when it has ended, or wait for it with --wait SECONDS',
        },
      );
    }
    if (!told) onWait?.(holder);
    told = true;
    // Two that give way to each other at the same moment must not meet again forever.
    await pause(500 + Math.random() * 500, signal);
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, { signal });
  } catch {
    throw new InterruptedError();
  }
}

/** Tells which leases have stayed as they were for as long as they live, by this process's own watch. */
function watchRenewals(): (lease: LeaseRecord) => boolean {
  const seen = new Map<string, number>();
  return ({ token, expires }) => {
    const version = `${token} ${expires}`;
    const now = performance.now();
    const first = seen.get(version) ?? now;
    seen.set(version, first);
    return now - first > LEASE_SECONDS * 1000;
  };
}

async function tryTake(
  staging: Staging,
  slice: Slice,
  counts: (lease: LeaseRecord) => boolean,
): Promise<{ number: number } | { held: LeaseRecord } | 'vanished'> {
  const before = await leases(staging, slice);
  const held = before.find(({ lease }) => counts(lease));
  if (held !== undefined) return { held: held.lease };
  const number = Math.max(0, ...before.map((found) => found.number)) + 1;
  if (
    !(await staging.write(leaseKey(slice, number), serialize(newRecord(new Date())), {
      ifAbsent: true,
    }))
  ) {
    const winner = (await leases(staging, slice)).find((found) => found.number === number);
    return winner === undefined ? 'vanished' : { held: winner.lease };
  }
  const rival = (await leases(staging, slice)).find(
    (found) => found.number !== number && counts(found.lease),
  );
  if (rival === undefined) {
    for (const old of before) await staging.remove(leaseKey(slice, old.number));
    return { number };
  }
  await staging.remove(leaseKey(slice, number));
  return { held: rival.lease };
}

function hold(staging: Staging, slice: Slice, number: number): Lease {
  const since = new Date();
  const lost = new AbortController();
  const key = leaseKey(slice, number);
  let renewed = performance.now();
  let renewing: Promise<void> = Promise.resolve();
  const renew = async (): Promise<void> => {
    try {
      const rival = (await leases(staging, slice)).find(
        (found) => found.number !== number && isValid(found.lease),
      );
      if (rival !== undefined) {
        lost.abort(
          new TransientError(
            `another run took ${slice.month} of ${slice.organization} over: ${describe(rival.lease)}`,
          ),
        );
        return;
      }
      await staging.write(key, serialize({ ...newRecord(new Date()), since: since.toISOString() }));
      renewed = performance.now();
    } catch (cause) {
      if (performance.now() - renewed < LEASE_SECONDS * 1000) return;
      lost.abort(
        new TransientError(
          `the lease on ${slice.month} of ${slice.organization} could not be renewed`,
          { cause, next: 'run the same command again' },
        ),
      );
    }
  };
  const timer = setInterval(
    () => {
      renewing = renewing.then(renew);
    },
    (LEASE_SECONDS / 4) * 1000,
  );
  timer.unref();
  return {
    lost: lost.signal,
    async release() {
      clearInterval(timer);
      await renewing;
      await staging.remove(key);
    },
  };
}

async function leases(
  staging: Staging,
  slice: Slice,
): Promise<{ number: number; lease: LeaseRecord }[]> {
  const found: { number: number; lease: LeaseRecord }[] = [];
  for await (const { key } of staging.list(leasePrefix(slice))) {
    const number = parseLeaseKey(key)?.number;
    const content = number === undefined ? undefined : await staging.read(key);
    if (number === undefined || content === undefined) continue;
    const text = new TextDecoder().decode(await readAll(content));
    found.push({ number, lease: parseRecord(text) });
  }
  return found;
}

/** A lease that cannot be read belongs to nobody who could renew it: it counts as run out. */
function parseRecord(text: string): LeaseRecord {
  try {
    return record.parse(JSON.parse(text));
  } catch {
    const past = new Date(0).toISOString();
    return { machine: 'unknown', pid: 0, token: '', since: past, expires: past };
  }
}

function newRecord(now: Date): LeaseRecord {
  return {
    ...self,
    since: now.toISOString(),
    expires: new Date(now.getTime() + LEASE_SECONDS * 1000).toISOString(),
  };
}

function serialize(lease: LeaseRecord): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(lease)}\n`);
}

function isValid(lease: LeaseRecord): boolean {
  return Date.parse(lease.expires) > Date.now() && !isGone(lease);
}

function describe(lease: LeaseRecord): string {
  return `process ${lease.pid} on ${lease.machine}, since ${lease.since}`;
}
