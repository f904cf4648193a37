import { lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ConfigurationError, PipelineError } from '../shared/errors.js';
import { codeOf, isRegular, syncFolder } from '../shared/files.js';
import { isGone, self } from './holder.js';
import { sha256Of } from './staging.js';

/** This machine in a file's name: short, since names of files have an end. */
const machine = sha256Of(new TextEncoder().encode(self.machine)).slice(0, 12);

/** This process in a file's name. */
export const ownName = `${machine}.${self.pid}.${self.token}`;

/** Whether a name, see {@link ownName}, is that of a process of this machine that is gone: killed, as a rule. */
export function isLeftBy(name: string): boolean {
  const [, where, pid = '', token = ''] =
    /^([0-9a-f]{12})\.(\d+)\.([0-9a-f]{12})$/.exec(name) ?? [];
  return where === machine && isGone({ machine: self.machine, pid: Number(pid), token });
}

/** The name under which this process writes a file of that name, beside its place. */
export function asideOf(file: string): string {
  return join(dirname(file), `.${basename(file)}.${ownName}.tmp`);
}

const ASIDE = /^\.(.+)\.(\w+\.\d+\.\w+)\.tmp$/;

/**
 * Removes what processes of this machine that are gone have left beside its place.
 * @param only the name of a file; without it, of any in the folder.
 */
export async function sweepAside(folder: string, only?: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, file, by = ''] = ASIDE.exec(name) ?? [];
    if ((only === undefined || file === only) && isLeftBy(by))
      await rm(join(folder, name), { recursive: true, force: true });
  }
}

/**
 * Has a file written beside its place, forces it to the disk and renames it: whoever reads it sees all of the old one
 * or all of the new one. Nothing is left of it where `write` fails; what a killed process left, the next one of the
 * same name removes.
 */
export async function writeAside(
  file: string,
  write: (aside: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(file);
  const aside = asideOf(file);
  try {
    const there = await lstat(file).catch((cause: unknown) => {
      if (codeOf(cause) === 'ENOENT') return undefined;
      throw cause;
    });
    if (there !== undefined && !isRegular(there, file))
      throw new ConfigurationError('a folder has that name', { where: file, next: 'name a file' });
    await sweepAside(folder, basename(file));
    await write(aside);
    const written = await open(aside, 'r+');
    await written.sync().finally(() => written.close());
    await rename(aside, file);
    await syncFolder(folder);
  } catch (cause) {
    await rm(aside, { force: true }).catch(() => undefined);
    throw unwritable(file, cause);
  }
}

/** What it means that a file could not be written. */
export function unwritable(file: string, cause: unknown): unknown {
  const code = codeOf(cause);
  if (cause instanceof PipelineError || code === undefined) return cause;
  return new ConfigurationError(`the file cannot be written (${code})`, {
    where: file,
    next: 'check that its folder exists, that this user may write there, and that there is room',
    cause,
  });
}
