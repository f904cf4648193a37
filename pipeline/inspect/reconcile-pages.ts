import type { BesideAws } from '../../load/aws-difference.js';
import { checkDifference } from '../../load/aws-difference.js';
import { addedUp } from '../../transform/breakdowns.js';
import { readAwsTotal, readServiceDifferences } from '../../transform/checks.js';
import { addUnlisted, readCustomers } from '../../transform/customer-rows.js';
import type { ConsumptionTally } from '../../transform/consumption.js';
import { currentExtraction } from '../../transform/staged-pages.js';
import type { Units } from '../shared/money.js';
import type { Scope } from '../shared/scope.js';
import type { ServiceDifference, SumsText } from '../shared/sums.js';
import { difference, formatSums } from '../shared/sums.js';
import { extractionPrefix } from '../staging/layout.js';
import type { Refusal } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import type { Layer, Report } from './reconcile-findings.js';
import { readBreakdowns, readConsumption, readInvoiceRows } from './staged-rows.js';

/** What the staged pages of the current extraction say. */
export interface StagedFigures {
  /** Name of the extraction, and sha256 of its manifest. */
  extraction: string;
  source: string;
  /** AWS's own flag, and when the extraction was finished. */
  estimated: boolean;
  fetched: string;
  /** What was asked for. */
  scope: Scope;
  /** The layer's figures, where every page of them is whole. */
  pages: Layer;
  /** Customers with cost that AWS does not list (any more). */
  unlisted: number;
  /** What the rows add up to; undefined where a page of theirs cannot be read. */
  consumption: SumsText | undefined;
  invoices: SumsText | undefined;
  /** What the organization earns; undefined where no cost view was had, or a page cannot be read. */
  margin: OrganizationMargin | undefined;
  breakdowns: SumsText | undefined;
  /** Parts that AWS refused. */
  refused: readonly Refusal[];
  aws: Layer;
  /** AWS's ungrouped total, also by every other metric; null: it was not asked for, undefined: it cannot be read. */
  awsTotal: Pick<SumsText, 'totals' | 'columns'> | null | undefined;
  /** AWS's ungrouped total minus the rows' sums; undefined where either is not known. */
  difference: Readonly<Record<string, string>> | undefined;
  serviceDifferences: readonly ServiceDifference[] | undefined;
}

/** The bill, what it costs the reseller by the cost view, and the one less the other: currency → exact sum. */
export interface OrganizationMargin {
  amount: SumsText['totals'];
  cost: SumsText['totals'];
  margin: SumsText['totals'];
  /** Rows of the bill without a cost, and of the cost view without a bill. */
  onlyBill: number;
  onlyCost: number;
}

function marginOf(consumption: SumsText, costView: ConsumptionTally['costView']) {
  if (costView === undefined) return undefined;
  const { totals: amount, columns } = consumption;
  const cost = columns['CostAmount'] ?? {};
  return { amount, cost, margin: difference(amount, cost), ...costView };
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
  const tally = await report.examine('staged pages', () => readConsumption(extraction, signal));
  const tallies = await report.examine('staged pages', () => readBreakdowns(extraction, signal));
  const invoiced = await report.examine('staged pages', () => readInvoiceRows(extraction, signal));
  const awsTotal = await report.examine('AWS total', () => readAwsTotal(extraction, signal));
  const consumption = tally && formatSums(tally);
  const split = tallies && addedUp(tallies);
  const services = await report.examine('AWS total', () =>
    readServiceDifferences(extraction, tally?.services, signal),
  );
  if (tally && consumption && tallies && awsTotal !== undefined) {
    const where = `${staging.location}/${extractionPrefix(slice, manifest.extraction)}`;
    await report.examine(
      'AWS total',
      () => {
        const { month, organization, scope } = manifest;
        const said: BesideAws = {
          month,
          organization,
          scope,
          awsTotal: awsTotal?.totals ?? null,
          awsMetrics: awsTotal?.metrics ?? {},
          serviceDifferences: services,
          consumption: { ...consumption, pairs: tally.pairs },
          breakdowns: {
            dimensions: [...tallies].map(([dimension, one]) => ({ dimension, ...formatSums(one) })),
          },
        };
        checkDifference(said, tolerance);
      },
      where,
    );
  }
  const accounts = listed?.size ?? 0;
  if (tally !== undefined && split !== undefined && listed !== undefined)
    addUnlisted(listed, new Map([...split.accounts, ...tally.accounts]));
  return {
    extraction: manifest.extraction,
    source,
    estimated: manifest.estimated,
    fetched: manifest.finished,
    scope: manifest.scope,
    unlisted: (listed?.size ?? 0) - accounts,
    pages: {
      name: 'staged pages',
      // Accounts with cost alone are told by the rows.
      customers: tally === undefined || split === undefined ? undefined : listed?.size,
      rows: consumption?.rows,
      totals: consumption?.totals,
    },
    consumption,
    invoices: invoiced && formatSums(invoiced),
    margin: tally && marginOf(formatSums(tally), tally.costView),
    breakdowns: split && formatSums(split),
    refused: manifest.refused,
    aws: {
      name: 'AWS total',
      totals: awsTotal?.totals,
      state: awsTotal === null ? 'not asked for' : undefined,
    },
    awsTotal: awsTotal && { totals: awsTotal.totals, columns: awsTotal.metrics },
    difference:
      consumption && awsTotal ? difference(awsTotal.totals, consumption.totals) : undefined,
    serviceDifferences: services,
  };
}
