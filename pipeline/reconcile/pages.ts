import { checkDifference } from '../../load/check-difference.js';
import { readAwsTotal } from '../../transform/aws-total.js';
import { checkTally } from '../../transform/check-tally.js';
import type { ConsumptionTally } from '../../transform/consumption.js';
import { consumptionBatches, emptyTally } from '../../transform/consumption.js';
import { currentExtraction } from '../../transform/current.js';
import type { Customers } from '../../transform/customers.js';
import { addAccounts, addUnlisted } from '../../transform/customers.js';
import type { StagedExtraction } from '../../transform/pages.js';
import { accountsPages } from '../../transform/pages.js';
import type { Units } from '../money.js';
import { difference, formatTotals } from '../money.js';
import { billingPeriod } from '../month.js';
import { extractionPrefix } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import type { Layer, Report } from './findings.js';

/** What the staged pages of the current extraction say. */
export interface StagedFigures {
  /** Name of the extraction, and sha256 of its manifest. */
  extraction: string;
  source: string;
  /** AWS's own flag, and when the extraction was finished. */
  estimated: boolean;
  fetched: string;
  /** The layer's figures, where every page of them is whole. */
  pages: Layer;
  aws: Layer;
  /** AWS's ungrouped total minus the rows' sums; undefined where either is not known. */
  difference: Readonly<Record<string, string>> | undefined;
}

/**
 * Reads every staged page again and compares it with its manifest, and the sum with AWS's own total.
 * @param tolerance units of 10^-18 of the currency.
 */
export async function checkPages(
  staging: Staging,
  report: Report,
  tolerance: Units,
  signal: AbortSignal,
): Promise<StagedFigures | undefined> {
  const { slice } = report;
  const current = await report.examine('staged pages', () => currentExtraction(staging, slice));
  if (current === undefined) return undefined;
  const { manifest, source } = current;
  const extraction = { staging, slice, manifest };
  const listed = await report.examine('staged pages', () => readAccounts(extraction, signal));
  const tally = await report.examine('staged pages', () => readCosts(extraction, signal));
  const awsTotal = await report.examine('AWS total', () => readAwsTotal(extraction, signal));
  const totals = tally === undefined ? undefined : formatTotals(tally.totals);
  if (totals !== undefined && awsTotal !== undefined) {
    const where = `${staging.location}/${extractionPrefix(slice, manifest.extraction)}`;
    await report.examine(
      'AWS total',
      () => {
        checkDifference({ ...slice, awsTotal, consumption: { totals } }, tolerance);
      },
      where,
    );
  }
  if (tally !== undefined && listed !== undefined) addUnlisted(listed, tally.accounts);
  return {
    extraction: manifest.extraction,
    source,
    estimated: manifest.estimated,
    fetched: manifest.finished,
    pages: {
      name: 'staged pages',
      customers: tally === undefined ? undefined : listed?.size,
      rows: tally?.rows,
      totals,
    },
    aws: { name: 'AWS total', totals: awsTotal ?? undefined },
    difference: totals && awsTotal ? difference(awsTotal, totals) : undefined,
  };
}

async function readAccounts(extraction: StagedExtraction, signal: AbortSignal): Promise<Customers> {
  const customers: Customers = new Map();
  for await (const page of accountsPages(extraction, signal)) addAccounts(customers, page);
  return customers;
}

async function readCosts(
  extraction: StagedExtraction,
  signal: AbortSignal,
): Promise<ConsumptionTally> {
  const { month, organization } = extraction.slice;
  const tally = emptyTally();
  const stamp = { tag: '', billingPeriod: billingPeriod(month), organization };
  let rows = 0;
  for await (const batch of consumptionBatches(extraction, stamp, tally, signal))
    rows += batch.length;
  checkTally(extraction, { ...tally, rows });
  return tally;
}
