import type { Log, LogLevel } from '../shared/log.js';
import { printDocument, printText, tell } from '../shared/output.js';
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
  } finally {
    interrupt.end();
  }
  const { text, json, failed } = found;
  if (failed) process.exitCode = 1;
  await (args.json ? printDocument(json) : printText(text));
}
