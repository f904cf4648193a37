import { DataError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { addTo, formatTotals, parseAmount, sameTotals } from '../pipeline/money.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { StagedExtraction } from './pages.js';
import { totalPages } from './pages.js';

/**
 * AWS's own ungrouped total of the month, currency → plain decimal, from its staged answer; null where
 * it was not asked for.
 * @throws {DataError} when the staged answer is missing, altered, or says something else than the manifest.
 */
export async function readAwsTotal(
  extraction: StagedExtraction,
  signal: AbortSignal,
): Promise<Record<string, string> | null> {
  const { staging, slice, manifest } = extraction;
  const totals: Totals = new Map();
  let pages = 0;
  for await (const { content } of totalPages(extraction, signal)) {
    pages++;
    for (const { Total } of content.ResultsByTime ?? []) {
      const sum = Total?.UnblendedCost;
      if (sum !== undefined) addTo(totals, sum.Unit, parseAmount(sum.Amount).units);
    }
  }
  const found = pages === 0 ? null : formatTotals(totals);
  const said = manifest.awsTotal ?? null;
  if (found === null ? said === null : said !== null && sameTotals(found, said)) return found;
  throw new DataError(
    `AWS's total as staged is ${JSON.stringify(found)}, its manifest says ${JSON.stringify(said)}`,
    {
      where: `${staging.location}/${extractionManifestKey(slice, manifest.extraction)}`,
      next: `restore the staged files, or fetch the month again with "pipeline run --stage extract --force --month ${slice.month} --organization ${slice.organization}"`,
    },
  );
}
