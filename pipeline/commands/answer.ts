import { InterruptedError } from '../errors.js';
import type { Log, LogLevel } from '../log.js';
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
  const print = (line: string): void => void process.stderr.write(`${line}\n`);
  const { log, flush } = await openLog({ ...args, 'log-file': undefined }, print);
  const interrupt = interruptible();
  try {
    const { text, json, failed } = await work({ log, signal: interrupt.signal });
    process.stdout.write(args.json ? `${JSON.stringify(json, null, 2)}\n` : `${text}\n`);
    if (failed) process.exitCode = 1;
  } catch (error) {
    if (args.json && !(error instanceof InterruptedError)) {
      const { errorToJson } = await import('../report.js');
      process.stdout.write(`${JSON.stringify({ error: errorToJson(error) }, null, 2)}\n`);
    }
    throw error;
  } finally {
    interrupt.end();
    flush();
  }
}
