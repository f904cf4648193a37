import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * Names a process among all that may work on one staging area: its machine (and container, each of
 * which counts its processes from 1), its number, and a token against processes of the same number.
 */
interface Holder {
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
