import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess, watchOver } from '../support/private-server.js';
import type { Attempt } from './trial.js';

/** A server of a trial, listening on 127.0.0.1. */
export interface RunningServer {
  child: ChildProcess;
  /** Its standard output and error so far. */
  output: () => string;
}

/**
 * Starts a server and waits until it answers anything at `url`. It ends with the trial.
 * @throws when it ends before, with what it printed.
 */
export async function startHttpServer(
  t: Attempt,
  command: readonly [program: string, ...args: string[]],
  url: string,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningServer> {
  const [program, ...args] = command;
  const child = spawn(program, args, {
    cwd: t.folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: t.folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const watchdog = watchOver(child, t.folder);
  t.teardown(async () => {
    await endProcess(child);
    watchdog.kill();
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  let failure: unknown;
  child.once('error', (error) => (failure = error));
  while (!(await answers(url))) {
    if (failure !== undefined || child.exitCode !== null)
      throw new Error(`${program} ended before it answered at ${url}: ${output}`, {
        cause: failure,
      });
    await sleep(50);
  }
  return { child, output: () => output };
}

/** Whether a server answers there; a certificate that nobody knows is an answer too. */
async function answers(url: string): Promise<boolean> {
  try {
    await (await fetch(url)).arrayBuffer();
    return true;
  } catch (error) {
    const { code } = (error as { cause?: { code?: string } }).cause ?? {};
    return code !== undefined && !/^(ECONN|UND_ERR)/.test(code);
  }
}
