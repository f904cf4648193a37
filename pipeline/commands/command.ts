import type { ArgumentsCamelCase, CommandModule, InferredOptionTypes, Options } from 'yargs';
import type { Config, Flags, Needs } from '../config/config.js';
import { stages } from '../config/selection.js';
import { settingFlags } from '../config/settings.js';
import type { Resources } from '../run/resources.js';
import { ownCommand } from '../shared/commands.js';
import { InterruptedError, UsageError } from '../shared/errors.js';
import type { RunLog } from '../shared/log.js';
import { logLevels } from '../shared/log.js';
import { printDocument, printText, tell } from '../shared/output.js';
import type { AnswerTable } from './answer-table.js';
import { EXIT, closeLog, openJournal } from './journal.js';

/** A command: its name, its description, its flags and its work. The skeleton below does all else. */
export interface Command<F extends Record<string, Options>> {
  name: string;
  describe: string;
  flags: F;
  epilogue?: string;
  /** Command lines after `pipeline`, each with what it does. */
  examples?: readonly (readonly [line: string, does: string])[];
  /** Whether a signal is how it ends, and no interruption. */
  isEndedBySignal?: boolean;
  /** Settles what flags, environment and configuration file say, before it opens or contacts anything. */
  work: (args: Args<F>, context: Context) => Promise<AnswerOf<F>>;
}

type Args<F extends Record<string, Options>> = ArgumentsCamelCase<InferredOptionTypes<F>>;

/** What a command works with. */
export interface Context {
  log: RunLog;
  /** Given when the user asks the command to stop. */
  signal: AbortSignal;
  /** What the tasks of a run share; closed when the work is done. */
  open: (config: Config) => Promise<Resources>;
}

/** What a command has found or done. */
export interface Answer {
  /** For people; what may be long prints itself. */
  text: () => string | Promise<void>;
  /** The same as one document, with `--output json`. */
  json: () => unknown;
  /** The rows of that document, with `--output csv`. */
  table?: () => AnswerTable;
  /** Whether the process exits with 1. */
  failed: boolean;
  /** What it exits with instead, where 1 would not say it. */
  exitCode?: number;
  /** Whether nothing was left undone, also where a signal came after all. */
  isWhole?: boolean;
  /** Whether it is no news to whoever asks for news alone, with `--quiet`. */
  isUsual?: boolean;
  /** The figures with which the log ends. */
  figures?: Readonly<Record<string, unknown>>;
}

/** An answer that is a table for people, and so has its rows. */
export type TableAnswer = Answer & Required<Pick<Answer, 'table'>>;

/** A command with `--output` gives rows. */
type AnswerOf<F> = F extends { output: Options } ? TableAnswer : Answer;

/** The flags of every command that was made, by its name. */
export const commandFlags = new Map<string, Readonly<Record<string, Options>>>();

/** What every such command does, and the name of what is given to it by its place. */
export const commandTexts = new Map<string, { describe: string; placed: string | undefined }>();

/**
 * Makes the command: flags → settings → work → answer. The answer goes to standard output, as text, with
 * `--output json` (`--json`) as one document or with `--output csv` as its rows, all else to standard error; the process
 * exits with 0, or 1 where the answer says so; what is thrown goes to `fail`.
 */
export function command<F extends Record<string, Options>>(
  definition: Command<F>,
): CommandModule<object, InferredOptionTypes<F>> {
  const { name, describe, flags: own, epilogue, examples = [], isEndedBySignal, work } = definition;
  // What the name has in brackets is given by its place, not by a flag.
  const [, placed] = /\[(\w+)\]/.exec(name) ?? [];
  const [word = name] = name.split(' ');
  commandFlags.set(word, own);
  commandTexts.set(word, { describe, placed });
  return {
    command: name,
    describe,
    builder(yargs) {
      // Of its own examples yargs breaks a command where half a line ends.
      const shown = examples.flatMap(([line, does]) => [`  pipeline ${line}`, `      ${does}`]);
      const parts = [
        ...(shown.length === 0 ? [] : [['Examples:', ...shown].join('\n')]),
        ...(epilogue === undefined ? [] : [epilogue]),
      ];
      const built = yargs.options(own).epilogue(parts.join('\n\n'));
      if (placed !== undefined) built.positional(placed, { describe: own[placed]?.describe });
      return built;
    },
    async handler(args) {
      const journal = openJournal();
      const { log, tellWarnings } = journal;
      const interrupt = interruptible();
      const { signal } = interrupt;
      const opened: Resources[] = [];
      let isSilent = false;
      const context: Context = {
        log,
        signal,
        async open(config) {
          const { openResources } = await import('../run/resources.js');
          const resources = await openResources(config, { log, signal });
          opened.push(resources);
          return resources;
        },
      };
      try {
        // Before the work, which may cost money.
        const form = formOf(args as OutputFlags);
        const answer: Answer = await work(args, context);
        // A reader of the answer may take its time: from here on a signal just ends the process.
        interrupt.end();
        if (answer.failed) process.exitCode = answer.exitCode ?? EXIT.failed;
        journal.figures = answer.figures;
        const { quiet } = args as OutputFlags;
        isSilent = quiet === true && answer.isUsual === true && !answer.failed && !signal.aborted;
        if (!isSilent) tellWarnings();
        if (!isSilent || form !== 'text') await print(answer, form, isSilent);
        if (signal.aborted && isEndedBySignal !== true && answer.isWhole !== true)
          throw new InterruptedError();
      } finally {
        interrupt.end();
        for (const resources of opened) await resources.close();
        if (!isSilent) tellWarnings();
      }
    },
  };
}

/** The flags that tell what is printed. */
interface OutputFlags {
  json?: boolean;
  output?: string;
  quiet?: boolean;
}

/** In which form an answer is printed: for people, or for programs. */
type Form = 'text' | 'json' | 'csv';

/** @throws {UsageError} when the flags ask for two forms. */
function formOf({ json, output }: OutputFlags): Form {
  if (json === true && output !== undefined && output !== 'json')
    throw new UsageError(`--json does not go with --output ${output}`, {
      next: 'use one or the other',
    });
  if (json === true || output === 'json') return 'json';
  // A command's own further forms are texts.
  return output === 'csv' ? 'csv' : 'text';
}

/** Every flag that more than one command has, that may be given several times, or that is a setting's. */
export const flags = {
  'stage': {
    ...each(),
    describe: `Stage to run, repeatable: ${stages.join(', ')} (default: all)`,
  },
  'month': {
    ...each(),
    describe: 'Month YYYY-MM, repeatable (default: the last complete one, UTC)',
  },
  'from': { ...one(), describe: 'First month of a range' },
  'to': { ...one(), describe: 'Last month of the range (default: the last complete one)' },
  'organization': { ...each(), describe: 'Organization, repeatable (default: all)' },
  'customer': {
    ...each(),
    describe: 'Account id or name of a customer: make these statements alone, repeatable',
  },
  ...settingFlags,
  'config': { ...one(), describe: 'Configuration file (default pipeline.config.yaml, if there)' },
  'quiet': {
    ...off(),
    describe: 'Print only when something failed, was restated or is provisional again',
  },
  'output': {
    ...one(),
    choices: ['table', 'json', 'csv'],
    describe: 'Print a table (default), one JSON document, or its rows as CSV',
  },
  'json': { ...off(), describe: 'Print the result as one JSON document' },
  'log-file': { ...one(), describe: 'Append a log of JSON lines to this file' },
  'log-level': {
    ...one(),
    choices: logLevels,
    default: 'warn',
    describe: 'What the log on standard error shows',
  },
} as const;

/** A flag with a value. */
export function one() {
  return { type: 'string', requiresArg: true } as const;
}

/** A flag that may be given several times, with one value each time. */
export function each() {
  return { type: 'string', array: true, nargs: 1, requiresArg: true } as const;
}

/** A flag that is off where it is not given. */
export function off() {
  return { type: 'boolean', default: false } as const;
}

/** The named ones of the {@link flags}, in this order. */
export function pick<K extends keyof typeof flags>(...names: K[]): Pick<typeof flags, K> {
  return Object.fromEntries(names.map((name) => [name, flags[name]])) as Pick<typeof flags, K>;
}

/**
 * Settles a command's settings from its flags, the environment and the configuration file. What validates
 * them loads only now: `--help` and `--version` do without it.
 * @throws {UsageError} naming every setting that is wrong or missing.
 */
export async function configure(args: Flags, needs: Needs): Promise<Config> {
  const [{ resolveConfig }, { readConfigFile }] = await Promise.all([
    import('../config/config.js'),
    import('../config/config-file.js'),
  ]);
  const named = typeof args['config'] === 'string' ? args['config'] : undefined;
  return resolveConfig(args, process.env, await readConfigFile(named), needs);
}

/** The same; without the settings of Vault, where only they are missing, and why they are. */
export async function configureAnyway(
  args: Flags,
  needs: Needs,
): Promise<{ config: Config; notSetUp: UsageError | undefined }> {
  const without = await configure(args, { ...needs, organizations: false });
  try {
    return { config: await configure(args, needs), notSetUp: undefined };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const next = `"${ownCommand(['check'])}" names what is missing`;
    return { config: without, notSetUp: new UsageError('it is not set up', { next }) };
  }
}

/** Ctrl-C (or a polite kill) asks the work to stop where nothing is lost; a second one ends the process at once. */
function interruptible(): { signal: AbortSignal; end: () => void } {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) {
      // The next one ends the process without asking it, should its end wait for anything.
      end();
      process.exitCode = EXIT.interrupted;
      closeLog();
      process.exit();
    }
    tell('stopping; once more to stop at once');
    controller.abort();
  };
  const end = (): void => {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return { signal: controller.signal, end };
}

async function print({ text, json, table }: Answer, form: Form, isSilent: boolean): Promise<void> {
  if (form === 'json') return printDocument(json());
  if (form === 'csv' && table !== undefined) {
    const { printCsv } = await import('./answer-table.js');
    const rows = table();
    await printCsv(rows);
    if (!isSilent) for (const note of rows.notes ?? []) tell(note);
    return;
  }
  const printed = text();
  if (typeof printed === 'string') await printText(printed);
  else await printed;
}
