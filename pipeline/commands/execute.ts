import { fstatSync, statSync } from 'node:fs';
import type { Config } from '../config/config.js';
import type { Selection } from '../config/selection.js';
import type { RunReport } from '../run/runner.js';
import type { Resume } from '../run/summary.js';
import { InterruptedError, UsageError, describeError } from '../shared/errors.js';
import type { LogLevel } from '../shared/log.js';
import { createLog } from '../shared/log.js';
import { isDocumentPrinted, printDocument, printText, tell } from '../shared/output.js';

export interface Execution {
  config: Config;
  selection: Selection;
  args: {
    'force': boolean;
    'accept-empty'?: boolean;
    'json': boolean;
    'log-file': string | undefined;
    'log-level': LogLevel;
  } & Readonly<Record<string, unknown>>;
  /** The command that goes on with failed tasks. */
  resume: Resume;
}

/**
 * Runs the stages with progress on standard error and the result on standard output, and sets the
 * process's exit code: 0 all done, 1 a task failed, 130 interrupted.
 * @throws {PipelineError} when no task could be begun.
 */
export async function execute({ config, selection, args, resume }: Execution): Promise<RunReport> {
  const { createProgress } = await import('../run/progress.js');
  const progress = createProgress(process.stderr);
  const { log, flush } = await openLog(args, progress.print);
  const interrupt = interruptible();
  try {
    // The log says it too, but may be asked to say errors only.
    if (config.vault?.skipVerify === true && ['error', 'silent'].includes(args['log-level'])) {
      progress.line("warning: VAULT_SKIP_VERIFY is on: Vault's certificate is not checked");
    }
    const { run } = await import('../run/runner.js');
    const { formatReport, reportToJson } = await import('../run/summary.js');
    const report = await run({
      config,
      selection,
      force: args.force,
      acceptEmpty: args['accept-empty'],
      signal: interrupt.signal,
      log,
      progress,
      now: () => new Date(),
    });
    progress.stop();
    // A reader of the result may take its time: from here on a signal just ends the process.
    interrupt.end();
    await (args.json
      ? printDocument(reportToJson(report, resume))
      : printText(formatReport(report, resume)));
    if (report.interrupted) throw new InterruptedError();
    if (report.tasks.some(({ state }) => state === 'failed')) process.exitCode = 1;
    return report;
  } catch (error) {
    log.debug({ err: error }, 'the run failed');
    throw error;
  } finally {
    progress.stop();
    interrupt.end();
    flush();
  }
}

/** Gives a program the failure of a command as its one document, unless the command has printed a result. */
export async function printFailure(error: unknown): Promise<void> {
  if (isDocumentPrinted()) return;
  const { errorToJson } = await import('../run/summary.js');
  // Where it cannot be printed either, the first failure is the one to tell.
  await printDocument({ error: errorToJson(error) }).catch(() => undefined);
}

/**
 * Opens the log that a command's flags ask for.
 * @throws {UsageError} when its file cannot be written, or is where the one document of `--json` goes.
 */
export async function openLog(
  args: Pick<Execution['args'], 'json' | 'log-file' | 'log-level'>,
  print: (line: string) => void,
): ReturnType<typeof createLog> {
  if (args.json && args['log-file'] !== undefined && isStandardOutput(args['log-file'])) {
    throw new UsageError('the log would mix with the document on standard output', {
      where: '--log-file',
      next: 'name another file',
    });
  }
  try {
    return await createLog({
      level: args['log-level'],
      file: args['log-file'],
      print,
      color: process.stderr.isTTY,
    });
  } catch (cause) {
    throw new UsageError(`the log file cannot be written: ${describeError(cause)}`, {
      where: '--log-file',
      cause,
    });
  }
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

/** Ctrl-C (or a polite kill) asks the tasks to stop where nothing is lost; a second one ends the process at once. */
export function interruptible(): { signal: AbortSignal; end: () => void } {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) {
      // The next one ends the process without asking it, should its end wait for anything.
      end();
      process.exit(130);
    }
    tell('stopping; once more to stop at once\n');
    controller.abort();
  };
  const end = (): void => {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return { signal: controller.signal, end };
}
