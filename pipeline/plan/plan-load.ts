import type { DatabaseLocation, OpenOptions } from '../../load/database.js';
import { holdsTables } from '../../load/history.js';
import { isLoaded } from '../../load/load.js';
import { openForReading } from '../../load/reading.js';
import { findSource } from '../../load/source.js';
import { InterruptedError, PipelineError } from '../errors.js';
import type { Slice } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';

/** Tells whether slices are loaded, from a database that is only read. */
export interface LoadedSlices {
  /**
   * Whether the database holds what the transform stage left; a fault when it cannot be asked.
   * @throws {DataError} when the slice is not transformed.
   */
  holds(staging: Staging, slice: Slice): Promise<boolean | PipelineError>;
  close(): Promise<void>;
}

/** Opens the database for reading; one that is not there yet holds nothing. */
export async function openLoaded(
  locate: () => Promise<DatabaseLocation>,
  options: OpenOptions,
): Promise<LoadedSlices> {
  const database = await orFault(async () => {
    const opened = await openForReading(await locate(), options);
    if (opened === undefined || (await opened.ask(holdsTables))) return opened;
    await opened.close();
    return undefined;
  });
  return {
    async holds(staging, slice) {
      const source = await findSource(staging, slice);
      if (database === undefined) return false;
      if (database instanceof PipelineError) return database;
      return orFault(() => database.ask((knex) => isLoaded(knex, slice, source)));
    },
    async close() {
      if (database !== undefined && !(database instanceof PipelineError)) await database.close();
    },
  };
}

async function orFault<T>(step: () => Promise<T>): Promise<T | PipelineError> {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    return error;
  }
}
