import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ASIDE } from './layout.js';
import { codeOf, isNotFound } from './local-errors.js';

/** A file written aside that nobody has touched for so long, in milliseconds, belongs to nobody any more. */
const ABANDONED = 24 * 60 * 60 * 1000;

/**
 * Names this process among those that may write into the same folder: the machine (and container,
 * each of which counts its processes from 1), the process, and a token against processes of the same number.
 */
const machine = `${hostname()}-${processNamespace()}`.replaceAll(/[^A-Za-z0-9-]/g, '-');
const pid = String(process.pid);
const token = randomBytes(4).toString('hex');
let sequence = 0;

function processNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replaceAll(/\D/g, '');
  } catch {
    // Only Linux has it, and only there do containers share a host's name.
    return '';
  }
}

/** A path of its own to write a file aside at. */
export function asidePath(root: string): string {
  sequence += 1;
  return join(root, ASIDE, [machine, pid, token, sequence].join('.'));
}

/** Removes what was written aside by processes of this machine that are gone, or a day ago by anybody. */
export async function sweep(root: string): Promise<void> {
  const folder = join(root, ASIDE);
  const names = await readdir(folder).catch((cause: unknown) => {
    if (isNotFound(cause)) return [];
    throw cause;
  });
  for (const name of names) {
    const path = join(folder, name);
    if (isLeftBehind(name) || (await isAbandoned(path))) await rm(path, { force: true });
  }
}

function isLeftBehind(name: string): boolean {
  const [itsMachine, itsProcess, itsToken] = name.split('.');
  if (itsMachine !== machine || itsProcess === undefined) return false;
  return itsProcess === pid ? itsToken !== token : !isAlive(Number(itsProcess));
}

async function isAbandoned(path: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs > ABANDONED;
  } catch (cause) {
    if (isNotFound(cause)) return false;
    throw cause;
  }
}

function isAlive(other: number): boolean {
  try {
    process.kill(other, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}
