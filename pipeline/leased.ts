import { describeError } from './errors.js';
import type { Log } from './log.js';
import type { Slice } from './staging/layout.js';
import type { LeaseOptions } from './staging/lease.js';
import { takeLease } from './staging/lease.js';
import type { Staging } from './staging/staging.js';

/**
 * Does work while holding the slice's lease. The work's own signal also aborts when the lease is lost,
 * with the loss as its reason.
 * @throws {TransientError} when another run holds the slice.
 */
export async function leased<T>(
  staging: Staging,
  slice: Slice,
  { log, ...options }: LeaseOptions & { log: Log },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lease = await takeLease(staging, slice, options);
  try {
    return await work(AbortSignal.any([options.signal, lease.lost]));
  } finally {
    // A lease that cannot be removed runs out by itself: no reason to fail work that is done.
    await lease.release().catch((error: unknown) => {
      log.warn(
        { ...slice },
        `the lease could not be given back, and runs out by itself: ${describeError(error)}`,
      );
    });
  }
}
