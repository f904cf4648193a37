import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { bareEnvironment } from '../support/cli.js';
import { script } from './measure.js';

/** Does `work` with the stand-in in a process of its own, which ends with this one, whatever happens. */
export async function withStandIn<T>(
  staging: string,
  latencyMs: number,
  work: (environment: Record<string, string>) => Promise<T>,
): Promise<T> {
  const { program, args } = script('run-stand-in', [staging, String(latencyMs)]);
  const child = spawn(program, args, {
    env: bareEnvironment(),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    const [line] = (await Promise.race([
      once(createInterface(child.stdout), 'line'),
      exited.then(([code]) => Promise.reject(new Error(`the stand-in ended with ${code}`))),
    ])) as [string];
    return await work(JSON.parse(line) as Record<string, string>);
  } finally {
    child.stdin.end();
    child.kill();
    await exited;
  }
}
