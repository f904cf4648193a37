import type { Random } from '../../fixtures/demo/random.js';
import { TransientError } from '../../pipeline/shared/errors.js';
import type { Database } from '../../load/driver.js';
import { openSqlite } from '../../load/sqlite.js';
import { silent } from '../support/load-fixture.js';
import type { Actor, Schedule } from './schedule.js';
import type { Weather } from './storage.js';
import { chance, wayOf } from './storage.js';

/** The rows of the tables and of the history, as texts. */
export interface Rows {
  customers: string[];
  consumption: string[];
  loads: number;
}

/** A real SQLite database in memory, one for all seeds, as one after the other begins with empty tables. */
export async function openMemory() {
  const real = await openSqlite(':memory:', { signal: new AbortController().signal, log: silent });
  const rowsOf = async (table: string): Promise<string[]> => {
    const found = (await real.knex(table).select('*')) as Record<string, unknown>[];
    return found.map((row) => JSON.stringify(row)).sort();
  };
  return {
    real,
    async clear(): Promise<void> {
      for (const table of ['customers', 'consumption', 'breakdowns', 'invoices', 'pipeline_loads'])
        await real.knex(table).delete();
    },
    async rows(): Promise<Rows> {
      const loads = await rowsOf('pipeline_loads');
      return {
        customers: await rowsOf('customers'),
        consumption: await rowsOf('consumption'),
        loads: loads.length,
      };
    },
  };
}

export type Memory = Awaited<ReturnType<typeof openMemory>>;

class Killed extends Error {}

/**
 * The database as a process sees it: it may be out of reach, and the answer to a commit may be lost. What a process
 * has begun when it is killed is rolled back.
 * @param onCommit looks at what was committed.
 */
export function createDatabase(
  schedule: Schedule,
  random: Random,
  weather: () => Weather,
  { real }: Memory,
  onCommit: () => Promise<void>,
) {
  /** Who works in it, and who waits for that. */
  let turn: Promise<unknown> = Promise.resolve();
  return (actor: Actor): Database => {
    const ask = (what: string): Promise<void> => {
      const bad = weather();
      const lost = chance(random, bad.lostRequest);
      return schedule.ask(
        actor,
        wayOf(random, bad),
        () => {
          schedule.trace(`${actor.name} ${what}${lost ? ': lost' : ''}`);
        },
        () => {
          if (lost) throw new TransientError('the database is out of reach', { next: 'again' });
        },
        true,
      );
    };
    return {
      ...real,
      async transact(slice, context, work) {
        await ask('connects to the database');
        const before = turn;
        const transaction = async () => {
          await before.catch(() => undefined);
          if (!actor.alive) throw new Killed();
          actor.inDatabase = true;
          try {
            const killed = new Promise<never>((_resolve, reject) => {
              actor.onKill.push(() => {
                reject(new Killed());
              });
            });
            killed.catch(() => undefined);
            const result = await real.transact(slice, context, (transaction) =>
              Promise.race([
                killed,
                (async () => {
                  const done = await work(transaction);
                  await ask('commits');
                  return done;
                })(),
              ]),
            );
            await onCommit();
            return result;
          } finally {
            actor.inDatabase = false;
          }
        };
        const mine = transaction();
        turn = mine;
        const result = await mine.catch((error: unknown) => {
          // Nobody is there to be told.
          if (error instanceof Killed) return new Promise<never>(() => undefined);
          throw error;
        });
        if (!chance(random, weather().lostAnswer)) return result;
        schedule.trace(`${actor.name} does not hear of its commit`);
        throw new TransientError('the connection broke while the answer was awaited', {
          next: 'again',
        });
      },
    };
  };
}
