import type { OpenOptions } from '../../load/database.js';
import { openForReading } from '../../load/database.js';
import type { NewestLoad } from '../../load/history.js';
import { newestLoads } from '../../load/history.js';
import { isLoaded } from '../../load/load.js';
import { dueSteps } from '../../load/migrations.js';
import type { Source } from '../../load/source.js';
import type { DatabaseLocation } from '../config/database-address.js';
import { InterruptedError, PipelineError } from '../shared/errors.js';
import type { Slice } from '../staging/layout.js';

/** What a database that is only read says was loaded. */
export interface Loads {
  /** Why it cannot be asked. */
  fault: PipelineError | undefined;
  /** The newest load of a slice. */
  newest(slice: Slice): NewestLoad | undefined;
  /**
   * Whether it holds what the transform stage left of a slice.
   * @throws {PipelineError} when it cannot be asked.
   */
  holds(slice: Slice, source: Source): Promise<boolean>;
  close(): Promise<void>;
}

/** Reads the load history; a database that is not there yet has none, and one that fails comes back as a fault. */
export async function openLoads(
  locate: () => Promise<DatabaseLocation>,
  options: OpenOptions,
): Promise<Loads> {
  try {
    const database = await openForReading(await locate(), options);
    if (database === undefined) return noLoads(undefined);
    try {
      const keyOf = ({ month, organization }: Slice): string => `${month} ${organization}`;
      const all = await database.ask(async (knex) => {
        // It refuses another version's tables, whose columns may be others.
        await dueSteps(knex, database.dialect);
        return newestLoads(knex);
      });
      const bySlice = new Map(all.map((load) => [keyOf(load), load]));
      const newest = (slice: Slice): NewestLoad | undefined => bySlice.get(keyOf(slice));
      return {
        fault: undefined,
        newest,
        holds: async (slice, source) =>
          newest(slice) !== undefined && database.ask((knex) => isLoaded(knex, slice, source)),
        close: () => database.close(),
      };
    } catch (error) {
      await database.close();
      throw error;
    }
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    return noLoads(error);
  }
}

function noLoads(fault: PipelineError | undefined): Loads {
  return {
    fault,
    newest: () => undefined,
    holds: () => (fault === undefined ? Promise.resolve(false) : Promise.reject(fault)),
    close: () => Promise.resolve(),
  };
}
