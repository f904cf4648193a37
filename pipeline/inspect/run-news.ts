import type { News } from '../run/summary.js';
import { noNews } from '../run/summary.js';
import type { RunRequest, TaskReport } from '../run/task.js';
import { DataError, PipelineError, describeError } from '../shared/errors.js';
import { formatTotals } from '../shared/sums.js';
import { openStaging } from '../staging/open.js';

/**
 * What a run brought to light: what it fetched beside what had been fetched before in the same detail, from the
 * staged pages. Former pages that cannot be read are no news: `changes` and `reconcile` say what is wrong with them.
 * Where the staging area cannot be read any more, the rest is not known: a warning says so, since what the run has
 * done is to be told all the same.
 */
export async function findNews(
  tasks: readonly TaskReport[],
  { config, signal, log }: Pick<RunRequest, 'config' | 'signal' | 'log'>,
): Promise<News> {
  const fetched = tasks.filter(({ stage, state }) => stage === 'extract' && state === 'done');
  if (fetched.length === 0) return noNews;
  const { findChanges } = await import('./month-changes.js');
  const staging = await openStaging(config.staging, { ...config.stagingOptions, signal });
  const { provisionalDays } = config;
  const points = { since: undefined, until: undefined, provisionalDays };
  const restated: News['restated'][number][] = [];
  const finalized: News['finalized'][number][] = [];
  for (const { month, organization, outcome } of fetched) {
    try {
      const request = { staging, month, organizations: [organization], ...points, signal };
      const [found] = (await findChanges(request)).organizations;
      if (found === undefined || found.uncompared !== undefined) continue;
      const { since, until, changes, totals } = found;
      // What was taken from what is staged is no news: it was told when it was fetched.
      if (until.extraction !== outcome?.extraction) continue;
      if (since.provisional && !until.provisional)
        finalized.push({ month, organization, since: since.fetched });
      const provisionalAgain = until.provisional && !since.provisional;
      if (since.detail !== until.detail || (changes.length === 0 && !provisionalAgain)) continue;
      const sums = (side: 'before' | 'after') =>
        formatTotals(new Map(totals.map((total) => [total.currency, total[side]])));
      restated.push({
        ...{ month, organization, changed: changes.length, provisionalAgain },
        ...{ since: since.fetched, before: sums('before'), after: sums('after') },
      });
    } catch (error) {
      if (error instanceof DataError) continue;
      if (!(error instanceof PipelineError)) throw error;
      log.warn(
        { month, organization },
        `whether AWS has restated the month is not known: ${describeError(error)}`,
      );
      break;
    }
  }
  return { restated, finalized };
}
