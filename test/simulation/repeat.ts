import { openMemory } from './database.js';
import { simulate } from './world.js';

/** Repeats one seed, and prints everything that happens in it: `node dist/test/simulation/repeat.js SEED`. */
const [seed] = process.argv.slice(2);
if (seed === undefined) throw new Error('name the seed');
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const memory = await openMemory();
const expected = await simulate('', { memory });
try {
  await simulate(seed, { memory, expected, trace: print });
  print('nothing was found');
} catch (error) {
  print(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
await memory.real.close();
