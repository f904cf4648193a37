import { fstatSync, statSync } from 'node:fs';
import {
  BudgetError,
  DifferenceError,
  InterruptedError,
  UsageError,
  causeOf,
  describeError,
  errorToJson,
} from '../shared/errors.js';
import type { OpenLog } from '../shared/log.js';
import { createLog, logLevels } from '../shared/log.js';
import { isDocumentPrinted, printDocument, tell } from '../shared/output.js';
import { version } from '../shared/version.js';

/** What is told of this process, from before anything can fail to how it ends: its log, its last words, its exit code. */

/** Every exit code but 0; docs/operations.md has the table. */
export const EXIT = {
  failed: 1,
  /** Wrong usage or configuration: nothing was done. */
  usage: 2,
  /** A figure differs beyond the tolerance, or moved by a threshold: whatever else was asked for is done. */
  differs: 3,
  /** The budget of requests (`--max-requests`) is used up. */
  budget: 4,
  /** `status --check` alone: all is well, but AWS may still change the figures. */
  provisional: 5,
  interrupted: 130,
} as const;

/**
 * The exit code of a command in which these failures happened: that of their kind where all are of one kind, and
 * 1 where they are not, or where none is told from the others.
 */
export function exitCodeOf(failures: readonly unknown[]): number {
  return oneCode(failures.map(kindOf));
}

/** The code that all have, and 1 where they have several, or there are none. */
export function oneCode(codes: readonly number[]): number {
  const [code = EXIT.failed, ...others] = new Set(codes);
  return others.length === 0 ? code : EXIT.failed;
}

function kindOf(failure: unknown): number {
  if (failure instanceof DifferenceError) return EXIT.differs;
  return failure instanceof BudgetError ? EXIT.budget : EXIT.failed;
}

/** The log of this process, which knows how the process ended. */
interface Journal extends OpenLog {
  command: string;
  /** When it began, as `performance.now()` tells it. */
  began: number;
  /** The figures with which it ends. */
  figures?: Readonly<Record<string, unknown>> | undefined;
}

let journal: Journal | undefined;

/** The log of this process, which is open wherever a command works. */
export function openJournal(): Journal {
  if (journal === undefined) throw new Error('the log is not open');
  return journal;
}

/**
 * Opens the log that a command's flags ask for, before anything can fail: also what is wrong with the other flags
 * is to stand in it.
 * @param args the flags as they were given, right or wrong.
 * @throws {UsageError} when its file cannot be written, or is where what a program reads goes.
 */
export async function openLog(
  args: Readonly<Record<string, unknown>> & { _: readonly (string | number)[] },
): Promise<void> {
  const { json, output, 'log-file': named, 'log-level': asked } = args;
  const file = typeof named === 'string' && named.trim() !== '' ? named : undefined;
  const level = logLevels.find((one) => one === asked) ?? 'warn';
  const isForProgram = json === true || output === 'json' || output === 'csv';
  if (isForProgram && file !== undefined && isStandardOutput(file)) {
    throw new UsageError('the log would mix with the result on standard output', {
      where: '--log-file',
      next: 'name another file',
    });
  }
  try {
    const log = await createLog({ level, file, print: tell });
    journal = { ...log, command: String(args._[0] ?? 'pipeline'), began: performance.now() };
  } catch (cause) {
    throw new UsageError(`the log file cannot be written: ${describeError(cause)}`, {
      where: '--log-file',
      cause,
    });
  }
  journal.log.info({ version }, `${journal.command} begins`);
}

/** The log file that a command line names, whatever else it says. */
function logFlags(words: readonly string[]): Parameters<typeof openLog>[0] {
  const flag = '--log-file';
  const at = words.findIndex((word) => word === flag || word.startsWith(`${flag}=`));
  const file = words[at] === flag ? words[at + 1] : words[at]?.slice(flag.length + 1);
  return { '_': [], 'log-file': file };
}

/** Whether a command line asks for one JSON document, whatever else it says. */
function wantsDocument(words: readonly string[]): boolean {
  return words.some((word, index) => {
    const next = words[index + 1];
    if (word === '--output') return next === 'json';
    return (
      word === '--output=json' || word === '--json=true' || (word === '--json' && next !== 'false')
    );
  });
}

/** Ends the log with how the process ends. */
export function closeLog(): void {
  if (journal === undefined) return;
  const { log, command, began, figures, close } = journal;
  const seconds = (performance.now() - began) / 1000;
  log.info({ ...figures, seconds, exitCode: process.exitCode ?? 0 }, `${command} ends`);
  close();
  journal = undefined;
}

/** Whether a file is what standard output writes to: `/dev/stdout`, or the file of `> FILE`. */
function isStandardOutput(file: string): boolean {
  try {
    const [named, output] = [statSync(file), fstatSync(1)];
    const isSink = output.isCharacterDevice() && !process.stdout.isTTY;
    return !isSink && named.dev === output.dev && named.ino === output.ino;
  } catch {
    return false;
  }
}

/**
 * Ends a command that could not give its answer: tells why, sets the exit code, and gives a program the failure
 * as its one document, unless it has got a result.
 * @param words the command line as it was given.
 */
export async function fail(error: unknown, words: readonly string[]): Promise<void> {
  process.exitCode =
    error instanceof UsageError
      ? EXIT.usage
      : error instanceof InterruptedError
        ? EXIT.interrupted
        : exitCodeOf([error]);
  tell(`pipeline: ${describeError(error)}`);
  const isJson = wantsDocument(words);
  // What is wrong with the command line may have been found before its log was asked for.
  if (journal === undefined)
    await openLog({ ...logFlags(words), json: isJson }).catch(() => undefined);
  const { message, ...details } = errorToJson(error);
  journal?.log.error({ ...details, ...causeOf(error), err: error }, String(message));
  if (!isJson || isDocumentPrinted()) return;
  // Where it cannot be printed either, the first failure is the one to tell.
  await printDocument({ error: errorToJson(error) }).catch(() => undefined);
}
