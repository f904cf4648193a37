import type { NewestLoad } from '../../load/history.js';
import { newestLoads } from '../../load/history.js';
import type { DatabaseLocation, OpenOptions } from '../../load/database.js';
import { openForReading } from '../../load/reading.js';
import { InterruptedError, PipelineError } from '../errors.js';
import type { Slice } from '../staging/layout.js';

/** What the database says was loaded. */
export interface Loads {
  /** Why the database could not be asked. */
  fault: PipelineError | undefined;
  /** The newest load of a slice. */
  of(slice: Slice): NewestLoad | undefined;
}

/** Reads the load history; a database that is not there yet has none, one that fails comes back as a fault. */
export async function readLoads(
  locate: () => Promise<DatabaseLocation>,
  options: OpenOptions,
): Promise<Loads> {
  try {
    const database = await openForReading(await locate(), options);
    if (database === undefined) return { fault: undefined, of: () => undefined };
    try {
      const loads = await database.ask(newestLoads);
      const keyOf = ({ month, organization }: Slice): string => `${month} ${organization}`;
      const bySlice = new Map(loads.map((load) => [keyOf(load), load]));
      return { fault: undefined, of: (slice) => bySlice.get(keyOf(slice)) };
    } finally {
      await database.close();
    }
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    return { fault: error, of: () => undefined };
  }
}
