import { z } from 'zod';
import {
  ConfigurationError,
  TransientError,
  describeError,
  throwIfInterrupted,
} from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { LivingProcess } from './holder.js';
import { thisProcess } from './holder.js';
import type { Leased } from './layout.js';
import { leaseKey, leasePrefix, parseLeaseKey } from './layout.js';
import type { Staging } from './staging.js';
import { readAll } from './staging.js';

/**
 * One process at a time works on a slice, or fetches an organization. A lease is a file with a number; whoever creates a number
 * above all others, which only one process can (`ifAbsent`), and then sees none above it and no other
 * that is alive, holds it. Of two that create files at the same time, each looks only after it has
 * created its own, so that at least one sees the other and gives way. The holder renews its file while it
 * lives; a lease ends when its holder removes it, when its process on this very machine is gone, or when
 * it is no longer renewed.
 */

/** Seconds that a lease outlives its last renewal. */
const LEASE_SECONDS = 60;

/** Somebody else holds the lease, and lives: the one failure to take it that passes by itself. */
export class HeldError extends TransientError {
  // To people it is what it is to a run: passing trouble.
  override readonly name = 'TransientError';
}

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
  /** Who takes it. */
  holder?: LivingProcess;
}

/**
 * Takes the slice's lease, waiting for another holder as long as the options say. A holder that may be
 * dead is watched before the lease is taken over, for a lease's length at most, without being asked to wait.
 * @throws {HeldError} naming the holder and since when, when it is still held then.
 * @throws {InterruptedError} when the signal aborts the waiting.
 */
export async function takeLease(
  staging: Staging,
  subject: Leased,
  { waitSeconds, signal, onWait, seconds = LEASE_SECONDS, holder = thisProcess }: LeaseOptions,
): Promise<Lease> {
  const deadline = holder.elapsed() + waitSeconds * 1000;
  const judge = leaseJudge(seconds, holder);
  let polls = 0;
  for (let collisions = 0; collisions < MOST_COLLISIONS;) {
    throwIfInterrupted(signal);
    const attempt = await tryTake(staging, subject, judge, seconds, holder);
    if (attempt === 'collided') {
      collisions += 1;
      // Two that gave way to each other at the same moment must not meet again for ever.
      await holder.pause(50 + 200 * holder.random(), signal);
      continue;
    }
    if ('lease' in attempt) return attempt.lease;
    const rest = deadline - holder.elapsed();
    if (attempt.verdict === 'held' && rest <= 0) {
      throw new HeldError(`another run holds ${nameOf(subject)}: ${attempt.holder}`, {
        where: staging.location,
        next: 'run again when it has ended, or wait for it with --wait SECONDS',
      });
    }
    if (polls === 0) onWait?.(attempt.holder);
    polls += 1;
    const next = Math.min(3000, 250 * (polls + 1)) * (0.5 + holder.random() / 2);
    await holder.pause(rest > 0 ? Math.min(next, rest) : next, signal);
  }
  throw new TransientError(
    `the lease on ${nameOf(subject)} cannot be taken: others come and go in between`,
    { where: staging.location, next: 'run the same command again' },
  );
}

/** The areas that were seen to refuse a second file of one name. */
const exclusive = new WeakSet<Staging>();

/** Times in a row that an area has to take the same file, until it is sure to overwrite it. */
const PROOFS = 3;

/**
 * Creates the own file once more, which has to be refused: an area that overwrites it would let two runs hold
 * one lease, and both pay. Asked once in a process. An area that takes it once may also have lost it before, or
 * another run has removed it: whoever pauses for longer than a lease lasts is taken over. That does not
 * happen again and again.
 * @throws {ConfigurationError} when the area overwrites it.
 */
async function proveExclusive(staging: Staging, key: string, own: LeaseRecord): Promise<void> {
  if (exclusive.has(staging)) return;
  for (let taken = 0; await staging.write(key, serializeRecord(own), { ifAbsent: true });) {
    taken += 1;
    if (taken === PROOFS) throw overwriting(`${staging.location}/${key}`);
  }
  exclusive.add(staging);
}

/** What a staging area is that does not keep a file written with `ifAbsent`. */
export function overwriting(where: string): ConfigurationError {
  return new ConfigurationError('the staging area overwrites what is to be written only once', {
    where,
    next: 'take a store that honours conditional writes (If-None-Match): leases stand on them',
  });
}

type Judge = (found: FoundLease) => Verdict;

async function tryTake(
  staging: Staging,
  subject: Leased,
  judge: Judge,
  seconds: number,
  us: LivingProcess,
): Promise<{ lease: Lease } | { holder: string; verdict: Verdict } | 'collided'> {
  const before = await findLeases(staging, subject);
  const alive = before
    .map((found) => ({ holder: describeLease(found), verdict: judge(found) }))
    .filter(({ verdict }) => verdict !== 'dead');
  const holder = alive.find(({ verdict }) => verdict === 'held') ?? alive[0];
  if (holder !== undefined) return holder;

  const now = new Date(us.now());
  const taken = us.elapsed();
  // Numbers grow with the clock, so that a process that slept does not find its own in another's hands.
  const number = Math.max(
    Math.floor(now.getTime() / (seconds * 1000)),
    ...before.map((found) => found.number + 1),
  );
  const key = leaseKey(subject, number);
  const record = newRecord(now, now, seconds, us);
  if (!(await staging.write(key, serializeRecord(record), { ifAbsent: true }))) return 'collided';
  try {
    await proveExclusive(staging, key, record);
    const found = await findLeases(staging, subject);
    const own = found.find((one) => one.number === number);
    // What is not there although it was written protects nobody; and what another has written there since is not ours.
    if (own === undefined || !isOf(us, now, own)) return 'collided';
    const others = found.filter((other) => other !== own);
    const isOurs = !others.some((other) => other.number > number || judge(other) !== 'dead');
    if (isOurs) for (const dead of others) await staging.remove(dead.key);
    // Who took longer than a lease lasts has seen what was: others may have taken this one over by now.
    if (!isOurs || us.elapsed() - taken >= seconds * 1000) {
      await staging.remove(key);
      return 'collided';
    }
  } catch (error) {
    // Nobody will renew it: what cannot be removed either runs out by itself.
    await staging.remove(key).catch(() => undefined);
    throw error;
  }
  return { lease: holdLease(staging, subject, { key, number, since: now, taken, seconds }, us) };
}

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

/** A lease that ends after some seconds. @param holder whose it is. */
export function newRecord(
  since: Date,
  now: Date,
  seconds: number,
  { self }: Pick<LivingProcess, 'self'> = thisProcess,
): LeaseRecord {
  const expires = new Date(now.getTime() + seconds * 1000);
  return { ...self, since: since.toISOString(), expires: expires.toISOString() };
}

export function serializeRecord(lease: LeaseRecord): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(lease)}\n`);
}

/** Every lease file of a slice. */
async function findLeases(staging: Staging, subject: Leased): Promise<FoundLease[]> {
  const found: FoundLease[] = [];
  for await (const { key } of staging.list(leasePrefix(subject), { sizes: false })) {
    const number = parseLeaseKey(key)?.number;
    const content = number === undefined ? undefined : await staging.read(key);
    if (number === undefined || content === undefined) continue;
    const text = new TextDecoder().decode(await readAll(content));
    found.push({ key, number, text, lease: parseRecord(text) });
  }
  return found;
}

/** Whether it is the lease that a process has taken at an instant. */
function isOf({ self }: LivingProcess, since: Date, { lease }: FoundLease): boolean {
  return lease?.token === self.token && lease.since === since.toISOString();
}

function parseRecord(text: string): LeaseRecord | undefined {
  try {
    return record.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** What the lease is on, for people. */
function nameOf(subject: Leased): string {
  return 'month' in subject
    ? `${subject.month} of ${subject.organization}`
    : `the fetching of ${subject.organization}`;
}

/** The holder, for people. */
function describeLease({ key, lease }: FoundLease): string {
  return lease === undefined
    ? `an unreadable lease, ${key}`
    : `process ${lease.pid} on ${lease.machine}, since ${lease.since}`;
}

/** `doubtful`: the file's times cannot be right, or have run out; watching it will tell. */
type Verdict = 'held' | 'doubtful' | 'dead';

/**
 * Makes a function that judges leases of `seconds`, and remembers what it has seen of them. Clocks of
 * two machines differ, and jump, so times alone prove no death: a lease that looks run out, ends later than any
 * lease can, or cannot be read is watched for its whole length. A living holder renews it four times in that, and
 * one that cannot knows by then, from its own file's last renewal, that it holds it no longer.
 */
export function leaseJudge(
  seconds: number,
  { isGone, now, elapsed }: Pick<LivingProcess, 'isGone' | 'now' | 'elapsed'> = thisProcess,
): (found: FoundLease) => Verdict {
  const seen = new Map<string, { text: string; at: number; renewed: boolean }>();
  return ({ key, text, lease }) => {
    if (lease !== undefined && isGone(lease)) return 'dead';
    let sight = seen.get(key);
    if (sight?.text !== text) {
      sight = { text, at: elapsed(), renewed: sight !== undefined };
      seen.set(key, sight);
    }
    const left = lease === undefined ? 0 : Date.parse(lease.expires) - now();
    if (left > 0 && left <= 2 * seconds * 1000) return 'held';
    if (elapsed() - sight.at >= seconds * 1000) return 'dead';
    return sight.renewed ? 'held' : 'doubtful';
  };
}

export interface Lease {
  /** Aborts when the lease was lost: it could not be renewed, or another process took it over. */
  readonly lost: AbortSignal;
  /** Gives the slice free. */
  release(): Promise<void>;
}

/** The lease file that this process has created. */
interface TakenLease {
  key: string;
  number: number;
  since: Date;
  /** When it was written, by its holder's `elapsed`. */
  taken: number;
  /** How long it is valid without being renewed. */
  seconds: number;
}

/** Renews a lease four times in its length, until it is released or lost. */
function holdLease(
  staging: Staging,
  subject: Leased,
  { key, number, since, taken, seconds }: TakenLease,
  us: LivingProcess,
): Lease {
  const lost = new AbortController();
  const isOurs = (found: FoundLease): boolean => isOf(us, since, found);
  let failure: unknown;
  let renewing: Promise<void> | undefined;

  const lose = (reason: string): void => {
    callOff();
    forgetEnd();
    lost.abort(
      new TransientError(`the lease on ${nameOf(subject)} ${reason}`, {
        where: staging.location,
        next: 'run the same command again',
        cause: failure,
      }),
    );
  };
  /** From that very moment on others may take the lease over, also while a renewal hangs. */
  const endAfter = (renewed: number): (() => void) =>
    us.after(renewed + seconds * 1000 - us.elapsed(), () => {
      lose('could not be renewed in time');
    });
  const renew = async (): Promise<void> => {
    const found = await findLeases(staging, subject);
    if (lost.signal.aborted) return;
    const higher = found.find((other) => other.number > number);
    if (higher !== undefined || !found.some((own) => own.number === number && isOurs(own))) {
      const by = higher === undefined ? '' : `: ${describeLease(higher)}`;
      lose(`was taken over by another run${by}`);
      return;
    }
    const renewed = us.elapsed();
    await staging.write(key, serializeRecord(newRecord(since, new Date(us.now()), seconds, us)));
    forgetEnd();
    forgetEnd = endAfter(renewed);
  };
  const tick = (): void => {
    callOff = us.after((seconds * 1000) / 4, tick);
    renewing ??= renew()
      .catch((cause: unknown) => {
        failure = cause;
      })
      .finally(() => {
        renewing = undefined;
      });
  };
  let callOff = us.after((seconds * 1000) / 4, tick);
  let forgetEnd = endAfter(taken);

  return {
    lost: lost.signal,
    async release() {
      callOff();
      await renewing;
      forgetEnd();
      const own = (found: FoundLease): boolean => found.number === number && isOurs(found);
      if (lost.signal.aborted && !(await findLeases(staging, subject)).some(own)) return;
      await staging.remove(key);
    },
  };
}

/**
 * Does work while holding the slice's lease. The work's own signal also aborts when the lease is lost,
 * with the loss as its reason.
 * @throws {HeldError} when another run holds the slice.
 */
export async function leased<T>(
  staging: Staging,
  subject: Leased,
  { log, ...options }: LeaseOptions & { log: Log },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lease = await takeLease(staging, subject, options);
  try {
    return await work(AbortSignal.any([options.signal, lease.lost]));
  } finally {
    // A lease that cannot be removed runs out by itself: no reason to fail work that is done.
    await lease.release().catch((error: unknown) => {
      log.warn(
        { ...subject },
        `the lease could not be given back, and runs out by itself: ${describeError(error)}`,
      );
    });
  }
}
