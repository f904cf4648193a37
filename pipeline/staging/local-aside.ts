import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isGone, self } from './holder.js';
import { ASIDE } from './layout.js';
import { isNotFound } from './local-errors.js';

/** A file written aside that nobody has touched for so long, in milliseconds, belongs to nobody any more. */
const ABANDONED = 24 * 60 * 60 * 1000;

let sequence = 0;

/** A path of its own to write a file aside at. */
export function asidePath(root: string): string {
  sequence += 1;
  return join(root, ASIDE, [self.machine, self.pid, self.token, sequence].join('.'));
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
  const [machine, pid, token] = name.split('.');
  if (machine === undefined || pid === undefined || token === undefined) return false;
  return isGone({ machine, pid: Number(pid), token });
}

async function isAbandoned(path: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs > ABANDONED;
  } catch (cause) {
    if (isNotFound(cause)) return false;
    throw cause;
  }
}
