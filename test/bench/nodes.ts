import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { finished } from '../support/cli.js';
import type { NodeRows } from './table.js';
import { majorOf } from './table.js';

const run = promisify(execFile);

/** The Node versions that the targets are of. */
const majors = ['20', '24'] as const;

/**
 * The other Node versions that the bench is to run on, as far as this machine has them: what `NODE20` and
 * `NODE24` name, else `node20` and `node24` on the path.
 * @throws {Error} when a variable names something else.
 */
export async function otherNodes(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string[]> {
  const found: string[] = [];
  for (const major of majors) {
    if (major === majorOf(process.versions.node)) continue;
    const named = env[`NODE${major}`];
    const program = named ?? `node${major}`;
    const version = await run(program, ['--version']).then(
      ({ stdout }) => stdout.trim(),
      () => undefined,
    );
    if (version !== undefined && majorOf(version) === `v${major}`) found.push(program);
    else if (named !== undefined)
      throw new Error(
        `NODE${major}=${named}: ${version ?? 'cannot be run'}, which is no Node ${major}`,
      );
  }
  return found;
}

/**
 * Runs this very program with the same arguments and `--json` on another Node.
 * @throws {Error} when it fails.
 */
export async function benchOn(node: string): Promise<NodeRows> {
  const child = spawn(node, [...process.argv.slice(1), '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { code, stdout } = await finished(child);
  if (code !== 0) throw new Error(`the bench on ${node} ended with ${code}`);
  return JSON.parse(stdout) as NodeRows;
}
