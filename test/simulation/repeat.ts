import { openMemory } from './database.js';
import { expectedOf, places, simulate } from './world.js';

/** Repeats one seed, and prints everything that happens in it: `node dist/test/simulation/repeat.js PLACE SEED`. */
const [place, seed] = process.argv.slice(2);
const on = places.find((name) => name === place);
if (on === undefined || seed === undefined) throw new Error('name the place and the seed');
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const memory = await openMemory();
const expected = await expectedOf(memory);
try {
  await simulate(seed, { memory, expected, on, trace: print });
  print('nothing was found');
} catch (error) {
  print(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
await memory.real.close();
