import { readdirSync, readFileSync } from 'node:fs';

/** Milliseconds between two looks: often enough for peaks, seldom enough to cost nothing. */
const INTERVAL = 50;

/**
 * Watches the resident memory of a process and all its descendants, from Linux's /proc. What the kernel
 * itself remembers as a process's peak (VmHWM) counts too, so that nothing is missed between two looks
 * while the tree is one process.
 * @returns a function that ends the watch and gives the peak in bytes, `undefined` without /proc.
 */
export function watchMemory(pid: number): () => number | undefined {
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
