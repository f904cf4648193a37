import type { Subject } from '../shared/commands.js';
import { describeSlices, shownNext, subjectOf } from '../shared/commands.js';
import { InterruptedError, PipelineError, describeError, errorToJson } from '../shared/errors.js';
import { amountOf, formatTable } from '../shared/table.js';
import type { RunReport } from './runner.js';
import type { RunRequest, TaskReport } from './task.js';
import { costOf, price, requestsOf, resumeCommand } from './task.js';

/** The run's result as people read it: a table, its price, and each failure with the command that resumes it. */
export function formatReport(report: RunReport, run: RunRequest): string {
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
  const numbers = ['customers', 'rows', 'amount', 'requests', 'seconds'];
  const head = [
    ...['month', 'organization', 'stage', 'state', 'customers', 'rows', 'amount'],
    ...['figures', 'requests', 'seconds'],
  ];
  return [
    formatTable(head, rows, numbers, { names: ['organization'] }),
    '',
    summaryLine(report),
    ...describeFailures(report.tasks, run).flatMap((failure) => ['', failure]),
  ].join('\n');
}

function summaryLine(report: RunReport): string {
  const counts = Object.entries(countsOf(report)).map(([state, count]) => `${count} ${state}`);
  return `${counts.join(', ')}; ${costOf(report.tasks)}; ${report.seconds.toFixed(1)} s`;
}

/** How many tasks ended in which state. */
function countsOf({ tasks }: RunReport): Record<string, number> {
  const states = ['done', 'unchanged', 'failed', 'skipped'] as const;
  const counts = states.map((state) => [
    state,
    tasks.filter((task) => task.state === state).length,
  ]);
  return Object.fromEntries(counts.filter(([, count]) => count !== 0)) as Record<string, number>;
}

/** The run in figures, as the log ends with them. */
export function figuresOf(report: RunReport): Record<string, unknown> {
  const requests = requestsOf(report.tasks);
  return { runId: report.runId, ...countsOf(report), requests, priceUsd: price(requests) };
}

/** The run's result as one JSON document; amounts stay decimal texts. */
export function reportToJson(report: RunReport, run: RunRequest): object {
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
        ? {
            error: errorToJson(task.error, subjectOf(task)),
            resume: resumeCommand(run, [task]),
          }
        : {}),
    })),
  };
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/**
 * Each failure with the command that resumes it. A failure that befell the same organizations in one month
 * after the other, as a limit or an interruption does in a long range, is told once.
 */
export function describeFailures(tasks: readonly TaskReport[], run: RunRequest): string[] {
  return groups(tasks.filter(({ state }) => state === 'failed')).map((group) => {
    const [first] = group;
    if (first === undefined) return '';
    const what = first.error instanceof InterruptedError ? 'was interrupted' : 'failed';
    const why = (group.length === 1 ? describeError : withoutPlace)(
      first.error,
      subjectOf(...group),
    );
    return `${describeSlices(group)} ${first.stage} ${what}: ${why}\n  resume with: ${resumeCommand(run, group)}`;
  });
}

/** Failures of one stage and one text together, if they are those of several months times some organizations. */
function groups(failed: readonly TaskReport[]): TaskReport[][] {
  const byText = new Map<string, TaskReport[]>();
  for (const task of failed) {
    const text = `${task.stage} ${withoutPlace(task.error)}`;
    byText.set(text, [...(byText.get(text) ?? []), task]);
  }
  return [...byText.values()].flatMap((group) => {
    const { months, organizations } = subjectOf(...group);
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
