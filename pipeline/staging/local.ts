import type { FileHandle } from 'node:fs/promises';
import { rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { makeFolder, openRegular } from '../files.js';
import { checkKey } from './layout.js';
import { asidePath, sweep } from './local-aside.js';
import { attempt, isNotFound } from './local-errors.js';
import { checkWay, place, removeFile, writeDurably } from './local-files.js';
import { listFolder } from './local-list.js';
import type { ByteRange, Staging } from './staging.js';

/** Bytes of a file that are read at once. */
const CHUNK = 256 * 1024;

/**
 * A staging area in a folder. A file is written aside in `.tmp/`, forced to the disk and renamed, and
 * its folder forced to the disk, so that a key that can be read is complete whatever happens next.
 * What killed processes left in `.tmp/` is removed with the first write.
 */
export function localStaging(folder: string): Staging {
  const root = resolve(folder);
  const pathOf = (key: string): string => {
    checkKey(key);
    return join(root, ...key.split('/'));
  };
  let swept: Promise<void> | undefined;
  const sweepOnce = (): Promise<void> =>
    (swept ??= sweep(root).catch((cause: unknown) => {
      swept = undefined;
      throw cause;
    }));

  return {
    location: root,

    list: (prefix) => listFolder(root, prefix),

    async read(key, range) {
      const path = pathOf(key);
      const file = await attempt('read', path, () => openFile(root, path));
      return file === undefined ? undefined : bytesOf(file, path, range);
    },

    async write(key, content, { ifAbsent = false } = {}) {
      const path = pathOf(key);
      const aside = asidePath(root);
      await attempt('write', path, () => checkWay(root, path));
      await attempt('write', aside, sweepOnce);
      await attempt('write', aside, () => makeFolder(dirname(aside)));
      try {
        await writeDurably(aside, content);
        return await place(aside, path, ifAbsent);
      } finally {
        await attempt('remove', aside, () => rm(aside, { force: true }));
      }
    },

    async remove(key) {
      const path = pathOf(key);
      await attempt('remove', path, async () => {
        try {
          await removeFile(root, path);
        } catch (cause) {
          if (!isNotFound(cause)) throw cause;
        }
      });
    },
  };
}

async function openFile(root: string, path: string): Promise<FileHandle | undefined> {
  try {
    await checkWay(root, path);
    return await openRegular(path);
  } catch (cause) {
    if (isNotFound(cause)) return undefined;
    throw cause;
  }
}

async function* bytesOf(
  file: FileHandle,
  path: string,
  range: ByteRange | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    const end = range?.end ?? Infinity;
    for (let position = range?.start ?? 0; position < end;) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, end - position));
      const at = position;
      const { bytesRead } = await attempt('read', path, () =>
        file.read(chunk, 0, chunk.length, at),
      );
      if (bytesRead === 0) return;
      position += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
