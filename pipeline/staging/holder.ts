import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { pause } from '../shared/waits.js';

/**
 * Names a process among all that may work on one staging area: its machine (and container, each of
 * which counts its processes from 1), its number, and a token against processes of the same number.
 */
export interface Holder {
  machine: string;
  pid: number;
  token: string;
}

/** This process. */
export const self: Holder = {
  machine: `${hostname()}-${processSpace()}`.replaceAll(/[^A-Za-z0-9-]/g, '-'),
  pid: process.pid,
  token: randomBytes(6).toString('hex'),
};

/**
 * Which running kernel, and which of its process namespaces, gave this process its number: machines may
 * share a name, and the first namespace has the same name on all of them.
 */
function processSpace(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    const namespace = readlinkSync('/proc/self/ns/pid');
    return createHash('sha256').update(`${boot}${namespace}`).digest('hex').slice(0, 12);
  } catch {
    // Only Linux has them, and only there do containers share a host's name.
    return '';
  }
}

/** Whether a process is known to be gone: it ran on this very machine, and is no longer there. */
export function isGone(other: Holder): boolean {
  if (other.machine !== self.machine) return false;
  return other.pid === self.pid ? other.token !== self.token : !isAlive(other.pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** A process as leases know it: who it is, which others it knows to be gone, and the clocks that it lives by. */
export interface LivingProcess {
  readonly self: Holder;
  readonly isGone: (other: Holder) => boolean;
  /** This machine's time, in milliseconds since 1970, which may be wrong. */
  readonly now: () => number;
  /** Milliseconds on a clock that only goes on. */
  readonly elapsed: () => number;
  /** Waits so many milliseconds, see `pause`. */
  pause(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** A number from 0 to 1, by which processes that meet go different ways. */
  random(): number;
  /**
   * Does a step after so many milliseconds, unless the process ends before.
   * @returns what calls it off.
   */
  after(milliseconds: number, step: () => void): () => void;
}

export const thisProcess: LivingProcess = {
  self,
  isGone,
  now: () => Date.now(),
  elapsed: () => performance.now(),
  pause,
  random: () => Math.random(),
  after(milliseconds, step) {
    const timer = setTimeout(step, milliseconds).unref();
    return () => {
      clearTimeout(timer);
    };
  },
};
