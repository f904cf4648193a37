import { readInvoices } from '../../load/invoiced-months.js';
import { advice, lookCommand, nextRun } from '../shared/commands.js';
import type { InvoiceComparison } from '../shared/invoice-comparison.js';
import type { Units } from '../shared/money.js';
import { formatAmount } from '../shared/money.js';
import { beyond } from '../shared/sums.js';
import type { Staging } from '../staging/staging.js';
import type { ExportedFigures } from './reconcile-exports.js';
import type { Report } from './reconcile-findings.js';
import { differenceWords } from './invoice-lines.js';

/**
 * Sets the slice's invoices beside its cost. A difference is shown, since an invoice has its own rounding; it is a
 * finding only beyond the tolerance, and not while AWS is still issuing invoices.
 * @param tolerance units of 10^-18 of the currency; undefined: nothing is held against them.
 */
export async function checkInvoices(
  staging: Staging,
  report: Report,
  exported: ExportedFigures | undefined,
  tolerance: Units | undefined,
): Promise<InvoiceComparison | undefined> {
  if (exported === undefined) return undefined;
  const { source, intact } = exported;
  // An altered file is a finding already.
  if (Object.keys(source.files).some((table) => !intact.some((one) => one === table)))
    return undefined;
  const read = await report.examine('invoices', () => readInvoices(staging, source));
  if (read === undefined) return undefined;
  const { comparison } = read;
  if (tolerance !== undefined) hold(report, comparison, tolerance);
  return comparison;
}

function hold(report: Report, comparison: InvoiceComparison, tolerance: Units): void {
  const { state, isPending, currencies, reasons } = comparison;
  const { slice } = report;
  if (state === 'not asked' || state === 'refused') {
    const what =
      state === 'refused' ? `AWS refused them: ${reasons.join('; ')}` : 'they were not fetched';
    report.add('fault', 'invoices', `no invoice is there to hold against the tolerance: ${what}`, {
      ...advice('fetch them with', nextRun([], slice, '--invoices', '--force')),
    });
    return;
  }
  if (isPending) return;
  for (const one of currencies) {
    const { currency, difference } = one;
    if (difference === null)
      report.add(
        'fault',
        'invoices',
        `invoices and cost in ${currency} are not compared: ${reasons.join('; ')}`,
        {
          next: 'leave the organization out with --organization, or do without --tolerance-invoice',
        },
      );
    else if (beyond({ [currency]: difference }, tolerance).length > 0)
      report.add(
        'difference',
        'invoices',
        `${differenceWords(one) ?? ''}; more than ${formatAmount(tolerance)} is not taken`,
        { next: `see the invoices with "${lookCommand('invoices', slice)}"` },
      );
  }
}
