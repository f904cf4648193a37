import type { QueueEvents } from 'bullmq';
import type { Stage } from '../config/selection.js';
import { queueAddress, queuePlace } from '../config/queue-address.js';
import { ownCommand } from '../shared/commands.js';
import {
  InterruptedError,
  TransientError,
  UsageError,
  throwIfInterrupted,
} from '../shared/errors.js';
import { tell } from '../shared/output.js';
import { said } from '../shared/printable.js';
import { pause, until, within } from '../shared/waits.js';
import { version } from '../shared/version.js';
import { survey } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import type { QueueConfig } from './queue-connection.js';
import { queueError } from './queue-connection.js';
import type { JobData, JobResult } from './queue-job.js';
import {
  askedSettings,
  jobId,
  jobName,
  jobProgress,
  parseResult,
  priorityOf,
} from './queue-job.js';
import type { OpenQueue } from './queue.js';
import { LOADS, MONTHS, openQueue, runCount } from './queue.js';
import type { Resources } from './resources.js';
import { openResources, viewOf } from './resources.js';
import type { RunReport } from './runner.js';
import { checkedSlices, failedReports, leftOut, skipped } from './runner.js';
import type { RunRequest, TaskReport } from './task.js';
import { costInWords, describeTasks, reportFailure, sliceLabel } from './task.js';

/** A run that workers do: its jobs are put into the queue, and followed until all have ended. */

/** How often a job is tried that fails with "again later", and the first pause; each is twice the one before. */
const ATTEMPTS = 7;
const FIRST_PAUSE = 2_000;

/** Milliseconds between two looks at jobs whose end no event told. */
const LOOK = 3_000;

/** Milliseconds after which a run is told that nobody works. */
const LONELY = 5_000;

/** Milliseconds that Redis may be away before a run is no longer followed. */
const MOST_AWAY = 5 * 60_000;

/** Milliseconds that Redis has for what is asked of it at the end. */
const BRIEF = 3_000;

const DAY = 86_400;

/** Jobs that are put in or looked at with one message. */
const BATCH = 500;

/**
 * Puts the run's jobs into the queue.
 * @returns what they are of.
 * @throws {PipelineError} when it cannot be found out which organizations there are, or Redis cannot be used.
 */
export async function enqueue(request: RunRequest): Promise<readonly Slice[]> {
  return withQueue(request, async (resources, queue) => {
    const slices = await checkedSlices(resources, request);
    const { runId } = request;
    await put(queue, runId, slices, { ...request, resources });
    return slices;
  });
}

/**
 * The same, and follows the jobs until all have ended. When the signal is given, the jobs that nobody has begun are
 * taken out of the queue; workers end the others by themselves.
 * @throws {PipelineError} see {@link enqueue}. @throws {TransientError} when Redis is away for too long.
 */
export async function runByQueue(request: RunRequest): Promise<RunReport> {
  const { runId, log, signal, now } = request;
  const started = now();
  const clock = performance.now();
  return withQueue(request, async (resources, queue) => {
    const slices = await checkedSlices(resources, request);
    const following = await follow(queue, runId, slices, request);
    try {
      await put(queue, runId, slices, { ...request, resources });
      log.info({ runId, jobs: slices.length }, 'jobs are in the queue');
      const tasks = await following.ended();
      const absence = await leftOut(resources, request);
      const seconds = (performance.now() - clock) / 1000;
      return { runId, version, started, seconds, interrupted: signal.aborted, tasks, absence };
    } finally {
      await following.stop();
    }
  });
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

function queueOf({ config }: Pick<RunRequest, 'config'>): QueueConfig {
  if (config.queue === undefined)
    throw new UsageError('no queue is named', { next: 'name it with --queue' });
  return config.queue;
}

/** The stages that each queue does of those that were chosen. */
function partsOf(chosen: readonly Stage[]): { months: readonly Stage[]; loads: readonly Stage[] } {
  const isLoad = (stage: Stage): boolean => stage === 'load';
  return { months: chosen.filter((stage) => !isLoad(stage)), loads: chosen.filter(isLoad) };
}

type QueueName = 'months' | 'loads';

/** The queues that have jobs of a run of these stages. */
function queuesOf(chosen: readonly Stage[]): QueueName[] {
  const parts = partsOf(chosen);
  return (['months', 'loads'] as const).filter((name) => parts[name].length > 0);
}

/**
 * Puts the jobs in; where that fails halfway, those that are in and not begun are taken out again.
 * @throws {PipelineError} when Redis cannot be used, or gives no answer for too long; when the signal is given.
 */
async function put(
  queue: OpenQueue,
  runId: string,
  slices: readonly Slice[],
  request: RunRequest & { resources: Resources },
): Promise<void> {
  const { config, selection, signal } = request;
  const place = queueOf(request);
  const parts = partsOf(selection.stages);
  const jobOf = await jobMaker(runId, request);
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
    await takeBack(queue, runId, slices.slice(0, tried), queuesOf(selection.stages));
    throw queueError(error, place);
  } finally {
    await briefly(flows.close());
  }
}

/** Makes the jobs of a run, with what each of them depends on. */
async function jobMaker(
  runId: string,
  { config, selection, force, acceptEmpty, resources }: RunRequest & { resources: Resources },
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
      jobId: jobId(runId, slice),
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

function awayError({ location }: QueueConfig): TransientError {
  return new TransientError('Redis is away for too long to follow the run', {
    where: queuePlace(location),
    next: 'workers go on when it is back; "pipeline status --queue" shows what became of the run, and the same run once more does what is left',
  });
}

/** What comes of a last look at Redis, which may be away; `undefined`: nothing in time. */
async function briefly<T>(work: Promise<T>): Promise<T | undefined> {
  return within(BRIEF, work, () => new Error('no answer')).catch(() => undefined);
}

/** A job that is followed. */
interface Part {
  queue: QueueName;
  slice: Slice;
  stages: readonly Stage[];
  /** Its tasks' reports, once it has ended. */
  reports?: readonly TaskReport[];
}

/** Listens to the queues from now on. */
async function follow(
  queue: OpenQueue,
  runId: string,
  slices: readonly Slice[],
  request: RunRequest,
): Promise<{ ended: () => Promise<TaskReport[]>; stop: () => Promise<void> }> {
  const { log, progress, selection, signal } = request;
  const place = queueOf(request);
  const chosen = partsOf(selection.stages);
  const names = queuesOf(selection.stages);
  const parts = new Map<string, Part>(
    slices.flatMap((slice) =>
      names.map((name) => [
        `${name} ${jobId(runId, slice)}`,
        { queue: name, slice, stages: chosen[name] },
      ]),
    ),
  );
  const outstanding = new Map(parts);
  const notes = new Map<string, string>();
  /** Kept as sums: a backfill has tens of thousands of them. */
  const ended = { slices: 0, requests: 0 };
  const endings = new AbortController();

  /** What a month and organization came to, once nothing of it is to come. */
  const endSlice = (slice: Slice): void => {
    const own = names.flatMap((name) => parts.get(`${name} ${jobId(runId, slice)}`) ?? []);
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
    const load = `loads ${jobId(runId, part.slice)}`;
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

  const monthOf = ({ slice }: Part): string => `months ${jobId(runId, slice)}`;

  /** Reads jobs, and takes note of those that have ended, or are no longer there. */
  const look = async (keys: readonly string[]): Promise<void> => {
    if (keys.length === 0) return;
    const asked = queue.client.pipeline();
    for (const key of keys) {
      const [name, id = ''] = key.split(' ');
      const of = name === 'loads' ? queue.loads : queue.months;
      asked.hmget(of.toKey(id), 'data', 'finishedOn', 'returnvalue', 'failedReason', 'progress');
    }
    const answers = (await asked.exec()) ?? [];
    for (const [index, [failure, fields]] of answers.entries()) {
      if (failure !== null) throw failure;
      const key = keys[index] ?? '';
      const part = outstanding.get(key);
      if (part === undefined || !Array.isArray(fields)) continue;
      // What became of the month tells what became of its load, whichever was told first.
      if (part.queue === 'loads' && outstanding.has(monthOf(part))) continue;
      const [data, finished, value, reason, noted] = fields as (string | null)[];
      if (data == null) {
        failPart(
          key,
          part,
          new TransientError(
            'Redis has lost the job: it was emptied, or started without its data',
            {
              where: queuePlace(place.location),
              next: `run again: it goes on from what is staged; "${ownCommand(['check', '--queue', queueAddress(place.location)])}" tells whether Redis keeps its data`,
            },
          ),
        );
      } else if (finished != null) {
        const last = jobProgress.safeParse(parsed(noted)).data;
        const wire =
          value == null ? (last?.is === 'failed' ? last.result : undefined) : parsed(value);
        const result = parseResult(wire, part.slice, part.stages);
        if (result !== undefined) endBy(key, result);
        else {
          const why =
            reason == null || reason === '' ? 'the job ended without a result' : said(reason);
          failPart(key, part, new TransientError(why, { next: 'run the same command again' }));
        }
      }
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
          return names.some((name) => outstanding.has(`${name} ${jobId(runId, slice)}`));
        });
        await takeBack(queue, runId, left, names);
      }
      for (const [key, part] of [...outstanding]) failPart(key, part, new InterruptedError());
      const paid = await briefly(runCount(queue.client).paid(runId));
      return slices.flatMap((slice) => {
        const id = jobId(runId, slice);
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

/** Takes the jobs of a run that nobody has begun out of the queue, and tells what is left there. */
async function takeBack(
  queue: OpenQueue,
  runId: string,
  slices: readonly Slice[],
  names: readonly QueueName[],
): Promise<void> {
  const left = { begun: 0, unknown: 0 };
  // Loads first: without its load a month that is being worked on ends alone.
  for (const name of names.toReversed())
    for (let at = 0; at < slices.length; at += BATCH) {
      const some = slices.slice(at, at + BATCH);
      const removing = some.map((slice) =>
        queue[name].remove(jobId(runId, slice), { removeChildren: false }),
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
