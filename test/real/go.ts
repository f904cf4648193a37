import { execFile } from 'node:child_process';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { NotRun } from './trial.js';

const run = promisify(execFile);

/** A program of a module of Go. */
interface GoProgram {
  module: string;
  version: string;
  /** The folder of its package in the module; none for the module's own. */
  command?: string;
  /** Build tags that leave out what no trial needs. */
  tags?: string;
  /** Lines of go.mod beside the module itself, where it cannot be installed by its name: its own replacements do not count then. */
  modules?: string;
  /** The program's text in Go, where the module's own main package cannot be built so. */
  main?: string;
}

/**
 * A program built from Go's module proxy, once for each version, below `cache`. Building may take many minutes.
 * @returns its file, and its version as the table names it.
 * @throws {NotRun} where this machine has no Go that is new enough, or the module cannot be had or built.
 */
export async function goProgram(
  cache: string,
  { module, version, command, tags, modules, main }: GoProgram,
): Promise<{ program: string; version: string }> {
  const folder = join(cache, 'go', `${basename(module)}-${version}`);
  const program = join(folder, basename(command ?? module));
  const built = { program, version: `${version} by Go's module proxy` };
  if (
    await access(program).then(
      () => true,
      () => false,
    )
  )
    return built;
  const making = `${folder}.making`;
  await rm(making, { recursive: true, force: true });
  await mkdir(making, { recursive: true });
  const options = ['-ldflags=-s -w', ...(tags === undefined ? [] : [`-tags=${tags}`])];
  console.log(`building ${module} ${version}, which may take long`);
  try {
    if (main === undefined) {
      const name = command === undefined ? module : `${module}/${command}`;
      const env = { ...process.env, GOBIN: making };
      await run('nice', ['go', 'install', ...options, `${name}@${version}`], { env });
    } else {
      const lines = ['module trial', 'go 1.25.0', `require ${module} ${version}`, modules ?? ''];
      await writeFile(join(making, 'go.mod'), `${lines.join('\n')}\n`);
      await writeFile(join(making, 'main.go'), main);
      const words = ['go', 'build', '-mod=mod', ...options, '-o', basename(program), '.'];
      await run('nice', words, { cwd: making, maxBuffer: 64 * 1024 * 1024 });
    }
  } catch (error) {
    const { stderr = String(error) } = error as { stderr?: string };
    const said = stderr
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('go: downloading'));
    throw new NotRun(`no Go that builds ${module} ${version}: ${said.at(-1) ?? String(error)}`);
  }
  await rm(folder, { recursive: true, force: true });
  await rename(making, folder);
  return built;
}
