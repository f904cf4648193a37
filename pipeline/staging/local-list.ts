import type { Dirent, Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkPrefix, isKey } from './layout.js';
import { attempt, isNotFound } from './local-errors.js';
import type { StagedFile } from './staging.js';

/** Every file below a prefix, in the order in which a bucket lists them. Links are followed. */
export async function* listFolder(root: string, prefix: string): AsyncGenerator<StagedFile> {
  checkPrefix(prefix);
  const base = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  yield* walk(root, base, prefix);
}

async function* walk(root: string, base: string, prefix: string): AsyncGenerator<StagedFile> {
  for (const { name, size } of await entriesOf(root, base)) {
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

async function entriesOf(root: string, base: string): Promise<Entry[]> {
  const folder = join(root, base);
  const found = await attempt('list', folder, () =>
    readdir(folder, { withFileTypes: true }).catch((cause: unknown): Dirent[] => {
      if (isNotFound(cause)) return [];
      throw cause;
    }),
  );
  const entries: Entry[] = [];
  for (const entry of found) {
    if (!isKey(base + entry.name)) continue;
    if (entry.isDirectory()) {
      entries.push({ name: `${entry.name}/`, size: undefined });
      continue;
    }
    const path = join(folder, entry.name);
    const stats = await attempt('list', path, () =>
      stat(path).catch((cause: unknown): Stats | undefined => {
        if (isNotFound(cause)) return undefined;
        throw cause;
      }),
    );
    if (stats?.isFile() === true) entries.push({ name: entry.name, size: stats.size });
    else if (stats?.isDirectory() === true) {
      entries.push({ name: `${entry.name}/`, size: undefined });
    }
  }
  return entries.sort((a, b) => Buffer.from(a.name).compare(Buffer.from(b.name)));
}
