import { InterruptedError } from '../errors.js';
import type { Log, LogLevel } from '../log.js';
import { print, tell } from '../output.js';
import { interruptible, openLog } from './execute.js';

/** What a command that looks and tells has found. */
export interface Answer {
  text: string;
  json: unknown;
  /** Whether the process exits with 1. */
  failed: boolean;
}

/**
 * Does a command that looks and tells: its answer goes to standard output, as text or with `--json`
 * as one document, warnings to standard error; the process exits with 0, or 1 where it failed.
 * @throws what `work` throws.
 */
export async function answer(
  args: { 'json': boolean; 'log-level': LogLevel },
  work: (context: { log: Log; signal: AbortSignal }) => Promise<Answer>,
): Promise<void> {
  const { log } = await openLog({ ...args, 'log-file': undefined }, (line) => {
    tell(`${line}\n`);
  });
  const interrupt = interruptible();
  let found: Answer;
  try {
    found = await work({ log, signal: interrupt.signal });
  } catch (error) {
    if (args.json && !(error instanceof InterruptedError)) {
      const { errorToJson } = await import('../report.js');
      const document = JSON.stringify({ error: errorToJson(error) }, null, 2);
      // Where it cannot be printed either, the first failure is the one to tell.
      await print(`${document}\n`).catch(() => undefined);
    }
    throw error;
  } finally {
    interrupt.end();
  }
  const { text, json, failed } = found;
  if (failed) process.exitCode = 1;
  await print(args.json ? `${JSON.stringify(json, null, 2)}\n` : `${text}\n`);
}
