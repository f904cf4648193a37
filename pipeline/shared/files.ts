import type { Stats } from 'node:fs';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { lstat, mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigurationError } from './errors.js';
import { pause } from './waits.js';

/**
 * Files are looked at before they are opened: opening a FIFO waits for whoever is at its other end, in a
 * thread that nothing can stop, not even the end of the process.
 */

/** The system's code (`ENOENT`) of a failed file operation; `undefined` for anything else. */
export function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string'
    ? cause.code
    : undefined;
}

/** Times that a folder may vanish between its making and the next step in it. */
export const TRIES = 20;

/**
 * Makes a folder and those above it that are missing, and forces their names to the disk. A folder that
 * another task removes meanwhile is made again. Node's own recursive mkdir will not do: Node 20 then answers
 * ENOTDIR, as for a file in the way, and where a file system makes no folders (`/proc`) it never ends.
 * @throws the system's error; `ENOENT` where no folder can be made.
 */
export async function makeFolder(folder: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await makeMissing(folder);
      return;
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT' || tries === TRIES) throw cause;
    }
  }
}

async function makeMissing(folder: string): Promise<void> {
  const parent = dirname(folder);
  try {
    await mkdir(folder);
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT') {
      try {
        if ((await stat(folder)).isDirectory()) return;
      } catch (gone) {
        // What was in the way is removed meanwhile; anything else that forbids a folder is told as itself.
        if (codeOf(cause) === 'EEXIST') throw gone;
      }
      throw cause;
    }
    if (parent === folder) throw cause;
    await makeMissing(parent);
    // Another task may have made it, or removed the parent, in the same moment.
    await mkdir(folder).catch((again: unknown) => {
      if (codeOf(again) !== 'EEXIST') throw again;
    });
  }
  await syncFolder(parent);
}

/** Forces the names in a folder to the disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A regular file that is open for reading. */
export interface RegularFile {
  file: FileHandle;
  /** Its length in bytes when it was opened. */
  size: number;
}

/**
 * Opens a regular file for reading.
 * @returns `undefined` for a folder.
 * @throws {ConfigurationError} on a link, a FIFO, a socket or a device; the system's error.
 */
export async function openRegular(path: string): Promise<RegularFile | undefined> {
  if (!isRegular(await lstat(path), path)) return undefined;
  // Something else may have taken its place since: no waiting, no following.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const found = await file.stat();
    if (isRegular(found, path)) return { file, size: found.size };
  } catch (cause) {
    await file.close();
    throw cause;
  }
  await file.close();
  return undefined;
}

/** Longest file of settings or certificates, in bytes, and how long its writer at a FIFO is waited for. */
const LONGEST_INPUT = 16 * 1024 * 1024;
const WRITER = 10_000;

/**
 * Reads a small file that the user named, which may also be a FIFO as a shell's `<(command)` makes it.
 * @throws {ConfigurationError} when it has no end, or is a FIFO that nobody writes to; the system's error;
 * the signal's reason.
 */
export async function readInput(path: string, signal?: AbortSignal): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const unfit = (message: string): ConfigurationError =>
    new ConfigurationError(message, { where: path, next: 'name a file' });
  try {
    const chunks: Buffer[] = [];
    const began = performance.now();
    for (let bytes = 0; bytes <= LONGEST_INPUT;) {
      const chunk = Buffer.alloc(64 * 1024);
      try {
        const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
        if (bytesRead === 0) {
          if (bytes === 0 && (await file.stat()).isFIFO()) throw unfit('nobody writes to the FIFO');
          return Buffer.concat(chunks);
        }
        chunks.push(chunk.subarray(0, bytesRead));
        bytes += bytesRead;
      } catch (cause) {
        // The writer is there, and has not written yet.
        if (codeOf(cause) !== 'EAGAIN') throw cause;
        if (performance.now() - began > WRITER) throw unfit('nothing comes out of the FIFO');
        await pause(20, signal);
      }
    }
    throw unfit('the file is longer than any of its kind (16 MiB)');
  } finally {
    await file.close();
  }
}

/**
 * Whether it is a regular file; `false` for a folder.
 * @throws {ConfigurationError} when it is neither.
 */
export function isRegular(found: Stats, path: string): boolean {
  if (found.isFile()) return true;
  if (found.isDirectory()) return false;
  throw new ConfigurationError(`${kindOf(found)} stands where a regular file or a folder belongs`, {
    where: path,
    next: 'see who put it there, and remove it or put the file or folder itself in its place',
  });
}

/** What stands there instead of a file or a folder, with its article. */
function kindOf(found: Stats): string {
  if (found.isSymbolicLink()) return 'a link';
  if (found.isFIFO()) return 'a FIFO';
  if (found.isSocket()) return 'a socket';
  return found.isDirectory() ? 'a folder' : 'a device';
}
