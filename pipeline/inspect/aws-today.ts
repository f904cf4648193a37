import type { OrganizationSource } from '../../extract/organization-source.js';
import { totalQuery } from '../../extract/questions.js';
import { advice, lookCommand, nextRun } from '../shared/commands.js';
import { InterruptedError, PipelineError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { SumsText, TotalsText } from '../shared/sums.js';
import { addMoney, beyond, difference, formatSums, noSums } from '../shared/sums.js';
import { amountOf } from '../shared/table.js';
import type { Layer, Report } from './reconcile-findings.js';
import { kindOf } from './reconcile-findings.js';
import type { StagedFigures } from './reconcile-pages.js';

/** AWS's ungrouped total of a month as it is today. */
export interface TodaysTotal {
  layer: Layer;
  /** What it is more than when it was fetched, or than the rows where it was not; undefined where it was not told. */
  moved: TotalsText | undefined;
}

/**
 * Asks AWS for the month's ungrouped total once more, which costs $0.01, and compares it with the one that was
 * fetched; where none was, with the rows. A refusal is a finding.
 * @param tolerance the largest difference from the rows that is taken, in units of 10^-18 of the currency.
 * @param onPaid called for each answer that AWS charges for.
 */
export async function checkToday(
  open: () => Promise<OrganizationSource>,
  report: Report,
  staged: StagedFigures,
  tolerance: Units,
  signal: AbortSignal,
  onPaid: () => void,
): Promise<TodaysTotal> {
  const { slice } = report;
  const { scope, fetched, awsTotal, consumption } = staged;
  let today: SumsText;
  try {
    const sums = noSums();
    const question = { month: slice.month, scope, query: totalQuery };
    const source = await open();
    for await (const { total } of source.costAndUsage(question, [], signal, onPaid))
      for (const [metric, { units, unit }] of total ?? []) addMoney(sums, metric, unit, units);
    today = formatSums(sums);
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    const { message, where, next, command } = error;
    report.add(kindOf(error), 'AWS today', message, { where, next, command });
    return { layer: { name: 'AWS today' }, moved: undefined };
  }
  const layer: Layer = { name: 'AWS today', totals: today.totals };
  const former = awsTotal ?? consumption;
  if (former === undefined) return { layer, moved: undefined };
  const day = fetched.slice(0, 10);
  const [since, taken] =
    awsTotal == null ? [`beside the rows of ${day}`, tolerance] : [`since ${day}`, 0n];
  const compare = (what: string, now: TotalsText, then: TotalsText): string[] => {
    const apart = difference(now, then);
    return beyond(apart, taken).map(
      (currency) =>
        `AWS's ${what} has moved by ${apart[currency] ?? '0'} ${currency} ${since}: ${amountOf(then)} then, ${amountOf(now)} now`,
    );
  };
  const moves = [
    ...compare('total', today.totals, former.totals),
    ...Object.entries(awsTotal?.columns ?? {}).flatMap(([metric, then]) =>
      compare(metric, today.columns[metric] ?? {}, then),
    ),
  ];
  if (moves.length > 0)
    report.add('difference', 'AWS today', moves.join('; '), {
      ...advice(
        'fetch the month again with',
        nextRun([], slice, '--force'),
        `, then see "${lookCommand('changes', slice)}"`,
      ),
    });
  return { layer, moved: difference(today.totals, former.totals) };
}
