import type { MessagePort } from 'node:worker_threads';
import { parentPort } from 'node:worker_threads';
import { remoteStaging } from './remote-staging.js';
import { describeThrown, restoreThrown } from './thrown.js';
import { transform } from './transform.js';
import type { FromJob, Job, ToJob } from './transformers.js';

/** The code of a worker thread: makes the tables of one slice after the other. */
parentPort?.on(
  'message',
  ({ job, port, calls }: { job: Job; port: MessagePort; calls: MessagePort }) => {
    const controller = new AbortController();
    const say = (message: FromJob): void => {
      port.postMessage(message);
    };
    const log =
      (level: 'debug' | 'info' | 'warn' | 'error') =>
      (...words: unknown[]): void => {
        say({ say: 'log', level, words });
      };
    port.on('message', ({ reason }: ToJob) => {
      controller.abort(restoreThrown(reason));
    });
    const { location, now, ...task } = job;
    const clock = performance.now();
    transform({
      ...task,
      staging: remoteStaging(calls, location),
      // The main thread has found out that there is something to make.
      force: true,
      signal: controller.signal,
      log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
      onProgress(text) {
        say({ say: 'progress', text });
      },
      now: () => new Date(now + performance.now() - clock),
    })
      .then(
        (outcome) => {
          say({ say: 'done', outcome });
        },
        (error: unknown) => {
          say({ say: 'failed', error: describeThrown(error) });
        },
      )
      .finally(() => {
        port.close();
        calls.close();
      });
  },
);
