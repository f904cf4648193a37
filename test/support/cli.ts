import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pLimit from 'p-limit';

/** The built command, as the package's `bin` names it. */
export const cliFile = fileURLToPath(new URL('../../pipeline/cli.js', import.meta.url));

/** The checkout's folder. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));

export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  cwd: string;
  env?: Readonly<Record<string, string>>;
  /** Called with the running process, to send it signals. */
  running?: (child: ChildProcess) => void;
  /** Makes the process the leader of a process group, whose id is its own. */
  detached?: boolean;
}

/** An environment without any setting of the machine it runs on. */
export function bareEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(AWS|VAULT|PIPELINE)_|_proxy$/i.test(name),
  );
  return {
    ...(Object.fromEntries(entries) as Record<string, string>),
    AWS_EC2_METADATA_DISABLED: 'true',
  };
}

// More processes at once than the machine has cores only makes each of them slow.
const limit = pLimit(2);

/** Runs the real command in a process of its own, until it ends. */
export function pipeline(
  args: readonly string[],
  { cwd, env = {}, running, detached = false }: CliOptions,
): Promise<Finished> {
  return limit(() => {
    const child = spawn(process.execPath, [cliFile, ...args], {
      cwd,
      env: { ...bareEnvironment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached,
    });
    running?.(child);
    return finished(child);
  });
}

/** What a process printed and how it ended. */
export async function finished(child: ChildProcess): Promise<Finished> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/** A folder that is removed when the test ends. */
export async function temporaryFolder(t: {
  teardown: (remove: () => Promise<void>) => void;
}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'billing-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
