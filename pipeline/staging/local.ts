import type { Dirent, Stats } from 'node:fs';
import { link, lstat, open, readdir, realpath, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { ErrorClass } from '../shared/errors.js';
import { ConfigurationError, PipelineError, TransientError, fill } from '../shared/errors.js';
import type { RegularFile } from '../shared/files.js';
import { TRIES, codeOf, isRegular, makeFolder, openRegular, syncFolder } from '../shared/files.js';
import { isGone, self } from './holder.js';
import { UNFINISHED_FILES, checkKey, checkPrefix, isKey } from './layout.js';
import type { ListOptions, StagedFile, Staging } from './staging.js';

/** Bytes of a file that are read at once. */
const CHUNK = 256 * 1024;

/** Entries of a folder that are looked at side by side. */
const ENTRIES_AT_ONCE = 64;

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

    list: (prefix, options = {}) => listFolder(root, prefix, options),

    async read(key) {
      const path = pathOf(key);
      const file = await attempt('read', path, () => openFile(root, path));
      return file === undefined ? undefined : bytesOf(file, path);
    },

    async write(key, content, { ifAbsent = false } = {}) {
      const path = pathOf(key);
      const unfinished = unfinishedPath(root);
      await attempt('write', unfinished, sweepOnce);
      // Beside the writing, which touches nothing but `.tmp`.
      const way = attempt('write', path, () => checkWay(root, path));
      way.catch(() => undefined);
      try {
        await writeDurably(unfinished, content);
        await way;
        return await place(unfinished, path, ifAbsent);
      } catch (cause) {
        await attempt('remove', unfinished, () => orVanished(() => unlink(unfinished)));
        throw cause;
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

async function openFile(root: string, path: string): Promise<RegularFile | undefined> {
  try {
    await checkWay(root, path);
    return await openRegular(path);
  } catch (cause) {
    if (isNotFound(cause)) return undefined;
    throw cause;
  }
}

async function* bytesOf({ file, size }: RegularFile, path: string): AsyncGenerator<Uint8Array> {
  try {
    for (let position = 0; ;) {
      // Most files are manifests and pages of a few kilobytes. The byte more than there are shows their end.
      const chunk = Buffer.allocUnsafe(
        position > size ? CHUNK : Math.min(CHUNK, size - position + 1),
      );
      const at = position;
      const { bytesRead } = await attempt('read', path, () =>
        file.read(chunk, 0, chunk.length, at),
      );
      position += bytesRead;
      if (bytesRead === 0 && position < size) {
        throw new TransientError('the file became shorter while it was read', {
          where: path,
          next: 'see what else writes to the staging area, and run the same command again',
        });
      }
      if (bytesRead > 0) yield chunk.subarray(0, bytesRead);
      if (bytesRead === 0 || (bytesRead < chunk.length && position >= size)) return;
    }
  } finally {
    await file.close();
  }
}

/**
 * Every file below a prefix, in the order in which a bucket lists them.
 * @throws {ConfigurationError} when a link, a FIFO or a device is among them or on the way to them.
 */
async function* listFolder(
  root: string,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<StagedFile> {
  checkPrefix(prefix);
  const base = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  await attempt('list', join(root, base), () => checkWay(root, join(root, base, 'x')));
  for await (const files of walk(root, base, prefix, options)) yield* files;
}

/** A folder's files together: handed up one by one, through each folder above, they would take as long as the disk. */
async function* walk(
  root: string,
  base: string,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<readonly StagedFile[]> {
  let files: StagedFile[] = [];
  for (const { name, size } of await entriesOf(root, base, prefix, options)) {
    const key = base + name;
    if (size === undefined) {
      // In the order of a bucket: what comes before the folder first.
      yield files;
      files = [];
      yield* walk(root, key, prefix, options);
    } else files.push({ key, size });
  }
  yield files;
}

interface Entry {
  /** A folder's name ends with the slash: so it sorts where its files belong. */
  name: string;
  /** Length of a file; `undefined` for a folder. */
  size: number | undefined;
}

async function entriesOf(
  root: string,
  base: string,
  prefix: string,
  { sizes = true }: ListOptions,
): Promise<Entry[]> {
  const folder = join(root, base);
  const found = await attempt('list', folder, () =>
    readdir(folder, { withFileTypes: true }).catch((cause: unknown): Dirent[] => {
      if (isNotFound(cause)) return [];
      throw cause;
    }),
  );
  const entries: Entry[] = [];
  // The prefix first: a month's folder has a file of every organization, and most often one is asked for.
  const wanted = found.filter(({ name }) => (base + name).startsWith(prefix) && isKey(base + name));
  for (let start = 0; start < wanted.length; start += ENTRIES_AT_ONCE)
    entries.push(
      ...(
        await Promise.all(
          wanted
            .slice(start, start + ENTRIES_AT_ONCE)
            .map((entry) => entryOf(folder, entry, sizes)),
        )
      ).flatMap((entry) => entry ?? []),
    );
  return entries.sort((a, b) => Buffer.from(a.name).compare(Buffer.from(b.name)));
}

/** `undefined`: it has gone in the meantime. */
async function entryOf(folder: string, entry: Dirent, sizes: boolean): Promise<Entry | undefined> {
  const asFolder = { name: `${entry.name}/`, size: undefined };
  if (entry.isDirectory()) return asFolder;
  // A name that is no UTF-8 is shown with U+FFFD, and nothing is found under it.
  const isNamed = !entry.name.includes('\uFFFD');
  if (!sizes && isNamed && entry.isFile()) return { name: entry.name, size: NaN };
  const path = join(folder, entry.name);
  const stats = await attempt('list', path, () =>
    lstat(path).catch((cause: unknown): Stats | undefined => {
      if (isNotFound(cause)) return undefined;
      throw cause;
    }),
  );
  if (stats === undefined) return undefined;
  return isRegular(stats, path) ? { name: entry.name, size: stats.size } : asFolder;
}

/**
 * Looks at the folders from the root down to a path, so that nothing is read, written or removed where a
 * link leads: that may be anywhere. The root itself may be one.
 * @throws {ConfigurationError} naming the link.
 */
async function checkWay(root: string, path: string): Promise<void> {
  if (await isStraight(root, dirname(path))) return;
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

/** Where the staging areas of this process really lie: looked up again where a folder is found elsewhere. */
const places = new Map<string, string>();

/** Whether a folder is surely there without a link below the root: one question to the system in place of one a folder. */
async function isStraight(root: string, folder: string): Promise<boolean> {
  try {
    const found = await realpath(folder);
    const liesBelow = (place: string | undefined): boolean =>
      place !== undefined && found === place + folder.slice(root.length);
    if (liesBelow(places.get(root))) return true;
    const place = await realpath(root);
    places.set(root, place);
    return liesBelow(place);
  } catch {
    return false;
  }
}

/** Writes a new file and forces it to the disk. What `content` throws passes unchanged. */
async function writeDurably(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await attempt('write', path, () => inFolder(path, () => open(path, 'wx')));
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
 * Gives a file that was written aside its own name alone, and forces the name to the disk.
 * @returns false only with `ifAbsent`, when the name is taken.
 */
async function place(unfinished: string, path: string, ifAbsent: boolean): Promise<boolean> {
  return attempt('write', path, async () => {
    const placed = await inFolder(path, () => tryPlace(unfinished, path, ifAbsent));
    await Promise.all([
      placed ? syncFolder(dirname(path)).catch(ignoreVanished) : undefined,
      // A link is a second name.
      ifAbsent ? orVanished(() => unlink(unfinished)) : undefined,
    ]);
    return placed;
  });
}

/**
 * Does what needs the folder of a path, which is made where it is missing: most often it is there. Whoever removes the
 * last file of a folder removes the folder with it, so that it may have to be made more than once.
 */
async function inFolder<T>(path: string, operation: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await operation();
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT' || tries === TRIES) throw cause;
      await makeFolder(dirname(path));
    }
  }
}

async function tryPlace(unfinished: string, path: string, ifAbsent: boolean): Promise<boolean> {
  if (!ifAbsent) {
    await rename(unfinished, path);
    return true;
  }
  try {
    await link(unfinished, path);
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
async function removeFile(root: string, path: string): Promise<void> {
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

/** A file written aside that nobody has touched for so long, in milliseconds, belongs to nobody any more. */
const ABANDONED = 24 * 60 * 60 * 1000;

let sequence = 0;

/** A path of its own to write a file aside at. */
function unfinishedPath(root: string): string {
  sequence += 1;
  return join(root, UNFINISHED_FILES, [self.machine, self.pid, self.token, sequence].join('.'));
}

const pattern = /^[A-Za-z0-9-]+\.\d+\.[0-9a-f]+\.\d+$/;

/**
 * Removes what was written aside by processes of this machine that are gone, or a day ago by anybody: files of
 * {@link unfinishedPath}'s names alone.
 * @throws {ConfigurationError} when the folder is a link, which may lead anywhere.
 */
async function sweep(root: string): Promise<void> {
  const folder = join(root, UNFINISHED_FILES);
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

/** Whether a path leads nowhere: as in a bucket, a file on the way is no reason to fail. */
function isNotFound(cause: unknown): boolean {
  const code = codeOf(cause);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Does a file operation; its failure becomes an error with a next step. */
async function attempt<T>(verb: string, path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    throw fileError(cause, path, verb);
  }
}

function fileError(cause: unknown, where: string, verb: string): unknown {
  const code = codeOf(cause);
  if (cause instanceof PipelineError || code === undefined) return cause;
  const meaning = meanings.find(([codes]) => codes.test(code));
  if (meaning === undefined) return cause;
  const [, kind, message, next] = meaning;
  return new kind(`${fill(message, { verb })} (${code})`, { where, next, cause });
}

const OTHER_FOLDER = 'choose another folder with --staging';
/** What the system's codes mean, and what to do; the first row that fits counts. */
const meanings: readonly (readonly [
  codes: RegExp,
  kind: ErrorClass,
  message: string,
  next: string,
])[] = [
  [
    /^(ENOSPC|EDQUOT)$/,
    TransientError,
    'the disk is full',
    'make room and run the same command again',
  ],
  [
    /^(EACCES|EPERM|EROFS)$/,
    ConfigurationError,
    'no right to {verb} the file',
    `give this user the right, or ${OTHER_FOLDER}`,
  ],
  [
    /^(ENOTDIR|EISDIR|EEXIST|ENOTEMPTY)$/,
    ConfigurationError,
    'cannot {verb}: a file stands where a folder belongs, or the reverse',
    OTHER_FOLDER,
  ],
  [
    /^ENOENT$/,
    ConfigurationError,
    'cannot {verb}: no folder can be made there, or something removes it again and again',
    OTHER_FOLDER,
  ],
  [
    /^EXDEV$/,
    ConfigurationError,
    'a folder of the staging area lies on another disk than the staging area itself',
    'keep the whole staging area on one disk',
  ],
  [
    /^(ELOOP|ENAMETOOLONG)$/,
    ConfigurationError,
    'cannot {verb}: the path is too long or leads in a circle',
    OTHER_FOLDER,
  ],
  [/^/, TransientError, 'could not {verb} the file', 'run the same command again'],
];
