import { fileURLToPath } from 'node:url';
import { preloaded } from './preload.js';

/**
 * Loaded into the command before its own code: its clock goes wrong by `CLOCK_OFFSET` milliseconds
 * from the start, or as soon as it receives SIGUSR2 when `CLOCK_JUMPS` says so.
 */

const self = fileURLToPath(import.meta.url);

/** The environment in which the command's clock is wrong by so many milliseconds. */
export function clockOffBy(milliseconds: number): Record<string, string> {
  return { ...preloaded(self), CLOCK_OFFSET: String(milliseconds) };
}

/** The environment in which the command's clock jumps by so many milliseconds at SIGUSR2. */
export function clockJumpsBy(milliseconds: number): Record<string, string> {
  return { ...clockOffBy(milliseconds), CLOCK_JUMPS: 'SIGUSR2' };
}

const { CLOCK_OFFSET, CLOCK_JUMPS } = process.env;
if (CLOCK_OFFSET !== undefined) install(Number(CLOCK_OFFSET));

function install(offset: number): void {
  let shift = CLOCK_JUMPS === undefined ? offset : 0;
  process.on('SIGUSR2', () => {
    shift = offset;
  });
  const real = Date.now.bind(Date);
  const now = (): number => real() + shift;
  globalThis.Date = new Proxy(Date, {
    construct: (target, args, newTarget): object => {
      const made: unknown = Reflect.construct(
        target,
        args.length === 0 ? [now()] : args,
        newTarget,
      );
      return made as object;
    },
    get: (target, name, receiver): unknown =>
      name === 'now' ? now : Reflect.get(target, name, receiver),
  });
}
