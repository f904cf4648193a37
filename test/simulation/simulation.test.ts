import { randomBytes } from 'node:crypto';
import test from 'ava';
import type { Memory } from './database.js';
import { openMemory } from './database.js';
import type { Expected, Tally } from './world.js';
import { expectedOf, places, simulate } from './world.js';

/**
 * Faults by the thousand: see `world.ts` for what happens in a seed, and what has to hold. `CRASH_SEEDS` says how
 * many seeds, `CRASH_SEED` repeats a run's.
 */

const seeds = Number(process.env['CRASH_SEEDS'] ?? '2000');
// The same seeds in every `npm test`: what lands is not to hang on luck. Whoever asks for more looks for new ones.
const base =
  process.env['CRASH_SEED'] ??
  (process.env['CRASH_SEEDS'] === undefined ? 'npm-test' : randomBytes(4).toString('hex'));

/** Failing seeds that are told; more would tell the same. */
const MOST_TOLD = 5;

let memory: Memory;
let expected: Expected;
test.before(async () => {
  memory = await openMemory();
  expected = await expectedOf(memory);
});
test.after.always(() => memory.real.close());

test.serial('a month without faults has its rows and exports', (t) => {
  const { rows, exports } = expected;
  t.deepEqual([rows.customers.length, rows.consumption.length, rows.loads], [3, 12, 1]);
  t.deepEqual([...exports.keys()].sort(), [
    'csv/consumption/month=2026-10/oab.csv',
    'csv/customers/month=2026-10/oab.csv',
    'parquet/consumption/month=2026-10/oab.parquet',
    'parquet/customers/month=2026-10/oab.parquet',
  ]);
});

test.serial('a seed comes to the same each time', async (t) => {
  const traces: string[][] = [];
  for (let time = 0; time < 2; time += 1) {
    const lines: string[] = [];
    await simulate(`${base}-0`, { memory, expected, trace: (line) => lines.push(line) });
    traces.push(lines);
  }
  t.deepEqual(traces[0], traces[1]);
});

/** Every twentieth seed is also done on a simulated disk, whose many small steps take longer. */
const SHARE = { contract: 1, folder: 20 } as const;

for (const on of places) {
  const count = Math.ceil(seeds / SHARE[on]);
  test.serial(
    `${count} seeds on a ${on} end in the same month, or in a named failure`,
    async (t) => {
      t.timeout(24 * 3_600_000);
      t.log(`CRASH_SEED=${base}`);
      const tally: Tally = { runs: 0, killed: 0, paused: 0, failures: new Map(), lies: 0 };
      const found: string[] = [];
      for (let index = 0; index < count && found.length < MOST_TOLD; index += 1) {
        const seed = `${base}-${index}`;
        try {
          await simulate(seed, { memory, expected, on, tally });
        } catch (error) {
          const { cause } = error as Error;
          const why = cause instanceof Error ? `: ${cause.message}` : '';
          found.push(
            `${String(error)}${why}; again: node dist/test/simulation/repeat.js ${on} ${seed}`,
          );
        }
      }
      const { runs, killed, paused, lies, failures } = tally;
      const failed = [...failures].map(([name, times]) => `${times} ${name}`).join(', ');
      t.log(`${runs} runs, ${killed} killed, ${paused} paused, ${lies} files damaged; ${failed}`);
      t.deepEqual(found, []);
      if (count < 100) return;
      t.true(killed > 0 && (failures.get('TransientError') ?? 0) > 0, 'hardly anything went wrong');
    },
  );
}
