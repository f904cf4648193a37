import { randomUUID } from 'node:crypto';
import pLimit from 'p-limit';
import { DataError, UsageError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import { tell } from '../shared/output.js';
import { version } from '../shared/version.js';
import type { Slice } from '../staging/layout.js';
import { leased } from '../staging/lease.js';
import type { Resources } from './resources.js';
import { openResources } from './resources.js';
import type { RunRequest, TaskContext, TaskReport } from './task.js';
import { costOf, reportFailure, runTask, taskLabel } from './task.js';

export interface RunReport {
  runId: string;
  version: string;
  started: Date;
  seconds: number;
  interrupted: boolean;
  /** By month, organization and stage. */
  tasks: readonly TaskReport[];
}

/**
 * Runs the chosen stages for every chosen month and organization: where AWS is asked, month after month, the
 * oldest first, so that a limit of requests completes months instead of beginning all of them. The stages of
 * a month and organization run one after the other, all else side by side within the bound on concurrency.
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
    const slices = await slicesOf(resources, request);
    const { months, stages } = selection;
    log.info({ runId, months, stages, tasks: slices.length * stages.length }, 'tasks begin');
    const tasks = await runMonths(slices, { ...request, resources, runId });
    const seconds = (performance.now() - clock) / 1000;
    return { runId, version, started, seconds, interrupted: signal.aborted, tasks };
  } finally {
    await resources.close();
  }
}

async function runMonths(slices: readonly Slice[], context: TaskContext): Promise<TaskReport[]> {
  const { config, selection, progress } = context;
  const { months, stages } = selection;
  const limit = pLimit(config.concurrency);
  const tasks: TaskReport[] = [];
  const begin = (some: readonly Slice[]): Promise<TaskReport[][]> =>
    Promise.all(some.map((slice) => limit(() => runChain(slice, context))));
  // Only requests have to be spent on the oldest months first.
  if (!stages.includes('extract')) return (await begin(slices)).flat();
  for (const [index, month] of months.entries()) {
    if (months.length > 1 && !context.signal.aborted) {
      const all = slices.length * stages.length;
      progress.end(
        month,
        `month ${index + 1} of ${months.length}, ${tasks.length} of ${all} tasks so far, ${costOf(tasks)}`,
      );
    }
    tasks.push(...(await begin(slices.filter((slice) => slice.month === month))).flat());
  }
  return tasks;
}

/**
 * The months and organizations to work on. Every chosen month gets its tasks, even where nothing is
 * staged for it yet: its first task then fails by name instead of the month being left out silently.
 * @throws {DataError} when there is no organization. @throws {UsageError} when a chosen one is unknown.
 */
export async function slicesOf(
  resources: Pick<Resources, 'staging' | 'organizations'>,
  { config: { tags }, selection, log }: Pick<RunRequest, 'config' | 'selection'> & { log: Log },
): Promise<Slice[]> {
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
  const strangers = selection.stages.includes('extract') ? Object.keys(tags) : [];
  for (const name of strangers.filter((tagged) => !all.includes(tagged))) {
    log.warn(`"tags" in the configuration file names ${name}, which is none of ${all.join(', ')}`);
  }
  return selection.months.flatMap((month) => {
    const ofMonth = known.get(month) ?? [];
    return (selection.organizations ?? (ofMonth.length > 0 ? ofMonth : all)).map(
      (organization) => ({ month, organization }),
    );
  });
}

/**
 * Holds the slice's lease over all its stages: were it free between two of them, another run that waits
 * could take it, and this one would fail halfway.
 */
async function runChain(slice: Slice, context: TaskContext): Promise<TaskReport[]> {
  const { config, selection, signal, log, resources } = context;
  const [first = 'extract', ...rest] = selection.stages;
  const clock = performance.now();
  const onWait = (holder: string): void => {
    tell(`${taskLabel(slice, first)}  waiting for ${holder}`);
  };
  try {
    // Before anything is made under its name, which may be none.
    if (first === 'extract') await resources.access(slice.organization);
    const options = { waitSeconds: config.waitSeconds, signal, onWait, log };
    return await leased(resources.staging, slice, options, (leasedSignal) =>
      runStages(slice, { ...context, signal: leasedSignal }),
    );
  } catch (error) {
    const seconds = (performance.now() - clock) / 1000;
    const failed = {
      ...slice,
      stage: first,
      state: 'failed',
      error,
      requests: 0,
      seconds,
    } as const;
    return [
      reportFailure(failed, context),
      ...rest.map((stage) => ({ ...slice, stage, ...skipped })),
    ];
  }
}

/** How a stage ends that is left out, since one before it failed. */
const skipped = { state: 'skipped', requests: 0, seconds: 0 } as const;

async function runStages(slice: Slice, context: TaskContext): Promise<TaskReport[]> {
  const reports: TaskReport[] = [];
  let broken = false;
  for (const stage of context.selection.stages) {
    const report: TaskReport = broken
      ? { ...slice, stage, ...skipped }
      : await runTask(slice, stage, context);
    broken ||= report.state === 'failed';
    reports.push(report);
  }
  return reports;
}
