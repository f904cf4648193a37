import { isDeepStrictEqual } from 'node:util';
import type { Breakdown } from '../pipeline/shared/dimensions.js';
import { advice, fetchAgain } from '../pipeline/shared/commands.js';
import { DataError } from '../pipeline/shared/errors.js';
import type { Units } from '../pipeline/shared/money.js';
import { parseAmount } from '../pipeline/shared/money.js';
import { costMetrics } from '../pipeline/shared/scope.js';
import type { ServiceDifference, ServiceTotals, Sums, SumsText } from '../pipeline/shared/sums.js';
import {
  addMoney,
  addToService,
  formatSums,
  noSums,
  sameColumns,
  sameTotals,
  serviceDifferences,
} from '../pipeline/shared/sums.js';
import { currencyFault } from '../pipeline/staging/answers.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest, TransformManifest } from '../pipeline/staging/manifest.js';
import { serviceQuery } from '../pipeline/staging/manifest.js';
import type { FinishedExtraction } from './staged-pages.js';
import { costPages, metricAmount, totalPages } from './staged-pages.js';

/**
 * Compares the rows of consumption that were made with what the extract stage counted.
 * @throws {DataError} when their number, or a sum, differs.
 */
export function checkTally(
  extraction: FinishedExtraction,
  { costView, ...made }: Sums & Pick<Partial<TransformManifest['consumption']>, 'costView'>,
): void {
  // Rows of the cost view alone are no groups of the bill.
  const rows = made.rows - (costView?.onlyCost ?? 0);
  const { costView: counted } = extraction.manifest;
  const further = counted === undefined ? {} : { CostAmount: counted.totals };
  check(extraction, extraction.manifest, { ...made, rows }, { further });
}

/** The same for each breakdown's rows. */
export function checkBreakdowns(
  extraction: FinishedExtraction,
  made: ReadonlyMap<Breakdown, Sums>,
): void {
  for (const { dimension, ...counted } of extraction.manifest.breakdowns)
    check(extraction, counted, made.get(dimension) ?? noSums(), { by: ` by ${dimension}` });
}

/** What the extract stage counted of the groups that are rows of one table. */
type Counted = Pick<ExtractionManifest, 'groups' | 'totals' | 'metrics'>;

/**
 * @param options `by`: which pages, in words; `further`: columns that show no metric of the bill, as they were
 * counted.
 */
function check(
  extraction: FinishedExtraction,
  counted: Counted,
  made: Sums,
  { by = '', further = {} }: { by?: string; further?: SumsText['columns'] } = {},
): void {
  const { rows, totals, columns } = formatSums(made);
  const fault = (held: string, said: string): DataError =>
    restorable(extraction, `the staged pages${by} ${held}, their manifest says ${said}`);
  if (rows !== counted.groups) throw fault(`hold ${rows} groups`, String(counted.groups));
  if (!sameTotals(totals, counted.totals))
    throw fault(`add up to ${JSON.stringify(totals)}`, JSON.stringify(counted.totals));
  const expected = {
    ...columnsOf(extraction.manifest, counted, 'DiscountedAmount' in columns),
    ...further,
  };
  if (!sameColumns(columns, expected))
    throw fault(`add up to ${JSON.stringify(columns)}`, JSON.stringify(expected));
}

/** The metrics that were counted, by the columns that show them: BlendedCost may be two. */
function columnsOf(
  manifest: ExtractionManifest,
  { metrics }: Counted,
  hasDiscounted: boolean,
): SumsText['columns'] {
  const asked = manifest.scope.metrics.flatMap((metric) => {
    const sums = metrics[metric];
    return sums === undefined ? [] : [[metric, sums] as const];
  });
  return {
    ...Object.fromEntries(asked),
    ...(hasDiscounted ? { DiscountedAmount: metrics['BlendedCost'] ?? {} } : {}),
  };
}

/** AWS's own ungrouped cost of a month: UnblendedCost, and the other cost metrics. */
export interface AwsTotal {
  totals: SumsText['totals'];
  metrics: SumsText['columns'];
}

/**
 * AWS's own ungrouped total of the month, from its staged answer; null where it was not asked for.
 * @throws {DataError} when the staged answer is missing, altered, or says something else than the manifest.
 */
export async function readAwsTotal(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): Promise<AwsTotal | null> {
  const { awsTotal, awsMetrics } = extraction.manifest;
  let sums: Sums | undefined;
  for await (const { where, total } of totalPages(extraction, signal)) {
    sums ??= noSums();
    for (const [metric, { Amount, Unit }] of Object.entries(total))
      addMoney(sums, metric, Unit, unitsOf(metric, Amount, Unit, where));
  }
  const said = awsTotal === null ? null : { totals: awsTotal, metrics: awsMetrics };
  const found = sums === undefined ? null : totalOf(formatSums(sums));
  if (found === null ? said === null : said !== null && isSame(found, said)) return found;
  throw differs(extraction, 'total', found, said);
}

function totalOf({ totals, columns }: SumsText): AwsTotal {
  return { totals, metrics: columns };
}

function isSame(a: AwsTotal, b: AwsTotal): boolean {
  return sameTotals(a.totals, b.totals) && sameColumns(a.metrics, b.metrics);
}

/** Whether AWS was asked for the month's cost by service alone. */
export function hasServices({ manifest }: FinishedExtraction): boolean {
  return manifest.queries.some(({ name }) => name === 'service');
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
      for (const metric of costMetrics(extraction.manifest.scope)) {
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
  extraction: FinishedExtraction,
  what: string,
  found: unknown,
  said: unknown,
): DataError {
  return restorable(
    extraction,
    `AWS's ${what} as staged is ${JSON.stringify(found)}, its manifest says ${JSON.stringify(said)}`,
  );
}

function restorable({ staging, slice, manifest }: FinishedExtraction, message: string): DataError {
  return new DataError(message, {
    where: `${staging.location}/${extractionManifestKey(slice, manifest.extraction)}`,
    ...advice('restore the staged files, or fetch the month again with', fetchAgain(slice)),
  });
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
