import { TransientError } from '../errors.js';
import { self } from './holder.js';
import type { Slice } from './layout.js';
import type { FoundLease } from './lease-record.js';
import { describeLease, findLeases, newRecord, serializeRecord } from './lease-record.js';
import type { Staging } from './staging.js';

export interface Lease {
  /** Aborts when the lease was lost: it could not be renewed, or another process took it over. */
  readonly lost: AbortSignal;
  /** Gives the slice free. */
  release(): Promise<void>;
}

/** The lease file that this process has created. */
export interface TakenLease {
  key: string;
  number: number;
  since: Date;
  /** When it was written, by `performance.now()`. */
  taken: number;
  /** How long it is valid without being renewed. */
  seconds: number;
}

/** Renews a lease four times in its length, until it is released or lost. */
export function holdLease(
  staging: Staging,
  slice: Slice,
  { key, number, since, taken, seconds }: TakenLease,
): Lease {
  const lost = new AbortController();
  const isOurs = ({ lease }: FoundLease): boolean =>
    lease?.token === self.token && lease.since === since.toISOString();
  let renewed = taken;
  let failure: unknown;
  let renewing: Promise<void> | undefined;

  const lose = (reason: string): void => {
    clearInterval(timer);
    lost.abort(
      new TransientError(`the lease on ${slice.month} of ${slice.organization} ${reason}`, {
        where: staging.location,
        next: 'run the same command again',
        cause: failure,
      }),
    );
  };
  const renew = async (): Promise<void> => {
    const found = await findLeases(staging, slice);
    if (lost.signal.aborted) return;
    const higher = found.find((other) => other.number > number);
    if (higher !== undefined || !found.some((own) => own.number === number && isOurs(own))) {
      const by = higher === undefined ? '' : `: ${describeLease(higher)}`;
      lose(`was taken over by another run${by}`);
      return;
    }
    const at = performance.now();
    await staging.write(key, serializeRecord(newRecord(since, new Date(), seconds)));
    renewed = at;
  };
  const timer = setInterval(
    () => {
      // Also while a renewal hangs: from now on others may take the lease over.
      if (performance.now() - renewed >= seconds * 1000) {
        lose('could not be renewed in time');
        return;
      }
      renewing ??= renew()
        .catch((cause: unknown) => {
          failure = cause;
        })
        .finally(() => {
          renewing = undefined;
        });
    },
    (seconds * 1000) / 4,
  );
  timer.unref();

  return {
    lost: lost.signal,
    async release() {
      clearInterval(timer);
      await renewing;
      const own = (found: FoundLease): boolean => found.number === number && isOurs(found);
      if (lost.signal.aborted && !(await findLeases(staging, slice)).some(own)) return;
      await staging.remove(key);
    },
  };
}
