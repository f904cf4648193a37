import { link, mkdir, open, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { attempt, codeOf } from './local-errors.js';

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

/** Times that a folder may vanish between its making and the first file in it. */
const TRIES = 20;

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

/** Removes a file, and the folders up to the root that are empty without it. */
export async function removeFile(root: string, path: string): Promise<void> {
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

/** Makes a folder and forces the names of the folders it had to make to the disk. */
export async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made))
    await syncFolder(dirname(made));
}

/** Forces the names in a folder to the disk. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
