import { spawn } from 'node:child_process';
import { bareEnvironment, cliFile, finished } from '../support/cli.js';
import { watchMemory } from './tree-memory.js';

/** A process that ran from its start to its end. */
export interface Measured {
  /** Wall-clock seconds. */
  seconds: number;
  /** Peak resident memory of the process and its descendants, in bytes; `undefined` where it cannot be known. */
  peak: number | undefined;
  stdout: string;
}

export interface Command {
  program: string;
  args: readonly string[];
  cwd?: string;
  env?: Readonly<Record<string, string>>;
  /** What the process reads from its standard input. */
  input?: string;
}

/**
 * Runs a command as a process of its own and measures it.
 * @throws {Error} with what it printed, when it ends with another code than 0.
 */
export async function measure({
  program,
  args,
  cwd,
  env = {},
  input = '',
}: Command): Promise<Measured> {
  const start = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: { ...bareEnvironment(), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const memory = watchMemory(child.pid ?? 0);
  child.stdin.end(input);
  const { code, stdout, stderr } = await finished(child);
  const seconds = (performance.now() - start) / 1000;
  const peak = memory();
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${stdout}${stderr}`);
  return { seconds, peak, stdout };
}

/** The real command of the product, as a user starts it. */
export function pipeline(
  args: readonly string[],
  more: Omit<Command, 'program' | 'args'>,
): Command {
  return { program: process.execPath, args: [cliFile, ...args], ...more };
}

/** A program of the bench itself, compiled beside this module. */
export function script(
  name: string,
  args: readonly string[],
  more: Omit<Command, 'program' | 'args'> = {},
): Command {
  const file = new URL(`./${name}.js`, import.meta.url).pathname;
  return { program: process.execPath, args: [file, ...args], ...more };
}
