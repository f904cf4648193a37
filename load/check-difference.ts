import { DataError } from '../pipeline/errors.js';
import type { Units } from '../pipeline/money.js';
import { beyond, difference, formatAmount } from '../pipeline/money.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';

/** What a manifest says of a slice's sums. */
export type Figures = Pick<TransformManifest, 'month' | 'organization' | 'awsTotal'> & {
  consumption: Pick<TransformManifest['consumption'], 'totals'>;
};

/**
 * AWS's ungrouped total minus the rows' sums, currency by currency; undefined where the total was not
 * asked for.
 */
export function awsDifference({
  awsTotal,
  consumption,
}: Figures): Record<string, string> | undefined {
  return awsTotal === undefined || awsTotal === null
    ? undefined
    : difference(awsTotal, consumption.totals);
}

/**
 * Refuses a slice that lies further from AWS's own total than the tolerance.
 * @param tolerance units of 10^-18 of the currency.
 * @throws {DataError} naming organization, total, sum and difference.
 */
export function checkDifference(manifest: Figures, tolerance: Units): void {
  const differences = awsDifference(manifest) ?? {};
  const [currency] = beyond(differences, tolerance);
  if (currency === undefined) return;
  const { month, organization, awsTotal, consumption } = manifest;
  const amount = (of: Readonly<Record<string, string>> | null | undefined): string =>
    `${of?.[currency] ?? '0'} ${currency}`;
  throw new DataError(
    `${organization}'s total of ${month} is ${amount(awsTotal)} by AWS, its rows add up to ${amount(consumption.totals)}: a difference of ${amount(differences)}, more than the tolerance of ${formatAmount(tolerance)}`,
    {
      next: `fetch the month again with "pipeline run --stage extract --force --month ${month} --organization ${organization}", or take the difference with --tolerance`,
    },
  );
}
