import { spawn } from 'node:child_process';
import type { ExecutionContext } from 'ava';
import { findProgram, installPackages } from './debian.js';
import { endProcess } from './private-server.js';

/** A program at a terminal of its own, as somebody types at it. */
export interface Terminal {
  /** Types, and waits until the program has shown what fits; gives all that it has shown since. */
  type(keys: string, until: RegExp): Promise<string>;
}

/** Longest time in which what was typed is answered. */
const PATIENCE = 60_000;

/**
 * Starts a program at a terminal, by `script` of util-linux.
 * @param line as `sh` reads it.
 */
export function openTerminal(
  t: ExecutionContext,
  line: string,
  { cwd, env }: { cwd: string; env: Readonly<Record<string, string>> },
): Terminal {
  const child = spawn('script', ['-qec', `stty cols 200 rows 50; exec ${line}`, '/dev/null'], {
    cwd,
    env: { ...env, TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => endProcess(child));
  let shown = '';
  let look = (): void => undefined;
  let fail = (why: string): void => {
    t.log(why);
  };
  child.once('exit', () => {
    fail('ended');
  });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    look();
  });
  return {
    type: (keys, until) =>
      new Promise((resolve, reject) => {
        fail = (why) => {
          reject(new Error(`${why}: ${JSON.stringify(keys)} shows ${JSON.stringify(shown)}`));
        };
        const impatience = setTimeout(fail, PATIENCE, 'no answer');
        look = () => {
          if (!until.test(shown)) return;
          clearTimeout(impatience);
          resolve(shown);
          shown = '';
        };
        child.stdin.write(keys);
        look();
      }),
  };
}

/** Sees to it that the shells are there, from Debian where they are not. */
export async function provideShells(...names: readonly string[]): Promise<void> {
  const look = names.map((name) => `command -v ${name}`).join(' && ');
  const reason = await installPackages(look, ...names);
  for (const name of names)
    if ((await findProgram(name)) === undefined)
      throw new Error(
        `These tests need ${name} and found none (${reason ?? 'it was installed elsewhere'}). Install it ("apt-get install ${name}").`,
      );
}
