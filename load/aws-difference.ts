import { advice, fetchAgain } from '../pipeline/shared/commands.js';
import { DifferenceError } from '../pipeline/shared/errors.js';
import type { Units } from '../pipeline/shared/money.js';
import { formatAmount, parseAmount } from '../pipeline/shared/money.js';
import type { TotalsText } from '../pipeline/shared/sums.js';
import { beyond, difference } from '../pipeline/shared/sums.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';

/** What a manifest says of a slice's sums, and what AWS says of them. */
export type BesideAws = Pick<
  TransformManifest,
  'month' | 'organization' | 'scope' | 'awsTotal' | 'awsMetrics' | 'serviceDifferences'
> & {
  consumption: Pick<TransformManifest['consumption'], 'totals' | 'columns' | 'pairs'>;
  breakdowns?:
    | {
        dimensions: readonly Pick<
          NonNullable<TransformManifest['breakdowns']>['dimensions'][number],
          'dimension' | 'totals' | 'columns'
        >[];
      }
    | undefined;
};

/**
 * Refuses a slice that lies further from one of AWS's own totals than the tolerance: of the month, by each
 * metric; or, by usage type, of a usage type in a service or an account. Where AWS's total was not asked
 * for, the breakdowns are held against the rows.
 * @param tolerance units of 10^-18 of the currency.
 * @throws {DifferenceError} naming organization, total, sum and difference.
 */
export function checkDifference(slice: BesideAws, tolerance: Units): void {
  const { month, organization } = slice;
  const fault = (what: string, apart: string, services = ''): DifferenceError =>
    new DifferenceError(
      `${what}: a difference of ${apart}, more than the tolerance of ${formatAmount(tolerance)}${services}`,
      {
        ...advice(
          'fetch the month again with',
          fetchAgain(slice),
          ', or take the difference with --tolerance',
        ),
      },
    );
  for (const { what, by, said, rows, sums } of comparisons(slice)) {
    const differences = difference(said, sums);
    const [currency] = beyond(differences, tolerance);
    if (currency === undefined) continue;
    const amount = (of: TotalsText): string => `${of[currency] ?? '0'} ${currency}`;
    throw fault(
      `${organization}'s ${what} of ${month} is ${amount(said)} ${by}, ${rows} add up to ${amount(sums)}`,
      amount(differences),
      by === 'by AWS' ? `; ${describeServices(slice, currency, what)}` : '',
    );
  }
  const largest = slice.consumption.pairs?.largest ?? null;
  if (largest === null) return;
  const { units } = parseAmount(largest.difference);
  if ((units < 0n ? -units : units) <= tolerance) return;
  const { usageType, service, account, currency } = largest;
  throw fault(
    `${organization}'s usage type ${JSON.stringify(usageType)} of ${service === null ? `account ${account ?? ''}` : JSON.stringify(service)} in ${month} is not what its rows add up to`,
    `${largest.difference} ${currency}`,
  );
}

/** A total, and what the rows of a table add up to. */
interface Comparison {
  /** `total`, or the name of a further metric. */
  what: string;
  /** Who says the total. */
  by: 'by AWS' | 'by its rows';
  said: TotalsText;
  /** `its rows`, or those of a breakdown. */
  rows: string;
  sums: TotalsText;
}

function* comparisons(slice: BesideAws): Generator<Comparison> {
  const { awsTotal, awsMetrics, consumption, breakdowns } = slice;
  // Without AWS's own total, the tables are still to tell the same cost.
  const isAsked = awsTotal !== null;
  const by = isAsked ? 'by AWS' : 'by its rows';
  const total = isAsked ? awsTotal : consumption.totals;
  const metrics = Object.entries(isAsked ? awsMetrics : consumption.columns);
  const split = (breakdowns?.dimensions ?? []).map(
    (table) => [`its rows by ${table.dimension}`, table] as const,
  );
  const tables = [...(isAsked ? [['its rows', consumption] as const] : []), ...split];
  for (const [rows, table] of tables) {
    yield { what: 'total', by, said: total, rows, sums: table.totals };
    const { columns } = table;
    const isByUsageType = table === consumption && slice.scope.detail === 'usage-type';
    for (const [what, said] of metrics) {
      const shown =
        what === 'BlendedCost' && isByUsageType ? columns['DiscountedAmount'] : undefined;
      const sums = columns[what] ?? shown;
      if (sums !== undefined) yield { what, by, said, rows, sums };
    }
  }
}

/** Most services that a message names. */
const NAMED = 5;

/**
 * In words, which services make a difference between AWS's total and the rows, the largest first.
 * @param what `total`, or the name of a further metric.
 */
export function describeServices(
  { serviceDifferences }: Pick<BesideAws, 'serviceDifferences'>,
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
