import { readConfigFile } from '../config/config-file.js';
import type { Config, Flags } from '../config/config.js';
import { resolveConfig } from '../config/config.js';
import type { RequestCount } from '../../extract/session.js';
import { InterruptedError, PipelineError, TransientError } from '../shared/errors.js';
import type { LogLevel, RunLog } from '../shared/log.js';
import { createLog } from '../shared/log.js';
import { tell, watchChannels } from '../shared/output.js';
import { until } from '../shared/waits.js';
import { currentOnce, survey } from '../staging/extractions.js';
import { HeldError, leased } from '../staging/lease.js';
import { noProgress } from './progress.js';
import type { JobData, WireError, WireResult } from './queue-job.js';
import { errorToWire, refuseOthers, resultToWire } from './queue-job.js';
import type { Resources } from './resources.js';
import { openResources, viewOf } from './resources.js';
import { failedReports, runStages } from './runner.js';
import type { TaskReport } from './task.js';
import { reportFailure, runTask } from './task.js';

/**
 * The process in which a worker's jobs are done, one at a time, so that the worker itself stays awake for Redis. It
 * settles the configuration itself, stops when it is told to or its worker is gone, and goes on with neither.
 */

/** What a worker tells the process. */
export type ToChild =
  | { is: 'begin'; flags: Flags; level: LogLevel; file: string | undefined }
  | { is: 'do'; job: JobData }
  | { is: 'counted'; answer: 'taken' | 'refused' | 'lost' }
  | { is: 'stop' };

/** How a job ended. */
export type JobEnd =
  | { is: 'done'; result: WireResult }
  /** `again`: the same may succeed later. */
  | { is: 'failed'; result: WireResult; error: WireError; again: boolean }
  /** Another process holds the lease of the slice, or fetches the organization. */
  | { is: 'held'; lease: 'slice' | 'organization'; why: string }
  | { is: 'stopped' };

export type FromChild =
  | { is: 'ready' }
  | { is: 'at'; stage: string; text: string; share: number | undefined }
  | { is: 'take' }
  | { is: 'giveBack' }
  | { is: 'pay' }
  /** The organization may be fetched by another job. */
  | { is: 'fetched' }
  | JobEnd;

const stopping = new AbortController();
const { signal } = stopping;

function say(message: FromChild): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

/** Those who wait for leave to send a request, in the order in which they asked. */
const asking: ((answer: 'taken' | 'refused' | 'lost') => void)[] = [];

interface Settled {
  config: Config;
  log: RunLog;
  warnings: unknown[];
  tellWarnings: () => void;
}

let settled: Promise<Settled> | undefined;

async function settle({ flags, level, file }: ToChild & { is: 'begin' }): Promise<Settled> {
  const named = typeof flags['config'] === 'string' ? flags['config'] : undefined;
  const warnings: unknown[] = [];
  const { log, tellWarnings } = await createLog({
    level,
    file,
    print: tell,
    onWarning: (one) => warnings.push(one),
  });
  const config = resolveConfig(flags, process.env, await readConfigFile(named), {
    organizations: true,
    database: true,
  });
  return { config, log, warnings, tellWarnings };
}

/** What jobs of one run share; secrets may be others after a while. */
interface Opened {
  run: string;
  since: number;
  resources: Resources;
  /** Whether the run may send no further request. */
  isOver: () => boolean;
}

/** Milliseconds after which Vault is asked again. */
const FRESH = 15 * 60_000;

let opened: Opened | undefined;

async function open({ run, maxRequests }: JobData, { config, log }: Settled): Promise<Opened> {
  if (opened?.run === run && performance.now() - opened.since < FRESH) return opened;
  await close();
  let isOver = false;
  const requests: RequestCount = {
    limit: maxRequests ?? Infinity,
    async take() {
      if (maxRequests === undefined) return true;
      const answer = await until(
        signal,
        new Promise<'taken' | 'refused' | 'lost'>((resolve) => {
          asking.push(resolve);
          say({ is: 'take' });
        }),
      );
      isOver ||= answer !== 'taken';
      if (answer !== 'lost') return answer === 'taken';
      throw new TransientError(
        'Redis has forgotten the run, and with it how many requests --max-requests leaves',
        { next: 'run again: it goes on from what is staged' },
      );
    },
    giveBack: () => {
      if (maxRequests !== undefined) say({ is: 'giveBack' });
    },
    pay: () => {
      say({ is: 'pay' });
    },
  };
  const resources = await openResources(config, { log, signal, requests });
  opened = { run, since: performance.now(), resources, isOver: () => isOver };
  return opened;
}

async function close(): Promise<void> {
  const closing = opened;
  opened = undefined;
  await closing?.resources.close();
}

async function perform(job: JobData, own: Settled): Promise<JobEnd> {
  const { month, organization, stages, run: runId, force = false, acceptEmpty } = job;
  const slice = { month, organization };
  const { config, log, warnings } = own;
  const [first] = stages;
  warnings.length = 0;
  const context = {
    config,
    selection: { months: [month], organizations: [organization], stages },
    force,
    acceptEmpty,
    signal,
    log,
    progress: {
      ...noProgress,
      show: (_: string, stage: string, text: string, share?: number) => {
        say({ is: 'at', stage, text, share });
      },
    },
    now: () => new Date(),
    runId,
  };
  const waits: { for: 'slice' | 'organization' } = { for: 'slice' };
  let reports: TaskReport[];
  try {
    const { resources } = await open(job, own);
    // Before anything is made under its name, which may be none.
    const access = first === 'extract' ? await resources.access(organization) : undefined;
    refuseOthers(job, config, access === undefined ? undefined : viewOf({ access }));
    const options = { waitSeconds: 0, signal, log };
    reports = await leased(resources.staging, slice, options, (held) =>
      runStages(
        slice,
        { ...context, resources, current: currentOnce(resources.staging), signal: held },
        async (of, stage, task) => {
          if (stage !== 'extract') return runTask(of, stage, task);
          waits.for = 'organization';
          const payer = { ...options, signal: task.signal };
          // AWS limits by payer: its months are fetched one after the other.
          const report = await leased(resources.staging, { organization }, payer, async (both) => {
            waits.for = 'slice';
            const isForced = force && !(await isFetchedSince(resources, job));
            return runTask(of, stage, { ...task, signal: both, force: isForced });
          });
          say({ is: 'fetched' });
          return report;
        },
      ),
    );
  } catch (error) {
    if (error instanceof HeldError) return { is: 'held', lease: waits.for, why: error.message };
    const [failed, ...later] = failedReports(job, error);
    if (!(error instanceof InterruptedError)) reportFailure(failed, context);
    reports = [failed, ...later];
  }
  const error = reports.find(({ state }) => state === 'failed')?.error;
  if (error === undefined) return { is: 'done', result: resultToWire(reports, warnings) };
  if (signal.aborted && (error instanceof InterruptedError || !(error instanceof PipelineError)))
    return { is: 'stopped' };
  const again = error instanceof TransientError && opened?.isOver() !== true;
  const result = resultToWire(reports, warnings);
  // Whatever was wrong with a connection or a secret is not carried into the next job.
  await close();
  return { is: 'failed', result, error: errorToWire(error), again };
}

/** A job of which nothing could be begun, since the configuration is wrong. */
function unbegun(job: JobData, error: unknown): JobEnd {
  const result = resultToWire(failedReports(job, error), []);
  return {
    is: 'failed',
    result,
    error: errorToWire(error),
    again: error instanceof TransientError,
  };
}

/** Whether a forced job has fetched the month before it was given out once more. */
async function isFetchedSince({ staging }: Resources, job: JobData): Promise<boolean> {
  const newest = (await survey(staging, job)).finished.at(-1);
  return newest !== undefined && newest > (job.before ?? '');
}

async function take(message: ToChild): Promise<void> {
  switch (message.is) {
    case 'begin':
      settled = settle(message);
      settled.catch(() => undefined);
      say({ is: 'ready' });
      return;
    case 'counted':
      asking.shift()?.(message.answer);
      return;
    case 'stop':
      stopping.abort();
      return;
    case 'do': {
      let own: Settled | undefined;
      try {
        own = await settled;
      } catch (error) {
        // The configuration was another when the worker began: this process is of no use.
        say(unbegun(message.job, error));
        process.disconnect();
        return;
      }
      if (own === undefined) return;
      const end = await perform(message.job, own);
      own.tellWarnings();
      say(end);
    }
  }
}

/** A failure that is none of a job's ends the process; its worker sees it. */
function fail(error: unknown): void {
  tell(`pipeline worker: ${errorToWire(error).message}`);
  process.exit(1);
}

/** Milliseconds that the process may take to end without its worker. */
const LAST = 15_000;

watchChannels();
// Ctrl-C reaches every process of a terminal: the worker says when to stop.
process.on('SIGINT', () => undefined).on('SIGTERM', () => undefined);
let working: Promise<void> = Promise.resolve();
process.on('message', (message: ToChild) => {
  const taken = take(message).catch(fail);
  if (message.is === 'do') working = taken;
});
process.on('disconnect', () => {
  stopping.abort();
  setTimeout(() => process.exit(1), LAST).unref();
  void working
    .then(close)
    .catch(() => undefined)
    .finally(() => process.exit());
});
