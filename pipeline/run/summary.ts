import type { Subject } from '../shared/commands.js';
import { lookCommand, describeSlices, products, shownNext, subjectOf } from '../shared/commands.js';
import { InterruptedError, PipelineError, describeError, errorToJson } from '../shared/errors.js';
import { shortAmount } from '../shared/table.js';
import { describeAbsence } from './known-organizations.js';
import type { RunReport } from './runner.js';
import { areMany, groupTable, sliceReports, sliceTable } from './slice-table.js';
import type { RunRequest, TaskReport } from './task.js';
import { costInWords, endOf, price, requestsOf, resumeCommand } from './task.js';

/**
 * The run's result as people read it: what came of its tasks and what they cost, a line for each month and
 * organization, the news, and each failure with the command that resumes it. Where those are many, failures and news
 * stand first, and equal months and organizations are told once.
 */
export function formatReport(report: RunReport, run: RunRequest, news: News): string {
  const counts = Object.entries(countsOf(report)).map(([state, count]) => `${count} ${state}`);
  const cost = costInWords(requestsOf(report.tasks));
  const head = `${counts.join(', ')}; ${cost}; ${report.seconds.toFixed(1)} s`;
  const slices = sliceReports(report.tasks);
  const failures = describeFailures(report.tasks, run);
  const told = [...describeAbsence(report.absence), ...news.restated.map(describeRestated)];
  const parts = areMany(slices)
    ? [head, ...failures, ...told, groupTable(slices)]
    : [head, sliceTable(slices, run.selection.stages), ...told, ...failures];
  return parts.join('\n\n');
}

/** What a run brought to light of months that had been fetched before. */
export interface News {
  restated: readonly Restated[];
  finalized: readonly Finalized[];
}

/** What a run says that has nothing to compare with. */
export const noNews: News = { restated: [], finalized: [] };

/** A month that AWS has changed since it was fetched before. */
interface Restated {
  month: string;
  organization: string;
  /** How many amounts, by account and service, differ. */
  changed: number;
  /** Whether the figures were final, and are not any more. */
  provisionalAgain: boolean;
  /** When the former figures were fetched: ISO 8601. */
  since: string;
  /** The sums before and after, by currency. */
  before: Readonly<Record<string, string>>;
  after: Readonly<Record<string, string>>;
}

/** A month whose figures were provisional when it was fetched before, and are final now. */
interface Finalized {
  month: string;
  organization: string;
  /** When the former figures were fetched: ISO 8601. */
  since: string;
}

function describeRestated(restated: Restated): string {
  const { month, organization, changed, provisionalAgain, since, before, after } = restated;
  const fetched = `${since.slice(0, 16).replace('T', ' ')} UTC`;
  const sums = Object.entries(after).map(
    ([currency, sum]) =>
      `${shortAmount(before[currency] ?? '0')} → ${shortAmount(sum)} ${currency}`,
  );
  const what = [
    ...(changed === 0
      ? []
      : [`restated, ${changed === 1 ? '1 amount differs' : `${changed} amounts differ`}`]),
    ...(provisionalAgain ? ['provisional again'] : []),
  ].join('; ');
  const command = lookCommand('changes', { month, organization });
  return `${month} ${organization} ${what}, since it was fetched at ${fetched}: ${sums.join(', ')}\n  see what changed with: ${command}`;
}

/** How many tasks ended in which state. */
function countsOf({ tasks }: RunReport): Record<string, number> {
  // What has to be seen first stands first.
  const ends = ['failed', 'stopped', 'skipped', 'done', 'unchanged'] as const;
  const counts = ends.map((end) => [end, tasks.filter((task) => endOf(task) === end).length]);
  return Object.fromEntries(counts.filter(([, count]) => count !== 0)) as Record<string, number>;
}

/** The run in figures, as the log ends with them. */
export function figuresOf(report: RunReport): Record<string, unknown> {
  const requests = requestsOf(report.tasks);
  return { runId: report.runId, ...countsOf(report), requests, priceUsd: price(requests) };
}

/** The run's result as one JSON document; amounts stay decimal texts. */
export function reportToJson(report: RunReport, run: RunRequest, news: News): object {
  return {
    runId: report.runId,
    version: report.version,
    started: report.started.toISOString(),
    seconds: rounded(report.seconds),
    interrupted: report.interrupted,
    requests: requestsOf(report.tasks),
    priceUsd: price(requestsOf(report.tasks)),
    absent: report.absence.slices,
    restated: news.restated,
    tasks: report.tasks.map((task) => taskJson(task, run)),
  };
}

/** The tasks of that document as rows, with the news and what is absent beside them. */
export function reportTable({ tasks, absence }: RunReport, run: RunRequest, news: News) {
  return {
    columns: [
      ...['month', 'organization', 'stage', 'state', 'extraction', 'customers', 'unlisted', 'rows'],
      ...['amount.*', 'provisional', 'requests', 'seconds'],
      ...['error.class', 'error.message', 'error.where', 'error.next', 'resume'],
    ],
    rows: tasks.map((task) => taskJson(task, run)),
    notes: [...describeAbsence(absence), ...news.restated.map(describeRestated)],
  };
}

function taskJson(task: TaskReport, run: RunRequest) {
  const { month, organization, stage, state, outcome } = task;
  return {
    ...{ month, organization, stage, state: endOf(task) },
    ...(outcome === undefined
      ? {}
      : {
          extraction: outcome.extraction,
          customers: outcome.customers,
          unlisted: outcome.unlisted,
          rows: outcome.rows,
          amount: outcome.totals,
          provisional: outcome.provisional,
        }),
    requests: task.requests,
    seconds: rounded(task.seconds),
    ...(state === 'failed'
      ? {
          error: errorToJson(task.error, subjectOf(task)),
          resume: resumeCommand(run, [task]),
        }
      : {}),
  };
}

/** Seconds as documents have them, to the millisecond. */
export function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/**
 * Each failure with the command that resumes it. A failure that befell the same organizations in one month
 * after the other, as a limit or an interruption does in a long range, is told once; among many months and
 * organizations every failure of several is.
 */
export function describeFailures(tasks: readonly TaskReport[], run: RunRequest): string[] {
  const failed = tasks.filter(({ state }) => state === 'failed');
  return groups(failed, areMany(sliceReports(tasks))).map((group) => {
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

/**
 * Failures of one stage and one text together, if they are those of several months times some organizations.
 * @param areMany whether those that are not are told in several such groups, a month's too.
 */
function groups(failed: readonly TaskReport[], areMany: boolean): TaskReport[][] {
  const byText = new Map<string, TaskReport[]>();
  for (const task of failed) {
    const text = `${task.stage} ${withoutPlace(task.error)}`;
    byText.set(text, [...(byText.get(text) ?? []), task]);
  }
  return [...byText.values()].flatMap((group) => {
    if (areMany) return products(group);
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
