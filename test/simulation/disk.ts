import type { Stats } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import type { Random } from '../../fixtures/demo/random.js';
import { UNFINISHED_FILES } from '../../pipeline/staging/layout.js';
import { localStaging } from '../../pipeline/staging/local.js';
import type { Actor, Schedule } from './schedule.js';
import type { Storage, Weather } from './storage.js';
import { chance } from './storage.js';

/**
 * A disk below the real driver of a folder. Names and contents last through a loss of power only as far as they
 * were forced to the disk; of the rest, each by itself may be there or not, and a content may be torn.
 */

interface File {
  bytes: Buffer;
  /** What a loss of power leaves; `undefined`: nothing was ever forced to the disk. */
  durable: Buffer | undefined;
}

interface Folder {
  entries: Map<string, Entry>;
  durable: Map<string, Entry>;
}

type Entry = File | Folder;

const isFolder = (entry: Entry): entry is Folder => 'entries' in entry;

/** Paths of the simulated disk begin with it; then comes the process, and the path on the disk. */
const ROOT = '/simulated/';
const AREA = 'area';

export interface Disk extends Storage {
  /** Ends every process, and with them what was not forced to the disk. */
  losePower(): void;
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

function statsOf(entry: Entry): Stats {
  const folder = isFolder(entry);
  const no = (): boolean => false;
  return {
    isFile: () => !folder,
    isDirectory: () => folder,
    isSymbolicLink: no,
    isFIFO: no,
    isSocket: no,
    size: folder ? 0 : entry.bytes.length,
    mtimeMs: Date.now(),
  } as unknown as Stats;
}

/** What the driver asks of its system. */
interface System {
  lstat(path: string): Promise<Stats>;
  mkdir(path: string): Promise<void>;
  readdir(
    path: string,
  ): Promise<{ name: string; isDirectory: () => boolean; isFile: () => boolean }[]>;
  realpath(path: string): Promise<string>;
  rename(from: string, to: string): Promise<void>;
  link(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  open(path: string, flags: unknown): Promise<unknown>;
}

let current: System | undefined;

/** Sends what is asked of paths of the simulated disk there; everything else goes to the machine's own. */
function divert(): void {
  const names = [
    ...(['lstat', 'mkdir', 'readdir', 'realpath'] as const),
    ...(['rename', 'link', 'unlink', 'rmdir', 'open'] as const),
  ];
  const real = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  const wrap = (name: string, use: (system: System, ...args: never[]) => unknown): void => {
    const own = real[name];
    real[name] = (...args) =>
      current !== undefined && String(args[0]).startsWith(ROOT)
        ? use(current, ...(args as never[]))
        : own?.(...args);
  };
  for (const name of names)
    wrap(name, (system, ...args) => (system[name] as (...all: never[]) => unknown)(...args));
  wrap('stat', (system, path) => system.lstat(path));
  wrap('rm', (system, path) =>
    system.unlink(path).catch((error: unknown) => {
      if ((error as { code?: string }).code !== 'ENOENT') throw error;
    }),
  );
  syncBuiltinESMExports();
}
divert();

/** @param violate is told when something is gone that a process was told to be written. */
export function createDisk(
  schedule: Schedule,
  random: Random,
  weather: () => Weather,
  onChange: (key: string, before: Uint8Array | undefined) => void,
  violate: (what: string) => void,
): Disk {
  const root: Folder = { entries: new Map(), durable: new Map() };
  const actors = new Map<string, Actor>();
  const written: Storage['written'] & Map<string, { at: number; by: Actor }> = new Map();
  /** What processes were told to be written, and have not begun to replace or remove since. */
  const acknowledged = new Map<string, Buffer>();

  const partsOf = (path: string): string[] =>
    path
      .split('/')
      .slice(3)
      .filter((part) => part !== '');
  const find = (parts: readonly string[], path: string): Entry => {
    let entry: Entry = root;
    for (const part of parts) {
      if (!isFolder(entry)) throw failure('ENOTDIR', path);
      const next: Entry | undefined = entry.entries.get(part);
      if (next === undefined) throw failure('ENOENT', path);
      entry = next;
    }
    return entry;
  };
  const parentOf = (path: string): { folder: Folder; name: string } => {
    const parts = partsOf(path);
    const folder = find(parts.slice(0, -1), path);
    if (!isFolder(folder)) throw failure('ENOTDIR', path);
    return { folder, name: parts.at(-1) ?? '' };
  };
  const keyOf = (path: string): string => partsOf(path).slice(1).join('/');

  const ask = <T>(what: string, path: string, effect: () => T): Promise<T> => {
    const [, , who = ''] = path.split('/');
    const actor = actors.get(who.slice(0, 1));
    if (actor === undefined) throw new Error(`nobody works at ${path}`);
    const fails = actor.cutOffUntil > schedule.now() || chance(random, weather().lostRequest / 20);
    const slow = random.below(2000) < weather().slow ? 200 + random.below(2000) : 0;
    return schedule.ask(
      actor,
      { there: slow + random.below(3), back: random.below(2), outlives: random.chance(50) },
      (): { value: T } | { error: unknown } => {
        schedule.trace(`${actor.name} ${what} ${partsOf(path).join('/')}${fails ? ': EIO' : ''}`);
        try {
          if (fails) throw failure('EIO', path);
          return { value: effect() };
        } catch (error) {
          return { error };
        }
      },
      (result) => {
        if ('value' in result) return result.value;
        throw result.error;
      },
      who.endsWith('+'),
    );
  };

  /** A file gets a name, or another one. */
  const name = (
    path: string,
    from: string,
    { folder, name: as }: ReturnType<typeof parentOf>,
    file: Entry,
  ): void => {
    const before = folder.entries.get(as);
    folder.entries.set(as, file);
    const by = actors.get(from.split('/')[2]?.slice(0, 1) ?? '');
    const key = keyOf(path);
    if (by !== undefined) written.set(key, { at: schedule.now(), by });
    onChange(key, before !== undefined && !isFolder(before) ? before.bytes : undefined);
  };

  const system: System = {
    lstat: (path) => ask('looks at', path, () => statsOf(find(partsOf(path), path))),
    mkdir: (path) =>
      ask('makes', path, () => {
        const { folder, name: as } = parentOf(path);
        if (folder.entries.has(as)) throw failure('EEXIST', path);
        folder.entries.set(as, { entries: new Map(), durable: new Map() });
      }),
    readdir: (path) =>
      ask('lists', path, () => {
        const folder = find(partsOf(path), path);
        if (!isFolder(folder)) throw failure('ENOTDIR', path);
        return [...folder.entries].map(([as, entry]) => ({
          name: as,
          isDirectory: () => isFolder(entry),
          isFile: () => !isFolder(entry),
        }));
      }),
    realpath: (path) =>
      ask('follows', path, () => {
        find(partsOf(path), path);
        return path;
      }),
    rename: (from, to) =>
      ask('renames to', to, () => {
        const source = parentOf(from);
        const file = find(partsOf(from), from);
        const target = parentOf(to);
        source.folder.entries.delete(source.name);
        name(to, from, target, file);
      }),
    link: (from, to) =>
      ask('links to', to, () => {
        const file = find(partsOf(from), from);
        const target = parentOf(to);
        if (target.folder.entries.has(target.name)) throw failure('EEXIST', to);
        name(to, from, target, file);
      }),
    unlink: (path) =>
      ask('unlinks', path, () => {
        const { folder, name: as } = parentOf(path);
        const file = find(partsOf(path), path);
        if (isFolder(file)) throw failure('EISDIR', path);
        folder.entries.delete(as);
        if (keyOf(path).startsWith(UNFINISHED_FILES)) return;
        written.delete(keyOf(path));
        onChange(keyOf(path), file.bytes);
      }),
    rmdir: (path) =>
      ask('removes', path, () => {
        const { folder, name: as } = parentOf(path);
        const found = find(partsOf(path), path);
        if (!isFolder(found)) throw failure('ENOTDIR', path);
        if (found.entries.size > 0) throw failure('ENOTEMPTY', path);
        folder.entries.delete(as);
      }),
    open: (path, flags) =>
      ask('opens', path, () => {
        if (flags === 'wx') {
          const { folder, name: as } = parentOf(path);
          if (folder.entries.has(as)) throw failure('EEXIST', path);
          const file: File = { bytes: Buffer.alloc(0), durable: undefined };
          folder.entries.set(as, file);
          return handle(path, file);
        }
        return handle(path, find(partsOf(path), path));
      }),
  };

  const handle = (path: string, entry: Entry) => ({
    stat: () => Promise.resolve(statsOf(entry)),
    close: () => Promise.resolve(),
    read: (into: Buffer, offset: number, length: number, position: number) =>
      ask('reads', path, () => {
        if (isFolder(entry)) throw failure('EISDIR', path);
        return { bytesRead: entry.bytes.copy(into, offset, position, position + length) };
      }),
    writeFile: (chunk: Uint8Array) =>
      ask('writes', path, () => {
        if (isFolder(entry)) throw failure('EISDIR', path);
        entry.bytes = Buffer.concat([entry.bytes, chunk]);
      }),
    sync: () =>
      ask('forces', path, () => {
        if (isFolder(entry)) entry.durable = new Map(entry.entries);
        else entry.durable = entry.bytes;
      }),
  });

  const settle = (entry: Entry): void => {
    if (!isFolder(entry)) {
      if (entry.durable !== entry.bytes) {
        const torn = Buffer.from(entry.bytes.subarray(0, random.below(entry.bytes.length + 1)));
        entry.bytes =
          entry.durable ?? (random.chance(50) ? torn : Buffer.alloc(entry.bytes.length));
      }
      entry.durable = entry.bytes;
      return;
    }
    for (const as of new Set([...entry.entries.keys(), ...entry.durable.keys()])) {
      const [now, then] = [entry.entries.get(as), entry.durable.get(as)];
      const stays = random.chance(50) ? now : then;
      if (stays === undefined) entry.entries.delete(as);
      else entry.entries.set(as, stays);
    }
    entry.durable = new Map(entry.entries);
    for (const below of entry.entries.values()) settle(below);
  };

  const filesOf = (folder: Entry | undefined, prefix = ''): [string, Buffer][] => {
    if (folder === undefined) return [];
    if (!isFolder(folder)) return [[prefix, folder.bytes]];
    return [...folder.entries].flatMap(([as, entry]) =>
      filesOf(entry, prefix === '' ? as : `${prefix}/${as}`),
    );
  };

  current = system;
  return {
    get files() {
      const all = filesOf(root.entries.get(AREA));
      return new Map(all.filter(([key]) => !key.startsWith(UNFINISHED_FILES)));
    },
    written,
    lies: [],
    hasLied: () => false,
    open(actor, counts) {
      actors.set(actor.name, actor);
      const driver = localStaging(`${ROOT}${actor.name}${counts ? '+' : ''}/${AREA}`);
      return {
        ...driver,
        async write(key, content, options) {
          if (options?.ifAbsent !== true) acknowledged.delete(key);
          const isWritten = await driver.write(key, content, options);
          const file = isWritten ? bytesAt(key) : undefined;
          if (file !== undefined) acknowledged.set(key, file);
          return isWritten;
        },
        async remove(key) {
          acknowledged.delete(key);
          await driver.remove(key);
        },
      };
    },
    losePower() {
      schedule.trace('the power is lost');
      for (const actor of actors.values()) schedule.kill(actor);
      settle(root);
      const left = new Map(filesOf(root.entries.get(AREA)));
      for (const key of written.keys()) if (!left.has(key)) written.delete(key);
      for (const [key, bytes] of acknowledged)
        if (left.get(key)?.equals(bytes) !== true)
          violate(
            `${key} was written, and is ${left.has(key) ? 'another' : 'gone'} after the power was lost`,
          );
    },
  };

  function bytesAt(key: string): Buffer | undefined {
    const found = filesOf(root.entries.get(AREA)).find(([as]) => as === key);
    return found?.[1];
  }
}
