import { randomUUID } from 'node:crypto';
import type { QueueEvents } from 'bullmq';
import type { Stage } from '../config/selection.js';
import { queuePlace } from '../config/queue-address.js';
import { ownCommand } from '../shared/commands.js';
import { InterruptedError, TransientError, UsageError } from '../shared/errors.js';
import { tell } from '../shared/output.js';
import { pause } from '../shared/waits.js';
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
import { openResources } from './resources.js';
import type { RunReport } from './runner.js';
import { leftOut, skipped, slicesOf } from './runner.js';
import type { RunRequest, TaskReport } from './task.js';
import { costOf, describeTasks, reportFailure, sliceLabel } from './task.js';

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

/** Jobs that are put in or looked at with one message. */
const BATCH = 500;

/** What a run has put into the queue. */
export interface QueuedRun {
  runId: string;
  slices: readonly Slice[];
}

/**
 * Puts the run's jobs into the queue.
 * @throws {PipelineError} when it cannot be found out which organizations there are, or Redis cannot be used.
 */
export async function enqueue(request: RunRequest): Promise<QueuedRun> {
  const { log, signal, config } = request;
  const resources = await openResources(config, { log, signal });
  const queue = await openQueue(queueOf(request), { timeoutMs: config.timeoutMs, log });
  try {
    const slices = await slicesOf(resources, request);
    const runId = randomUUID();
    await put(queue, runId, slices, request, (slice) => newestExtraction(resources.staging, slice));
    return { runId, slices };
  } finally {
    await queue.close();
    await resources.close();
  }
}

/**
 * The same, and follows the jobs until all have ended. When the signal is given, the jobs that nobody has begun are
 * taken out of the queue; workers end the others by themselves.
 * @throws {PipelineError} see {@link enqueue}. @throws {TransientError} when Redis is away for too long.
 */
export async function runByQueue(request: RunRequest): Promise<RunReport> {
  const { log, signal, config, now } = request;
  const started = now();
  const clock = performance.now();
  const resources = await openResources(config, { log, signal });
  const away = (why: string): void => {
    if (!signal.aborted) tell(`${why} [${queuePlace(queueOf(request).location)}]; trying again`);
  };
  const queue = await openQueue(queueOf(request), {
    timeoutMs: config.timeoutMs,
    log,
    onAway: away,
  });
  try {
    const slices = await slicesOf(resources, request);
    const runId = randomUUID();
    const following = await follow(queue, runId, slices, request);
    await put(queue, runId, slices, request, (slice) => newestExtraction(resources.staging, slice));
    log.info({ runId, jobs: slices.length }, 'jobs are in the queue');
    const tasks = await following.ended();
    const absence = await leftOut(resources, request);
    const seconds = (performance.now() - clock) / 1000;
    return { runId, version, started, seconds, interrupted: signal.aborted, tasks, absence };
  } finally {
    await queue.close();
    await resources.close();
  }
}

function queueOf({ config }: RunRequest): QueueConfig {
  if (config.queue === undefined)
    throw new UsageError('no queue is named', { next: 'name it with --queue' });
  return config.queue;
}

async function newestExtraction(
  staging: Parameters<typeof survey>[0],
  slice: Slice,
): Promise<string | undefined> {
  return (await survey(staging, slice)).finished.at(-1);
}

/** The stages that each queue does of those that were chosen. */
function partsOf(chosen: readonly Stage[]): { months: readonly Stage[]; loads: readonly Stage[] } {
  const isLoad = (stage: Stage): boolean => stage === 'load';
  return { months: chosen.filter((stage) => !isLoad(stage)), loads: chosen.filter(isLoad) };
}

async function put(
  queue: OpenQueue,
  runId: string,
  slices: readonly Slice[],
  request: RunRequest,
  newest: (slice: Slice) => Promise<string | undefined>,
): Promise<void> {
  const { config, selection, force, acceptEmpty } = request;
  const { keepDays } = queueOf(request);
  const parts = partsOf(selection.stages);
  const age = keepDays * 86_400;
  const jobOf = async (slice: Slice, stages: readonly Stage[]) => {
    const before = force && stages.includes('extract') ? await newest(slice) : undefined;
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
      settings: askedSettings(config, slice.organization, selection.stages),
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
  const flows = new queue.bullmq.FlowProducer(queue.options);
  flows.on('error', () => undefined);
  try {
    await runCount(queue.client).begin(runId, config.maxRequests);
    if ((await queue.loads.getGlobalConcurrency()) === null)
      await queue.loads.setGlobalConcurrency(config.loadConcurrency);
    for (const each of [queue.months, queue.loads])
      for (const state of ['completed', 'failed'] as const)
        await each.clean(age * 1000, 10_000, state);
    for (let at = 0; at < slices.length; at += BATCH) {
      const some = slices.slice(at, at + BATCH);
      const months = await Promise.all(some.map((slice) => jobOf(slice, parts.months)));
      const loads = await Promise.all(some.map((slice) => jobOf(slice, parts.loads)));
      if (parts.loads.length === 0) await queue.months.addBulk(months);
      else if (parts.months.length === 0) await queue.loads.addBulk(loads);
      else
        await flows.addBulk(
          loads.flatMap((load, index) => {
            const month = months[index];
            if (month === undefined) return [];
            const opts = { ...month.opts, failParentOnFailure: true };
            return [
              { ...load, queueName: LOADS, children: [{ ...month, opts, queueName: MONTHS }] },
            ];
          }),
        );
    }
  } catch (error) {
    throw queueError(error, queueOf(request));
  } finally {
    await flows.close().catch(() => undefined);
  }
}

/** A job that is followed. */
interface Part {
  queue: 'months' | 'loads';
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
): Promise<{ ended: () => Promise<TaskReport[]> }> {
  const { log, progress, selection, signal } = request;
  const chosen = partsOf(selection.stages);
  const names = (['months', 'loads'] as const).filter((name) => chosen[name].length > 0);
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
  const ended: TaskReport[][] = [];
  const endings = new AbortController();

  /** What a month and organization came to, once nothing of it is to come. */
  const endSlice = (slice: Slice): void => {
    const own = names.flatMap((name) => parts.get(`${name} ${jobId(runId, slice)}`) ?? []);
    if (own.some(({ reports }) => reports === undefined)) return;
    const tasks = own.flatMap(({ reports = [] }) => reports);
    ended.push(tasks);
    progress.end(sliceLabel(slice), describeTasks(tasks));
    progress.whole(
      `${ended.length} of ${slices.length} months and organizations, ${costOf(ended.flat())}`,
      ended.length / slices.length,
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
    const [first = 'extract', ...rest] = stages;
    endPart(key, [
      { ...slice, stage: first, state: 'failed', error, requests: 0, seconds: 0 },
      ...rest.map((stage) => ({ ...slice, stage, ...skipped })),
    ]);
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
      const key = keys[index] ?? '';
      const part = outstanding.get(key);
      if (part === undefined || failure !== null || !Array.isArray(fields)) continue;
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
              where: queuePlace(queueOf(request).location),
              next: `run again: it goes on from what is staged; "${ownCommand(['check', '--queue', queuePlace(queueOf(request).location)])}" tells whether Redis keeps its data`,
            },
          ),
        );
      } else if (finished != null) {
        const last = jobProgress.safeParse(parsed(noted)).data;
        const failed = last?.is === 'failed' ? parseResult(last.result) : undefined;
        const result = value == null ? failed : parseResult(parsed(value));
        if (result !== undefined) endBy(key, result);
        else failPart(key, part, new TransientError(reason ?? 'the job ended without a result'));
      }
    }
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
      const any = AbortSignal.any([signal, endings.signal]);
      try {
        while (outstanding.size > 0 && !signal.aborted) {
          await pause(LOOK, any).catch(() => undefined);
          const away = queue.awaySince();
          if (away !== undefined) {
            if (performance.now() - away < MOST_AWAY) continue;
            throw new TransientError('Redis is away for too long to follow the run', {
              where: queuePlace(queueOf(request).location),
              next: 'workers go on when it is back; "pipeline status --queue" shows what became of the run, and the same run once more does what is left',
            });
          }
          if (any.aborted) break;
          const keys = [...outstanding.keys()];
          for (let at = 0; at < keys.length; at += BATCH) {
            await Promise.race([look(keys.slice(at, at + BATCH)), pause(2 * LOOK, any)]).catch(
              () => undefined,
            );
          }
          if (!isToldLonely && performance.now() - begun > LONELY) {
            isToldLonely = true;
            if ((await queue.workers())?.length === 0)
              tell(
                'no worker is connected to the queue: start one on each machine with "pipeline worker --queue …"',
              );
          }
        }
        if (outstanding.size > 0) await takeBack(queue, outstanding, runId);
        for (const [key, part] of [...outstanding]) failPart(key, part, new InterruptedError());
      } finally {
        await Promise.allSettled(listeners.map((events) => events.close()));
      }
      const paid = await runCount(queue.client).paid(runId);
      return slices.flatMap((slice) => {
        const id = jobId(runId, slice);
        const own = names.flatMap((name) => parts.get(`${name} ${id}`)?.reports ?? []);
        // Also what attempts brought that ended without a word.
        return own.map((task) =>
          task.stage === 'extract' ? { ...task, requests: paid.get(id) ?? task.requests } : task,
        );
      });
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

/** Takes the jobs that nobody has begun out of the queue, within a few seconds. */
async function takeBack(
  queue: OpenQueue,
  outstanding: ReadonlyMap<string, Part>,
  runId: string,
): Promise<void> {
  const deadline = performance.now() + 5_000;
  let left = 0;
  // Loads first: without its load a month that is being worked on ends alone.
  for (const name of ['loads', 'months'] as const)
    for (const part of outstanding.values()) {
      if (part.queue !== name) continue;
      if (performance.now() > deadline || queue.awaySince() !== undefined) {
        left += 1;
        continue;
      }
      const removing = queue[name].remove(jobId(runId, part.slice), { removeChildren: false });
      if ((await removing.catch(() => 0)) === 0) left += 1;
    }
  if (left > 0)
    tell(`${left === 1 ? '1 job is' : `${left} jobs are`} under way, and ended by the workers`);
}
