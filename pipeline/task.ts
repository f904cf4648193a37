import type { Config } from './config.js';
import { InterruptedError, PipelineError, throwIfInterrupted } from './errors.js';
import type { Log } from './log.js';
import type { Month } from './month.js';
import type { OnProgress, Outcome } from './outcome.js';
import type { Progress } from './progress.js';
import type { Resources } from './resources.js';
import type { Selection, Stage } from './selection.js';
import type { Slice } from './staging/layout.js';

/** What a run is asked to do, and what it works with. */
export interface RunRequest {
  config: Config;
  selection: Selection;
  /** Do the chosen stages even where nothing changed. */
  force: boolean;
  signal: AbortSignal;
  log: Log;
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
  seconds: number;
}

/** The report of a stage that had to be left out, since one before it failed. */
export function skipped(slice: Slice, stage: Stage): TaskReport {
  return { ...slice, stage, state: 'skipped', outcome: undefined, error: undefined, seconds: 0 };
}

/** The report of a stage that failed. */
export function failed(slice: Slice, stage: Stage, error: unknown, seconds: number): TaskReport {
  return { ...slice, stage, state: 'failed', outcome: undefined, error, seconds };
}

/** The words by which people know a task. */
export function taskLabel(slice: Slice, stage: Stage): string {
  return `${slice.month}  ${slice.organization.padEnd(10)}  ${stage.padEnd(9)}`;
}

/**
 * Does one stage for one month and organization, whose lease the caller holds. Never throws: a failure
 * is part of the report.
 * @param context its signal's reason tells a lost lease, which is a {@link PipelineError}, from an interruption.
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
  try {
    throwIfInterrupted(signal);
    const outcome = await perform(stage, slice, context, shown.update);
    log.info({ ...slice, stage, ...outcome, seconds: seconds() }, `${stage} ${outcome.state}`);
    const figures = outcome.provisional ? ', provisional' : '';
    shown.end(`${outcome.state}, ${outcome.rows} rows${figures}, ${seconds().toFixed(1)} s`);
    return { ...slice, stage, state: outcome.state, outcome, error: undefined, seconds: seconds() };
  } catch (thrown) {
    const error = signal.aborted ? reasonOf(signal) : thrown;
    // The summary names the failure for people; the log keeps the stack for those who ask for it.
    log.debug({ ...slice, stage, err: thrown }, `${stage} failed`);
    shown.end(error instanceof InterruptedError ? 'interrupted' : 'failed');
    return failed(slice, stage, error, seconds());
  }
}

function reasonOf({ reason }: AbortSignal): PipelineError {
  return reason instanceof PipelineError ? reason : new InterruptedError();
}

/** A stage's modules load when the first of its tasks runs: `--stage load` never loads the AWS clients. */
async function perform(
  stage: Stage,
  slice: Slice,
  context: TaskContext,
  onProgress: OnProgress,
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
      const { extract } = await import('../extract/extract.js');
      return extract({ ...common, source: () => resources.source(slice.organization) });
    }
    case 'transform': {
      const { transform } = await import('../transform/transform.js');
      return transform({
        ...common,
        tag: config.tags[slice.organization] ?? 'aws',
        parquet: config.parquet,
      });
    }
    case 'load': {
      const { load } = await import('../load/load.js');
      return load({ ...common, database: await resources.database(), runId });
    }
  }
}
