import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Options } from 'yargs';
import { stages } from '../config/selection.js';
import { print } from '../shared/output.js';
import { breakdownWords } from '../shared/dimensions.js';
import { details, furtherMetrics } from '../shared/scope.js';
import { tableNames } from '../staging/tables.js';
import { commandFlags, commandTexts } from './command.js';

/**
 * What a shell may offer for the word that is being typed, asked by the scripts of `pipeline completion`. It is asked
 * at every Tab: it loads little, looks into the staging area only where it is a folder, says nothing where anything is
 * wrong, and ends in any case. All that it offers are names of ours, which need no quotes in any shell.
 */

/** What fits, or whose business it is: the shell's own names of files or folders. */
type Candidates = 'files' | 'folders' | readonly Candidate[];

interface Candidate {
  value: string;
  /** What it means, for shells that show it. */
  text?: string;
}

/** Milliseconds after which nothing is offered: a disk that does not answer holds a shell no longer. */
const DEADLINE = 3000;

/**
 * Prints the candidates, a line each, with what they mean behind a tab; `:files` or `:folders` alone where the shell
 * is to offer those.
 * @param words from zsh and fish the words behind the program's name, the one that is typed last; from bash the line up
 * to the cursor, and the word that bash would replace, which is less where bash breaks it (`--month=2026-10`).
 */
export async function complete([shell, ...words]: readonly string[]): Promise<void> {
  // A read that the system never ends keeps even process.exit from ending the process.
  const deadline = setTimeout(() => process.kill(process.pid, 'SIGKILL'), DEADLINE);
  try {
    const typed = wordsOf(shell, words);
    const found = await candidatesFor(typed);
    if (typeof found === 'string') {
      await print(`:${found}\n`);
      return;
    }
    const current = typed.at(-1) ?? '';
    const kept =
      shell === 'bash' ? current.length - (shellWords(words[1] ?? '').at(-1) ?? '').length : 0;
    const lines = found
      .filter(({ value }) => value.startsWith(current))
      .map(({ value, text }) => value.slice(kept) + (text === undefined ? '' : `\t${text}`));
    await print(lines.map((one) => `${one}\n`).join(''));
  } catch {
    // Nobody asked for a message in the middle of a line.
  } finally {
    clearTimeout(deadline);
  }
}

/** The words behind the program's name, without quotes. */
function wordsOf(shell: string | undefined, words: readonly string[]): readonly string[] {
  const [line = ''] = words;
  if (shell === 'bash') return shellWords(line).slice(1);
  // fish gives what is being typed as it stands there, with a quote that is still open.
  return shell === 'fish' ? [...words.slice(0, -1), ...shellWords(words.at(-1) ?? '')] : words;
}

/**
 * A line's words as a shell reads them, as far as quotes and backslashes go: the last one is the one that is being
 * typed, empty after a blank.
 */
export function shellWords(line: string): string[] {
  const words: string[] = [];
  let word = '';
  for (const [piece, single, double, escaped] of line.trimStart().matchAll(pieces))
    if (/^\s/.test(piece)) {
      words.push(word);
      word = '';
    } else word += single ?? double?.replaceAll(/\\(.)/gs, '$1') ?? escaped ?? piece;
  return [...words, word];
}

/** Blanks, a text in quotes, which may be open at the end, a character behind a backslash, anything else. */
const pieces = /\s+|'([^']*)'?|"((?:[^"\\]|\\.)*)"?|\\(.?)|[^\s'"\\]+/gs;

/**
 * Everything that may stand in the last word's place, whatever of it is typed.
 * @param words those behind the program's name, the one that is typed last.
 * @throws {PipelineError} where the settings that name the staging area are wrong.
 */
export async function candidatesFor(words: readonly string[]): Promise<Candidates> {
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const at = before.findIndex((word) => commandTexts.has(word));
  if (at === -1)
    return before.some((word) => !word.startsWith('-'))
      ? []
      : [
          ...[...commandTexts].map(([value, { describe }]) => ({ value, text: short(describe) })),
          ...['--help', '--version'].map((value) => ({ value })),
        ].filter(({ value }) => current.startsWith('-') || !value.startsWith('-'));
  const command = before[at] ?? '';
  const known = commandFlags.get(command) ?? {};
  const { given, open, placed } = read(before.slice(at + 1), known);
  const [, flag, part] = /^--([\w-]+)=(.*)$/s.exec(current) ?? [];
  if (open !== undefined) return valuesOf(open, known, current, given);
  if (flag !== undefined && part !== undefined) {
    const values = await valuesOf(flag, known, part, given);
    return typeof values === 'string'
      ? values
      : values.map((one) => ({ ...one, value: `--${flag}=${one.value}` }));
  }
  const place = commandTexts.get(command)?.placed;
  if (place !== undefined && !current.startsWith('-'))
    return placed === 0 ? valuesOf(place, known, current, given) : [];
  return flagsOf(known, given);
}

/** What is given so far: each flag's values, a flag that waits for its value, how many words stand without one. */
function read(
  words: readonly string[],
  known: Readonly<Record<string, Options>>,
): { given: Map<string, string[]>; open: string | undefined; placed: number } {
  const given = new Map<string, string[]>();
  let open: string | undefined;
  let placed = 0;
  for (const word of words) {
    const [, name, value] = /^--([\w-]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (open !== undefined) {
      given.get(open)?.push(word);
      open = undefined;
    } else if (name !== undefined) {
      given.set(name, [...(given.get(name) ?? []), ...(value === undefined ? [] : [value])]);
      if (value === undefined && known[name]?.type === 'string') open = name;
    } else if (!word.startsWith('-')) placed++;
  }
  return { given, open, placed };
}

/** The flags that may still be given. */
function flagsOf(
  known: Readonly<Record<string, Options>>,
  given: ReadonlyMap<string, unknown>,
): Candidate[] {
  const flags = Object.entries(known).flatMap(([name, { type, array, describe, ...option }]) => {
    // A switch that is neither on nor off by itself is a setting's, which a file may have switched on.
    const isSetting = type === 'boolean' && option.default === undefined;
    const names = isSetting ? [name, `no-${name}`] : [name];
    const isLeft = array === true || !names.some((one) => given.has(one));
    const text = short(describe ?? '');
    return isLeft ? names.map((one) => ({ value: `--${one}`, text })) : [];
  });
  return [...flags, { value: '--help' }];
}

/** The words that a flag takes, where the flag does not say so itself. */
const words: Readonly<Record<string, readonly string[]>> = {
  stage: stages,
  detail: details,
  metric: furtherMetrics,
  table: tableNames,
  parquet: ['standard', 'basic'],
};

const FILES = ['config', 'log-file', 'summary', 'metrics', 'file'];
const FOLDERS = ['staging', 'out', 'folder', 'download'];

/** What fits as a flag's value. */
async function valuesOf(
  flag: string,
  known: Readonly<Record<string, Options>>,
  part: string,
  given: ReadonlyMap<string, readonly string[]>,
): Promise<Candidates> {
  const option = known[flag];
  if (option === undefined) return [];
  const choices = option.choices?.map(String) ?? words[flag];
  if (choices === undefined && FILES.includes(flag)) return 'files';
  if (choices === undefined && FOLDERS.includes(flag)) return 'folders';
  // Of a flag that takes several, they may stand in one word.
  const head = option.array === true ? part.slice(0, part.lastIndexOf(',') + 1) : '';
  const values: readonly Candidate[] =
    choices?.map((value) => ({ value })) ?? (await stagedNames(flag, given));
  return values
    .filter(({ value }) => !head.split(',').includes(value))
    .map((one) => ({ ...one, value: head + one.value }));
}

/** What the staging area has of what a flag takes. */
async function stagedNames(
  flag: string,
  given: ReadonlyMap<string, readonly string[]>,
): Promise<Candidate[]> {
  const isMonth = ['month', 'from', 'to'].includes(flag);
  if (!isMonth && !['organization', 'customer', 'by'].includes(flag)) return [];
  const folder = await stagingFolder(given);
  const staged = await import('./complete-staged.js');
  if (flag === 'by') {
    // A tag's key and a category's name stand for names of the user's own.
    const known = breakdownWords.filter((word) => !word.includes(':'));
    const own = folder === undefined ? [] : await staged.breakdownsIn(folder);
    return [...new Set([...known, ...own, 'none'])].map((value) => ({ value }));
  }
  if (folder === undefined) return [];
  if (flag === 'customer') return staged.customersIn(folder);
  const slices = await staged.slicesIn(folder);
  const names = slices.map((slice) => (isMonth ? slice.month : slice.organization));
  return [...new Set(names)].sort().map((value) => ({ value }));
}

/** The folder of the staging area, as flag, environment or configuration file name it; `undefined`: it is none. */
async function stagingFolder(
  given: ReadonlyMap<string, readonly string[]>,
): Promise<string | undefined> {
  const [{ readConfigFile }, { settings }, { parseStagingLocation }] = await Promise.all([
    import('../config/config-file.js'),
    import('../config/settings.js'),
    import('../staging/open.js'),
  ]);
  const { env, default: usual } = settings.staging;
  const named = given.get('staging')?.at(-1) ?? (process.env[env] || undefined);
  const file = named === undefined ? await readConfigFile(path(given.get('config')?.at(-1))) : {};
  const location = parseStagingLocation(named ?? textOf(file['staging']) ?? usual);
  return location.kind === 'folder' ? path(location.folder) : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** A path as the shell will read it, where it begins with the user's own folder. */
function path<T extends string | undefined>(typed: T): T | string {
  return typed?.startsWith('~/') === true ? join(homedir(), typed.slice(2)) : typed;
}

/** Columns that a description has beside what it describes. */
const LONGEST = 72;

function short(text: string): string {
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1).trimEnd()}…`;
}
