import { writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import Libsql from 'libsql';
import { preloaded } from './preload.js';

/**
 * Loaded into the command before its own code (`node --import`): counts what the process does to the
 * outside world, one step for each change to a file, piece of data sent over a connection, and SQLite
 * statement, and has the process killed as the step numbered `KILL_AT_STEP` is about to be done. The
 * same number kills at the same place each time, as far as tasks side by side keep their order. With
 * `STEPS_FILE` the steps of a whole run are counted instead.
 */

const self = fileURLToPath(import.meta.url);

/** The environment in which the command is killed before its `number`-th step. */
export function killAtStep(number: number): Record<string, string> {
  return { ...preloaded(self), KILL_AT_STEP: String(number) };
}

/** The environment in which the command writes the number of its steps to a file as it ends. */
export function countSteps(file: string): Record<string, string> {
  return { ...preloaded(self), STEPS_FILE: file };
}

const { KILL_AT_STEP, STEPS_FILE } = process.env;
if (KILL_AT_STEP !== undefined || STEPS_FILE !== undefined) await install();

async function install(): Promise<void> {
  let steps = 0;
  const step = (): void => {
    steps += 1;
    if (steps === Number(KILL_AT_STEP)) process.kill(process.pid, 'SIGKILL');
  };
  const handle = await fs.open(self);
  await handle.close();
  counted(Object.getPrototypeOf(handle) as object, ['writeFile', 'sync'], step);
  counted(fs, ['open', 'mkdir', 'rename', 'link', 'unlink', 'rm'], step);
  syncBuiltinESMExports();
  counted(Socket.prototype, ['write'], step);
  counted(Libsql.prototype, ['prepare', 'exec'], step);
  if (STEPS_FILE !== undefined) {
    process.once('exit', () => {
      writeFileSync(STEPS_FILE, String(steps));
    });
  }
}

/** Counts a step before each call of the target's methods. */
function counted(target: object, methods: readonly string[], step: () => void): void {
  for (const method of methods) {
    const original: unknown = Reflect.get(target, method);
    if (typeof original !== 'function') throw new Error(`there is no ${method} to count`);
    Reflect.set(target, method, function (this: unknown, ...args: unknown[]): unknown {
      step();
      const result: unknown = Reflect.apply(original, this, args);
      return result;
    });
  }
}
