import type { Job, JobType } from 'bullmq';
import { z } from 'zod';
import { queuePlace } from '../config/queue-address.js';
import type { Log } from '../shared/log.js';
import { printable, withoutSecrets } from '../shared/printable.js';
import { formatTable } from '../shared/table.js';
import type { QueueConfig } from './queue-connection.js';
import { queueError } from './queue-connection.js';
import { jobProgress } from './queue-job.js';
import { openQueue } from './queue.js';

/** `status --queue`: what waits, is worked on and has failed. */

type State = 'running' | 'waiting' | 'again' | 'failed';

/** A job that has not ended well. */
export interface QueuedJob {
  /** `2026-10.oab` */
  name: string;
  run: string;
  stages: readonly string[];
  /** `again`: it is tried again, or waits for somebody who works on the same. */
  state: State;
  /** Machine and process of the worker that has it, or had it last. */
  worker: string | null;
  /** Since when: ISO 8601. */
  since: string;
  /** How far it is, what it waits for, or why it failed. */
  text: string;
}

export interface QueueStatus {
  queue: string;
  /** Connected workers, by machine and process; `null` where Redis does not tell. */
  workers: readonly string[] | null;
  counts: Readonly<Record<State | 'done', number>>;
  /** At most {@link SHOWN} of each state, those that run first. */
  jobs: readonly QueuedJob[];
}

/** Jobs of each state and queue that are read: a backfill may have a hundred thousand. */
const SHOWN = 1000;

/** Lines of each state for people. */
const LINES = 20;

const states: Readonly<Record<State, readonly JobType[]>> = {
  running: ['active'],
  failed: ['failed'],
  again: ['delayed'],
  waiting: ['prioritized', 'waiting', 'waiting-children'],
};

/**
 * Looks into the queue, and changes nothing.
 * @throws {PipelineError} when Redis cannot be reached or used.
 */
export async function queueStatus(
  config: QueueConfig,
  options: { timeoutMs: number; log: Log },
): Promise<QueueStatus> {
  const queue = await openQueue(config, { ...options, isBrief: true });
  try {
    const both = [queue.months, queue.loads];
    const counts = { running: 0, failed: 0, again: 0, waiting: 0, done: 0 };
    const jobs: QueuedJob[] = [];
    for (const [state, types] of Object.entries(states) as [State, readonly JobType[]][])
      for (const one of both) {
        counts[state] += await one.getJobCountByTypes(...types);
        const ids = await one.getRanges([...types], 0, SHOWN - 1, true);
        // What is no job of BullMQ's must not keep the others from being shown.
        const found = await Promise.allSettled(ids.map((id) => one.getJob(id)));
        for (const [index, { status, ...read }] of found.entries()) {
          const job = status === 'fulfilled' && 'value' in read ? read.value : undefined;
          if (job !== undefined) jobs.push(describe(job, state));
          else if (status === 'rejected') jobs.push(unreadable(ids[index] ?? '', state));
        }
      }
    for (const one of both) counts.done += await one.getJobCountByTypes('completed');
    return {
      queue: queuePlace(config.location),
      workers: (await queue.workers()) ?? null,
      counts,
      jobs,
    };
  } catch (error) {
    throw queueError(error, config);
  } finally {
    await queue.close();
  }
}

const asked = z.object({ run: z.string(), stages: z.array(z.string()) });

function describe(job: Job, state: State): QueuedJob {
  const { run, stages } = asked.safeParse(job.data).data ?? { run: '', stages: [] };
  const at =
    state === 'failed' ? job.finishedOn : state === 'running' ? job.processedOn : undefined;
  return {
    name: printable(job.name),
    run: printable(run),
    stages: stages.map(printable),
    state,
    worker: state === 'waiting' ? null : printable(job.processedBy ?? '') || null,
    since: instant(at ?? job.timestamp),
    text: textOf(job, state),
  };
}

function unreadable(id: string, state: State): QueuedJob {
  const name = printable(id);
  const text = 'is none of the pipeline: see who else uses this database of Redis';
  return { name, run: '', stages: [], state, worker: null, since: instant(0), text };
}

/** Milliseconds since 1970 as ISO 8601; the beginning of 1970 where they are none. */
function instant(milliseconds: number): string {
  const date = new Date(milliseconds);
  return new Date(Number.isNaN(date.getTime()) ? 0 : date).toISOString();
}

/** BullMQ's words for a load whose month failed, with a key of Redis that says nothing to people. */
const ofItsMonth = /^child \S+ failed$/;

function textOf(job: Job, state: State): string {
  if (state === 'failed')
    return ofItsMonth.test(job.failedReason)
      ? 'there is nothing to load: what comes before it failed'
      : printable(withoutSecrets(job.failedReason));
  const noted = jobProgress.safeParse(job.progress).data;
  if (noted === undefined || noted.is === 'failed' || state === 'waiting') return '';
  if (noted.is === 'at')
    return state === 'running' ? printable(`${noted.stage} ${noted.text}`) : '';
  return printable(noted.why);
}

/** How much is left, and who works on it. */
function summary({ queue, workers, counts }: QueueStatus): string {
  const told = Object.entries(counts).map(([state, count]) => `${count} ${words[state as State]}`);
  const who =
    workers === null
      ? 'workers unknown'
      : workers.length === 0
        ? 'no worker'
        : `${workers.length === 1 ? '1 worker' : `${workers.length} workers`}: ${workers.join(', ')}`;
  return `${queue}: ${told.join(', ')}; ${who}`;
}

/** The jobs as rows. */
export function queueTable(status: QueueStatus) {
  return {
    columns: ['name', 'run', 'stages', 'state', 'worker', 'since', 'text'],
    rows: status.jobs,
    notes: [summary(status)],
  };
}

/** The queue for people: who works, how much is left, and the jobs that run, failed or wait. */
export function formatQueue(status: QueueStatus): string {
  const { counts, jobs } = status;
  const rows: string[][] = [];
  for (const state of Object.keys(states) as State[]) {
    const own = jobs.filter((job) => job.state === state);
    for (const job of own.slice(0, LINES))
      rows.push([
        job.name.replace('.', '  '),
        job.stages.join(', '),
        words[state],
        job.worker ?? '',
        `${job.since.slice(0, 19).replace('T', ' ')} UTC`,
        job.run.slice(0, 8),
        job.text,
      ]);
    const more = counts[state] - Math.min(own.length, LINES);
    if (more > 0) rows.push([`and ${more} more`, '', words[state], '', '', '', '']);
  }
  const head = ['job', 'stages', 'state', 'worker', 'since', 'run', ''];
  return [summary(status), ...(rows.length === 0 ? [] : ['', formatTable(head, rows, [])])].join(
    '\n',
  );
}

const words: Readonly<Record<State | 'done', string>> = {
  running: 'running',
  failed: 'failed',
  again: 'held or again',
  waiting: 'waiting',
  done: 'done',
};
