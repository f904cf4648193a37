import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TransientError } from '../shared/errors.js';
import { codeOf } from '../shared/files.js';
import { pause } from '../shared/waits.js';
import { asideOf, isLeftBy, ownName, sweepAside, unwritable } from './aside.js';

/** Milliseconds after which a turn is over whose process cannot be looked for, such as another container's. */
const LONGEST_TURN = 5_000;
/** Milliseconds that a turn is waited for, and between two looks. */
const LONGEST_WAIT = 10_000;
const LOOK = 20;

/**
 * Does what reads a file and replaces it, which takes milliseconds, while no other process does.
 *
 * Whose turn it is says a folder beside the file, with one file in it that is named after its process. It is made
 * aside and renamed: that takes the place of no folder but an empty one. So a turn that was left is ended by removing
 * that one name, which ends no other's.
 * @throws {TransientError} when others took too long. @throws {ConfigurationError} where the folder is not writable.
 */
export async function inTurn<T>(file: string, work: () => Promise<T>): Promise<T> {
  const turn = join(dirname(file), `.${basename(file)}.turn`);
  await begin(file, turn);
  try {
    return await work();
  } finally {
    await rm(join(turn, ownName), { force: true });
    // Another has taken the empty folder, or removed it.
    await rmdir(turn).catch(() => undefined);
  }
}

async function begin(file: string, turn: string): Promise<void> {
  const own = asideOf(turn);
  try {
    await sweepAside(dirname(turn), basename(turn));
    await mkdir(own);
    await writeFile(join(own, ownName), '');
    const end = performance.now() + LONGEST_WAIT;
    const seen = new Map<string, number>();
    while (!(await isTaken(own, turn))) {
      if (performance.now() > end)
        throw new TransientError('other runs are writing it without end', { where: file });
      await endLeft(turn, seen);
      await pause(LOOK * Math.random());
    }
  } catch (cause) {
    await rm(own, { recursive: true, force: true }).catch(() => undefined);
    throw unwritable(file, cause);
  }
}

/** Whether the turn is this process's now. */
async function isTaken(own: string, turn: string): Promise<boolean> {
  try {
    await rename(own, turn);
    return true;
  } catch (cause) {
    if (['ENOTEMPTY', 'EEXIST'].includes(codeOf(cause) ?? '')) return false;
    throw cause;
  }
}

/**
 * Ends the turn of a process that is gone, or has had it for too long. That is watched, and not read from the time of a
 * file: the clock that gave it, a file server's, may be another than ours.
 * @param seen since when each name was seen at every look, in milliseconds of a clock that never goes back.
 */
async function endLeft(turn: string, seen: Map<string, number>): Promise<void> {
  const names = await readdir(turn).catch((cause: unknown): string[] => {
    // It has ended meanwhile.
    if (codeOf(cause) === 'ENOENT') return [];
    throw cause;
  });
  for (const name of seen.keys()) if (!names.includes(name)) seen.delete(name);
  const now = performance.now();
  for (const name of names) {
    const since = seen.get(name) ?? now;
    seen.set(name, since);
    if (isLeftBy(name) || now - since > LONGEST_TURN) await rm(join(turn, name), { force: true });
  }
}
