import pLimit from 'p-limit';
import type { OrganizationEntry } from '../../extract/organizations.js';
import type { Config } from '../config/config.js';
import { scopeOf } from '../config/config.js';
import type { Stage } from '../config/selection.js';
import { DataError, PipelineError, UsageError, describeError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import { nearest } from '../shared/nearest.js';
import { checkCostView } from '../shared/scope.js';
import { version } from '../shared/version.js';
import { currentOnce, stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { HeldError, leased } from '../staging/lease.js';
import { readTransformManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import type { Absence } from './known-organizations.js';
import { absentSlices, noAbsence } from './known-organizations.js';
import type { Resources } from './resources.js';
import { openResources, viewOf } from './resources.js';
import type { RunRequest, TaskContext, TaskReport } from './task.js';
import { settledSlices } from './settled.js';
import { costInWords, describeTasks, reportFailure, runTask, sliceLabel } from './task.js';

export interface RunReport {
  runId: string;
  version: string;
  started: Date;
  seconds: number;
  interrupted: boolean;
  /** By month, organization and stage. */
  tasks: readonly TaskReport[];
  /** Organizations of the months that the run left out, and that nothing is staged of. */
  absence: Absence;
}

/**
 * Runs the chosen stages for every chosen month and organization: where AWS is asked, month after month, the
 * oldest first, so that a limit of requests completes months instead of beginning all of them. The stages of
 * a month and organization run one after the other, all else side by side within the bound on concurrency.
 * A task's failure stops only the later stages of its own month and organization.
 * @throws {PipelineError} when it cannot be found out which organizations there are.
 */
export async function run(request: RunRequest): Promise<RunReport> {
  const { runId, config, selection, signal, log, now } = request;
  const started = now();
  const clock = performance.now();
  const resources = await openResources(config, { log, signal });
  try {
    const slices = await checkedSlices(resources, request);
    const { months, stages } = selection;
    log.info({ runId, months, stages, tasks: slices.length * stages.length }, 'tasks begin');
    const tasks = await runMonths(slices, {
      ...request,
      resources,
      current: currentOnce(resources.staging),
    });
    const absence = await leftOut(resources, request);
    const seconds = (performance.now() - clock) / 1000;
    return { runId, version, started, seconds, interrupted: signal.aborted, tasks, absence };
  } finally {
    await resources.close();
  }
}

/**
 * Which organizations the run's months lack. A run of all organizations leaves none out: what failed is told by its
 * tasks. One that fetches nothing does not ask Vault for them either. Of one month of one organization, as each piece
 * of `pipeline tasks` is, nobody expects the others.
 */
export async function leftOut(
  { staging, secrets }: Resources,
  request: RunRequest,
): Promise<Absence> {
  const { months, stages, organizations } = request.selection;
  const extracts = stages.includes('extract');
  const isPiece = months.length === 1 && organizations?.length === 1;
  if ((extracts && organizations === undefined) || isPiece || request.signal.aborted)
    return noAbsence;
  try {
    const known = extracts
      ? { entries: await secrets.organizations(), unasked: undefined }
      : {
          entries: await secrets.listedOrganizations(),
          unasked: new UsageError('a run that fetches nothing does not'),
        };
    const staged = await stagedSlices(staging, extracts ? months : undefined);
    const slices = staged.map(({ slice }) => slice);
    return { ...absentSlices(known, slices, months, undefined, request.now()), note: undefined };
  } catch (error) {
    // What has been done is told all the same.
    if (!(error instanceof PipelineError)) throw error;
    const note = `which organizations are absent is not known: ${describeError(error)}`;
    return { ...noAbsence, note };
  }
}

async function runMonths(slices: readonly Slice[], context: TaskContext): Promise<TaskReport[]> {
  const { config, selection, progress } = context;
  const { months, stages } = selection;
  const limit = pLimit(config.concurrency);
  const settled = await settledSlices(slices, context);
  /** Kept as sums: a backfill has tens of thousands of them. */
  const finished = { slices: 0, requests: 0 };
  const end = (slice: Slice, tasks: readonly TaskReport[]): void => {
    progress.end(sliceLabel(slice), describeTasks(tasks));
    finished.slices += 1;
    for (const { requests } of tasks) finished.requests += requests;
    progress.whole(
      `${finished.slices} of ${slices.length} months and organizations, ${costInWords(finished.requests)}`,
      finished.slices / slices.length,
    );
  };
  /** @param others whether other slices among them may be fetched while one of them is made. */
  const runAll = async (some: readonly Slice[], others: boolean): Promise<TaskReport[]> => {
    const first = some.map((slice) =>
      limit(async () => {
        const tasks = settled.get(slice)?.() ?? (await runChain(slice, context));
        const isLast = !others || !looksElsewhere(tasks);
        if (isLast) end(slice, tasks);
        else progress.rest(sliceLabel(slice));
        return { slice, tasks, isLast };
      }),
    );
    const ended = await Promise.all(first);
    const anew = { ...context, current: currentOnce(context.resources.staging) };
    const second = ended.map(async ({ slice, tasks, isLast }) => {
      if (isLast) return tasks;
      const all = await limit(() => lookAgain(slice, tasks, anew));
      end(slice, all);
      return all;
    });
    return (await Promise.all(second)).flat();
  };
  // Only requests have to be spent on the oldest months first.
  if (!stages.includes('extract')) return runAll(slices, false);
  const tasks: TaskReport[] = [];
  for (const month of months) {
    const some = slices.filter((slice) => slice.month === month);
    tasks.push(...(await runAll(some, !some.every((slice) => settled.has(slice)))));
  }
  return tasks;
}

/** Whether a slice was made, and has accounts whose names other organizations may list. */
export function looksElsewhere(tasks: readonly TaskReport[]): boolean {
  const made = tasks.find(({ stage }) => stage === 'transform')?.outcome;
  return made !== undefined && made.unlisted > 0;
}

/**
 * Looks once more for the names that a slice takes from other organizations, now that all of the month have ended: those
 * that were fetched after it was made may list them. Otherwise what a run makes would depend on which one came first,
 * and the next run would make it anew. Only where they are others are the tables made, and loaded, again.
 * @param context its `current` was listed since.
 * @returns the slice's tasks, each once.
 */
async function lookAgain(
  slice: Slice,
  tasks: readonly TaskReport[],
  context: TaskContext,
): Promise<TaskReport[]> {
  const { selection, signal, resources } = context;
  // A load that failed is not tried again: its tables are looked at all the same.
  const stages = tasks.flatMap(({ stage, state }) =>
    stage === 'extract' || state === 'failed' ? [] : stage,
  );
  const clock = performance.now();
  const { findsTheSame } = await import('../../transform/customer-rows.js');
  const { staging } = resources;
  let again: TaskReport[];
  try {
    if (!(await wasEarly(slice, { ...context, staging }))) return [...tasks];
    again = await underLease(slice, context, async (held) => {
      const task = { ...context, slice, staging, signal: held };
      // Another run may have made it anew since.
      const found = await readTransformManifest(staging, slice);
      if (found !== undefined && (await findsTheSame(task, found.manifest))) return [];
      const selected = { ...selection, stages };
      return runStages(slice, { ...context, selection: selected, force: false, signal: held });
    });
  } catch (error) {
    // What was made stands. Whoever holds the slice now looks by itself, and so does the run after one that was stopped.
    if (signal.aborted || error instanceof HeldError) return [...tasks];
    const seconds = (performance.now() - clock) / 1000;
    const [failed, ...later] = failedReports({ ...slice, stages }, error, seconds);
    again = [reportFailure(failed, context), ...later];
  }
  return tasks.map((task) =>
    lookedTwice(
      task,
      again.find(({ stage }) => stage === task.stage),
    ),
  );
}

/** Whether a slice was made before others of its month were what they are now. */
export async function wasEarly(
  slice: Slice,
  { staging, current }: Pick<TaskContext, 'current'> & { staging: Staging },
): Promise<boolean> {
  const { seesTheSame } = await import('../../transform/customer-rows.js');
  const made = await readTransformManifest(staging, slice);
  return made === undefined || !(await seesTheSame({ slice, current }, made.manifest));
}

/** What a task came to, of which the second look did more or nothing: a load that it did not come to stands. */
export function lookedTwice(task: TaskReport, second: TaskReport | undefined): TaskReport {
  if (second === undefined) return task;
  const seconds = task.seconds + second.seconds;
  const stands = second.state === 'unchanged' || second.state === 'skipped';
  return stands ? { ...task, seconds } : { ...second, seconds };
}

/**
 * The months and organizations to work on. Every chosen month gets its tasks, even where nothing is
 * staged for it yet: its first task then fails by name instead of the month being left out silently.
 * @throws {DataError} when there is no organization. @throws {UsageError} when a chosen one is unknown.
 */
export async function slicesOf(
  resources: Pick<Resources, 'staging' | 'organizations'>,
  {
    config: { tags, scope },
    selection,
    log,
  }: Pick<RunRequest, 'config' | 'selection'> & { log: Log },
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
    const meant = unknown.flatMap((name) => nearest(name, all) ?? []);
    const hint = meant.length === 0 ? '' : `did you mean ${meant.join(', ')}? `;
    throw new UsageError(`there is no organization ${unknown.join(', ')}`, {
      next: `${hint}choose among ${all.join(', ')}`,
    });
  }
  const { detail } = scope;
  const mappings = { tags, detail: typeof detail === 'object' ? detail : {} };
  for (const [setting, mapping] of Object.entries(mappings))
    for (const name of Object.keys(mapping))
      if (selection.stages.includes('extract') && !all.includes(name))
        log.warn(
          `"${setting}" in the configuration file names ${name}, which is none of ${all.join(', ')}`,
        );
  return selection.months.flatMap((month) => {
    const ofMonth = known.get(month) ?? [];
    return (selection.organizations ?? (ofMonth.length > 0 ? ofMonth : all)).map(
      (organization) => ({ month, organization }),
    );
  });
}

/**
 * The same, held against what may be asked for of each before anything is begun.
 * @throws {PipelineError} see {@link slicesOf} and {@link checkCostViews}.
 */
export async function checkedSlices(resources: Resources, request: RunRequest): Promise<Slice[]> {
  const slices = await slicesOf(resources, request);
  const { config, selection } = request;
  if (selection.stages.includes('extract'))
    checkCostViews(slices, config.scope, await resources.secrets.organizations());
  return slices;
}

/** @throws {UsageError} where an organization is asked for what does not go together. */
export function checkCostViews(
  slices: readonly Slice[],
  scope: Config['scope'],
  entries: readonly OrganizationEntry[],
): void {
  for (const organization of new Set(slices.map((slice) => slice.organization))) {
    const entry = entries.find(({ name }) => name === organization);
    if (entry !== undefined && 'access' in entry)
      checkCostView(organization, { ...scopeOf(scope, organization), ...viewOf(entry) });
  }
}

/**
 * Holds the slice's lease over all its stages: were it free between two of them, another run that waits
 * could take it, and this one would fail halfway.
 */
async function runChain(slice: Slice, context: TaskContext): Promise<TaskReport[]> {
  const { selection, resources } = context;
  const [first] = selection.stages;
  const clock = performance.now();
  try {
    // Before anything is made under its name, which may be none.
    if (first === 'extract') await resources.access(slice.organization);
    return await underLease(slice, context, (signal) => runStages(slice, { ...context, signal }));
  } catch (error) {
    const seconds = (performance.now() - clock) / 1000;
    const [failed, ...later] = failedReports(
      { ...slice, stages: selection.stages },
      error,
      seconds,
    );
    return [reportFailure(failed, context), ...later];
  }
}

/** Does work under the slice's lease, which is waited for as long as the run may. */
async function underLease<T>(
  slice: Slice,
  { config, signal, log, progress, resources }: TaskContext,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const onWait = (holder: string): void => {
    progress.note(sliceLabel(slice), `waiting for ${holder}`);
  };
  const options = { waitSeconds: config.waitSeconds, signal, onWait, log };
  return leased(resources.staging, slice, options, work);
}

/** How a stage ends that is left out, since one before it failed. */
export const skipped = { state: 'skipped', requests: 0, seconds: 0 } as const;

/** How the stages of a slice end of which the first could not be begun. */
export function failedReports(
  { month, organization, stages }: Slice & { stages: readonly Stage[] },
  error: unknown,
  seconds = 0,
): [TaskReport, ...TaskReport[]] {
  const [stage = 'extract', ...rest] = stages;
  const slice = { month, organization };
  return [
    { ...slice, stage, state: 'failed', error, requests: 0, seconds },
    ...rest.map((later): TaskReport => ({ ...slice, stage: later, ...skipped })),
  ];
}

/**
 * The stages of a slice whose lease the caller holds, one after the other.
 * @param perform does one of them; what it throws ends the slice without a report.
 */
export async function runStages(
  slice: Slice,
  context: TaskContext,
  perform = runTask,
): Promise<TaskReport[]> {
  const reports: TaskReport[] = [];
  let broken = false;
  for (const stage of context.selection.stages) {
    const report: TaskReport = broken
      ? { ...slice, stage, ...skipped }
      : await perform(slice, stage, context);
    broken ||= report.state === 'failed';
    reports.push(report);
  }
  return reports;
}
