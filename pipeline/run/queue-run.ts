import type { QueueEvents } from 'bullmq';
import { queueAddress, queuePlace } from '../config/queue-address.js';
import type { Stage } from '../config/selection.js';
import { ownCommand } from '../shared/commands.js';
import { InterruptedError, TransientError } from '../shared/errors.js';
import { tell } from '../shared/output.js';
import { said } from '../shared/printable.js';
import { version } from '../shared/version.js';
import { pause } from '../shared/waits.js';
import { currentOnce } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { noProgress } from './progress.js';
import type { QueueConfig } from './queue-connection.js';
import { MOST_AWAY, awayError, briefly } from './queue-connection.js';
import type { JobResult } from './queue-job.js';
import { jobId, jobProgress, parseResult } from './queue-job.js';
import type { QueueName } from './queue-put.js';
import { BATCH, partsOf, putJobs, queueOf, queuesOf, takeBack } from './queue-put.js';
import type { OpenQueue } from './queue.js';
import { LOADS, MONTHS, openQueue, runCount } from './queue.js';
import type { Resources } from './resources.js';
import { openResources } from './resources.js';
import type { RunReport } from './runner.js';
import {
  checkedSlices,
  failedReports,
  leftOut,
  lookedTwice,
  looksElsewhere,
  skipped,
  wasEarly,
} from './runner.js';
import type { RunRequest, TaskReport } from './task.js';
import { costInWords, describeTasks, reportFailure, sliceLabel } from './task.js';

/** A run that workers do: its jobs are put into the queue, and followed until all have ended. */

/** Milliseconds between two looks at jobs whose end no event told. */
const LOOK = 3_000;

/** Milliseconds after which a run is told that nobody works. */
const LONELY = 5_000;

/**
 * Puts the run's jobs into the queue.
 * @returns what they are of.
 * @throws {PipelineError} when it cannot be found out which organizations there are, or Redis cannot be used.
 */
export async function enqueue(request: RunRequest): Promise<readonly Slice[]> {
  return withQueue(request, async (resources, queue) => {
    const slices = await checkedSlices(resources, request);
    const { runId } = request;
    const idOf = (slice: Slice): string => jobId(runId, slice);
    await putJobs(queue, slices, idOf, { ...request, resources });
    return slices;
  });
}

/**
 * The same, and follows the jobs until all have ended. When the signal is given, the jobs that nobody has begun are
 * taken out of the queue; workers end the others by themselves.
 * @throws {PipelineError} see {@link enqueue}. @throws {TransientError} when Redis is away for too long.
 */
export async function runByQueue(request: RunRequest): Promise<RunReport> {
  const { runId, signal, now } = request;
  const started = now();
  const clock = performance.now();
  return withQueue(request, async (resources, queue) => {
    const slices = await checkedSlices(resources, request);
    const idOf = (slice: Slice): string => jobId(runId, slice);
    const first = await doJobs(queue, slices, idOf, { ...request, resources });
    const tasks = await lookAgain(queue, slices, first, { ...request, resources });
    const absence = await leftOut(resources, request);
    const seconds = (performance.now() - clock) / 1000;
    return { runId, version, started, seconds, interrupted: signal.aborted, tasks, absence };
  });
}

/** Puts jobs in, and follows them to their end. @returns the reports of their tasks, by slice. */
async function doJobs(
  queue: OpenQueue,
  slices: readonly Slice[],
  idOf: (slice: Slice) => string,
  request: RunRequest & { resources: Resources },
): Promise<TaskReport[]> {
  const { runId, log } = request;
  const following = await follow(queue, slices, idOf, request);
  try {
    await putJobs(queue, slices, idOf, request);
    log.info({ runId, jobs: slices.length }, 'jobs are in the queue');
    return await following.ended();
  } finally {
    await following.stop();
  }
}

/**
 * The second look of the run, see runner.ts: slices whose look for names was taken before others of their month were
 * there are made and loaded by jobs once more. A job knows nothing of the others, so only now can it be told which.
 * @returns the tasks, each once.
 */
async function lookAgain(
  queue: OpenQueue,
  slices: readonly Slice[],
  tasks: readonly TaskReport[],
  request: RunRequest & { resources: Resources },
): Promise<TaskReport[]> {
  const { runId, selection, signal, resources } = request;
  const later = selection.stages.filter((stage) => stage !== 'extract');
  const bySlice = new Map(slices.map((slice) => [jobId(runId, slice), [] as TaskReport[]]));
  for (const task of tasks) bySlice.get(jobId(runId, task))?.push(task);
  const isStopped = (): boolean => signal.aborted;
  const early = { loaded: [] as Slice[], failed: [] as Slice[] };
  if (selection.stages.includes('extract')) {
    const current = currentOnce(resources.staging);
    for (const slice of slices) {
      if (isStopped()) break;
      const own = bySlice.get(jobId(runId, slice)) ?? [];
      if (!looksElsewhere(own) || !(await wasEarly(slice, { ...resources, current }))) continue;
      // A load that failed is not tried again: its tables are looked at all the same.
      early[own.some(({ state }) => state === 'failed') ? 'failed' : 'loaded'].push(slice);
    }
  }
  const taskOf = (task: TaskReport): string => `${task.stage} ${jobId(runId, task)}`;
  const again = new Map<string, TaskReport>();
  try {
    for (const [some, stages] of [
      [early.loaded, later],
      [early.failed, ['transform']],
    ] as const) {
      if (some.length === 0 || isStopped()) continue;
      const idOf = (slice: Slice): string => `${jobId(runId, slice)}.again`;
      const anew = { ...selection, stages };
      const second = { ...request, selection: anew, force: false, progress: noProgress };
      for (const task of await doJobs(queue, some, idOf, second)) again.set(taskOf(task), task);
    }
  } catch (error) {
    if (!isStopped()) throw error;
  }
  // What was made stands; the next run looks.
  if (isStopped()) return [...tasks];
  return tasks.map((task) => lookedTwice(task, again.get(taskOf(task))));
}

/** Does something with what a run and its queue need, and closes both. */
async function withQueue<T>(
  request: RunRequest,
  work: (resources: Resources, queue: OpenQueue) => Promise<T>,
): Promise<T> {
  const { log, signal, config } = request;
  const place = queueOf(request);
  const onAway = (why: string): void => {
    if (!signal.aborted) tell(`${why} [${queuePlace(place.location)}]; trying again`);
  };
  const resources = await openResources(config, { log, signal });
  try {
    const queue = await openQueue(place, { timeoutMs: config.timeoutMs, log, onAway });
    try {
      return await work(resources, queue);
    } finally {
      await queue.close();
    }
  } finally {
    await resources.close();
  }
}

/** A job that is followed. */
interface Part {
  queue: QueueName;
  slice: Slice;
  stages: readonly Stage[];
  /** Its tasks' reports, once it has ended. */
  reports?: readonly TaskReport[];
}

/** Fields of a job's hash in Redis that tell how it ended. */
const END = ['data', 'finishedOn', 'returnvalue', 'failedReason', 'progress'] as const;

/**
 * What became of a job.
 * @param fields the values of {@link END}, as BullMQ writes them.
 * @returns its result, or why there is none; `undefined`: it has not ended.
 */
function endOfJob(
  [data, finished, value, reason, noted]: readonly (string | null)[],
  { slice, stages }: Part,
  { location }: QueueConfig,
): JobResult | TransientError | undefined {
  if (data == null)
    return new TransientError(
      'Redis has lost the job: it was emptied, or started without its data',
      {
        where: queuePlace(location),
        next: `run again: it goes on from what is staged; "${ownCommand(['check', '--queue', queueAddress(location)])}" tells whether Redis keeps its data`,
      },
    );
  if (finished == null) return undefined;
  const last = jobProgress.safeParse(parsed(noted)).data;
  const wire = value == null ? (last?.is === 'failed' ? last.result : undefined) : parsed(value);
  const result = parseResult(wire, slice, stages);
  if (result !== undefined) return result;
  const why = reason == null || reason === '' ? 'the job ended without a result' : said(reason);
  return new TransientError(why, { next: 'run the same command again' });
}

/** Listens to the queues from now on. */
async function follow(
  queue: OpenQueue,
  slices: readonly Slice[],
  idOf: (slice: Slice) => string,
  request: RunRequest,
): Promise<{ ended: () => Promise<TaskReport[]>; stop: () => Promise<void> }> {
  const { runId, log, progress, selection, signal } = request;
  const place = queueOf(request);
  const chosen = partsOf(selection.stages);
  const names = queuesOf(selection.stages);
  const parts = new Map<string, Part>(
    slices.flatMap((slice) =>
      names.map((name) => [`${name} ${idOf(slice)}`, { queue: name, slice, stages: chosen[name] }]),
    ),
  );
  const outstanding = new Map(parts);
  const notes = new Map<string, string>();
  /** Kept as sums: a backfill has tens of thousands of them. */
  const ended = { slices: 0, requests: 0 };
  const endings = new AbortController();

  /** What a month and organization came to, once nothing of it is to come. */
  const endSlice = (slice: Slice): void => {
    const own = names.flatMap((name) => parts.get(`${name} ${idOf(slice)}`) ?? []);
    if (own.some(({ reports }) => reports === undefined)) return;
    const tasks = own.flatMap(({ reports = [] }) => reports);
    ended.slices += 1;
    for (const { requests } of tasks) ended.requests += requests;
    progress.end(sliceLabel(slice), describeTasks(tasks));
    progress.whole(
      `${ended.slices} of ${slices.length} months and organizations, ${costInWords(ended.requests)}`,
      ended.slices / slices.length,
    );
  };
  const endPart = (key: string, reports: readonly TaskReport[]): void => {
    const part = outstanding.get(key);
    if (part === undefined) return;
    outstanding.delete(key);
    part.reports = reports;
    for (const report of reports) {
      if (report.state === 'failed') reportFailure(report, request);
      else if (report.outcome !== undefined) {
        const { month, organization, stage, state, outcome } = report;
        log.info({ month, organization, stage, ...outcome }, `${stage} ${state}`);
      }
    }
    const load = `loads ${idOf(part.slice)}`;
    if (part.queue === 'months' && reports.some(({ state }) => state === 'failed'))
      endPart(
        load,
        chosen.loads.map((stage) => ({ ...part.slice, stage, ...skipped })),
      );
    else endSlice(part.slice);
    if (outstanding.size === 0) endings.abort();
  };
  const failPart = (key: string, { slice, stages }: Part, error: Error): void => {
    endPart(key, failedReports({ ...slice, stages }, error));
  };
  const endBy = (key: string, result: JobResult): void => {
    for (const { msg, ...subject } of result.warnings) log.warn(subject, msg);
    endPart(key, result.reports);
  };

  const monthOf = ({ slice }: Part): string => `months ${idOf(slice)}`;

  /** Reads jobs, and takes note of those that have ended, or are no longer there. */
  const look = async (keys: readonly string[]): Promise<void> => {
    if (keys.length === 0) return;
    const asked = queue.client.pipeline();
    for (const key of keys) {
      const [name, id = ''] = key.split(' ');
      const of = name === 'loads' ? queue.loads : queue.months;
      asked.hmget(of.toKey(id), ...END);
    }
    const answers = (await asked.exec()) ?? [];
    for (const [index, [failure, fields]] of answers.entries()) {
      if (failure !== null) throw failure;
      const key = keys[index] ?? '';
      const part = outstanding.get(key);
      if (part === undefined || !Array.isArray(fields)) continue;
      // What became of the month tells what became of its load, whichever was told first.
      if (part.queue === 'loads' && outstanding.has(monthOf(part))) continue;
      const end = endOfJob(fields as (string | null)[], part, place);
      if (end instanceof Error) failPart(key, part, end);
      else if (end !== undefined) endBy(key, end);
    }
  };
  const lookAtAll = async (): Promise<void> => {
    const keys = [...outstanding.keys()];
    for (let at = 0; at < keys.length; at += BATCH)
      await look(keys.slice(at, at + BATCH).filter((key) => outstanding.has(key)));
  };
  const quietly = (work: Promise<void>): void => {
    work.catch((error: unknown) => {
      log.debug({ err: error }, 'queue');
    });
  };

  const listeners = names.map((name) => {
    const events: QueueEvents = new queue.bullmq.QueueEvents(
      name === 'loads' ? LOADS : MONTHS,
      queue.options,
    );
    events.on('error', (error) => {
      log.debug({ err: error }, 'events of the queue');
    });
    const lookAt = ({ jobId: id }: { jobId: string }): void => {
      const part = outstanding.get(`${name} ${id}`);
      const keys = part === undefined ? [] : [monthOf(part), `${name} ${id}`];
      quietly(look([...new Set(keys)].filter((key) => outstanding.has(key))));
    };
    events.on('completed', lookAt).on('failed', lookAt);
    events.on('progress', ({ jobId: id, data }) => {
      const key = `${name} ${id}`;
      const part = outstanding.get(key);
      const noted = jobProgress.safeParse(data).data;
      if (part === undefined || noted === undefined) return;
      const label = sliceLabel(part.slice);
      if (noted.is === 'at') progress.show(label, noted.stage, noted.text, noted.share);
      else if (noted.is === 'waiting' && noted.for === 'organization') {
        // Its own turn among the months of its organization: no news.
        progress.show(label, 'extract', 'waits for another month of the organization');
      } else if (noted.is !== 'failed') {
        const text =
          noted.is === 'waiting' ? `waits: ${noted.why}` : `is tried again: ${noted.why}`;
        if (notes.get(key) === text) return;
        notes.set(key, text);
        progress.note(label, text);
      }
    });
    return events;
  });
  await Promise.all(listeners.map((events) => events.waitUntilReady()));

  return {
    async ended() {
      const begun = performance.now();
      let isToldLonely = false;
      let heard = begun;
      let looking: Promise<void> | undefined;
      const any = AbortSignal.any([signal, endings.signal]);
      while (outstanding.size > 0 && !signal.aborted) {
        await pause(LOOK, any).catch(() => undefined);
        if (any.aborted) break;
        if (performance.now() - heard > MOST_AWAY) throw awayError(place);
        // One look at a time: those that a Redis leaves without an answer would pile up.
        looking ??= lookAtAll()
          .then(() => {
            heard = performance.now();
          })
          .catch((error: unknown) => {
            log.debug({ err: error }, 'queue');
          })
          .finally(() => {
            looking = undefined;
          });
        if (!isToldLonely && performance.now() - begun > LONELY) {
          isToldLonely = true;
          if ((await briefly(queue.workers()))?.length === 0)
            tell(
              'no worker is connected to the queue: start one on each machine with "pipeline worker --queue …"',
            );
        }
      }
      if (outstanding.size > 0) {
        const left = slices.filter((slice) => {
          return names.some((name) => outstanding.has(`${name} ${idOf(slice)}`));
        });
        await takeBack(queue, left, idOf, names);
      }
      for (const [key, part] of [...outstanding]) failPart(key, part, new InterruptedError());
      const paid = await briefly(runCount(queue.client).paid(runId));
      return slices.flatMap((slice) => {
        const id = idOf(slice);
        const own = names.flatMap((name) => parts.get(`${name} ${id}`)?.reports ?? []);
        // Also what attempts brought that ended without a word.
        return own.map((task) =>
          task.stage === 'extract' ? { ...task, requests: paid?.get(id) ?? task.requests } : task,
        );
      });
    },
    async stop() {
      await briefly(Promise.allSettled(listeners.map((events) => events.close())));
    },
  };
}

function parsed(text: string | null | undefined): unknown {
  try {
    return text == null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
