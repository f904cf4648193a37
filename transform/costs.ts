import { DataError } from '../pipeline/errors.js';
import type { ParsedAmount } from '../pipeline/money.js';
import { parseAmount } from '../pipeline/money.js';
import type { Metric } from '../pipeline/scope.js';
import type { Dimension } from '../pipeline/staging/manifest.js';
import type { CostPage, Group, Page } from './pages.js';
import type { Place } from './rows.js';
import { columnOf, rowFault } from './rows.js';

const currency = columnOf('consumption', 'Currency');

/** The groups of a page, each with its place in the file. */
export function* groupsOf({
  where,
  content,
}: Page<CostPage>): Generator<{ group: Group; estimated: boolean; place: Place }> {
  let row = 0;
  for (const { Groups = [], Estimated = false } of content.ResultsByTime ?? []) {
    for (const group of Groups) yield { group, estimated: Estimated, place: { where, row: ++row } };
  }
}

const missing: Readonly<Record<Dimension, string>> = {
  SERVICE: 'has no service',
  LINKED_ACCOUNT: 'has no account id',
  USAGE_TYPE: 'has no usage type',
  RECORD_TYPE: 'has no charge type',
};

/**
 * How a page's groups tell a dimension's value: their keys stand in the order of the request's GroupBy,
 * which the answer repeats.
 */
export function keyReader(
  { GroupDefinitions = [] }: CostPage,
  groupBy: readonly Dimension[],
): (dimension: Dimension, group: Group, place: Place) => string {
  const order: readonly (string | undefined)[] =
    GroupDefinitions.length === 0 ? groupBy : GroupDefinitions.map(({ Key }) => Key);
  const positions = new Map(groupBy.map((dimension) => [dimension, order.indexOf(dimension)]));
  return (dimension, { Keys = [] }, place) => {
    const key = Keys[positions.get(dimension) ?? -1];
    if (key === undefined) throw rowFault(place, missing[dimension]);
    return key;
  };
}

/**
 * One exact value of a group and its unit.
 * @throws {DataError} naming file and row of a group that lacks it, or whose amount is no number.
 */
export function valueOf(
  { Metrics }: Group,
  metric: Metric,
  place: Place,
): ParsedAmount & { unit: string } {
  const { Amount, Unit: unit = metric === 'UsageQuantity' ? 'N/A' : undefined } =
    Metrics?.[metric] ?? {};
  if (Amount === undefined) throw rowFault(place, `has no ${metric}`);
  if (unit === undefined) throw rowFault(place, `has an ${metric} without its unit`);
  try {
    const { units, rounded } = parseAmount(Amount);
    return { units, rounded, unit };
  } catch (cause) {
    if (cause instanceof DataError) throw rowFault(place, `has a wrong amount: ${cause.message}`);
    throw cause;
  }
}

/**
 * A further cost metric of a group, in the currency of its row.
 * @throws {DataError} naming file and row, also where it has another currency.
 */
export function furtherCost(
  group: Group,
  metric: Metric,
  rowCurrency: string,
  place: Place,
): ParsedAmount {
  const found = valueOf(group, metric, place);
  if (found.unit === rowCurrency) return found;
  throw rowFault(place, `has its ${metric} in ${found.unit}, its UnblendedCost in ${rowCurrency}`);
}

/** The column of a row's currency, for the length of its texts. */
export const currencyColumn = currency;
