import { DataError } from '../pipeline/errors.js';
import { formatNamed, formatTotals, sameNamed, sameTotals } from '../pipeline/money.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { scopeOf } from '../pipeline/staging/manifest.js';
import type { RowTally } from './cost-columns.js';
import type { StagedExtraction } from './pages.js';

/** What the extract stage counted of the groups that are rows of one table. */
type Counted = Pick<ExtractionManifest, 'groups' | 'totals' | 'metrics'>;

/**
 * Compares the rows of consumption that were made with what the extract stage counted.
 * @throws {DataError} when their number, or a sum, differs.
 */
export function checkTally(extraction: StagedExtraction, tally: RowTally): void {
  check(extraction, extraction.manifest, tally);
}

/** The same for the rows of charges; there are none where they were not asked for. */
export function checkCharges(extraction: StagedExtraction, tally: RowTally): void {
  check(extraction, extraction.manifest.recordTypes ?? { groups: 0, totals: {} }, tally);
}

function check(
  { staging, slice, manifest }: StagedExtraction,
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
