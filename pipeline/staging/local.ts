import { randomBytes } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ConfigurationError, PipelineError, TransientError } from '../errors.js';
import { checkKey } from './layout.js';
import type { StagedFile, Staging } from './staging.js';

const TEMPORARY = '.tmp';

/** Names this process among those that may write into the same folder: host, process id, and a token against reused ids. */
const owner = `${hostname().replaceAll(/[^A-Za-z0-9-]/g, '-')}.${process.pid}.${randomBytes(4).toString('hex')}`;
let sequence = 0;

/**
 * A staging area in a folder. A file is written aside in `.tmp/`, forced to the disk and renamed, and
 * its folder forced to the disk, so that a key that can be read is complete whatever happens next.
 * What killed processes of this host left in `.tmp/` is removed with the first write.
 */
export function localStaging(folder: string): Staging {
  const root = resolve(folder);
  const pathOf = (key: string): string => {
    checkKey(key);
    return join(root, ...key.split('/'));
  };
  let swept: Promise<void> | undefined;

  return {
    location: root,

    list: (prefix) => walk(root, prefix),

    async read(key, range) {
      const path = pathOf(key);
      const file = await open(path, 'r').catch((cause: unknown) => {
        if (isNotFound(cause)) return undefined;
        throw fileError(cause, path, 'read');
      });
      if (file === undefined) return undefined;
      const stream = createReadStream(path, {
        fd: file,
        highWaterMark: 1 << 18,
        ...(range === undefined ? {} : { start: range.start, end: range.end - 1 }),
      });
      return guarded(stream, path);
    },

    async write(key, content, { ifAbsent = false } = {}) {
      const path = pathOf(key);
      try {
        await (swept ??= sweep(root));
        const temporary = join(root, TEMPORARY, `${owner}.${++sequence}`);
        await makeFolder(dirname(temporary));
        try {
          await writeDurably(temporary, content);
          await makeFolder(dirname(path));
          const placed = await place(temporary, path, ifAbsent);
          if (placed) await syncFolder(dirname(path));
          return placed;
        } finally {
          await rm(temporary, { force: true });
        }
      } catch (cause) {
        throw fileError(cause, path, 'write');
      }
    },

    async remove(key) {
      const path = pathOf(key);
      try {
        await rm(path, { force: true });
        await syncFolder(dirname(path)).catch((cause: unknown) => {
          if (!isNotFound(cause)) throw cause;
        });
      } catch (cause) {
        throw fileError(cause, path, 'remove');
      }
    },
  };
}

async function writeDurably(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await open(path, 'wx');
  try {
    if (content instanceof Uint8Array) await file.writeFile(content);
    else for await (const chunk of content) await file.writeFile(chunk);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function place(temporary: string, path: string, ifAbsent: boolean): Promise<boolean> {
  if (!ifAbsent) {
    await rename(temporary, path);
    return true;
  }
  try {
    await link(temporary, path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
    throw cause;
  }
}

/** Makes a folder and forces the names of the folders it had to make to the disk. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made))
    await syncFolder(dirname(made));
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function* walk(root: string, prefix: string): AsyncGenerator<StagedFile> {
  const base = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  for await (const file of walkFolder(root, base)) {
    if (file.key.startsWith(prefix)) yield file;
  }
}

async function* walkFolder(root: string, base: string): AsyncGenerator<StagedFile> {
  const folder = join(root, base);
  const entries = await readdir(folder, { withFileTypes: true }).catch(
    (cause: unknown): Dirent[] => {
      if (isNotFound(cause)) return [];
      throw fileError(cause, folder, 'list');
    },
  );
  // A folder sorts as its name with the slash, so that keys come out in the order a bucket lists them.
  const named = entries.map((entry) => ({
    entry,
    name: entry.isDirectory() ? `${entry.name}/` : entry.name,
  }));
  named.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { entry, name } of named) {
    if (base === '' && entry.name === TEMPORARY) continue;
    if (entry.isDirectory()) yield* walkFolder(root, base + name);
    else if (entry.isFile()) {
      const path = join(folder, name);
      const size = await stat(path).then(
        (found) => found.size,
        (cause: unknown) => {
          if (isNotFound(cause)) return undefined;
          throw fileError(cause, path, 'read');
        },
      );
      if (size !== undefined) yield { key: base + name, size };
    }
  }
}

async function* guarded(stream: AsyncIterable<Buffer>, path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (cause) {
    throw fileError(cause, path, 'read');
  }
}

/** Removes temporary files whose process, on this host, is no longer there. */
async function sweep(root: string): Promise<void> {
  const folder = join(root, TEMPORARY);
  const names = await readdir(folder).catch(() => [] as string[]);
  for (const name of names) {
    const [host, pid, token] = name.split('.');
    const [ownHost, ownPid, ownToken] = owner.split('.');
    if (host !== ownHost || pid === undefined) continue;
    const ours = pid === ownPid;
    if (ours ? token !== ownToken : !isAlive(Number(pid)))
      await rm(join(folder, name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string'
    ? cause.code
    : undefined;
}

function isNotFound(cause: unknown): boolean {
  return codeOf(cause) === 'ENOENT';
}

/** Turns a failed file operation into an error with a next step; errors of the content's producer pass unchanged. */
function fileError(cause: unknown, path: string, verb: string): unknown {
  const code = codeOf(cause);
  if (
    cause instanceof PipelineError ||
    code === undefined ||
    !/^E[A-Z0-9]+$/.test(code) ||
    !(cause instanceof Error && 'syscall' in cause)
  )
    return cause;
  const details = { where: path, cause };
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new TransientError('the disk is full', {
        ...details,
        next: 'make room and run the same command again',
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ConfigurationError(`no right to ${verb} the file (${code})`, {
        ...details,
        next: 'give this user the right, or choose another folder with --staging',
      });
    case 'ENOTDIR':
    case 'EISDIR':
    case 'EEXIST':
      return new ConfigurationError(
        `cannot ${verb}: a file stands where a folder belongs, or the reverse (${code})`,
        {
          ...details,
          next: 'choose another folder with --staging',
        },
      );
    default:
      return new TransientError(`could not ${verb} the file (${code})`, {
        ...details,
        next: 'run the same command again',
      });
  }
}
