import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { NotRun } from './trial.js';

const run = promisify(execFile);

/**
 * A Python with the newest packages of PyPI, in a venv of its own below `cache`.
 * @returns its interpreter, and the version of a package of it.
 * @throws {NotRun} where this machine has no Python 3 with venv, or PyPI cannot be reached.
 */
export async function pythonWith(
  cache: string,
  ...packages: readonly string[]
): Promise<{ python: string; versionOf: (name: string) => Promise<string> }> {
  const venv = join(cache, 'python');
  const python = join(venv, 'bin/python');
  try {
    await run('python3', ['-m', 'venv', venv]);
    await run(python, ['-m', 'pip', 'install', '--quiet', '--upgrade', ...packages]);
  } catch (error) {
    const { stderr = String(error) } = error as { stderr?: string };
    throw new NotRun(
      `no Python 3 with ${packages.join(', ')}: ${stderr.trim().split('\n').at(-1) ?? ''}`,
    );
  }
  const versionOf = async (name: string): Promise<string> => {
    const script = 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))';
    return (await run(python, ['-c', script, name])).stdout.trim();
  };
  return { python, versionOf };
}
