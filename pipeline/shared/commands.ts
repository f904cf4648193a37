import { basename, delimiter, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The `pipeline run` that people are told to type next. An error carries it as data, since a stage knows
 * neither the command line that it serves nor always its month: both are added where the advice is shown.
 */
export interface NextRun {
  /** None: every stage. */
  stages?: readonly string[];
  /** Flags that this step needs, whatever the run's own were. */
  flags?: readonly string[];
  months?: readonly string[];
  organizations?: readonly string[];
}

/** What a piece of advice is about, where it does not say so itself. */
export type Subject = Pick<NextRun, 'months' | 'organizations'>;

/** An error's next step, with the command in its text. */
export interface Advice {
  next: string;
  command: NextRun;
}

interface Slice {
  month: string;
  organization: string;
}

/** The months and organizations of some slices as a command names them, each once. */
export function subjectOf(...slices: readonly Slice[]): Required<Subject> {
  return {
    months: [...new Set(slices.map(({ month }) => month))],
    organizations: [...new Set(slices.map(({ organization }) => organization))],
  };
}

/** Slices in few words: `2026-08 … 2026-10 (3 months) internal, oab; 2026-10 spp_pm`. */
export function describeSlices(slices: readonly Slice[]): string {
  const byMonths = new Map<string, string[]>();
  for (const name of subjectOf(...slices).organizations) {
    const { months } = subjectOf(...slices.filter(({ organization }) => organization === name));
    const [first = '', last = first] = [months[0], months.at(-1)];
    const period =
      months.length < 3 ? months.join(', ') : `${first} … ${last} (${months.length} months)`;
    byMonths.set(period, [...(byMonths.get(period) ?? []), name]);
  }
  return [...byMonths].map(([period, names]) => `${period} ${names.join(', ')}`).join('; ');
}

/** Slices in groups, each of which is some months times some organizations, as one command names them. */
export function products<T extends Slice>(slices: readonly T[]): T[][] {
  const groups = new Map<string, T[]>();
  for (const month of subjectOf(...slices).months) {
    const ofMonth = slices.filter((slice) => slice.month === month);
    const names = [...subjectOf(...ofMonth).organizations].sort().join();
    groups.set(names, [...(groups.get(names) ?? []), ...ofMonth]);
  }
  return [...groups.values()];
}

/** The run of some stages, for a slice where it is known. */
export function nextRun(stages: readonly string[], slice?: Slice, ...flags: string[]): NextRun {
  return { stages, flags, ...(slice === undefined ? {} : subjectOf(slice)) };
}

/** The run that fetches a month again, whatever is staged of it. */
export function fetchAgain(slice?: Slice): NextRun {
  return nextRun(['extract'], slice, '--force');
}

/** The run that makes a month's tables anew, whatever is there of them. */
export function transformAgain(slice?: Slice): NextRun {
  return nextRun(['transform'], slice, '--force');
}

/** Advice that ends with a command, or goes on with `after`. */
export function advice(before: string, command: NextRun, after = ''): Advice {
  return { next: `${before} "${commandText(command)}"${after}`, command };
}

/** A command as a shell reads it; a flag that it has itself takes the place of the run's own. */
export function commandText(command: NextRun, runFlags: readonly string[] = []): string {
  return quoted(['pipeline', ...commandWords(command, runFlags)]);
}

function commandWords(
  { stages = [], flags = [], months = [], organizations = [] }: NextRun,
  runFlags: readonly string[],
): string[] {
  const all = (flag: string, values: readonly string[]): string[] =>
    values.length === 0 ? [] : [flag, values.join(',')];
  let isOverruled = false;
  const added = runFlags.filter((word) => {
    if (word.startsWith('--')) isOverruled = flags.includes(word.replace('--no-', '--'));
    return !isOverruled;
  });
  return [
    ...['run', ...all('--stage', stages), ...flags],
    ...all('--month', months),
    ...all('--organization', organizations),
    ...added,
  ];
}

let own: { flags: readonly string[] } | { instead: readonly string[] } = { flags: [] };

/**
 * Takes note of how this process runs.
 * @param runs its own flags (`--staging X`), which every command that it shows repeats; or the command that it
 * shows instead of any other, where no other would reach what it works on.
 */
export function rememberOwn(runs: typeof own): void {
  own = runs;
}

/** A command as it is shown, so that it can be pasted, for a process that runs as this one does. */
export function shownCommand(command: NextRun): string {
  if ('flags' in own) return ownCommand(commandWords(command, own.flags));
  const force = command.flags?.includes('--force') === true;
  return ownCommand([...own.instead, ...(force ? ['--force'] : [])]);
}

/**
 * The same as the words behind the program's name: for what starts a program without a shell. Of a process that
 * shows another command instead there are none.
 */
export function shownWords(command: NextRun): string[] {
  return commandWords(command, 'flags' in own ? own.flags : []);
}

/** The folder that has the package: its checkout, or the project whose `node_modules` it lies in. */
const [home = ''] = fileURLToPath(new URL('../../..', import.meta.url)).split('/node_modules/');

/**
 * A command line of ours that can be pasted where this process runs. Where npx would not find this package, it
 * would fetch a stranger's of that name: there the file itself is named.
 */
export function ownCommand(words: readonly string[]): string {
  const script = process.argv[1] ?? 'pipeline';
  const folder = dirname(script);
  const isInstalled =
    basename(script) === 'pipeline' &&
    basename(folder) !== '.bin' &&
    process.env['PATH']?.split(delimiter).includes(folder) === true;
  if (isInstalled) return quoted(['pipeline', ...words]);
  const isAtHome = `${process.cwd()}/`.startsWith(home.endsWith('/') ? home : `${home}/`);
  return quoted([...(isAtHome ? ['npx', 'pipeline'] : ['node', script]), ...words]);
}

/** Flags that tell where the staging area is, which every command has that looks into it. */
const PLACES = ['--config', '--staging'];

/**
 * A command that looks at a slice in the staging area that this process works on, as it can be pasted: the
 * comparison of two fetches, or the invoices.
 */
export function lookCommand(name: 'changes' | 'invoices', { month, organization }: Slice): string {
  const flags = 'flags' in own ? own.flags : [];
  const places = flags.filter(
    (word, index) => PLACES.includes(word) || PLACES.includes(flags[index - 1] ?? ''),
  );
  return ownCommand([name, '--month', month, '--organization', organization, ...places]);
}

/** The next step as it is shown: its command names month and organization, and has this process's own flags. */
export function shownNext(
  { next, command }: { next?: string | undefined; command?: NextRun | undefined },
  subject: Subject = {},
): string | undefined {
  if (command === undefined) return next;
  return next?.replace(`"${commandText(command)}"`, () => {
    return `"${shownCommand({ ...subject, ...command })}"`;
  });
}

/** Words as a shell reads them back. */
export function quoted(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
}
