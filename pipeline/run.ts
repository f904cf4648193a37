import { randomUUID } from 'node:crypto';
import pLimit from 'p-limit';
import type { Config } from './config.js';
import { DataError, InterruptedError, UsageError } from './errors.js';
import type { Log } from './log.js';
import type { Month } from './month.js';
import type { OnProgress, Outcome } from './outcome.js';
import type { Progress } from './progress.js';
import { openResources } from './resources.js';
import type { Resources } from './resources.js';
import type { Selection, Stage } from './selection.js';
import type { Slice } from './staging/layout.js';
import { version } from './version.js';

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

export interface RunReport {
  runId: string;
  version: string;
  started: Date;
  seconds: number;
  interrupted: boolean;
  /** By month, organization and stage. */
  tasks: readonly TaskReport[];
}

export interface RunRequest {
  config: Config;
  selection: Selection;
  force: boolean;
  signal: AbortSignal;
  log: Log;
  progress: Progress;
  now: () => Date;
}

/**
 * Runs the chosen stages for every chosen month and organization: stages of one month and
 * organization one after the other, everything else side by side within the bound on concurrency.
 * A task's failure stops only the later stages of its own month and organization.
 * @throws {PipelineError} when it cannot be found out which organizations there are.
 */
export async function run(request: RunRequest): Promise<RunReport> {
  const { config, selection, signal, log, now } = request;
  const runId = randomUUID();
  const started = now();
  const clock = performance.now();
  const resources = await openResources(config, { log, signal });
  try {
    const slices = await slicesOf(resources, selection);
    log.info(
      {
        runId,
        version,
        months: selection.months,
        stages: selection.stages,
        tasks: slices.length * selection.stages.length,
      },
      'run begins',
    );
    const limit = pLimit(config.concurrency);
    const chains = slices.map((slice) => runChain(slice, { ...request, resources, runId, limit }));
    const tasks = (await Promise.all(chains)).flat();
    const seconds = (performance.now() - clock) / 1000;
    log.info({ runId, seconds }, 'run ends');
    return { runId, version, started, seconds, interrupted: signal.aborted, tasks };
  } finally {
    await resources.close();
  }
}

/**
 * The months and organizations to work on. Every chosen month gets its tasks, even where nothing is
 * staged for it yet: its first task then fails by name instead of the month being left out silently.
 */
async function slicesOf(resources: Resources, selection: Selection): Promise<Slice[]> {
  const known = new Map<Month, readonly string[]>();
  for (const month of selection.months)
    known.set(month, await resources.organizations(month, selection.stages));
  const all = [...new Set([...known.values()].flat())].sort();
  if (all.length === 0) {
    throw new DataError(`nothing is staged for ${selection.months.join(', ')}`, {
      where: resources.staging.location,
      next: 'run the stages before, or name another folder with --staging',
    });
  }
  const unknown = selection.organizations?.filter((name) => !all.includes(name)) ?? [];
  if (unknown.length > 0) {
    throw new UsageError(`there is no organization ${unknown.join(', ')}`, {
      next: `choose among ${all.join(', ')}`,
    });
  }
  return selection.months.flatMap((month) => {
    const ofMonth = known.get(month) ?? [];
    return (selection.organizations ?? (ofMonth.length > 0 ? ofMonth : all)).map(
      (organization) => ({ month, organization }),
    );
  });
}

interface ChainContext extends RunRequest {
  resources: Resources;
  runId: string;
  limit: <T>(task: () => Promise<T>) => Promise<T>;
}

async function runChain(slice: Slice, context: ChainContext): Promise<TaskReport[]> {
  const reports: TaskReport[] = [];
  for (const stage of context.selection.stages) {
    const broken = reports.some(({ state }) => state === 'failed' || state === 'skipped');
    if (broken)
      reports.push({
        ...slice,
        stage,
        state: 'skipped',
        outcome: undefined,
        error: undefined,
        seconds: 0,
      });
    else reports.push(await context.limit(() => runTask(slice, stage, context)));
  }
  return reports;
}

async function runTask(slice: Slice, stage: Stage, context: ChainContext): Promise<TaskReport> {
  const { log, progress, signal } = context;
  const shown = progress.begin(
    `${slice.month}  ${slice.organization.padEnd(10)}  ${stage.padEnd(9)}`,
  );
  const clock = performance.now();
  const seconds = (): number => (performance.now() - clock) / 1000;
  try {
    if (signal.aborted) throw new InterruptedError();
    const outcome = await perform(stage, slice, context, shown.update);
    log.info({ ...slice, stage, ...outcome, seconds: seconds() }, `${stage} ${outcome.state}`);
    shown.end(`${outcome.state}, ${outcome.rows} rows, ${seconds().toFixed(1)} s`);
    return { ...slice, stage, state: outcome.state, outcome, error: undefined, seconds: seconds() };
  } catch (thrown) {
    const error = signal.aborted ? new InterruptedError() : thrown;
    // The summary names the failure for people; the log keeps the stack for those who ask for it.
    log.debug({ ...slice, stage, err: thrown }, `${stage} failed`);
    shown.end(error instanceof InterruptedError ? 'interrupted' : 'failed');
    return { ...slice, stage, state: 'failed', outcome: undefined, error, seconds: seconds() };
  }
}

/** A stage's modules load when the first of its tasks runs: `--stage load` never loads the AWS clients. */
async function perform(
  stage: Stage,
  slice: Slice,
  context: ChainContext,
  onProgress: OnProgress,
): Promise<Outcome> {
  const { resources, config, force, signal, now, runId } = context;
  const { staging } = resources;
  const common = { staging, slice, force, signal, onProgress, now, log: context.log };
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
