import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Job } from 'bullmq';
import type { Flags } from '../config/config.js';
import { queuePlace } from '../config/queue-address.js';
import { TransientError, describeError } from '../shared/errors.js';
import type { LogLevel, RunLog } from '../shared/log.js';
import { tell } from '../shared/output.js';
import { printable } from '../shared/printable.js';
import { pause, within } from '../shared/waits.js';
import type { QueueConfig } from './queue-connection.js';
import type { FromChild, JobEnd, ToChild } from './queue-child.js';
import type { JobData, JobProgress } from './queue-job.js';
import { errorToWire, parseJob, parseResult, priorityOf, resultToWire } from './queue-job.js';
import { LOADS, MONTHS, openQueue, runCount, waitingRoom } from './queue.js';
import { failedReports } from './runner.js';
import { describeTasks, sliceLabel } from './task.js';

export interface WorkerOptions {
  queue: QueueConfig;
  /** The worker's own flags, from which its processes settle the configuration. */
  flags: Flags;
  /** Months at once in this worker. */
  concurrency: number;
  /** Loads at once in all workers. */
  loadConcurrency: number;
  timeoutMs: number;
  log: RunLog;
  level: LogLevel;
  logFile: string | undefined;
  signal: AbortSignal;
}

/** What a worker has done when it ends. */
export interface WorkerReport {
  done: number;
  failed: number;
  givenBack: number;
}

/** Milliseconds after which a job whose worker is silent is given to another one; renewed at half. */
const LOCK = 10_000;
const STALLED_CHECK = 5_000;

/** Milliseconds that jobs may take to stop, and the worker to give them back: less than any service manager allows. */
const STOP = 6_000;
const GIVE_BACK = 3_000;

/** Milliseconds between two tries for a lease that is held; for an organization's, somebody mostly says when. */
const HELD_SLICE = 2_000;
const HELD_ORGANIZATION = 15_000;

/** Milliseconds between two notes of how far a job is. */
const NOTES = 500;

/** This worker, as people find it again. */
const workerName = `${hostname()}/${process.pid}`;

/**
 * Takes jobs from the queue and does them until the signal is given; then stops what it does, gives it back, and
 * returns within ten seconds.
 * @throws {PipelineError} when Redis cannot be reached or used at the beginning; later it is waited for.
 */
export async function work(options: WorkerOptions): Promise<WorkerReport> {
  const { queue: config, signal, log, concurrency, loadConcurrency, timeoutMs } = options;
  const away = (why: string): void => {
    if (!signal.aborted) tell(`${why} [${queuePlace(config.location)}]; trying again`);
  };
  const queue = await openQueue(config, { timeoutMs, log, onAway: away });
  const children = childPool(options);
  const report = { done: 0, failed: 0, givenBack: 0 };
  const { bullmq, client } = queue;
  const count = runCount(client);
  const room = waitingRoom(client);

  const nextOf = async (organization: string): Promise<void> => {
    const id = await room.leave(organization);
    const job = id === undefined ? undefined : await queue.months.getJob(id);
    await job?.promote();
  };
  const quietly = (work: Promise<unknown>): void => {
    work.catch((error: unknown) => {
      log.debug({ err: error }, 'queue');
    });
  };

  const answer = (job: JobData, id: string, { is }: FromChild, child: Child): void => {
    switch (is) {
      case 'take':
        void count
          .take(job.run)
          .catch(() => 'lost' as const)
          .then((answered) => {
            child.send({ is: 'counted', answer: answered });
          });
        return;
      case 'giveBack':
        quietly(count.giveBack(job.run));
        return;
      case 'pay':
        quietly(count.pay(job.run, id));
        return;
      case 'fetched':
        quietly(nextOf(job.organization));
        return;
      case 'ready':
      case 'at':
      case 'done':
      case 'failed':
      case 'held':
      case 'stopped':
    }
  };

  const perform = async (entry: Job, token: string | undefined): Promise<unknown> => {
    const id = entry.id ?? '';
    const note = noteKeeper(entry, quietly);
    let job: JobData;
    try {
      job = parseJob(entry.data);
    } catch (error) {
      report.failed += 1;
      tell(`${printable(entry.name)}  refused: ${describeError(error)}`);
      throw new bullmq.UnrecoverableError(describeError(error));
    }
    const label = sliceLabel(job);
    const end = signal.aborted
      ? ({ is: 'stopped' } as const)
      : await children.perform(job, (message, child) => {
          if (message.is === 'at') {
            const { stage, text, share } = message;
            note.soon({ is: 'at', stage, text, ...(share === undefined ? {} : { share }) });
          } else answer(job, id, message, child);
        });
    const shown =
      'result' in end ? describeTasks(parseResult(end.result, job, job.stages)?.reports ?? []) : '';
    switch (end.is) {
      case 'done':
        report.done += 1;
        tell(`${label}  ${shown}`);
        return end.result;
      case 'held': {
        await note.now({ is: 'waiting', for: end.lease, why: end.why });
        const isSlice = end.lease === 'slice';
        const wait = (isSlice ? HELD_SLICE : HELD_ORGANIZATION) * (0.75 + Math.random() / 2);
        await entry.moveToDelayed(Date.now() + wait, token);
        if (!isSlice) await room.enter(job.organization, id, priorityOf(job));
        throw new bullmq.DelayedError();
      }
      case 'stopped':
        report.givenBack += 1;
        await entry.moveToDelayed(Date.now(), token);
        tell(`${label}  given back`);
        throw new bullmq.DelayedError();
      case 'failed': {
        const why = end.error.message;
        const isLast = !end.again || entry.attemptsMade + 1 >= (entry.opts.attempts ?? 1);
        tell(`${label}  ${shown}${isLast ? '' : '; it is tried again'}: ${why}`);
        if (!isLast) {
          await note.now({ is: 'again', why });
          throw new Error(why);
        }
        report.failed += 1;
        await note.now({ is: 'failed', result: end.result });
        throw new bullmq.UnrecoverableError(why);
      }
    }
  };

  const takers = [
    { name: MONTHS, concurrency },
    { name: LOADS, concurrency: Math.min(concurrency, loadConcurrency) },
  ].map(({ name, concurrency: atOnce }) => {
    const worker = new bullmq.Worker(name, (job, token) => perform(job, token), {
      ...queue.options,
      name: workerName,
      concurrency: atOnce,
      lockDuration: LOCK,
      stalledInterval: STALLED_CHECK,
      // A job given out again finds what is done of it done: there is no number of times that is too many.
      maxStalledCount: Number.MAX_SAFE_INTEGER,
      runRetryDelay: 1000,
    });
    worker.on('error', (error) => {
      log.info({ err: error }, `worker of ${name}`);
    });
    return worker;
  });
  try {
    await queue.loads.setGlobalConcurrency(loadConcurrency);
    await Promise.all(takers.map((worker) => worker.waitUntilReady()));
    tell(
      `worker ${workerName} takes jobs from ${queuePlace(config.location)}, ${concurrency} at once`,
    );
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else
        signal.addEventListener('abort', () => {
          resolve();
        });
    });
  } finally {
    const stopped = children.stop();
    const closed = Promise.all(takers.map((worker) => worker.close()));
    // Without Redis nothing can be given back: the lock runs out, and the job is given to another worker.
    await within(STOP + GIVE_BACK, Promise.all([stopped, closed]), () => {
      return new TransientError('Redis is away');
    }).catch((error: unknown) => {
      tell(`not all jobs could be given back (${describeError(error)}): others take them soon`);
    });
    children.end();
    quietly(queue.close());
  }
  return report;
}

/** Keeps how far a job is in Redis, now and then; what stands there last was said last. */
function noteKeeper(job: Job, quietly: (work: Promise<unknown>) => void) {
  let latest: JobProgress | undefined;
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  const write = (progress: JobProgress): Promise<void> => {
    writing = writing.catch(() => undefined).then(() => job.updateProgress(progress));
    return writing;
  };
  return {
    soon(progress: JobProgress): void {
      latest = progress;
      timer ??= setTimeout(() => {
        timer = undefined;
        if (latest !== undefined) quietly(write(latest));
        latest = undefined;
      }, NOTES);
    },
    async now(progress: JobProgress): Promise<void> {
      clearTimeout(timer);
      latest = undefined;
      await write(progress);
    },
  };
}

interface Child {
  process: ChildProcess;
  send(message: ToChild): void;
}

/** The processes in which jobs are done: as many as there were jobs at once, each for many jobs. */
function childPool({ flags, level, logFile, signal }: WorkerOptions) {
  const file = fileURLToPath(new URL('./queue-child.js', import.meta.url));
  const idle: Child[] = [];
  const all = new Set<Child>();
  const start = (): Child => {
    const forked = fork(file, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const child: Child = {
      process: forked,
      send: (message) => {
        if (forked.connected) forked.send(message, () => undefined);
      },
    };
    all.add(child);
    forked.once('exit', () => {
      all.delete(child);
      if (idle.includes(child)) idle.splice(idle.indexOf(child), 1);
    });
    forked.on('error', () => all.delete(child));
    child.send({ is: 'begin', flags, level, file: logFile });
    return child;
  };
  return {
    /** Does a job, and tells what its process says meanwhile. */
    async perform(
      job: JobData,
      heard: (message: FromChild, child: Child) => void,
    ): Promise<JobEnd> {
      const child = idle.pop() ?? start();
      const end = await new Promise<JobEnd>((resolve) => {
        const gone = (code: number | null, by: NodeJS.Signals | null): void => {
          const how = by ?? `code ${code ?? ''}`;
          resolve(signal.aborted ? { is: 'stopped' } : brokenJob(job, how));
        };
        const hear = (message: FromChild): void => {
          if (!isEnd(message)) {
            heard(message, child);
            return;
          }
          child.process.off('exit', gone).off('error', unmade).off('message', hear);
          idle.push(child);
          resolve(message);
        };
        // A process that could not be made has no exit.
        const unmade = (error: Error): void => {
          resolve(brokenJob(job, error.message));
        };
        child.process.once('exit', gone).once('error', unmade).on('message', hear);
        child.send({ is: 'do', job });
        if (signal.aborted) child.send({ is: 'stop' });
      });
      return end;
    },
    /** Asks all to stop, and ends those that do not in time. */
    async stop(): Promise<void> {
      for (const child of all) child.send({ is: 'stop' });
      const deadline = performance.now() + STOP;
      while (all.size > idle.length && performance.now() < deadline) await pause(20);
      for (const child of all) if (!idle.includes(child)) child.process.kill('SIGKILL');
    },
    end(): void {
      for (const { process: forked } of all) if (forked.connected) forked.disconnect();
    },
  };
}

const ends: ReadonlySet<string> = new Set<JobEnd['is']>(['done', 'failed', 'held', 'stopped']);

function isEnd(message: FromChild): message is JobEnd {
  return ends.has(message.is);
}

/** A job whose process ended without saying how it went: out of memory, or killed. */
function brokenJob(job: JobData, how: string): JobEnd {
  const error = new TransientError(`the process that did it ended by itself (${how})`, {
    where: workerName,
    next: 'see whether that machine has enough memory, then run the same command again',
  });
  const result = resultToWire(failedReports(job, error), []);
  return { is: 'failed', again: true, result, error: errorToWire(error) };
}
