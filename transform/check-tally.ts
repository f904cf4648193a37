import { DataError } from '../pipeline/errors.js';
import { formatTotals, sameTotals } from '../pipeline/money.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ConsumptionTally } from './consumption.js';
import type { StagedExtraction } from './pages.js';

/**
 * Compares the rows that were made with what the extract stage counted.
 * @throws {DataError} when their number, or a currency's sum, differs.
 */
export function checkTally(
  { staging, slice, manifest }: StagedExtraction,
  { rows, totals }: ConsumptionTally,
): void {
  const fault = (held: string, said: string): DataError =>
    new DataError(`the staged pages ${held}, their manifest says ${said}`, {
      where: `${staging.location}/${extractionManifestKey(slice, manifest.extraction)}`,
      next: `restore the staged files, or fetch the month again with "pipeline run --stage extract --force --month ${slice.month} --organization ${slice.organization}"`,
    });
  if (rows !== manifest.groups) throw fault(`hold ${rows} groups`, String(manifest.groups));
  const sums = formatTotals(totals);
  if (!sameTotals(sums, manifest.totals)) {
    throw fault(`add up to ${JSON.stringify(sums)}`, JSON.stringify(manifest.totals));
  }
}
