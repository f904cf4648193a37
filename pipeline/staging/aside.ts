import { lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ConfigurationError, PipelineError } from '../shared/errors.js';
import { codeOf, isRegular, syncFolder } from '../shared/files.js';
import { isGone, self } from './holder.js';
import { sha256Of } from './staging.js';

/** This machine in a file's name: short, since names of files have an end. */
const machine = sha256Of(new TextEncoder().encode(self.machine)).slice(0, 12);

/**
 * The name under which this process writes a file of that name, beside its place. What processes of this machine that
 * are gone (killed, as a rule) have left under such a name is removed.
 */
async function asideOf(file: string): Promise<string> {
  const [folder, start] = [dirname(file), `.${basename(file)}.`];
  for (const name of await readdir(folder)) {
    const left = name.startsWith(start) ? ASIDE.exec(name.slice(start.length)) : null;
    const [, where, pid = '', token = ''] = left ?? [];
    if (where === machine && isGone({ machine: self.machine, pid: Number(pid), token }))
      await rm(join(folder, name), { force: true });
  }
  return join(folder, `${start}${machine}.${self.pid}.${self.token}.tmp`);
}

const ASIDE = /^([0-9a-f]{12})\.(\d+)\.([0-9a-f]{12})\.tmp$/;

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
  let aside: string | undefined;
  try {
    const there = await lstat(file).catch((cause: unknown) => {
      if (codeOf(cause) === 'ENOENT') return undefined;
      throw cause;
    });
    if (there !== undefined && !isRegular(there, file))
      throw new ConfigurationError('a folder has that name', { where: file, next: 'name a file' });
    aside = await asideOf(file);
    await write(aside);
    const written = await open(aside, 'r+');
    await written.sync().finally(() => written.close());
    await rename(aside, file);
    await syncFolder(folder);
  } catch (cause) {
    if (aside !== undefined) await rm(aside, { force: true }).catch(() => undefined);
    const code = codeOf(cause);
    if (cause instanceof PipelineError || code === undefined) throw cause;
    throw new ConfigurationError(`the file cannot be written (${code})`, {
      where: file,
      next: 'check that its folder exists, that this user may write there, and that there is room',
      cause,
    });
  }
}
