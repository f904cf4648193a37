import type { Figures } from '../../load/checks.js';
import { checkDifference } from '../../load/checks.js';
import { chargesBatches } from '../../transform/charges.js';
import type { AwsTotal } from '../../transform/checks.js';
import {
  checkCharges,
  checkTally,
  readAwsTotal,
  readServiceDifferences,
} from '../../transform/checks.js';
import type { RowTally, Stamp } from '../../transform/columns.js';
import type { ConsumptionTally } from '../../transform/consumption.js';
import { consumptionBatches, emptyTally } from '../../transform/consumption.js';
import { addUnlisted, readCustomers } from '../../transform/customers.js';
import type { FinishedExtraction } from '../../transform/staged-pages.js';
import { currentExtraction } from '../../transform/staged-pages.js';
import type { ServiceDifference, Units } from '../shared/money.js';
import { difference, formatNamed, formatTotals } from '../shared/money.js';
import { billingPeriod } from '../shared/month.js';
import { extractionPrefix } from '../staging/layout.js';
import type { ExtractionManifest } from '../staging/manifest.js';
import { scopeOf } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import type { Layer, Report } from './reconcile-findings.js';

/** What the staged pages say beside customers, rows and their Amount. */
export interface FurtherFigures {
  /** Sums of consumption's other columns of money. */
  columns: Record<string, Record<string, string>>;
  charges: {
    rows: number;
    totals: Record<string, string>;
    columns: Record<string, Record<string, string>>;
  };
}

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
  /** Undefined where a page cannot be read. */
  further: FurtherFigures | undefined;
  aws: Layer;
  /** AWS's ungrouped total minus the rows' sums; undefined where either is not known. */
  difference: Readonly<Record<string, string>> | undefined;
  serviceDifferences: readonly ServiceDifference[] | undefined;
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
  const listed = await report.examine('staged pages', () => readCustomers(extraction, signal));
  const tally = await report.examine('staged pages', () => readCosts(extraction, signal));
  const charged = await report.examine('staged pages', () => readCharges(extraction, signal));
  const awsTotal = await report.examine('AWS total', () => readAwsTotal(extraction, signal));
  const totals = tally === undefined ? undefined : formatTotals(tally.totals);
  const services = await report.examine('AWS total', () =>
    readServiceDifferences(extraction, tally?.services, signal),
  );
  if (tally !== undefined && charged !== undefined && awsTotal !== undefined) {
    const where = `${staging.location}/${extractionPrefix(slice, manifest.extraction)}`;
    await report.examine(
      'AWS total',
      () => {
        checkDifference(
          { ...figuresOf(manifest, awsTotal, tally, charged), serviceDifferences: services },
          tolerance,
        );
      },
      where,
    );
  }
  if (tally !== undefined && charged !== undefined && listed !== undefined)
    addUnlisted(listed, new Map([...charged.accounts, ...tally.accounts]));
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
    further:
      tally && charged
        ? {
            columns: formatNamed(tally.columns),
            charges: { rows: charged.rows, ...sumsOf(charged) },
          }
        : undefined,
    aws: { name: 'AWS total', totals: awsTotal?.totals },
    difference: totals && awsTotal ? difference(awsTotal.totals, totals) : undefined,
    serviceDifferences: services,
  };
}

function sumsOf({ totals, columns }: RowTally) {
  return { totals: formatTotals(totals), columns: formatNamed(columns) };
}

/** What the pages say, as a transform manifest would. */
function figuresOf(
  manifest: ExtractionManifest,
  awsTotal: AwsTotal | null,
  tally: ConsumptionTally,
  charged: RowTally,
): Figures {
  const { month, organization } = manifest;
  const scope = scopeOf(manifest);
  return {
    month,
    organization,
    scope,
    awsTotal: awsTotal?.totals ?? null,
    ...(awsTotal === null ? {} : { awsMetrics: awsTotal.metrics }),
    consumption: { ...sumsOf(tally), pairs: tally.pairs },
    ...(scope.byRecordType ? { charges: sumsOf(charged) } : {}),
  };
}

async function readCosts(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): Promise<ConsumptionTally> {
  const tally = emptyTally();
  let rows = 0;
  for await (const batch of consumptionBatches(extraction, stampOf(extraction), tally, signal))
    rows += batch.length;
  checkTally(extraction, { ...tally, rows });
  return tally;
}

async function readCharges(extraction: FinishedExtraction, signal: AbortSignal): Promise<RowTally> {
  const tally = emptyTally();
  let rows = 0;
  for await (const batch of chargesBatches(extraction, stampOf(extraction), tally, signal))
    rows += batch.length;
  checkCharges(extraction, { ...tally, rows });
  return tally;
}

function stampOf({ slice: { month, organization } }: FinishedExtraction): Stamp {
  return { tag: '', billingPeriod: billingPeriod(month), organization };
}
