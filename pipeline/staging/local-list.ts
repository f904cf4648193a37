import type { Dirent, Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkPrefix, isKey } from './layout.js';
import { isRegular } from '../files.js';
import { attempt, isNotFound } from './local-errors.js';
import { checkWay } from './local-files.js';
import type { StagedFile } from './staging.js';

/**
 * Every file below a prefix, in the order in which a bucket lists them.
 * @throws {ConfigurationError} when a link, a FIFO or a device is among them or on the way to them.
 */
export async function* listFolder(root: string, prefix: string): AsyncGenerator<StagedFile> {
  checkPrefix(prefix);
  const base = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  await attempt('list', join(root, base), () => checkWay(root, join(root, base, 'x')));
  yield* walk(root, base, prefix);
}

async function* walk(root: string, base: string, prefix: string): AsyncGenerator<StagedFile> {
  for (const { name, size } of await entriesOf(root, base, prefix)) {
    const key = base + name;
    if (size === undefined) {
      if (key.startsWith(prefix)) yield* walk(root, key, prefix);
    } else if (key.startsWith(prefix)) yield { key, size };
  }
}

interface Entry {
  /** A folder's name ends with the slash: so it sorts where its files belong. */
  name: string;
  /** Length of a file; `undefined` for a folder. */
  size: number | undefined;
}

async function entriesOf(root: string, base: string, prefix: string): Promise<Entry[]> {
  const folder = join(root, base);
  const found = await attempt('list', folder, () =>
    readdir(folder, { withFileTypes: true }).catch((cause: unknown): Dirent[] => {
      if (isNotFound(cause)) return [];
      throw cause;
    }),
  );
  const entries: Entry[] = [];
  for (const entry of found) {
    const key = base + entry.name;
    if (!isKey(key) || !key.startsWith(prefix)) continue;
    if (entry.isDirectory()) {
      entries.push({ name: `${entry.name}/`, size: undefined });
      continue;
    }
    const path = join(folder, entry.name);
    const stats = await attempt('list', path, () =>
      lstat(path).catch((cause: unknown): Stats | undefined => {
        if (isNotFound(cause)) return undefined;
        throw cause;
      }),
    );
    if (stats === undefined) continue;
    if (isRegular(stats, path)) entries.push({ name: entry.name, size: stats.size });
    else entries.push({ name: `${entry.name}/`, size: undefined });
  }
  return entries.sort((a, b) => Buffer.from(a.name).compare(Buffer.from(b.name)));
}
