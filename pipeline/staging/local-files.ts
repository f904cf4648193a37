import { link, mkdir, open, rename } from 'node:fs/promises';
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

/**
 * Gives a file that was written aside its own name, and forces the name to the disk.
 * @returns false only with `ifAbsent`, when the name is taken.
 */
export async function place(aside: string, path: string, ifAbsent: boolean): Promise<boolean> {
  return attempt('write', path, async () => {
    const folder = dirname(path);
    await makeFolder(folder);
    try {
      await (ifAbsent ? link(aside, path) : rename(aside, path));
    } catch (cause) {
      if (ifAbsent && codeOf(cause) === 'EEXIST') return false;
      throw cause;
    }
    await syncFolder(folder);
    return true;
  });
}

/** Makes a folder and forces the names of the folders it had to make to the disk. */
export async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made))
    await syncFolder(dirname(made));
}

/** Forces the names in a folder to the disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
