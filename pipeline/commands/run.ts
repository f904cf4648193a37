import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { Config } from '../config/config.js';
import type { Hook } from '../config/hooks.js';
import type { Selection, SelectionFlags } from '../config/selection.js';
import { select } from '../config/selection.js';
import { settingFlags } from '../config/settings.js';
import type { RunFacts, RunRecord } from '../run/record.js';
import { ownCommand } from '../shared/commands.js';
import { UsageError, causeOf, describeError, errorToJson } from '../shared/errors.js';
import { tell } from '../shared/output.js';
import type { Context, TableAnswer } from './command.js';
import { command, configure, off, one, pick } from './command.js';
import { EXIT, exitCodeAt, exitCodeOf, isStandardOutput } from './journal.js';
import { planRun } from './plan.js';

/** `pipeline run`: the month's extract, transform and load, or some of them. */
export const run = command({
  name: 'run',
  describe: 'Extract, transform and load months of cost; each stage also runs alone',
  flags: {
    ...pick('stage', 'month', 'from', 'to', 'organization', 'config'),
    ...settingFlags,
    ...pick('quiet', 'output', 'json', 'log-file', 'log-level'),
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
    'summary': {
      ...one(),
      describe: "File to which the run's record is appended as one line of JSON, however it ends",
    },
    'metrics': {
      ...one(),
      describe: "File ending in .prom for Prometheus (node_exporter's textfile collector)",
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
    if (args['dry-run']) {
      refuseOutlets(args, '--dry-run');
      return planRun(args, context);
    }
    const { makeRecord } = await import('../run/record.js');
    const facts: Facts = { runId: randomUUID(), started: new Date(), outlets: {} };
    let exitCode: number = EXIT.failed;
    let answer: TableAnswer | undefined;
    try {
      await checkOutlets(args, facts.outlets);
      answer = await runSettled(args, context, facts);
      exitCode = answer.failed ? (answer.exitCode ?? EXIT.failed) : 0;
      if (context.signal.aborted) exitCode = EXIT.interrupted;
      return answer;
    } catch (error) {
      facts.error = error;
      facts.hooks ??= await hooksOfWrong(args);
      exitCode = exitCodeAt(error);
      throw error;
    } finally {
      const isInterrupted = exitCode === EXIT.interrupted;
      const record = makeRecord({ ...facts, ended: new Date(), exitCode, isInterrupted });
      const { log, signal } = context;
      const isTold = args.detach || (await publish(record, { ...facts, log, signal }));
      if (answer !== undefined) {
        // --quiet hides warnings where all went as it should.
        if (!isTold) answer.isUsual = false;
        // Whoever does not wait until all are told leaves nothing undone.
        answer.isWhole = !isInterrupted;
      }
    }
  },
});

/** Where a run's record goes. */
interface Outlets {
  summary?: string | undefined;
  metrics?: string | undefined;
}

/** @throws {UsageError} where the end of a run is to be told that has none with another flag. */
function refuseOutlets({ summary, metrics }: Outlets, without: string): void {
  const [flag] = Object.entries({ summary, metrics }).find(([, file]) => file !== undefined) ?? [];
  if (flag !== undefined)
    throw new UsageError(`--${flag} goes without ${without}: it tells how the run ended`, {
      next: 'leave one of them out',
    });
}

/**
 * @param checked gets those where the record can go.
 * @throws {UsageError} when it cannot go to one.
 */
async function checkOutlets(
  {
    summary,
    metrics,
    'log-file': log,
    detach,
  }: Outlets & { 'log-file'?: string | undefined; 'detach': boolean },
  checked: Outlets,
): Promise<void> {
  if (detach) refuseOutlets({ summary, metrics }, '--detach');
  if (summary !== undefined && isStandardOutput(summary))
    throw new UsageError('the record would mix with the result on standard output', {
      where: '--summary',
      next: 'name another file',
    });
  if (summary !== undefined)
    for (const [other, file] of Object.entries({ '--metrics': metrics, '--log-file': log }))
      if (file !== undefined && resolve(file) === resolve(summary))
        throw new UsageError(`--summary and ${other} name one file`, {
          next: 'give each a file of its own',
        });
  if (summary !== undefined) {
    await (await import('../run/record.js')).checkSummaryFile(summary);
    checked.summary = summary;
  }
  if (metrics !== undefined) {
    await (await import('../run/metrics.js')).checkMetricsFile(metrics);
    checked.metrics = metrics;
  }
}

/**
 * Gives the record to whoever was named for it. What has been done is done, also where one cannot be reached.
 * @returns whether all have it; of those that have not, a warning tells.
 */
async function publish(
  record: RunRecord,
  { outlets: { summary, metrics }, selection, hooks, log, signal }: Told,
): Promise<boolean> {
  let isTold = true;
  const warn = (where: string, what: string) => (error: unknown) => {
    log.warn({ where }, `${what}: ${describeError(error)}`);
    isTold = false;
  };
  if (summary !== undefined) {
    const { appendRecord } = await import('../run/record.js');
    await appendRecord(summary, record).catch(
      warn(summary, 'the summary file has no line of this run'),
    );
  }
  if (metrics !== undefined) {
    const { exportMetrics } = await import('../run/metrics.js');
    await exportMetrics(metrics, record, selection).catch(
      warn(metrics, "the metrics' file says nothing of this run"),
    );
  }
  if (hooks === undefined || hooks.length === 0) return isTold;
  const { notify } = await import('../run/notify.js');
  return (await notify(record, { hooks, log, signal })) && isTold;
}

type Told = Pick<Facts, 'selection' | 'outlets' | 'hooks'> & Pick<Context, 'log' | 'signal'>;

/** What is known of a run so far, for its record, and who is to be told of it. */
type Facts = Omit<RunFacts, 'ended' | 'exitCode' | 'isInterrupted'> & {
  /** Where the record can go, as far as that was looked at. */
  outlets: Outlets;
  hooks?: readonly Hook[];
};

type RunFlags = SelectionFlags &
  Record<'force' | 'quiet' | 'report' | 'detach' | 'accept-empty', boolean> & {
    'log-level': string;
    [flag: string]: unknown;
  };

/** Settles selection and settings, and does the work. @param facts are completed as far as it comes. */
async function runSettled(args: RunFlags, context: Context, facts: Facts): Promise<TableAnswer> {
  const selection = select(args, new Date());
  facts.selection = selection;
  const config = await configure(args, {
    organizations: selection.stages.includes('extract'),
    database: selection.stages.includes('load'),
    hooks: true,
  });
  facts.hooks = config.hooks;
  // The log says it too, but may be asked to say errors only.
  if (config.vault?.skipVerify === true && ['error', 'silent'].includes(args['log-level']))
    tell("warning: VAULT_SKIP_VERIFY is on: Vault's certificate is not checked");
  const { force, quiet, report, detach, 'accept-empty': acceptEmpty } = args;
  const wanted = { config, selection, force, acceptEmpty, quiet, report };
  if (detach) return putIntoQueue(wanted, context, facts);
  const answer = await runStages(wanted, context, facts);
  return report && !context.signal.aborted ? withReports(answer, wanted, context, facts) : answer;
}

/** Who is told of a run whose flags or settings are wrong: nobody where the configuration file cannot be read. */
async function hooksOfWrong({ config }: { config?: unknown }): Promise<readonly Hook[]> {
  const [{ hooksAnyway }, { readConfigFile }] = await Promise.all([
    import('../config/config.js'),
    import('../config/config-file.js'),
  ]);
  const file = await readConfigFile(typeof config === 'string' ? config : undefined).catch(
    () => ({}),
  );
  return hooksAnyway(process.env, file);
}

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
async function putIntoQueue(
  wanted: Wanted,
  { log, signal }: Context,
  { runId }: Facts,
): Promise<TableAnswer> {
  const { queue } = wanted.config;
  if (queue === undefined)
    throw new UsageError('--detach needs a queue', {
      next: 'name it with --queue or PIPELINE_QUEUE',
    });
  if (wanted.report === true)
    throw new UsageError('--report goes without --detach: reports are made when all is done', {
      next: 'make them later with "pipeline report"',
    });
  const { noProgress } = await import('../run/progress.js');
  const { enqueue } = await import('../run/queue-run.js');
  const { queueAddress } = await import('../config/queue-address.js');
  const request = { ...wanted, runId, signal, log, progress: noProgress, now: () => new Date() };
  const slices = await enqueue(request);
  const look = ownCommand(['status', '--queue', queueAddress(queue.location)]);
  const jobs = slices.length;
  return {
    text: () =>
      `run ${runId}: ${jobs} months and organizations are in the queue; see how far they are with: ${look}`,
    json: () => ({ runId, queued: slices }),
    table: () => ({
      columns: ['runId', 'month', 'organization'],
      rows: slices.map((slice) => ({ runId, ...slice })),
    }),
    failed: false,
    figures: { runId, queued: jobs },
  };
}

interface RunAnswer extends TableAnswer {
  text: () => string;
  json: () => object;
}

/** The answer with the months' reports, or with why there are none: what was run has been run all the same. */
async function withReports(
  answer: RunAnswer,
  { config, selection: { months, organizations } }: Wanted,
  { open, signal, log }: Context,
  facts: Facts,
): Promise<TableAnswer> {
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
    facts.error = error;
    const { message, ...details } = errorToJson(error);
    log.error({ ...details, ...causeOf(error), err: error }, `no report: ${String(message)}`);
    return {
      ...answer,
      text: () => `${answer.text()}\n\nno report: ${describeError(error)}`,
      json: () => ({ ...answer.json(), report: { error: errorToJson(error) } }),
      failed: true,
      exitCode: EXIT.failed,
    };
  }
}

/**
 * Runs the stages with progress on standard error.
 * @throws {PipelineError} when no task could be begun.
 */
async function runStages(
  wanted: Wanted,
  { log, signal }: Context,
  facts: Facts,
): Promise<RunAnswer> {
  const { createProgress, noProgress } = await import('../run/progress.js');
  const run =
    wanted.config.queue === undefined
      ? (await import('../run/runner.js')).run
      : (await import('../run/queue-run.js')).runByQueue;
  const { figuresOf, formatReport, noNews, reportTable, reportToJson } =
    await import('../run/summary.js');
  const { findNews } = await import('../inspect/run-news.js');
  const progress = wanted.quiet === true ? noProgress : await createProgress(process.stderr);
  const { runId } = facts;
  const request = { ...wanted, runId, signal, log, progress, now: () => new Date() };
  try {
    const report = await run(request);
    facts.whole = { report, request, news: noNews };
    const news = signal.aborted ? noNews : await findNews(report.tasks, request);
    facts.whole.news = news;
    const failed = report.tasks.filter(({ state }) => state === 'failed');
    return {
      text: () => formatReport(report, request, news),
      json: () => reportToJson(report, request, news),
      table: () => reportTable(report, request, news),
      failed: failed.length > 0,
      exitCode: exitCodeOf(failed.map(({ error }) => error)),
      isUsual: news.restated.length === 0,
      figures: { ...figuresOf(report), restated: news.restated.length },
    };
  } finally {
    progress.stop();
  }
}
