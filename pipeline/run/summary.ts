import Table from 'cli-table3';
import { stages } from '../config/selection.js';
import type { Subject } from '../shared/commands.js';
import { commandText, shownNext, subjectOf } from '../shared/commands.js';
import { InterruptedError, PipelineError, describeError } from '../shared/errors.js';
import { printable } from '../shared/printable.js';
import type { RunReport } from './runner.js';
import type { TaskReport } from './task.js';
import { costOf, price, requestsOf } from './task.js';

const plainBorders = {
  'top': '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  'bottom': '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  'left': '',
  'left-mid': '',
  'mid': '',
  'mid-mid': '',
  'right': '',
  'right-mid': '',
  'middle': '  ',
};

/** A table for people: no borders, numbers to the right. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[],
): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((name) => (right.includes(name) ? 'right' : 'left')),
    chars: plainBorders,
    style: { 'head': [], 'border': [], 'padding-left': 0, 'padding-right': 0 },
  });
  table.push(...rows.map((row) => row.map(printable)));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** The run's result as people read it: a table, its price, and each failure with the command that resumes it. */
export function formatReport(report: RunReport, resume: Resume): string {
  const rows = report.tasks.map(
    ({ month, organization, stage, state, outcome, requests, seconds }) => [
      month,
      organization,
      stage,
      state,
      outcome === undefined ? '' : String(outcome.customers),
      outcome === undefined ? '' : String(outcome.rows),
      outcome === undefined ? '' : amountOf(outcome.totals),
      outcome === undefined ? '' : outcome.provisional ? 'provisional' : 'final',
      outcome === undefined && requests === 0 ? '' : String(requests),
      seconds.toFixed(1),
    ],
  );
  const head = [
    'month',
    'organization',
    'stage',
    'state',
    'customers',
    'rows',
    'amount',
    'figures',
    'requests',
    'seconds',
  ];
  const table = formatTable(head, rows, ['customers', 'rows', 'amount', 'requests', 'seconds']);
  const failures = describeFailures(report.tasks, resume);
  return [table, '', summaryLine(report), ...failures.flatMap((failure) => ['', failure])].join(
    '\n',
  );
}

function summaryLine(report: RunReport): string {
  const count = (state: TaskReport['state']): number =>
    report.tasks.filter((task) => task.state === state).length;
  const counts = (['done', 'unchanged', 'failed', 'skipped'] as const)
    .filter((state) => count(state) > 0)
    .map((state) => `${count(state)} ${state}`);
  return `${counts.join(', ')}; ${costOf(report.tasks)}; ${report.seconds.toFixed(1)} s`;
}

/** The run's result as one JSON document; amounts stay decimal texts. */
export function reportToJson(report: RunReport, resume: Resume): object {
  return {
    runId: report.runId,
    version: report.version,
    started: report.started.toISOString(),
    seconds: rounded(report.seconds),
    interrupted: report.interrupted,
    requests: requestsOf(report.tasks),
    priceUsd: price(requestsOf(report.tasks)),
    tasks: report.tasks.map((task) => ({
      month: task.month,
      organization: task.organization,
      stage: task.stage,
      state: task.state,
      ...(task.outcome === undefined
        ? {}
        : {
            extraction: task.outcome.extraction,
            customers: task.outcome.customers,
            rows: task.outcome.rows,
            amount: task.outcome.totals,
            provisional: task.outcome.provisional,
          }),
      requests: task.requests,
      seconds: rounded(task.seconds),
      ...(task.state === 'failed'
        ? { error: errorToJson(task.error, subjectOf(task)), resume: resume([task]) }
        : {}),
    })),
  };
}

/**
 * An error as JSON: its class, message, place and next step.
 * @param subject the month and organization that it is about.
 */
export function errorToJson(error: unknown, subject?: Subject): Record<string, unknown> {
  if (!(error instanceof PipelineError)) return { class: 'Error', message: describeError(error) };
  const next = shownNext(error, subject);
  return {
    class: error.name,
    message: error.message,
    ...(error.where === undefined ? {} : { where: error.where }),
    ...(next === undefined ? {} : { next }),
  };
}

/** Totals as people read them: each sum with its currency. */
export function amountOf(totals: Readonly<Record<string, string>>): string {
  const sums = Object.entries(totals).map(([currency, amount]) => `${amount} ${currency}`);
  return sums.length === 0 ? '0' : sums.join(', ');
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/** The command that goes on with failed tasks of one stage: that stage and the chosen ones after it. */
export type Resume = (tasks: readonly TaskReport[]) => string;

/** The same, for a run of these stages with these flags. */
export function resumeCommand(chosen: readonly string[], flags: readonly string[]): Resume {
  return (tasks) => {
    const [first] = tasks;
    const rest = stages.slice(first === undefined ? 0 : stages.indexOf(first.stage));
    const left = rest.filter((stage) => chosen.includes(stage));
    return commandText({ stages: left, ...subjectOfAll(tasks) }, flags);
  };
}

function subjectOfAll(tasks: readonly TaskReport[]): Required<Subject> {
  return {
    months: unique(tasks.map(({ month }) => month)),
    organizations: unique(tasks.map(({ organization }) => organization)),
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
    const subject = subjectOfAll(group);
    const why = (group.length === 1 ? describeError : withoutPlace)(first.error, subject);
    return `${period(subject.months)} ${subject.organizations.join(', ')} ${first.stage} ${what}: ${why}\n  resume with: ${resume(group)}`;
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
    const { months, organizations } = subjectOfAll(group);
    const isProduct = months.length * organizations.length === group.length;
    return isProduct && months.length > 1 ? [group] : group.map((task) => [task]);
  });
}

/** What happened and what to do, without the place, which differs from task to task. */
function withoutPlace(error: unknown, subject?: Subject): string {
  if (!(error instanceof PipelineError)) return describeError(error);
  const next = shownNext(error, subject);
  return `${error.message}${next === undefined ? '' : `; ${next}`}`;
}

function period(months: readonly string[]): string {
  const [first = '', last = first] = [months[0], months.at(-1)];
  return months.length < 3 ? months.join(', ') : `${first} … ${last} (${months.length} months)`;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
