import { availableParallelism } from 'node:os';
import { MessageChannel, Worker } from 'node:worker_threads';
import { reasonOf } from '../pipeline/errors.js';
import type { Outcome } from '../pipeline/outcome.js';
import { serveStaging } from './serve-staging.js';
import type { Thrown } from './thrown.js';
import { describeThrown, restoreThrown } from './thrown.js';
import type { TransformTask } from './transform.js';

/** What a worker is told of a task; the rest stays with the main thread. */
export type Job = Pick<TransformTask, 'slice' | 'tag' | 'parquet' | 'provisionalDays'> & {
  /** The staging area's, for messages. */
  location: string;
  /** Milliseconds since 1970-01-01 UTC. */
  now: number;
};

export type FromJob =
  | { say: 'progress'; text: string }
  | { say: 'log'; level: 'debug' | 'info' | 'warn' | 'error'; words: unknown[] }
  | { say: 'done'; outcome: Outcome }
  | { say: 'failed'; error: Thrown };

/** The task is to stop. */
export interface ToJob {
  reason: Thrown;
}

/** Makes the tables of several slices side by side, as many as there are cores. */
export interface Transformers {
  /**
   * Makes the tables of a slice, as soon as a thread is free.
   * @param here Does it in this thread, which takes its part in the work.
   */
  readonly make: (task: TransformTask, here: () => Promise<Outcome>) => Promise<Outcome>;
  /** Ends the threads. */
  close(): Promise<void>;
}

/**
 * MiB of memory for objects that are young: a page and the rows made of it die young, but only if there
 * is room for them until then.
 */
const YOUNG = 48;
/**
 * MiB for all others, far more than a slice needs: a thread whose memory has a near end is tidied more
 * often than one that may take all there is.
 */
const OLD = 512;

/**
 * Prepares the threads; each starts when there is a task for it. This thread is one of them: one more takes
 * a second to read and compile the same code. Files are read and written by this thread, so that the others
 * need neither the staging area's client nor its secrets.
 * @param further Threads beside this one.
 */
export function openTransformers(further = availableParallelism() - 1): Transformers {
  const all = new Set<Worker>();
  const free: (Worker | 'here')[] = ['here'];
  const waiting: (() => void)[] = [];

  const start = (): Worker => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG, maxOldGenerationSizeMb: OLD },
    });
    all.add(worker);
    worker.once('exit', () => all.delete(worker));
    // Its task hears of it too; without one, the next task starts another thread.
    worker.on('error', () => undefined);
    return worker;
  };
  const take = async (): Promise<Worker | 'here'> => {
    for (;;) {
      for (let next = free.shift(); next !== undefined; next = free.shift()) {
        if (next === 'here' || all.has(next)) return next;
      }
      if (all.size < further) return start();
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };

  return {
    async make(task, here) {
      const thread = await take();
      try {
        return await (thread === 'here' ? here() : runIn(thread, task));
      } finally {
        free.push(thread);
        waiting.shift()?.();
      }
    },
    async close() {
      await Promise.all([...all].map((worker) => worker.terminate()));
    },
  };
}

async function runIn(worker: Worker, task: TransformTask): Promise<Outcome> {
  const { slice, tag, parquet, provisionalDays, staging, signal, log, onProgress } = task;
  const job: Job = {
    ...{ slice, tag, parquet, provisionalDays },
    location: staging.location,
    now: task.now().getTime(),
  };
  const talk = new MessageChannel();
  const calls = new MessageChannel();
  const giveUp = serveStaging(calls.port1, staging);
  const stop = (): void => {
    const message: ToJob = { reason: describeThrown(reasonOf(signal)) };
    talk.port1.postMessage(message);
  };
  let gone: (error: Error) => void = () => undefined;
  const onError = (error: Error): void => {
    gone(error);
  };
  const onExit = (): void => {
    gone(new Error('the thread that made the tables ended'));
  };
  try {
    return await new Promise<Outcome>((resolve, reject) => {
      gone = (error) => {
        giveUp(error);
        reject(error);
      };
      worker.once('error', onError).once('exit', onExit);
      talk.port1.on('message', (message: FromJob) => {
        switch (message.say) {
          case 'progress':
            onProgress(message.text);
            break;
          case 'log':
            log[message.level](...(message.words as [string]));
            break;
          case 'done':
            resolve(message.outcome);
            break;
          case 'failed':
            reject(restoreThrown(message.error));
            break;
        }
      });
      signal.addEventListener('abort', stop, { once: true });
      worker.postMessage({ job, port: talk.port2, calls: calls.port2 }, [talk.port2, calls.port2]);
      if (signal.aborted) stop();
    });
  } finally {
    signal.removeEventListener('abort', stop);
    worker.off('error', onError).off('exit', onExit);
    talk.port1.close();
    calls.port1.close();
  }
}
