import { isDeepStrictEqual } from 'node:util';
import { DataError } from '../pipeline/shared/errors.js';
import type {
  NamedTotals,
  ServiceDifference,
  ServiceTotals,
  Totals,
  Units,
} from '../pipeline/shared/money.js';
import {
  addTo,
  addToNamed,
  addToService,
  formatNamed,
  formatTotals,
  parseAmount,
  sameNamed,
  sameTotals,
  serviceDifferences,
} from '../pipeline/shared/money.js';
import { costMetrics } from '../pipeline/shared/scope.js';
import { currencyFault } from '../pipeline/staging/answers.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { scopeOf, serviceQuery } from '../pipeline/staging/manifest.js';
import type { RowTally } from './columns.js';
import type { FinishedExtraction } from './staged-pages.js';
import { costPages, metricAmount, totalPages } from './staged-pages.js';

/** What the extract stage counted of the groups that are rows of one table. */
type Counted = Pick<ExtractionManifest, 'groups' | 'totals' | 'metrics'>;

/**
 * Compares the rows of consumption that were made with what the extract stage counted.
 * @throws {DataError} when their number, or a sum, differs.
 */
export function checkTally(extraction: FinishedExtraction, tally: RowTally): void {
  check(extraction, extraction.manifest, tally);
}

/** The same for the rows of charges; there are none where they were not asked for. */
export function checkCharges(extraction: FinishedExtraction, tally: RowTally): void {
  check(extraction, extraction.manifest.recordTypes ?? { groups: 0, totals: {} }, tally);
}

function check(
  { staging, slice, manifest }: FinishedExtraction,
  counted: Counted,
  { rows, totals, columns }: Pick<RowTally, 'rows' | 'totals' | 'columns'>,
): void {
  const fault = (held: string, said: string): DataError =>
    new DataError(`the staged pages ${held}, their manifest says ${said}`, {
      where: `${staging.location}/${extractionManifestKey(slice, manifest.extraction)}`,
      next: `restore the staged files, or fetch the month again with "pipeline run --stage extract --force --month ${slice.month} --organization ${slice.organization}"`,
    });
  if (rows !== counted.groups) throw fault(`hold ${rows} groups`, String(counted.groups));
  const sums = formatTotals(totals);
  if (!sameTotals(sums, counted.totals)) {
    throw fault(`add up to ${JSON.stringify(sums)}`, JSON.stringify(counted.totals));
  }
  const found = formatNamed(columns);
  const expected = columnsOf(manifest, counted, 'DiscountedAmount' in found);
  if (!sameNamed(found, expected)) {
    throw fault(`add up to ${JSON.stringify(found)}`, JSON.stringify(expected));
  }
}

/** The metrics that were counted, by the columns that show them: BlendedCost may be two. */
function columnsOf(
  manifest: ExtractionManifest,
  { metrics = {} }: Counted,
  hasDiscounted: boolean,
): Record<string, Record<string, string>> {
  const asked = scopeOf(manifest).metrics.flatMap((metric) => {
    const sums = metrics[metric];
    return sums === undefined ? [] : [[metric, sums] as const];
  });
  return {
    ...Object.fromEntries(asked),
    ...(hasDiscounted ? { DiscountedAmount: metrics['BlendedCost'] ?? {} } : {}),
  };
}

/** AWS's own ungrouped cost of a month, currency → plain decimal. */
export interface AwsTotal {
  /** UnblendedCost. */
  totals: Record<string, string>;
  /** The other cost metrics. */
  metrics: Record<string, Record<string, string>>;
}

/**
 * AWS's own ungrouped total of the month, from its staged answer; null where it was not asked for.
 * @throws {DataError} when the staged answer is missing, altered, or says something else than the manifest.
 */
export async function readAwsTotal(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): Promise<AwsTotal | null> {
  const { manifest } = extraction;
  const totals: Totals = new Map();
  const metrics: NamedTotals = new Map();
  let pages = 0;
  for await (const { where, total } of totalPages(extraction, signal)) {
    pages++;
    for (const [metric, { Amount, Unit }] of Object.entries(total)) {
      const units = unitsOf(metric, Amount, Unit, where);
      if (metric === 'UnblendedCost') addTo(totals, Unit, units);
      else addToNamed(metrics, metric, Unit, units);
    }
  }
  const found =
    pages === 0 ? null : { totals: formatTotals(totals), metrics: formatNamed(metrics) };
  const said =
    manifest.awsTotal == null
      ? null
      : { totals: manifest.awsTotal, metrics: manifest.awsMetrics ?? {} };
  if (found === null ? said === null : said !== null && isSame(found, said)) return found;
  throw differs(extraction, 'total', found, said);
}

/** Whether AWS was asked for the month's cost by service alone. */
export function hasServices({ manifest }: FinishedExtraction): boolean {
  return manifest.queries?.some(({ name }) => name === 'service') ?? false;
}

/**
 * Which services' cost by AWS is not what their rows add up to, from AWS's staged answer by service alone;
 * undefined where it was not asked for.
 * @param rows what the rows add up to by service.
 * @throws {DataError} when the staged answer is missing, altered, or says something else than the manifest.
 */
export async function readServiceDifferences(
  extraction: FinishedExtraction,
  rows: ServiceTotals | undefined,
  signal: AbortSignal,
): Promise<ServiceDifference[] | undefined> {
  if (rows === undefined) return undefined;
  const said: ServiceTotals = new Map();
  for await (const page of costPages(extraction, serviceQuery, signal)) {
    const serviceOf = page.keyOf('SERVICE');
    for (const [index, group] of page.groups.entries()) {
      const place = { where: page.where, row: index + 1 };
      const service = serviceOf(group, place);
      for (const metric of costMetrics(scopeOf(extraction.manifest))) {
        const { units, unit: currency } = metricAmount(group, metric, place);
        addToService(said, service, metric, { currency, units });
      }
    }
  }
  const found = serviceDifferences(said, rows);
  const { serviceDifferences: expected } = extraction.manifest;
  if (isDeepStrictEqual(found, expected)) return found;
  throw differs(extraction, 'cost by service', found, expected);
}

function differs(
  { staging, slice, manifest }: FinishedExtraction,
  what: string,
  found: unknown,
  said: unknown,
): DataError {
  return new DataError(
    `AWS's ${what} as staged is ${JSON.stringify(found)}, its manifest says ${JSON.stringify(said)}`,
    {
      where: `${staging.location}/${extractionManifestKey(slice, manifest.extraction)}`,
      next: `restore the staged files, or fetch the month again with "pipeline run --stage extract --force --month ${slice.month} --organization ${slice.organization}"`,
    },
  );
}

function unitsOf(metric: string, amount: string, unit: string, where: string): Units {
  const fault = (message: string, cause?: unknown): DataError =>
    new DataError(`the total ${message}`, { where, cause });
  const wrong = currencyFault(unit);
  if (wrong !== undefined) throw fault(`${wrong} of its ${metric}`);
  try {
    return parseAmount(amount).units;
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw fault(`has a wrong ${metric}: ${cause.message}`, cause);
  }
}

function isSame(a: AwsTotal, b: AwsTotal): boolean {
  return sameTotals(a.totals, b.totals) && sameNamed(a.metrics, b.metrics);
}
