import Table from 'cli-table3';
import { costOf, price, requestsOf } from './cost-of-requests.js';
import { describeError, PipelineError } from './errors.js';
import { printable } from './printable.js';
import type { Resume } from './failures.js';
import { describeFailures } from './failures.js';
import type { RunReport } from './run.js';
import type { TaskReport } from './task.js';

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
export function reportToJson(report: RunReport, resume: Resume): unknown {
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
        ? { error: errorToJson(task.error), resume: resume([task]) }
        : {}),
    })),
  };
}

/** An error as JSON: its class, message, place and next step. */
export function errorToJson(error: unknown): Record<string, unknown> {
  if (!(error instanceof PipelineError)) return { class: 'Error', message: describeError(error) };
  return {
    class: error.name,
    message: error.message,
    ...(error.where === undefined ? {} : { where: error.where }),
    ...(error.next === undefined ? {} : { next: error.next }),
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
