import type { Config } from '../config/config.js';
import type { Selection } from '../config/selection.js';
import { select } from '../config/selection.js';
import { settingFlags } from '../config/settings.js';
import type { RunReport } from '../run/runner.js';
import type { News } from '../run/summary.js';
import type { RunRequest } from '../run/task.js';
import { DataError } from '../shared/errors.js';
import { tell } from '../shared/output.js';
import { formatTotals } from '../shared/sums.js';
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
  },
  examples: [
    ['run', 'all stages for the last complete month'],
    ['run --stage extract', 'fetch only'],
    ['run --stage transform,load --from 2026-07', 'rebuild and load what is staged since July'],
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
    const { force, quiet, 'accept-empty': acceptEmpty } = args;
    return runStages({ config, selection, force, acceptEmpty, quiet }, context);
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
}

interface RunAnswer extends Answer {
  text: () => string;
}

/**
 * Runs the stages with progress on standard error.
 * @throws {PipelineError} when no task could be begun.
 */
export async function runStages(wanted: Wanted, { log, signal }: Context): Promise<RunAnswer> {
  const { createProgress, noProgress } = await import('../run/progress.js');
  const { run } = await import('../run/runner.js');
  const { figuresOf, formatReport, reportToJson } = await import('../run/summary.js');
  const progress = wanted.quiet === true ? noProgress : createProgress(process.stderr);
  const request = { ...wanted, signal, log, progress, now: () => new Date() };
  try {
    const report = await run(request);
    const news = signal.aborted ? [] : await findNews(report, request);
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

/**
 * Compares what was fetched with what had been fetched before in the same detail, from what is staged. Former pages
 * that cannot be read are no news: `changes` and `reconcile` say what is wrong with them.
 */
async function findNews(
  { tasks }: RunReport,
  { config, signal }: Pick<RunRequest, 'config' | 'signal'>,
): Promise<News[]> {
  const fetched = tasks.filter(({ stage, state }) => stage === 'extract' && state === 'done');
  if (fetched.length === 0) return [];
  const [{ openStaging }, { finishedExtractions }, { findChanges }] = await Promise.all([
    import('../staging/open.js'),
    import('../staging/manifest.js'),
    import('../inspect/restatements.js'),
  ]);
  const staging = await openStaging(config.staging, { ...config.stagingOptions, signal });
  const news: News[] = [];
  for (const { month, organization } of fetched) {
    if ((await finishedExtractions(staging, { month, organization })).length < 2) continue;
    const request = { staging, month, organizations: [organization], signal };
    try {
      const [found] = await findChanges({
        ...request,
        since: undefined,
        until: undefined,
        provisionalDays: config.provisionalDays,
      });
      if (found?.uncompared !== undefined || found === undefined) continue;
      const { since, until, changes, totals } = found;
      const provisionalAgain = until.provisional && !since.provisional;
      if (since.detail !== until.detail || (changes.length === 0 && !provisionalAgain)) continue;
      const sums = (side: 'before' | 'after') =>
        formatTotals(new Map(totals.map((total) => [total.currency, total[side]])));
      news.push({
        ...{ month, organization, amounts: changes.length, provisionalAgain },
        ...{ since: since.fetched, before: sums('before'), after: sums('after') },
      });
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
    }
  }
  return news;
}
