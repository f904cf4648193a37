import { z } from 'zod';
import { readAll } from './bytes.js';
import { isGone, self } from './holder.js';
import type { Slice } from './layout.js';
import { leasePrefix, parseLeaseKey } from './layout.js';
import type { Staging } from './staging.js';

const record = z.object({
  machine: z.string(),
  pid: z.int(),
  token: z.string(),
  since: z.iso.datetime(),
  expires: z.iso.datetime(),
});

/** Who holds a lease, since when, and until when if it is not renewed. */
export type LeaseRecord = z.infer<typeof record>;

/** A lease's file. */
export interface FoundLease {
  key: string;
  number: number;
  text: string;
  /** `undefined`: the file cannot be read. */
  lease: LeaseRecord | undefined;
}

/** A lease of this process that ends after some seconds. */
export function newRecord(since: Date, now: Date, seconds: number): LeaseRecord {
  const expires = new Date(now.getTime() + seconds * 1000);
  return { ...self, since: since.toISOString(), expires: expires.toISOString() };
}

export function serializeRecord(lease: LeaseRecord): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(lease)}\n`);
}

/** Every lease file of a slice. */
export async function findLeases(staging: Staging, slice: Slice): Promise<FoundLease[]> {
  const found: FoundLease[] = [];
  for await (const { key } of staging.list(leasePrefix(slice))) {
    const number = parseLeaseKey(key)?.number;
    const content = number === undefined ? undefined : await staging.read(key);
    if (number === undefined || content === undefined) continue;
    const text = new TextDecoder().decode(await readAll(content));
    found.push({ key, number, text, lease: parseRecord(text) });
  }
  return found;
}

function parseRecord(text: string): LeaseRecord | undefined {
  try {
    return record.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The holder, for people. */
export function describeLease({ key, lease }: FoundLease): string {
  return lease === undefined
    ? `an unreadable lease, ${key}`
    : `process ${lease.pid} on ${lease.machine}, since ${lease.since}`;
}

/** `doubtful`: the file's times cannot be right, or have run out; watching it will tell. */
export type Verdict = 'held' | 'doubtful' | 'dead';

export interface Clocks {
  /** This machine's time, in milliseconds since 1970, which may be wrong. */
  now: () => number;
  /** Milliseconds on a clock that only goes on. */
  elapsed: () => number;
}

const system: Clocks = { now: () => Date.now(), elapsed: () => performance.now() };

/**
 * Makes a function that judges leases of `seconds`, and remembers what it has seen of them. Clocks of
 * two machines differ, so times alone prove no death: a lease that looks run out, ends later than any
 * lease can, or cannot be read is watched for half its length, in which a living holder renews it twice.
 */
export function leaseJudge(
  seconds: number,
  clocks: Clocks = system,
): (found: FoundLease) => Verdict {
  const seen = new Map<string, { text: string; at: number; renewed: boolean }>();
  return ({ key, text, lease }) => {
    if (lease !== undefined && isGone(lease)) return 'dead';
    let sight = seen.get(key);
    if (sight?.text !== text) {
      sight = { text, at: clocks.elapsed(), renewed: sight !== undefined };
      seen.set(key, sight);
    }
    const left = lease === undefined ? 0 : Date.parse(lease.expires) - clocks.now();
    if (left > 0 && left <= 2 * seconds * 1000) return 'held';
    if (clocks.elapsed() - sight.at >= (seconds * 1000) / 2) return 'dead';
    return sight.renewed ? 'held' : 'doubtful';
  };
}
