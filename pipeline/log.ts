import { createRequire } from 'node:module';
import type { Logger } from 'pino';
import type * as PinoPretty from 'pino-pretty';
import { printableLines, withoutSecrets } from './printable.js';

/** The run's log. Nothing secret is ever passed to it. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** The run's own log, whose children carry the task that they belong to. */
export type RunLog = Pick<Logger, keyof Log | 'child'>;

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LogOptions {
  /** What people see; the file, if any, gets at least `info`. */
  level: LogLevel;
  file: string | undefined;
  /** Prints a line for people. */
  print: (line: string) => void;
  color: boolean;
}

/**
 * A log that writes readable lines through `print`, and JSON lines (pino's) to a file where one is named.
 * @returns the log and a function that forces the file to be written.
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
  const disk =
    file === undefined
      ? undefined
      : pino.destination({ dest: file, sync: true, append: true, mkdir: true });
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
    flush: () => disk?.flushSync(),
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
