import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Whether a program can be run here: it is there, or Debian's package brings it, where apt may install it.
 */
export async function hasProgram(program: string, debianPackage: string): Promise<boolean> {
  if (await runs(program)) return true;
  if (process.getuid?.() !== 0) return false;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await run('apt-get', ['-qq', 'update'], { env });
    await run('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', debianPackage], {
      env,
    });
  } catch {
    return false;
  }
  return runs(program);
}

async function runs(program: string): Promise<boolean> {
  return run(program, ['--version']).then(
    () => true,
    () => false,
  );
}
