import { DataError } from '../pipeline/errors.js';
import type { Units } from '../pipeline/money.js';
import { beyond, difference, formatAmount, parseAmount } from '../pipeline/money.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { scopeOf } from '../pipeline/staging/manifest.js';

type Sums = Readonly<Record<string, string>>;

/** What a manifest says of a slice's sums. */
export type Figures = Pick<
  TransformManifest,
  'month' | 'organization' | 'scope' | 'awsTotal' | 'awsMetrics' | 'serviceDifferences'
> & {
  consumption: Pick<TransformManifest['consumption'], 'totals' | 'columns' | 'pairs'>;
  charges?: Pick<NonNullable<TransformManifest['charges']>, 'totals' | 'columns'> | undefined;
};

/**
 * AWS's ungrouped total minus the rows' sums, currency by currency; undefined where the total was not
 * asked for.
 */
export function awsDifference({ awsTotal, consumption }: Figures): Sums | undefined {
  return awsTotal === undefined || awsTotal === null
    ? undefined
    : difference(awsTotal, consumption.totals);
}

const BY_AWS = 'by AWS';

/** Most services that a message names. */
const NAMED = 5;

/**
 * In words, which services make a difference between AWS's total and the rows, the largest first.
 * @param what `total`, or the name of a further metric.
 */
export function describeServices(
  { serviceDifferences }: Pick<Figures, 'serviceDifferences'>,
  currency: string,
  what = 'total',
): string {
  if (serviceDifferences === undefined) return 'which services make it was not asked for';
  const metric = what === 'total' ? 'UnblendedCost' : what;
  const apart = serviceDifferences.filter(
    (one) => one.metric === metric && one.currency === currency,
  );
  if (apart.length === 0) return "no service makes it: AWS's cost by service is what the rows say";
  const named = apart
    .slice(0, NAMED)
    .map(({ service, difference: of }) => `${JSON.stringify(service)} (${of} ${currency})`);
  const more = apart.length - named.length;
  return `it is made by ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** A total, and what the rows of a table add up to. */
interface Compared {
  /** `total`, or the name of a further metric. */
  what: string;
  /** Who says the total. */
  by: string;
  said: Sums;
  rows: string;
  sums: Sums;
}

function* comparedTotals(figures: Figures): Generator<Compared> {
  const { awsTotal, awsMetrics = {}, consumption, charges } = figures;
  const { detail } = scopeOf(figures);
  const ofCharges = charges === undefined ? [] : [{ rows: 'its charges', table: charges }];
  // Without AWS's own total, the two tables are still to tell the same cost.
  const { by, said, metrics, tables } =
    awsTotal === undefined || awsTotal === null
      ? {
          by: 'by its rows',
          said: consumption.totals,
          metrics: consumption.columns ?? {},
          tables: ofCharges,
        }
      : {
          by: BY_AWS,
          said: awsTotal,
          metrics: awsMetrics,
          tables: [{ rows: 'its rows', table: consumption }, ...ofCharges],
        };
  for (const { rows, table } of tables) {
    yield { what: 'total', by, said, rows, sums: table.totals };
    for (const [metric, ofMetric] of Object.entries(metrics)) {
      const columns = table.columns ?? {};
      const sums =
        columns[metric] ??
        (metric === 'BlendedCost' && detail === 'usage-type' && table === consumption
          ? columns['DiscountedAmount']
          : undefined);
      if (sums !== undefined) yield { what: metric, by, said: ofMetric, rows, sums };
    }
  }
}

/**
 * Refuses a slice that lies further from one of AWS's own totals than the tolerance: of the month, by each
 * metric; or, by usage type, of a usage type in a service or an account. Where AWS's total was not asked
 * for, the charges are held against the rows.
 * @param tolerance units of 10^-18 of the currency.
 * @throws {DataError} naming organization, total, sum and difference.
 */
export function checkDifference(figures: Figures, tolerance: Units): void {
  const { month, organization } = figures;
  const fault = (what: string, apart: string, services = ''): DataError =>
    new DataError(
      `${what}: a difference of ${apart}, more than the tolerance of ${formatAmount(tolerance)}${services}`,
      {
        next: `fetch the month again with "pipeline run --stage extract --force --month ${month} --organization ${organization}", or take the difference with --tolerance`,
      },
    );
  for (const { what, by, said, rows, sums } of comparedTotals(figures)) {
    const differences = difference(said, sums);
    const [currency] = beyond(differences, tolerance);
    if (currency === undefined) continue;
    const amount = (of: Sums): string => `${of[currency] ?? '0'} ${currency}`;
    throw fault(
      `${organization}'s ${what} of ${month} is ${amount(said)} ${by}, ${rows} add up to ${amount(sums)}`,
      amount(differences),
      by === BY_AWS ? `; ${describeServices(figures, currency, what)}` : '',
    );
  }
  const largest = figures.consumption.pairs?.largest ?? null;
  if (largest === null) return;
  const { units } = parseAmount(largest.difference);
  if ((units < 0n ? -units : units) <= tolerance) return;
  const { usageType, service, account, currency } = largest;
  throw fault(
    `${organization}'s usage type ${JSON.stringify(usageType)} of ${service === null ? `account ${account ?? ''}` : JSON.stringify(service)} in ${month} is not what its rows add up to`,
    `${largest.difference} ${currency}`,
  );
}
