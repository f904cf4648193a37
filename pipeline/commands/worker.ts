import { settingFlags } from '../config/settings.js';
import { UsageError } from '../shared/errors.js';
import { command, configure, pick } from './command.js';

/** `pipeline worker`: does the jobs that runs on this or other machines put into the queue. */
export const worker = command({
  name: 'worker',
  describe:
    'Do what "pipeline run --queue" puts into the queue, on this machine, until it is stopped',
  flags: {
    ...settingFlags,
    ...pick('config', 'log-file', 'log-level'),
  },
  epilogue:
    'Reads its own configuration and Vault: the queue holds no secret. A job whose run has other settings is refused by name. SIGTERM (or Ctrl-C) stops what is under way, gives it back to the queue and ends the process within ten seconds, with exit code 0; what was fetched stays. Needs the packages bullmq and ioredis: npm i bullmq ioredis.',
  examples: [
    ['worker --queue redis://queue.example:6379/0', 'take jobs, 8 at once'],
    ['worker --queue redis://queue.example:6379/0 --concurrency 2', 'on a small machine'],
  ],
  isEndedBySignal: true,
  async work(args, { log, signal }) {
    const config = await configure(args, { organizations: true, database: true });
    if (config.queue === undefined)
      throw new UsageError('no queue is named', { next: 'name it with --queue or PIPELINE_QUEUE' });
    const { work } = await import('../run/queue-worker.js');
    const { queue, concurrency, loadConcurrency, timeoutMs } = config;
    const { 'log-level': level, 'log-file': logFile } = args;
    const options = { queue, flags: args, concurrency, loadConcurrency, timeoutMs };
    const report = await work({ ...options, log, level, logFile, signal });
    const { done, failed, givenBack } = report;
    return {
      text: () => `${done} jobs done, ${failed} failed, ${givenBack} given back`,
      json: () => report,
      failed: false,
      figures: { ...report },
    };
  },
});
