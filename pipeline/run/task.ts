import type { Config } from '../config/config.js';
import { scopeOf, tagOf } from '../config/config.js';
import type { Selection, Stage } from '../config/selection.js';
import { stages } from '../config/selection.js';
import { shownCommand, subjectOf } from '../shared/commands.js';
import {
  InterruptedError,
  PipelineError,
  causeOf,
  errorToJson,
  reasonOf,
  throwIfInterrupted,
} from '../shared/errors.js';
import type { RunLog } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import type { OnProgress, Outcome } from '../shared/outcome.js';
import type { WantedScope } from '../shared/scope.js';
import type { CurrentOf } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import type { Progress } from './progress.js';
import type { Resources } from './resources.js';
import { viewOf } from './resources.js';

/** What a run is asked to do, and what it works with. */
export interface RunRequest {
  /** Names the run in the log, the queue, the load history and its record. */
  runId: string;
  config: Config;
  selection: Selection;
  /** Do the chosen stages even where nothing changed. */
  force: boolean;
  /** Load a month that has lost all its rows or accounts too. */
  acceptEmpty?: boolean | undefined;
  /** Whether reports are made of it, which a command that goes on with it makes too. */
  report?: boolean | undefined;
  signal: AbortSignal;
  log: RunLog;
  progress: Progress;
  now: () => Date;
}

export interface TaskContext extends RunRequest {
  resources: Resources;
  /** The current extractions of a month, listed once for all of its slices. */
  current: CurrentOf;
}

/** How one stage ended for one month and organization. */
export interface TaskReport {
  month: Month;
  organization: string;
  stage: Stage;
  /** `skipped`: a stage before it failed. */
  state: Outcome['state'] | 'failed' | 'skipped';
  outcome?: Outcome;
  error?: unknown;
  /** Answers of Cost Explorer that it brought, also where it failed later. */
  requests: number;
  seconds: number;
}

/** The words by which people know a slice. */
export function sliceLabel({ month, organization }: Slice): string {
  return `${month}  ${organization.padEnd(10)}`;
}

/**
 * The command that goes on with failed tasks of one stage: that stage and the run's stages after it, for their
 * months and organizations. The months stand there even where the run's were the default, which moves on.
 */
export function resumeCommand(
  {
    selection,
    force,
    acceptEmpty = false,
    report = false,
  }: Pick<RunRequest, 'selection' | 'force' | 'acceptEmpty' | 'report'>,
  tasks: readonly TaskReport[],
): string {
  const from = selection.stages.findIndex((stage) => stage === tasks[0]?.stage);
  const left = selection.stages.slice(from);
  return shownCommand({
    stages: left.length === stages.length ? [] : left,
    // Without --force the month's former extraction would do, and the stopped one would stay unfinished.
    flags: [
      ...(force ? ['--force'] : []),
      ...(acceptEmpty ? ['--accept-empty'] : []),
      ...(report ? ['--report'] : []),
    ],
    ...subjectOf(...tasks),
  });
}

/**
 * Does one stage for one month and organization, whose lease the caller holds. Never throws: a failure
 * is part of the report.
 * @param context its signal's reason tells a lost lease, from an interruption.
 */
export async function runTask(
  slice: Slice,
  stage: Stage,
  context: TaskContext,
): Promise<TaskReport> {
  const { log, progress, signal } = context;
  const label = sliceLabel(slice);
  const bound = { ...context, log: log.child({ ...slice, stage }) };
  const clock = performance.now();
  let requests = 0;
  const spent = () => ({ requests, seconds: (performance.now() - clock) / 1000 });
  progress.show(label, stage, '…');
  try {
    throwIfInterrupted(signal);
    const outcome = await perform(stage, slice, bound, {
      onProgress: (text, share) => {
        progress.show(label, stage, text, share);
      },
      onPaid: () => {
        requests++;
      },
    });
    return reportOutcome({ ...slice, stage, outcome, ...spent() }, log);
  } catch (cause) {
    const error = signal.aborted && !isOwnFailure(cause) ? reasonOf(signal) : cause;
    return reportFailure({ ...slice, stage, state: 'failed', error, ...spent() }, context);
  }
}

/** Logs what a task came to. @returns the report. */
export function reportOutcome(
  task: Omit<TaskReport, 'state' | 'error'> & { outcome: Outcome },
  log: RunLog,
): TaskReport {
  const { month, organization, stage, outcome, requests, seconds } = task;
  const { state } = outcome;
  log
    .child({ month, organization, stage })
    .info({ ...outcome, requests, seconds }, `${stage} ${state}`);
  return { ...task, state };
}

/**
 * Logs the failure of a task with all that its summary says of it.
 * @returns the report.
 */
export function reportFailure(task: TaskReport, run: RunRequest): TaskReport {
  const { month, organization, stage, error } = task;
  const { message, ...details } = errorToJson(error, subjectOf(task));
  run.log.error(
    {
      ...{ month, organization, stage, ...details, ...causeOf(error) },
      resume: resumeCommand(run, [task]),
      err: error,
    },
    `${stage} failed: ${String(message)}`,
  );
  return task;
}

/** A disk that fills up while the run is being stopped is a failure, whatever stopped the run. */
function isOwnFailure(cause: unknown): boolean {
  return cause instanceof PipelineError && !(cause instanceof InterruptedError);
}

/** A stage's modules load when the first of its tasks runs: `--stage load` never loads the AWS clients. */
async function perform(
  stage: Stage,
  slice: Slice,
  context: TaskContext,
  { onProgress, onPaid }: { onProgress: OnProgress; onPaid: () => void },
): Promise<Outcome> {
  const { resources, config, force, signal, now, runId } = context;
  const { staging } = resources;
  const { provisionalDays } = config;
  const common = {
    staging,
    slice,
    provisionalDays,
    force,
    signal,
    onProgress,
    now,
    log: context.log,
  };
  switch (stage) {
    case 'extract': {
      const { extract } = await import('../../extract/extract.js');
      return extract({
        ...common,
        onPaid,
        scope: await wantedScope(slice, context),
        awsTotal: config.awsTotal,
        tolerance: config.tolerance,
        source: () => resources.source(slice.organization),
      });
    }
    case 'transform': {
      const { transform } = await import('../../transform/transform.js');
      return transform({
        ...common,
        current: context.current,
        tag: tagOf(config.tags, slice.organization),
        parquet: config.parquet,
      });
    }
    case 'load': {
      const { load } = await import('../../load/load.js');
      const { tolerance } = config;
      const database = await resources.database();
      return load({ ...common, database, runId, tolerance, acceptEmpty: context.acceptEmpty });
    }
  }
}

/**
 * What of a slice is asked for.
 * @throws {PipelineError} when the organization cannot be reached for a reason that is known now.
 */
export async function wantedScope(
  { organization }: Slice,
  { config, resources }: Pick<TaskContext, 'config' | 'resources'>,
): Promise<WantedScope> {
  const access = await resources.access(organization);
  return { ...scopeOf(config.scope, organization), ...viewOf({ access }) };
}

/** How a task ended, in a word. */
export function endOf({ state, error }: TaskReport): string {
  return error instanceof InterruptedError ? 'stopped' : state;
}

/** How a slice's tasks ended, in few words: `extract, transform done; load failed`. */
export function endsOf(tasks: readonly TaskReport[]): string {
  const stagesOf = new Map<string, string[]>();
  for (const task of tasks) {
    const end = endOf(task);
    if (end !== 'skipped') stagesOf.set(end, [...(stagesOf.get(end) ?? []), task.stage]);
  }
  return [...stagesOf].map(([end, of]) => `${of.join(', ')} ${end}`).join('; ');
}

/** What a slice's tasks came to, in a line. */
export function describeTasks(tasks: readonly TaskReport[]): string {
  const outcome = tasks.findLast((task) => task.outcome !== undefined)?.outcome;
  const figures =
    outcome === undefined
      ? ''
      : `; ${outcome.rows} rows, ${outcome.provisional ? 'provisional' : 'final'}`;
  const seconds = tasks.reduce((sum, task) => sum + task.seconds, 0);
  return `${endsOf(tasks)}${figures}; ${seconds.toFixed(1)} s`;
}

/** Cents that AWS charges for one answer of Cost Explorer (AWS Cost Management pricing page). */
const CENTS_PER_REQUEST = 1;

/** Answers of Cost Explorer that the tasks brought. */
export function requestsOf(tasks: readonly Pick<TaskReport, 'requests'>[]): number {
  return tasks.reduce((sum, { requests }) => sum + requests, 0);
}

/** Dollars that AWS charges for so many requests to Cost Explorer, with two digits. */
export function price(requests: number): string {
  const cents = requests * CENTS_PER_REQUEST;
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
}

/** The same in words: `23 Cost Explorer requests, $0.23`. */
export function costInWords(requests: number): string {
  return `${requests} Cost Explorer request${requests === 1 ? '' : 's'}, $${price(requests)}`;
}
