import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Installs Debian packages where this process may. Test files run side by side, so the look for them and the
 * installation happen under one lock: none takes a program that another is still unpacking.
 * @param isThere Shell command that succeeds when nothing is to be installed.
 * @returns why they were not installed, `undefined` when they are there.
 */
export async function installPackages(
  isThere: string,
  ...packages: readonly string[]
): Promise<string | undefined> {
  const installer = process.getuid?.() === 0 ? await findProgram('apt-get') : undefined;
  const lock = await findProgram('flock');
  if (installer === undefined || lock === undefined) {
    const isHere = run('sh', ['-c', isThere]);
    return isHere.then(
      () => undefined,
      () => 'only root can install it, with apt',
    );
  }
  const install = `${installer} -qq update && ${installer} -qq install -y --no-install-recommends ${packages.join(' ')}`;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const script = `${isThere} || { ${install}; }`;
  try {
    await run(lock, [join(tmpdir(), 'pipeline-apt.lock'), 'sh', '-c', script], { env });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A program's file on the search path or where servers lie; `undefined` when there is none. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  for (const folder of [...folders, '/usr/sbin', '/usr/local/sbin', '/usr/libexec']) {
    const file = join(folder, name);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== '' && found) return file;
  }
  return undefined;
}
