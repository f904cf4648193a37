import { stages } from '../config/selection.js';
import { ownCommand } from '../shared/commands.js';
import { UsageError } from '../shared/errors.js';
import { isMonth } from '../shared/month.js';
import { nearest } from '../shared/nearest.js';
import { printable } from '../shared/printable.js';

/** What a command line cannot mean, and what was most likely meant by it. */

/** The flags of every command, by its name, and whether each may be given several times. */
export type CommandFlags = ReadonlyMap<string, Readonly<Record<string, object>>>;

/**
 * Refuses what a flag cannot mean: twice a value where there is one, an empty value (of a shell's variable that
 * is not set), and a switch with another word than true or false, which would be read as false.
 * @param words the command line as it was given.
 * @throws {UsageError} naming the flag.
 */
export function onlyUsable(
  args: Readonly<Record<string, unknown>> & { _: readonly unknown[] },
  words: readonly string[],
  commands: CommandFlags,
): true {
  const known = commands.get(String(args._[0])) ?? {};
  for (const [flag, value] of Object.entries(args)) {
    if (flag === '_') continue;
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (values.some((single) => typeof single === 'string' && single.trim() === ''))
      throw new UsageError(`--${flag} is empty`, { next: 'give it a value, or leave it out' });
    const isSwitch = typeof value === 'boolean';
    if (isSwitch && words.some((word) => word.startsWith(`--${flag}=`) && !isTruth(word)))
      throw new UsageError(`--${flag} is neither true nor false`, { next: 'give it alone' });
    if (Array.isArray(value) && !('array' in (known[flag] ?? {})))
      throw new UsageError(`--${flag} is given more than once`, { next: 'give it once' });
  }
  return true;
}

const isTruth = (word: string): boolean => /=(true|false)$/.test(word);

/** Other words for commands. */
const commandWords: Readonly<Record<string, string>> = {
  ...Object.fromEntries(stages.map((stage) => [stage, `run --stage ${stage}`])),
  fetch: 'run --stage extract',
  download: 'run --stage extract',
  start: 'run',
  sync: 'run',
  estimate: 'plan',
  cost: 'plan',
  price: 'plan',
  validate: 'check',
  doctor: 'check',
  test: 'check',
  list: 'status',
  ls: 'status',
  show: 'status',
  verify: 'reconcile',
  compare: 'reconcile',
  diff: 'changes',
  history: 'changes',
  clean: 'prune',
  cleanup: 'prune',
  delete: 'prune',
  example: 'demo',
  help: '--help',
  version: '--version',
};

/** Other words for flags; the command must have the flag. */
const flagWords: Readonly<Record<string, readonly string[]>> = {
  account: ['customer', 'organization'],
  payer: ['organization'],
  tenant: ['organization'],
  date: ['month'],
  period: ['month'],
  since: ['from'],
  start: ['from'],
  begin: ['from'],
  until: ['to'],
  end: ['to'],
  db: ['database'],
  mysql: ['database'],
  sqlite: ['database'],
  folder: ['staging'],
  dir: ['staging'],
  out: ['staging'],
  output: ['out', 'folder', 'json'],
  bucket: ['staging'],
  granularity: ['detail'],
  budget: ['max-requests'],
  limit: ['max-requests'],
  jobs: ['concurrency'],
  parallel: ['concurrency'],
  workers: ['concurrency'],
  log: ['log-file'],
  verbose: ['log-level info'],
  debug: ['log-level debug'],
  silent: ['quiet'],
  preview: ['dry-run'],
  simulate: ['dry-run'],
  format: ['output', 'json'],
  csv: ['output csv'],
};

/**
 * What is wrong with a command line, in our words, with the right word for what was meant and the page of help
 * that has it.
 * @param message what yargs says of it.
 * @param words the command line as it was given.
 */
export function misused(
  message: string,
  words: readonly string[],
  commands: CommandFlags,
): UsageError {
  const command = words.find((word) => commands.has(word));
  const help = `see "${ownCommand([...(command === undefined ? [] : [command]), '--help'])}"`;
  const [, told] = /^Unknown (?:argument|command)s?: (.*)$/.exec(message) ?? [];
  if (told === undefined) return new UsageError(ourWords(message), { next: help });
  // A flag with hyphens is told in camel case too.
  const names = told.split(', ').map((name) => (words.includes(name) ? name : kebab(name)));
  const unknown = [...new Set(names)];
  const answers = unknown.map((name) =>
    command === undefined
      ? unknownCommand(name, commands)
      : unknownWord(name, command, words, commands),
  );
  const meant = answers.flatMap((answer) => answer.meant ?? []);
  return new UsageError(answers.map(({ what }) => what).join('; '), {
    next: meant.length === 0 ? help : `did you mean ${meant.join(', ')}? ${help}`,
  });
}

const kebab = (name: string): string =>
  name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** What yargs says of a known flag. */
function ourWords(message: string): string {
  const [, empty] = /^Not enough arguments following: (.*)$/.exec(message) ?? [];
  if (empty !== undefined) return `--${empty} is given without its value`;
  const [, missing] = /^Missing required argument: (.*)$/.exec(message) ?? [];
  if (missing !== undefined) return `--${missing} is missing`;
  const [, flag = '', given = '', choices] =
    /Argument: (\S+), Given: (.*), Choices: (.*)/.exec(message) ?? [];
  return choices === undefined ? message : `--${flag} is ${given} and has to be one of ${choices}`;
}

/**
 * Refuses a flag with one hyphen, which would be read as a letter each: the h in `-month` asks for help.
 * @throws {UsageError} naming it.
 */
export function refuseSlips(words: readonly string[]): void {
  const slip = words.find((word) => /^-[a-z][a-z-]+(=|$)/i.test(word));
  if (slip !== undefined)
    throw new UsageError(`${printable(slip)} has one hyphen`, {
      next: `did you mean -${printable(slip)}?`,
    });
}

interface Unknown {
  what: string;
  /** What was most likely meant. */
  meant?: string | undefined;
}

function unknownCommand(name: string, commands: CommandFlags): Unknown {
  const near = nearest(name, [...commands.keys()]) ?? commandWords[name.toLowerCase()];
  return {
    what: `there is no command ${printable(name)}`,
    meant: near === undefined ? undefined : `"${ownCommand(near.split(' '))}"`,
  };
}

function unknownWord(
  name: string,
  command: string,
  words: readonly string[],
  commands: CommandFlags,
): Unknown {
  if (words.includes(name)) {
    // Without its flag: a second value, or a first one.
    const flag = stages.some((stage) => stage === name)
      ? 'stage'
      : isMonth(name)
        ? 'month'
        : 'organization';
    const has = Object.hasOwn(commands.get(command) ?? {}, flag);
    return {
      what: `"${printable(name)}" stands without a flag`,
      meant: has ? `--${flag} ${printable(name)}` : undefined,
    };
  }
  const own = Object.keys(commands.get(command) ?? {});
  const other = (flagWords[name.toLowerCase()] ?? []).find((word) =>
    own.includes(word.replace(/ .*/, '')),
  );
  const near = other ?? nearest(name, own);
  const elsewhere = [...commands].filter(([, flags]) => Object.hasOwn(flags, name));
  const of = elsewhere.map(([of]) => of).join(', ');
  return {
    what: `${command} has no --${printable(name)}${of === '' ? '' : `, which is of ${of}`}`,
    meant: near === undefined || (of !== '' && other === undefined) ? undefined : `--${near}`,
  };
}
