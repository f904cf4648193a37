import type { Log } from './log.js';
import type { Slice } from './staging/layout.js';
import { takeLease } from './staging/lease.js';
import type { Staging } from './staging/staging.js';

export interface LeasedOptions {
  waitSeconds: number;
  signal: AbortSignal;
  onWait: (holder: string) => void;
  log: Log;
}

/**
 * Does work while holding the slice's lease. The work's own signal also aborts when the lease is lost,
 * with the loss as its reason.
 * @throws {TransientError} when another run holds the slice.
 */
export async function leased<T>(
  staging: Staging,
  slice: Slice,
  { waitSeconds, signal, onWait, log }: LeasedOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lease = await takeLease(staging, slice, { waitSeconds, signal, onWait });
  try {
    return await work(AbortSignal.any([signal, lease.lost]));
  } finally {
    // A lease that cannot be removed runs out by itself: no reason to fail work that is done.
    await lease.release().catch((err: unknown) => {
      log.warn({ ...slice, err }, 'the lease could not be given back; it runs out by itself');
    });
  }
}
