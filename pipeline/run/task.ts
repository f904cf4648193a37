import type { Config } from '../config/config.js';
import { scopeOf, tagOf } from '../config/config.js';
import type { Selection, Stage } from '../config/selection.js';
import { InterruptedError, PipelineError, reasonOf, throwIfInterrupted } from '../shared/errors.js';
import type { RunLog } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import type { OnProgress, Outcome } from '../shared/outcome.js';
import type { Slice } from '../staging/layout.js';
import type { Progress } from './progress.js';
import type { Resources } from './resources.js';

/** What a run is asked to do, and what it works with. */
export interface RunRequest {
  config: Config;
  selection: Selection;
  /** Do the chosen stages even where nothing changed. */
  force: boolean;
  /** Load a month that has lost all its rows or accounts too. */
  acceptEmpty?: boolean | undefined;
  signal: AbortSignal;
  log: RunLog;
  progress: Progress;
  now: () => Date;
}

export interface TaskContext extends RunRequest {
  resources: Resources;
  runId: string;
}

/** How one stage ended for one month and organization. */
export interface TaskReport {
  month: Month;
  organization: string;
  stage: Stage;
  /** `skipped`: a stage before it failed. */
  state: Outcome['state'] | 'failed' | 'skipped';
  outcome: Outcome | undefined;
  error: unknown;
  /** Answers of Cost Explorer that it brought, also where it failed later. */
  requests: number;
  seconds: number;
}

/** The report of a stage that had to be left out, since one before it failed. */
export function skipped(slice: Slice, stage: Stage): TaskReport {
  return {
    ...slice,
    stage,
    state: 'skipped',
    outcome: undefined,
    error: undefined,
    requests: 0,
    seconds: 0,
  };
}

/** The report of a stage that failed. */
export function failed(
  slice: Slice,
  stage: Stage,
  error: unknown,
  { requests, seconds }: Pick<TaskReport, 'requests' | 'seconds'>,
): TaskReport {
  return { ...slice, stage, state: 'failed', outcome: undefined, error, requests, seconds };
}

/** The words by which people know a task. */
export function taskLabel(slice: Slice, stage: Stage): string {
  return `${slice.month}  ${slice.organization.padEnd(10)}  ${stage.padEnd(9)}`;
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
  const shown = progress.begin(taskLabel(slice, stage));
  const clock = performance.now();
  const seconds = (): number => (performance.now() - clock) / 1000;
  let requests = 0;
  const onPaid = (): void => {
    requests++;
  };
  try {
    throwIfInterrupted(signal);
    const bound = { ...context, log: log.child({ ...slice, stage }) };
    const outcome = await perform(stage, slice, bound, { onProgress: shown.update, onPaid });
    log.info(
      { ...slice, stage, ...outcome, requests, seconds: seconds() },
      `${stage} ${outcome.state}`,
    );
    const figures = outcome.provisional ? ', provisional' : '';
    shown.end(`${outcome.state}, ${outcome.rows} rows${figures}, ${seconds().toFixed(1)} s`);
    const { state } = outcome;
    return { ...slice, stage, state, outcome, error: undefined, requests, seconds: seconds() };
  } catch (cause) {
    const error = signal.aborted && !isOwnFailure(cause) ? reasonOf(signal) : cause;
    // The summary names the failure for people; the log keeps the stack for those who ask for it.
    log.debug({ ...slice, stage, err: cause }, `${stage} failed`);
    shown.end(error instanceof InterruptedError ? 'interrupted' : 'failed');
    return failed(slice, stage, error, { requests, seconds: seconds() });
  }
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
        scope: {
          ...scopeOf(config.scope, slice.organization),
          ...(await resources.view(slice.organization)),
        },
        awsTotal: config.awsTotal,
        tolerance: config.tolerance,
        source: () => resources.source(slice.organization),
      });
    }
    case 'transform': {
      const { transform } = await import('../../transform/transform.js');
      return transform({
        ...common,
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
export function costOf(tasks: readonly Pick<TaskReport, 'requests'>[]): string {
  const requests = requestsOf(tasks);
  return `${requests} Cost Explorer requests, $${price(requests)}`;
}
