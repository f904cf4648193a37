import { TransientError } from '../pipeline/errors.js';

/** Counts a run's requests to Cost Explorer over all organizations, and refuses those past its limit. */
export interface RequestBudget {
  /**
   * Sends a request that AWS charges for, however often it is tried. One that fails is not charged,
   * and so not counted; while one is on its way it is.
   * @throws {TransientError} instead of sending it, when it would exceed the limit.
   */
  spend<T>(where: string, send: () => Promise<T>): Promise<T>;
}

/** A budget for one run; without a limit it refuses nothing. */
export function requestBudget(limit = Infinity): RequestBudget {
  let count = 0;
  return {
    async spend(where, send) {
      if (count >= limit) {
        throw new TransientError(
          `the run's limit of ${limit} Cost Explorer requests is reached: what is staged so far is kept`,
          { where, next: 'run again to go on, with a higher --max-requests where it is too low' },
        );
      }
      count += 1;
      try {
        return await send();
      } catch (error) {
        count -= 1;
        throw error;
      }
    },
  };
}
