import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { bareEnvironment, cliFile, finished } from '../support/cli.js';

/** A process that ran from its start to its end. */
export interface Measured {
  /** Wall-clock seconds. */
  seconds: number;
  /** Seconds of CPU, user and system, to a hundredth; `undefined` where it cannot be known. */
  cpu: number | undefined;
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
  const cpuBefore = childrenCpu();
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
  const cpuAfter = childrenCpu();
  const cpu = cpuBefore === undefined || cpuAfter === undefined ? undefined : cpuAfter - cpuBefore;
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${stdout}${stderr}`);
  return { seconds, cpu, peak, stdout };
}

/**
 * Seconds of CPU of all processes that this one has waited for, and of those that they waited for, from
 * Linux's /proc: what a process took is the difference around it, as nothing else ends meanwhile.
 */
function childrenCpu(): number | undefined {
  // The command's name may hold spaces and parentheses; the fields after it are numbers.
  const fields = read('/proc/self/stat').split(') ').at(-1)?.split(' ');
  const [user, system] = [fields?.[13], fields?.[14]];
  return user === undefined || system === undefined
    ? undefined
    : (Number(user) + Number(system)) / 100;
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

/** The medians of a side's runs. */
export interface Figures {
  seconds: number;
  cpu: number | undefined;
  /** The highest peak of all runs, in bytes. */
  peak: number | undefined;
}

/** How often each side runs, and who is told of each run. */
export interface Rounds {
  count: number;
  say: (line: string) => void;
}

/**
 * Runs every side in each round, in turn, and in the opposite order in every second round, so that what
 * slows the machine for a while slows all sides alike.
 */
export async function alternate<Name extends string>(
  { count, say }: Rounds,
  sides: Readonly<Record<Name, () => Promise<Measured>>>,
): Promise<Record<Name, Figures>> {
  const names = Object.keys(sides) as Name[];
  const runs = new Map<Name, Measured[]>(names.map((name) => [name, []]));
  for (let round = 0; round < count; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const measured = await sides[name]();
      const { seconds, cpu, peak } = measured;
      const more = [
        ...(cpu === undefined ? [] : [`, ${cpu.toFixed(2)} s CPU`]),
        ...(peak === undefined ? [] : [`, ${Math.round(peak / 2 ** 20)} MiB`]),
      ];
      say(`  ${name}: ${seconds.toFixed(2)} s${more.join('')}`);
      runs.get(name)?.push(measured);
    }
  }
  return Object.fromEntries(names.map((name) => [name, figuresOf(runs.get(name) ?? [])])) as Record<
    Name,
    Figures
  >;
}

function figuresOf(runs: readonly Measured[]): Figures {
  const cpus = runs.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu]));
  const peaks = runs.flatMap(({ peak }) => (peak === undefined ? [] : [peak]));
  return {
    seconds: median(runs.map(({ seconds }) => seconds)),
    cpu: cpus.length === 0 ? undefined : median(cpus),
    peak: peaks.length === 0 ? undefined : Math.max(...peaks),
  };
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** Milliseconds between two looks: often enough for peaks, seldom enough to cost nothing. */
const INTERVAL = 50;

/**
 * Watches the resident memory of a process and all its descendants, from Linux's /proc. What the kernel
 * itself remembers as a process's peak (VmHWM) counts too, so that nothing is missed between two looks
 * while the tree is one process.
 * @returns a function that ends the watch and gives the peak in bytes, `undefined` without /proc.
 */
function watchMemory(pid: number): () => number | undefined {
  let peak: number | undefined;
  const look = (): void => {
    const tree = descendants(pid).map(memoryOf);
    if (tree.length === 0) return;
    const together = tree.reduce((sum, { now }) => sum + now, 0);
    peak = Math.max(peak ?? 0, together, ...tree.map((process) => process.peak));
  };
  const timer = setInterval(look, INTERVAL);
  look();
  return () => {
    clearInterval(timer);
    return peak;
  };
}

/** The process and those that it started, and they, as far as they live. */
function descendants(pid: number): number[] {
  const found = [pid];
  for (const parent of found) {
    for (const thread of list(`/proc/${parent}/task`)) {
      const children = read(`/proc/${parent}/task/${thread}/children`).trim();
      if (children !== '') found.push(...children.split(' ').map(Number));
    }
  }
  return found.filter((process) => read(`/proc/${process}/status`) !== '');
}

function memoryOf(pid: number): { now: number; peak: number } {
  const status = read(`/proc/${pid}/status`);
  const bytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024;
  return { now: bytes('VmRSS'), peak: bytes('VmHWM') };
}

/** Processes end while they are looked at: what is gone is empty. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
