import { describeError, InterruptedError, PipelineError } from './errors.js';
import type { Month } from './month.js';
import { stages } from './selection.js';
import type { TaskReport } from './task.js';

/** The command that goes on with failed tasks of one stage: that stage and the chosen ones after it. */
export type Resume = (tasks: readonly TaskReport[]) => string;

/** The same, for a run of these stages with these flags. */
export function resumeCommand(chosen: readonly string[], flags: readonly string[]): Resume {
  return (tasks) => {
    const [first] = tasks;
    const rest = stages.slice(first === undefined ? 0 : stages.indexOf(first.stage));
    const words = [
      'pipeline',
      'run',
      ...rest.filter((stage) => chosen.includes(stage)).flatMap((stage) => ['--stage', stage]),
      ...unique(tasks.map(({ month }) => month)).flatMap((month) => ['--month', month]),
      ...unique(tasks.map(({ organization }) => organization)).flatMap((name) => [
        '--organization',
        name,
      ]),
      ...flags,
    ];
    return quoted(words);
  };
}

/**
 * Each failure with the command that resumes it. A failure that befell the same organizations in one month
 * after the other, as a limit or an interruption does in a long range, is told once.
 */
export function describeFailures(tasks: readonly TaskReport[], resume: Resume): string[] {
  return groups(tasks.filter(({ state }) => state === 'failed')).map((group) => {
    const [first] = group;
    if (first === undefined) return '';
    const what = first.error instanceof InterruptedError ? 'was interrupted' : 'failed';
    const subject = `${period(group)} ${unique(group.map(({ organization }) => organization)).join(', ')}`;
    return `${subject} ${first.stage} ${what}: ${group.length === 1 ? describeError(first.error) : withoutPlace(first.error)}\n  resume with: ${resume(group)}`;
  });
}

/** Failures of one stage and one text together, if they are those of several months times some organizations. */
function groups(failed: readonly TaskReport[]): TaskReport[][] {
  const byText = new Map<string, TaskReport[]>();
  for (const task of failed) {
    const text = `${task.stage} ${withoutPlace(task.error)}`;
    const group = byText.get(text) ?? [];
    byText.set(text, group);
    group.push(task);
  }
  return [...byText.values()].flatMap((group) => {
    const months = unique(group.map(({ month }) => month));
    const organizations = unique(group.map(({ organization }) => organization));
    const isProduct = months.length * organizations.length === group.length;
    return isProduct && months.length > 1 ? [group] : group.map((task) => [task]);
  });
}

/** What happened and what to do, without the place, which differs from task to task. */
function withoutPlace(error: unknown): string {
  if (!(error instanceof PipelineError)) return describeError(error);
  return `${error.message}${error.next === undefined ? '' : `; ${error.next}`}`;
}

function period(tasks: readonly TaskReport[]): string {
  const months = unique<Month>(tasks.map(({ month }) => month));
  const [first = '', last = first] = [months[0], months.at(-1)];
  return months.length < 3 ? months.join(', ') : `${first} … ${last} (${months.length} months)`;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

/** Words as a shell reads them back. */
export function quoted(words: readonly string[]): string {
  return words.map(quote).join(' ');
}

function quote(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
