import type { Log, LogLevel } from '../log.js';
import { interruptible, openLog, printDocument, printText } from './execute.js';

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
    if (args.json) printDocument(json);
    else printText(text);
    if (failed) process.exitCode = 1;
  } finally {
    interrupt.end();
    flush();
  }
}
