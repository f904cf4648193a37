import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { z } from 'zod';
import type { Selection } from '../config/selection.js';
import { stages } from '../config/selection.js';
import { subjectOf } from '../shared/commands.js';
import { InterruptedError, UsageError, describeError, errorToJson } from '../shared/errors.js';
import { parseAmount } from '../shared/money.js';
import { printableLines, withoutSecrets } from '../shared/printable.js';
import type { Totals } from '../shared/sums.js';
import { addTo, formatTotals } from '../shared/sums.js';
import { version } from '../shared/version.js';
import type { RunReport } from './runner.js';
import type { News } from './summary.js';
import { sliceReports } from './slice-table.js';
import { rounded } from './summary.js';
import type { RunRequest, TaskReport } from './task.js';
import { endOf, price, requestsOf, resumeCommand } from './task.js';

/** What a run was, for programs: the line of `--summary`, the body of a webhook, the ground of the metrics. */

const month = z.string().regex(/^\d{4}-\d{2}$/);
const organization = z.string().min(1);
const instant = z.iso.datetime();
/** Currency → plain decimal, exactly. */
const amounts = z.record(z.string(), z.string().regex(/^-?\d+(\.\d+)?$/));
const count = z.int().min(0);

const sliceRecord = z.strictObject({
  month,
  organization,
  /** `stopped`: the run was interrupted before its end. `unchanged`: all was there. */
  state: z.enum(['done', 'unchanged', 'failed', 'stopped']),
  /** Rows of consumption, and their sums; absent, as all below, where no stage came so far. */
  rows: count.optional(),
  amounts: amounts.optional(),
  /** Whether AWS may still change them. */
  provisional: z.boolean().optional(),
  /** AWS's own total minus the rows; absent where it was not asked for, or nothing was made into rows. */
  differences: amounts.optional(),
  requests: count,
  seconds: z.number().min(0),
});

const failureRecord = z.strictObject({
  /** Absent, as organization and stage, where the run could not begin, or its reports could not be made. */
  month: month.optional(),
  organization: organization.optional(),
  stage: z.enum(stages).optional(),
  /** The error's class: `TransientError` (again later), `ConfigurationError`, `UsageError`, `DataError` …, `Error`. */
  class: z.string(),
  message: z.string(),
  where: z.string().optional(),
  next: z.string().optional(),
  /** The command that goes on with it. */
  resume: z.string().optional(),
});

/** Every key of a run's record. None holds a secret; texts of others are as they are, escaped as JSON does. */
export const runRecord = z.strictObject({
  /** As the load history and the log have it. */
  runId: z.uuid(),
  version: z.string(),
  started: instant,
  ended: instant,
  seconds: z.number().min(0),
  outcome: z.enum(['ok', 'failed', 'interrupted']),
  exitCode: count,
  months: z.array(month),
  /** Those that the run worked on; none where it could not begin. */
  organizations: z.array(organization),
  stages: z.array(z.enum(stages)),
  tasks: z.strictObject({
    done: count,
    unchanged: count,
    failed: count,
    stopped: count,
    skipped: count,
  }),
  /** Of all slices together. */
  rows: count,
  amounts,
  requests: count,
  /** What AWS charges for them, in dollars. */
  priceUsd: z.string().regex(/^\d+\.\d\d$/),
  slices: z.array(sliceRecord),
  /** Months that AWS has changed since they were fetched before. */
  restated: z.array(
    z.strictObject({
      month,
      organization,
      /** How many amounts, by account and service, differ. */
      changed: count,
      /** Whether the figures were final, and are not any more. */
      provisionalAgain: z.boolean(),
      /** When the former figures were fetched. */
      since: instant,
      before: amounts,
      after: amounts,
    }),
  ),
  /** Months whose figures were provisional when they were fetched before, and are final now. */
  finalized: z.array(z.strictObject({ month, organization, since: instant })),
  failures: z.array(failureRecord),
  /** Organizations that are known, and of which the month has nothing. */
  absent: z.array(z.strictObject({ month, organization })),
});
export type RunRecord = z.output<typeof runRecord>;

/** What is known of a run when it ends; of one that could not begin, little. */
export interface RunFacts {
  runId: string;
  started: Date;
  ended: Date;
  exitCode: number;
  isInterrupted: boolean;
  selection?: Selection;
  /** What its tasks came to. */
  whole?: { report: RunReport; request: RunRequest; news: News };
  /** Why it could not begin, or what failed beside its tasks. */
  error?: unknown;
}

/** The record of a run that has ended, however it did. */
export function makeRecord({ whole, selection, error, ...run }: RunFacts): RunRecord {
  const tasks = whole?.report.tasks ?? [];
  const slices = slicesOf(tasks);
  const total: Totals = new Map();
  for (const { amounts: own = {} } of slices)
    for (const [currency, amount] of Object.entries(own))
      addTo(total, currency, parseAmount(amount).units);
  const requests = requestsOf(tasks);
  const isTold = error === undefined || error instanceof InterruptedError;
  return {
    runId: run.runId,
    version,
    started: run.started.toISOString(),
    ended: run.ended.toISOString(),
    seconds: rounded((run.ended.getTime() - run.started.getTime()) / 1000),
    outcome: run.isInterrupted ? 'interrupted' : run.exitCode === 0 ? 'ok' : 'failed',
    exitCode: run.exitCode,
    months: [...(selection?.months ?? [])],
    organizations: [...new Set(slices.map((slice) => slice.organization))].sort(),
    stages: [...(selection?.stages ?? [])],
    tasks: countsOf(tasks),
    rows: slices.reduce((sum, { rows = 0 }) => sum + rows, 0),
    amounts: formatTotals(total),
    requests,
    priceUsd: price(requests),
    slices,
    restated: [...(whole?.news.restated ?? [])],
    finalized: [...(whole?.news.finalized ?? [])],
    failures: [
      ...(whole === undefined ? [] : failuresOf(tasks, whole.request)),
      ...(isTold ? [] : [failureOf(error)]),
    ],
    absent: [...(whole?.report.absence.slices ?? [])],
  };
}

function countsOf(tasks: readonly TaskReport[]): RunRecord['tasks'] {
  const of = (end: string): number => tasks.filter((task) => endOf(task) === end).length;
  return {
    done: of('done'),
    unchanged: of('unchanged'),
    failed: of('failed'),
    stopped: of('stopped'),
    skipped: of('skipped'),
  };
}

function slicesOf(tasks: readonly TaskReport[]): RunRecord['slices'] {
  return sliceReports(tasks).map(({ month, organization, tasks: own, outcome, requests }) => {
    const ends = own.map(endOf);
    const state = (['failed', 'stopped', 'done'] as const).find((one) => ends.includes(one));
    return {
      month,
      organization,
      state: state ?? 'unchanged',
      ...(outcome === undefined
        ? {}
        : {
            rows: outcome.rows,
            amounts: { ...outcome.totals },
            provisional: outcome.provisional,
            ...(outcome.differences === undefined
              ? {}
              : { differences: { ...outcome.differences } }),
          }),
      requests,
      seconds: rounded(own.reduce((sum, { seconds }) => sum + seconds, 0)),
    };
  });
}

function failuresOf(tasks: readonly TaskReport[], request: RunRequest): RunRecord['failures'] {
  return tasks
    .filter((task) => endOf(task) === 'failed')
    .map((task) => {
      const { month: of, organization: name, stage } = task;
      const resume = withoutSecrets(resumeCommand(request, [task]));
      return { month: of, organization: name, stage, ...failureOf(task.error, task), resume };
    });
}

/** Its texts alone may quote a secret: cut out of all, one such as 2026 would leave neither figures nor JSON. */
function failureOf(error: unknown, task?: TaskReport): RunRecord['failures'][number] {
  const { class: of, ...texts } = errorToJson(error, task && subjectOf(task));
  const told = Object.entries(texts).map(([key, text]) => [key, withoutSecrets(String(text))]);
  return { class: of, ...Object.fromEntries(told) } as RunRecord['failures'][number];
}

/** The record as one line of JSON, whatever texts of others are in it. */
export function recordLine(record: RunRecord): string {
  return `${printableLines(JSON.stringify(record))}\n`;
}

/**
 * Sees to it that lines can be appended to the file, before anything is paid for; a missing one is made.
 * @throws {UsageError} when they cannot.
 */
export async function checkSummaryFile(file: string): Promise<void> {
  try {
    const opened = await openSummary(file);
    try {
      const first = await byteAt(opened, 0);
      if (first !== undefined && first !== '{') throw new Error('it holds something else');
    } finally {
      await opened.close();
    }
  } catch (cause) {
    throw new UsageError(`the summary file cannot be written: ${describeError(cause)}`, {
      where: '--summary',
      next: 'name a file of its own in a folder that is there, which this user may read and write',
      cause,
    });
  }
}

/** The character of one byte; `undefined` where there is none. */
async function byteAt(opened: FileHandle, place: number): Promise<string | undefined> {
  const { bytesRead, buffer } = await opened.read(Buffer.alloc(1), 0, 1, place);
  return bytesRead === 0 ? undefined : buffer.toString('latin1');
}

/**
 * Appends the record as one line, in one write, so that those of several runs at once do not mix.
 * @throws the system's error; then nothing of the line is left.
 */
export async function appendRecord(file: string, record: RunRecord): Promise<void> {
  const opened = await openSummary(file);
  try {
    const { size } = await opened.stat();
    // What another has left without its end, as on a full disk, spoils its own line alone.
    const isTorn = size > 0 && (await byteAt(opened, size - 1)) !== '\n';
    const line = Buffer.from(`${isTorn ? '\n' : ''}${recordLine(record)}`);
    const { bytesWritten } = await opened.write(line);
    if (bytesWritten === line.length) return;
    // Half a line would spoil the next one too; what others have appended meanwhile is left alone.
    if ((await opened.stat()).size === size + bytesWritten) await opened.truncate(size);
    throw new Error('there is no room for the line');
  } finally {
    await opened.close();
  }
}

async function openSummary(file: string): Promise<FileHandle> {
  const { O_RDWR, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
  const opened = await open(file, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, 0o666);
  try {
    if ((await opened.stat()).isFile()) return opened;
  } catch (cause) {
    await opened.close();
    throw cause;
  }
  await opened.close();
  throw new Error('it is no regular file');
}
