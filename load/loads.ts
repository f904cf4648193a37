import type { DatabaseLocation } from '../pipeline/config/database-address.js';
import { InterruptedError, PipelineError } from '../pipeline/shared/errors.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { tableSums } from '../pipeline/staging/manifest.js';
import { tableNames } from '../pipeline/staging/tables.js';
import type { OpenOptions, ReadingDatabase } from './database.js';
import { openForReading } from './database.js';
import type { NewestLoad } from './history.js';
import { newestLoads } from './history.js';
import { dueSteps } from './migrations.js';
import { countMonth } from './schema.js';
import type { Source } from './source.js';

/** What a database that is only read says was loaded. */
export interface Loads {
  /** Why it cannot be asked. */
  fault: PipelineError | undefined;
  /** Whether tables or views are still to be made or upgraded, as the next load does. */
  isDue: boolean;
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
      const { all, due } = await database.ask(async (knex) => {
        // It refuses another version's tables, whose columns may be others.
        const steps = await dueSteps(knex, database.dialect);
        return { all: await newestLoads(knex), due: steps };
      });
      const bySlice = new Map(all.map((load) => [keyOf(load), load]));
      const rowsOf = countRows(database);
      const newest = (slice: Slice): NewestLoad | undefined => bySlice.get(keyOf(slice));
      return {
        fault: undefined,
        isDue: due.tables || due.views,
        newest,
        async holds(slice, { manifest, sha256 }) {
          const load = newest(slice);
          if (load?.source !== sha256 || load.extraction !== manifest.extraction) return false;
          for (const table of tableNames) {
            if ((await rowsOf(table, slice)) !== tableSums(manifest, table).rows) return false;
          }
          return true;
        },
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

/** Tells the rows of a slice in a table; those of all organizations of its month are counted with the first of them. */
export function countRows(
  database: ReadingDatabase,
): (table: TableName, slice: Slice) => Promise<number> {
  const counts = new Map<string, Promise<ReadonlyMap<string, number>>>();
  return async (table, { month, organization }) => {
    const name = `${table} ${month}`;
    const found = counts.get(name) ?? database.ask((knex) => countMonth(knex, table, month));
    counts.set(name, found);
    return (await found).get(organization) ?? 0;
  };
}

function noLoads(fault: PipelineError | undefined): Loads {
  return {
    fault,
    isDue: true,
    newest: () => undefined,
    holds: () => (fault === undefined ? Promise.resolve(false) : Promise.reject(fault)),
    close: () => Promise.resolve(),
  };
}
