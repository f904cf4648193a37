import type { Stage } from '../config/selection.js';
import { UsageError, throwIfInterrupted } from '../shared/errors.js';
import { tell } from '../shared/output.js';
import { until, within } from '../shared/waits.js';
import { version } from '../shared/version.js';
import { survey } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import type { QueueConfig } from './queue-connection.js';
import { MOST_AWAY, awayError, briefly, queueError } from './queue-connection.js';
import type { JobData } from './queue-job.js';
import { askedSettings, jobName, priorityOf } from './queue-job.js';
import type { OpenQueue } from './queue.js';
import { LOADS, MONTHS, runCount } from './queue.js';
import type { Resources } from './resources.js';
import { viewOf } from './resources.js';
import type { RunRequest } from './task.js';

/** The jobs of a run: what they are, put into the queue, and taken out of it again where nobody has begun them. */

/** How often a job is tried that fails with "again later", and the first pause; each is twice the one before. */
const ATTEMPTS = 7;
const FIRST_PAUSE = 2_000;

const DAY = 86_400;

/** Jobs that are put in or looked at with one message. */
export const BATCH = 500;

/** @throws {UsageError} where the settings name no queue. */
export function queueOf({ config }: Pick<RunRequest, 'config'>): QueueConfig {
  if (config.queue === undefined)
    throw new UsageError('no queue is named', { next: 'name it with --queue' });
  return config.queue;
}

/** The stages that each queue does of those that were chosen. */
export function partsOf(chosen: readonly Stage[]): {
  months: readonly Stage[];
  loads: readonly Stage[];
} {
  const isLoad = (stage: Stage): boolean => stage === 'load';
  return { months: chosen.filter((stage) => !isLoad(stage)), loads: chosen.filter(isLoad) };
}

export type QueueName = 'months' | 'loads';

/** The queues that have jobs of a run of these stages. */
export function queuesOf(chosen: readonly Stage[]): QueueName[] {
  const parts = partsOf(chosen);
  return (['months', 'loads'] as const).filter((name) => parts[name].length > 0);
}

/**
 * Puts the jobs in; where that fails halfway, those that are in and not begun are taken out again.
 * @param idOf the job of a slice, the same in both queues.
 * @throws {PipelineError} when Redis cannot be used, or gives no answer for too long; when the signal is given.
 */
export async function putJobs(
  queue: OpenQueue,
  slices: readonly Slice[],
  idOf: (slice: Slice) => string,
  request: RunRequest & { resources: Resources },
): Promise<void> {
  const { runId, config, selection, signal } = request;
  const place = queueOf(request);
  const parts = partsOf(selection.stages);
  const jobOf = await jobMaker(idOf, request);
  const answered = <T>(work: Promise<T>): Promise<T> =>
    within(MOST_AWAY, until(signal, work), () => awayError(place));
  const flows = new queue.bullmq.FlowProducer(queue.options);
  flows.on('error', () => undefined);
  let tried = 0;
  try {
    await answered(runCount(queue.client).begin(runId, config.maxRequests));
    if ((await answered(queue.loads.getGlobalConcurrency())) === null)
      await answered(queue.loads.setGlobalConcurrency(config.loadConcurrency));
    for (const each of [queue.months, queue.loads])
      for (const state of ['completed', 'failed'] as const)
        await answered(each.clean(place.keepDays * DAY * 1000, 10_000, state));
    for (let at = 0; at < slices.length; at = tried) {
      const some = slices.slice(at, at + BATCH);
      const months = await Promise.all(some.map((slice) => jobOf(slice, parts.months)));
      const loads = await Promise.all(some.map((slice) => jobOf(slice, parts.loads)));
      throwIfInterrupted(signal);
      tried = at + some.length;
      if (parts.loads.length === 0) await answered(queue.months.addBulk(months));
      else if (parts.months.length === 0) await answered(queue.loads.addBulk(loads));
      else {
        const trees = loads.flatMap((load, index) => {
          const month = months[index];
          if (month === undefined) return [];
          const opts = { ...month.opts, failParentOnFailure: true };
          return [{ ...load, queueName: LOADS, children: [{ ...month, opts, queueName: MONTHS }] }];
        });
        await answered(flows.addBulk(trees));
      }
    }
  } catch (error) {
    await takeBack(queue, slices.slice(0, tried), idOf, queuesOf(selection.stages));
    throw queueError(error, place);
  } finally {
    await briefly(flows.close());
  }
}

/** Makes the jobs of a run, with what each of them depends on. */
async function jobMaker(
  idOf: (slice: Slice) => string,
  {
    runId,
    config,
    selection,
    force,
    acceptEmpty,
    resources,
  }: RunRequest & { resources: Resources },
) {
  const age = queueOf({ config }).keepDays * DAY;
  const entries = selection.stages.includes('extract')
    ? await resources.secrets.organizations()
    : [];
  return async (slice: Slice, stages: readonly Stage[]) => {
    const isExtract = stages.includes('extract');
    const newest = force && isExtract ? await survey(resources.staging, slice) : undefined;
    const before = newest?.finished.at(-1);
    const entry = entries.find(({ name }) => name === slice.organization);
    // One that lacks what it needs fails where it is fetched.
    const view = isExtract && entry !== undefined && 'access' in entry ? viewOf(entry) : undefined;
    const data: JobData = {
      version,
      run: runId,
      ...slice,
      stages: [...stages],
      chain: [...selection.stages],
      ...(force ? { force } : {}),
      ...(acceptEmpty === true ? { acceptEmpty } : {}),
      ...(before === undefined ? {} : { before }),
      ...(config.maxRequests === undefined ? {} : { maxRequests: config.maxRequests }),
      settings: askedSettings(config, slice.organization, selection.stages, view),
    };
    const opts = {
      jobId: idOf(slice),
      priority: priorityOf(slice),
      attempts: ATTEMPTS,
      backoff: { type: 'exponential', delay: FIRST_PAUSE },
      removeOnComplete: { age },
      removeOnFail: { age },
      // What failed stands in the job's result; a stack trace might hold more.
      stackTraceLimit: 0,
    };
    return { name: jobName(slice), data, opts };
  };
}

/** Takes the jobs of a run that nobody has begun out of the queue, and tells what is left there. */
export async function takeBack(
  queue: OpenQueue,
  slices: readonly Slice[],
  idOf: (slice: Slice) => string,
  names: readonly QueueName[],
): Promise<void> {
  const left = { begun: 0, unknown: 0 };
  // Loads first: without its load a month that is being worked on ends alone.
  for (const name of names.toReversed())
    for (let at = 0; at < slices.length; at += BATCH) {
      const some = slices.slice(at, at + BATCH);
      const removing = some.map((slice) =>
        queue[name].remove(idOf(slice), { removeChildren: false }),
      );
      // One that has ended meanwhile is not there, or taken out as well.
      const removed = left.unknown > 0 ? undefined : await briefly(Promise.all(removing));
      if (removed === undefined) left.unknown += some.length;
      else left.begun += removed.filter((one) => one === 0).length;
    }
  const { begun, unknown } = left;
  if (begun > 0)
    tell(`${begun === 1 ? '1 job is' : `${begun} jobs are`} under way, and ended by the workers`);
  if (unknown > 0)
    tell(
      `${unknown === 1 ? '1 job is' : `${unknown} jobs are`} left in the queue, since Redis gave no answer: workers do them when it is back`,
    );
}
