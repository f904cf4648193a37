import { closeSync, constants, openSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { describeSlices } from './commands.js';
import { codeOf, makeFolder } from './files.js';
import { printableLines, withoutSecrets } from './printable.js';

/** The run's log. Nothing secret is ever passed to it. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** The run's own log, whose children carry the task that they belong to. */
export type RunLog = Pick<Logger, keyof Log | 'child'>;

/** For who only looks: what there is to say is said by who does it. */
export const noLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

interface LogOptions {
  /** What people see; the file, if any, gets at least `info`. */
  level: LogLevel;
  file: string | undefined;
  /** Prints a line for people. */
  print: (line: string) => void;
  /** Is given each warning as data, for whoever works elsewhere. */
  onWarning?: (warning: unknown) => void;
}

export interface OpenLog {
  log: RunLog;
  /** Tells people the warnings of which they have not been told. */
  tellWarnings: () => void;
  /** Writes what is left for the file, and closes it. */
  close: () => void;
}

/**
 * A log that tells people through `print`, and writes JSON lines (pino's) to a file where one is named. A
 * file that cannot be written any more gets a warning and no further line: the work goes on without it.
 * @throws when the file cannot be opened.
 */
export async function createLog({ level, file, print, onWarning }: LogOptions): Promise<OpenLog> {
  const { pino } = await import('pino');
  const people = peoplesLog(level, (text) => {
    print(printableLines(text));
  });
  const disk = file === undefined ? undefined : await openLogFile(file, print);
  const lowest = level === 'debug' ? 'debug' : 'info';
  const log = pino(
    {
      level: lowest,
      base: null,
      // An error's causes are repeated word for word, whatever whoever answered has put into them.
      hooks: { streamWrite: (line) => printableLines(withoutSecrets(line)) },
    },
    pino.multistream([
      ...(level === 'silent' ? [] : [{ level, stream: people }]),
      ...(disk === undefined ? [] : [{ level: lowest, stream: disk } as const]),
      ...(onWarning === undefined
        ? []
        : [{ level: 'warn', stream: warningsTo(onWarning) } as const]),
    ]),
  );
  return { log, tellWarnings: people.tellWarnings, close: () => disk?.close() };
}

function warningsTo(give: (warning: unknown) => void): { write(text: string): void } {
  return {
    write(text) {
      const { level, msg, month, organization, stage, where } = JSON.parse(text) as Line;
      if (level === 40) give({ msg, month, organization, stage, where });
    },
  };
}

/** A line of the log, as pino writes it. */
interface Line {
  level: number;
  /** Milliseconds since 1970. */
  time: number;
  msg: string;
  month?: string;
  organization?: string;
  stage?: string;
  where?: string;
  err?: { message: string; stack: string };
  [field: string]: unknown;
}

const levelNames: Readonly<Record<number, string>> = {
  20: 'DEBUG',
  30: 'INFO',
  40: 'WARN',
  50: 'ERROR',
};

/**
 * Tells people what happens. Who wants to follow the work (`info`, `debug`) gets each line as it comes. Others
 * get the warnings, each once with all that it is about, when they are asked for; failures stand in the result.
 */
function peoplesLog(level: LogLevel, print: (line: string) => void) {
  const follows = level === 'debug' || level === 'info';
  const warnings = new Map<string, Line[]>();
  return {
    write(text: string) {
      const line = JSON.parse(text) as Line;
      if (follows) print(followedLine(line, level === 'debug'));
      else if (line.level === 40) {
        const what = `${line.msg}${causeOf(line)}`;
        warnings.set(what, [...(warnings.get(what) ?? []), line]);
      }
    },
    tellWarnings: () => {
      for (const [what, lines] of warnings) {
        const slices = lines.flatMap(({ month, organization }) =>
          month === undefined || organization === undefined ? [] : [{ month, organization }],
        );
        // Tasks run side by side, and warn in any order.
        const name = (slice: (typeof slices)[number]) => `${slice.month} ${slice.organization}`;
        slices.sort((a, b) => (name(a) < name(b) ? -1 : 1));
        const times = lines.length === 1 ? '' : `(${lines.length} times)`;
        const subject = `${describeSlices(slices)} ${times}`.trim();
        print(['warning', subject, what].filter((part) => part !== '').join(': '));
      }
      warnings.clear();
    },
  };
}

function causeOf({ err, where }: Line): string {
  return `${err === undefined ? '' : ` (${err.message})`}${where === undefined ? '' : ` [${where}]`}`;
}

/** What a line says in words, so that it needs no name. */
const inWords = new Set([
  ...['level', 'time', 'msg', 'month', 'organization', 'stage', 'where', 'err'],
]);

function followedLine(line: Line, withStack: boolean): string {
  const { level, time, msg, month, organization, stage, err } = line;
  // A warning has to be whole in words.
  const fields = level < 40 ? Object.entries(line).filter(([name]) => !inWords.has(name)) : [];
  const names = [month, organization, stage].filter((name) => name !== undefined).join(' ');
  return [
    new Date(time).toISOString().slice(11, 19),
    (levelNames[level] ?? '').padEnd(5),
    ...(names === '' ? [] : [`${names}:`]),
    `${msg}${causeOf(line)}`,
    ...fields.map(([name, value]) => {
      return `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`;
    }),
    ...(withStack && err !== undefined ? [`\n${err.stack}`] : []),
  ].join(' ');
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
