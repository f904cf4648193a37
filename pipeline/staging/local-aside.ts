import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isGone, self } from './holder.js';
import { ASIDE } from './layout.js';
import { checkWay } from './local-files.js';
import { isNotFound } from './local-errors.js';

/** A file written aside that nobody has touched for so long, in milliseconds, belongs to nobody any more. */
const ABANDONED = 24 * 60 * 60 * 1000;

let sequence = 0;

/** A path of its own to write a file aside at. */
export function asidePath(root: string): string {
  sequence += 1;
  return join(root, ASIDE, [self.machine, self.pid, self.token, sequence].join('.'));
}

const pattern = /^[A-Za-z0-9-]+\.\d+\.[0-9a-f]+\.\d+$/;

/**
 * Removes what was written aside by processes of this machine that are gone, or a day ago by anybody: files of
 * {@link asidePath}'s names alone.
 * @throws {ConfigurationError} when the folder is a link, which may lead anywhere.
 */
export async function sweep(root: string): Promise<void> {
  const folder = join(root, ASIDE);
  await checkWay(root, join(folder, 'x'));
  const names = await readdir(folder).catch((cause: unknown) => {
    if (isNotFound(cause)) return [];
    throw cause;
  });
  for (const name of names) {
    if (!pattern.test(name)) continue;
    const path = join(folder, name);
    const found = await orVanished(() => lstat(path));
    if (found?.isFile() !== true) continue;
    if (isLeftBehind(name) || Date.now() - found.mtimeMs > ABANDONED)
      await orVanished(() => unlink(path));
  }
}

function isLeftBehind(name: string): boolean {
  const [machine, pid, token] = name.split('.');
  if (machine === undefined || pid === undefined || token === undefined) return false;
  return isGone({ machine, pid: Number(pid), token });
}

/** Another process may sweep at the same time. */
async function orVanished<T>(operation: () => Promise<T>): Promise<T | undefined> {
  try {
    return await operation();
  } catch (cause) {
    if (isNotFound(cause)) return undefined;
    throw cause;
  }
}
