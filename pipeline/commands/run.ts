import type { Config } from '../config/config.js';
import type { Selection } from '../config/selection.js';
import { select } from '../config/selection.js';
import { settingFlags } from '../config/settings.js';
import { ownCommand } from '../shared/commands.js';
import { UsageError, causeOf, describeError, errorToJson } from '../shared/errors.js';
import { tell } from '../shared/output.js';
import type { Answer, Context } from './command.js';
import { command, configure, off, pick } from './command.js';
import { planRun } from './plan.js';

/** `pipeline run`: the month's extract, transform and load, or some of them. */
export const run = command({
  name: 'run',
  describe: 'Extract, transform and load months of cost; each stage also runs alone',
  flags: {
    ...pick('stage', 'month', 'from', 'to', 'organization', 'config'),
    ...settingFlags,
    ...pick('quiet', 'json', 'log-file', 'log-level'),
    'force': { ...off(), describe: 'Do the chosen stages even where nothing changed' },
    'dry-run': {
      ...off(),
      describe: 'Show what would be done and what it would cost, as plan does',
    },
    'accept-empty': {
      ...off(),
      describe:
        'Load a month too that has lost all its rows or accounts; without it, what is loaded of it stays',
    },
    'detach': {
      ...off(),
      describe: 'With --queue: do not wait for the workers, print the id of the run',
    },
    'report': {
      ...off(),
      describe: 'Make the report of each month at the end, as "pipeline report" does',
    },
  },
  examples: [
    ['run', 'all stages for the last complete month'],
    ['run --stage extract', 'fetch only'],
    ['run --stage transform,load --from 2026-07', 'rebuild and load what is staged since July'],
    ['run --report', 'all stages, then pages, statements and workbook'],
    ['run --queue redis://queue.example:6379/0', 'let the workers of a queue do it'],
  ],
  async work(args, context) {
    if (args['dry-run']) return planRun(args, context);
    const selection = select(args, new Date());
    const config = await configure(args, {
      organizations: selection.stages.includes('extract'),
      database: selection.stages.includes('load'),
    });
    // The log says it too, but may be asked to say errors only.
    if (config.vault?.skipVerify === true && ['error', 'silent'].includes(args['log-level']))
      tell("warning: VAULT_SKIP_VERIFY is on: Vault's certificate is not checked");
    const { force, quiet, report, detach, 'accept-empty': acceptEmpty } = args;
    const wanted = { config, selection, force, acceptEmpty, quiet, report };
    if (detach) return putIntoQueue(wanted, context);
    const answer = await runStages(wanted, context);
    return report && !context.signal.aborted
      ? withReports(answer, config, selection, context)
      : answer;
  },
});

/** What a run is asked to do. */
interface Wanted {
  config: Config;
  selection: Selection;
  force: boolean;
  acceptEmpty?: boolean;
  /** Whether nobody wants to know how far it is. */
  quiet?: boolean;
  /** Whether the months' reports are made at the end, which a command that goes on repeats. */
  report?: boolean;
}

/** Puts the run into the queue, and leaves it to the workers. */
async function putIntoQueue(wanted: Wanted, { log, signal }: Context): Promise<Answer> {
  const { queue } = wanted.config;
  if (queue === undefined)
    throw new UsageError('--detach needs a queue', { next: 'name it with --queue' });
  if (wanted.report === true)
    throw new UsageError('--report goes without --detach: reports are made when all is done', {
      next: 'make them later with "pipeline report"',
    });
  const { noProgress } = await import('../run/progress.js');
  const { enqueue } = await import('../run/queue-run.js');
  const { queueAddress } = await import('../config/queue-address.js');
  const request = { ...wanted, signal, log, progress: noProgress, now: () => new Date() };
  const { runId, slices } = await enqueue(request);
  const look = ownCommand(['status', '--queue', queueAddress(queue.location)]);
  const jobs = slices.length;
  return {
    text: () =>
      `run ${runId}: ${jobs} months and organizations are in the queue; see how far they are with: ${look}`,
    json: () => ({ runId, queued: slices }),
    failed: false,
    figures: { runId, queued: jobs },
  };
}

interface RunAnswer extends Answer {
  text: () => string;
  json: () => object;
}

/** The answer with the months' reports, or with why there are none: what was run has been run all the same. */
async function withReports(
  answer: RunAnswer,
  config: Config,
  { months, organizations }: Selection,
  { open, signal, log }: Context,
): Promise<Answer> {
  const { makeReportsOf, reportJson, reportText } = await import('./report.js');
  try {
    const { staging } = await open(config);
    const chosen = { staging, months, organizations, customers: undefined, signal };
    const written = await makeReportsOf(config, chosen);
    return {
      ...answer,
      text: () => `${answer.text()}\n\n${reportText(written)}`,
      json: () => ({ ...answer.json(), report: reportJson(written) }),
    };
  } catch (error) {
    const { message, ...details } = errorToJson(error);
    log.error({ ...details, ...causeOf(error), err: error }, `no report: ${String(message)}`);
    return {
      ...answer,
      text: () => `${answer.text()}\n\nno report: ${describeError(error)}`,
      json: () => ({ ...answer.json(), report: { error: errorToJson(error) } }),
      failed: true,
    };
  }
}

/**
 * Runs the stages with progress on standard error.
 * @throws {PipelineError} when no task could be begun.
 */
export async function runStages(wanted: Wanted, { log, signal }: Context): Promise<RunAnswer> {
  const { createProgress, noProgress } = await import('../run/progress.js');
  const run =
    wanted.config.queue === undefined
      ? (await import('../run/runner.js')).run
      : (await import('../run/queue-run.js')).runByQueue;
  const { figuresOf, formatReport, reportToJson } = await import('../run/summary.js');
  const { findNews } = await import('../inspect/run-news.js');
  const progress = wanted.quiet === true ? noProgress : await createProgress(process.stderr);
  const request = { ...wanted, signal, log, progress, now: () => new Date() };
  try {
    const report = await run(request);
    const news = signal.aborted ? [] : await findNews(report.tasks, request);
    return {
      text: () => formatReport(report, request, news),
      json: () => reportToJson(report, request, news),
      failed: report.tasks.some(({ state }) => state === 'failed'),
      isUsual: news.length === 0,
      figures: { ...figuresOf(report), restated: news.length },
    };
  } finally {
    progress.stop();
  }
}
