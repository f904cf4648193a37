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

/** The month and organization of a slice as a command names them. */
export function subjectOf({ month, organization }: Slice): Required<Subject> {
  return { months: [month], organizations: [organization] };
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
export function commandText(
  { stages = [], flags = [], months = [], organizations = [] }: NextRun,
  runFlags: readonly string[] = [],
): string {
  const each = (flag: string, values: readonly string[]): string[] =>
    values.flatMap((value) => [flag, value]);
  let isOverruled = false;
  const added = runFlags.filter((word) => {
    if (word.startsWith('--')) isOverruled = flags.includes(word.replace('--no-', '--'));
    return !isOverruled;
  });
  return quoted([
    ...['pipeline', 'run', ...each('--stage', stages), ...flags],
    ...each('--month', months),
    ...each('--organization', organizations),
    ...added,
  ]);
}

let ownFlags: readonly string[] = [];

/** Takes note of this process's own flags (`--staging X`), which every command that it shows repeats. */
export function rememberFlags(flags: readonly string[]): void {
  ownFlags = flags;
}

/** A command as it is shown, with this process's own flags. */
export function shownCommand(command: NextRun): string {
  return commandText(command, ownFlags);
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
