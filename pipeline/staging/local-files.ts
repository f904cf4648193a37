import { link, lstat, open, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigurationError } from '../errors.js';
import { codeOf, isRegular, makeFolder, syncFolder, TRIES } from '../files.js';
import { attempt, isNotFound } from './local-errors.js';

/**
 * Looks at the folders from the root down to a path, so that nothing is read, written or removed where a
 * link leads: that may be anywhere. The root itself may be one.
 * @throws {ConfigurationError} naming the link.
 */
export async function checkWay(root: string, path: string): Promise<void> {
  const names = dirname(path).slice(root.length).split('/');
  let folder = root;
  for (const name of names.filter((part) => part !== '')) {
    folder = join(folder, name);
    try {
      if (!(await lstat(folder)).isSymbolicLink()) continue;
    } catch (cause) {
      if (isNotFound(cause)) return;
      throw cause;
    }
    throw new ConfigurationError('a link stands where a folder of the staging area belongs', {
      where: folder,
      next: 'put the folder itself there; only the staging area as a whole may be reached by a link',
    });
  }
}

/** Writes a new file and forces it to the disk. What `content` throws passes unchanged. */
export async function writeDurably(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await attempt('write', path, () => open(path, 'wx'));
  try {
    for await (const chunk of content instanceof Uint8Array ? [content] : content) {
      await attempt('write', path, () => file.writeFile(chunk));
    }
    await attempt('write', path, () => file.sync());
  } finally {
    await file.close();
  }
}

/**
 * Gives a file that was written aside its own name, and forces the name to the disk.
 * @returns false only with `ifAbsent`, when the name is taken.
 */
export async function place(aside: string, path: string, ifAbsent: boolean): Promise<boolean> {
  const folder = dirname(path);
  return attempt('write', path, async () => {
    for (let tries = 1; ; tries += 1) {
      try {
        await makeFolder(folder);
        const placed = await tryPlace(aside, path, ifAbsent);
        if (placed) await syncFolder(folder).catch(ignoreVanished);
        return placed;
      } catch (cause) {
        // Whoever removes the last file of a folder removes the folder with it.
        if (codeOf(cause) !== 'ENOENT' || tries === TRIES) throw cause;
      }
    }
  });
}

async function tryPlace(aside: string, path: string, ifAbsent: boolean): Promise<boolean> {
  if (!ifAbsent) {
    await rename(aside, path);
    return true;
  }
  try {
    await link(aside, path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
    throw cause;
  }
}

/** Passes over the failure that a file or folder has been removed in the meantime. */
function ignoreVanished(cause: unknown): void {
  if (codeOf(cause) !== 'ENOENT') throw cause;
}

/** Removes a file, and the folders up to the root that are empty without it; a folder stays. */
export async function removeFile(root: string, path: string): Promise<void> {
  await checkWay(root, path);
  if (!isRegular(await lstat(path), path)) return;
  await unlink(path);
  await syncFolder(dirname(path)).catch(ignoreVanished);
  for (let folder = dirname(path); folder.length > root.length; folder = dirname(folder)) {
    try {
      await rmdir(folder);
    } catch {
      // Not empty, gone already, a link or not ours to remove: an empty folder means nothing.
      return;
    }
  }
}
