import type { BreakdownTallies } from '../../transform/breakdowns.js';
import { breakdownBatches } from '../../transform/breakdowns.js';
import { checkBreakdowns, checkTally } from '../../transform/checks.js';
import type { RowTally, Stamp } from '../../transform/columns.js';
import type { ConsumptionTally } from '../../transform/consumption.js';
import { consumptionBatches, emptyTally } from '../../transform/consumption.js';
import { invoicesBatches } from '../../transform/invoice-rows.js';
import type { FinishedExtraction } from '../../transform/staged-pages.js';
import { billingPeriod } from '../shared/month.js';
import type { RowBatch } from '../staging/batch.js';

/**
 * Makes the rows of consumption from the staged pages, checked as the transform stage checks them: pages
 * against the manifest, each account and service once, rows and sums.
 * @param take gets every batch of them.
 * @returns what they add up to.
 * @throws {DataError} when a staged file is missing, altered or wrong.
 */
export async function readConsumption(
  extraction: FinishedExtraction,
  signal: AbortSignal,
  take: (batch: RowBatch) => void = () => undefined,
): Promise<ConsumptionTally> {
  const tally = emptyTally();
  const batches = consumptionBatches(extraction, stampOf(extraction), tally, signal);
  for await (const batch of batches) take(batch);
  checkTally(extraction, tally);
  return tally;
}

/** The same for the rows of breakdowns, by dimension; there are none where none were asked for. */
export async function readBreakdowns(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): Promise<BreakdownTallies> {
  const tallies: BreakdownTallies = new Map();
  const batches = breakdownBatches(extraction, stampOf(extraction), tallies, signal);
  while ((await batches.next()).done !== true);
  checkBreakdowns(extraction, tallies);
  return tallies;
}

/** The same for the rows of invoices. */
export async function readInvoiceRows(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): Promise<RowTally> {
  const tally = emptyTally();
  const batches = invoicesBatches(extraction, stampOf(extraction), tally, signal);
  while ((await batches.next()).done !== true);
  return tally;
}

function stampOf({ slice: { month, organization } }: FinishedExtraction): Stamp {
  return { tag: '', billingPeriod: billingPeriod(month), organization };
}
