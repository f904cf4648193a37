import { closeSync, constants, openSync, statSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import type * as PinoPretty from 'pino-pretty';
import { codeOf, makeFolder } from './files.js';
import { printableLines, withoutSecrets } from './printable.js';

/** The run's log. Nothing secret is ever passed to it. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** The run's own log, whose children carry the task that they belong to. */
export type RunLog = Pick<Logger, keyof Log | 'child'>;

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

interface LogOptions {
  /** What people see; the file, if any, gets at least `info`. */
  level: LogLevel;
  file: string | undefined;
  /** Prints a line for people. */
  print: (line: string) => void;
  color: boolean;
}

/**
 * A log that writes readable lines through `print`, and JSON lines (pino's) to a file where one is named. A
 * file that cannot be written any more gets a warning and no further line: the work goes on without it.
 * @returns the log and a function that writes what is left for the file, and closes it.
 * @throws when the file cannot be opened.
 */
export async function createLog({
  level,
  file,
  print,
  color,
}: LogOptions): Promise<{ log: RunLog; flush: () => void }> {
  const { pino } = await import('pino');
  let pretty: ((line: string) => string) | undefined;
  const people = {
    write(line: string) {
      pretty ??= prettyPrinter({ level, color });
      print(pretty(shown(line)).trimEnd());
    },
  };
  const streams: { level: LogLevel; stream: { write(line: string): void } }[] = [
    { level, stream: people },
  ];
  const disk = file === undefined ? undefined : await openLogFile(file, print);
  if (disk !== undefined)
    streams.push({ level: level === 'debug' ? 'debug' : 'info', stream: disk });
  const lowest = level === 'debug' ? 'debug' : 'info';
  return {
    log: pino(
      {
        level: lowest,
        base: null,
        // An error's causes are repeated word for word, whatever whoever answered has put into them.
        hooks: { streamWrite: (line) => printableLines(withoutSecrets(line)) },
      },
      pino.multistream(streams.filter((stream) => stream.level !== 'silent')),
    ),
    flush: () => disk?.close(),
  };
}

/** Bytes of lines that may wait for whoever reads the log at the other end of a FIFO or terminal. */
const MOST_WAITING = 1024 * 1024;

/**
 * Opens a log file to append to. Each line is written before the work goes on, as it may be the last; no
 * write waits: what a FIFO has no room for is tried again with the next line.
 */
async function openLogFile(
  file: string,
  print: (line: string) => void,
): Promise<{ write(line: string): void; close(): void }> {
  await makeFolder(dirname(file));
  const before = statSync(file, { throwIfNoEntry: false });
  if (before?.isBlockDevice() === true) throw new Error('it is a disk');
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
  let fd: number | undefined;
  try {
    fd = openSync(file, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, 0o666);
  } catch (cause) {
    if (codeOf(cause) === 'ENXIO') throw new Error('nobody reads it (ENXIO)', { cause });
    throw cause;
  }
  let waiting = Buffer.alloc(0);
  const giveUp = (code: string): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
    print(`warning: the log file cannot be written any more (${code}), and ends here [${file}]`);
  };
  const send = (): void => {
    try {
      while (fd !== undefined && waiting.length > 0)
        waiting = waiting.subarray(writeSync(fd, waiting));
    } catch (cause) {
      const code = codeOf(cause) ?? String(cause);
      if (code !== 'EAGAIN' || waiting.length > MOST_WAITING) giveUp(code);
    }
  };
  return {
    write(line) {
      if (fd === undefined) return;
      waiting = Buffer.concat([waiting, Buffer.from(line)]);
      send();
    },
    close() {
      send();
      if (fd === undefined) return;
      if (waiting.length > 0) giveUp('EAGAIN');
      else closeSync(fd);
      fd = undefined;
    },
  };
}

/** A line of JSON whose escaped control characters stay visible when the printer reads it; line breaks stay. */
function shown(line: string): string {
  return line.replaceAll(/\\(?:\\|u[\da-f]{4}|[bfrt])/gi, (escape) =>
    escape === '\\\\' ? escape : `\\${escape}`,
  );
}

const load = createRequire(import.meta.url);

/** The printer loads with the first line: most runs print none, and it takes as long as a small command. */
function prettyPrinter({ level, color }: Pick<LogOptions, 'level' | 'color'>) {
  const { prettyFactory } = load('pino-pretty') as Pick<typeof PinoPretty, 'prettyFactory'>;
  return prettyFactory({
    colorize: color,
    ignore: 'pid,hostname',
    translateTime: 'HH:MM:ss',
    singleLine: level !== 'debug',
  });
}
