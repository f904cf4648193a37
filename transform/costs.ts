import { DataError } from '../pipeline/errors.js';
import type { ParsedAmount } from '../pipeline/money.js';
import { parseAmount } from '../pipeline/money.js';
import type { Metric } from '../pipeline/scope.js';
import type { Dimension } from '../pipeline/staging/manifest.js';
import type { DecimalsBuilder } from './decimals.js';
import type { CostPage, Group } from './pages.js';
import type { Place } from './rows.js';
import { rowFault } from './rows.js';

const missing: Readonly<Record<Dimension, string>> = {
  SERVICE: 'has no service',
  LINKED_ACCOUNT: 'has no account id',
  USAGE_TYPE: 'has no usage type',
  RECORD_TYPE: 'has no charge type',
  REGION: 'has no region',
};

/** Reads one dimension's value of a group. */
export type KeyOf = (group: Group, place: Place) => string;

/**
 * How a page's groups tell a dimension's value: their keys stand in the order of the request's GroupBy,
 * which the answer repeats.
 */
export function keyReader(
  { GroupDefinitions = [] }: CostPage,
  groupBy: readonly Dimension[],
): (dimension: Dimension) => KeyOf {
  const order: readonly (string | undefined)[] =
    GroupDefinitions.length === 0 ? groupBy : GroupDefinitions.map(({ Key }) => Key);
  return (dimension) => {
    const position = order.indexOf(dimension);
    return ({ Keys = [] }, place) => {
      const key = Keys[position];
      if (key === undefined) throw rowFault(place, missing[dimension]);
      return key;
    };
  };
}

/** The groups of a page. */
export function countGroups({ ResultsByTime }: CostPage): number {
  return ResultsByTime.reduce((sum, { Groups = [] }) => sum + Groups.length, 0);
}

/**
 * A group's value by a metric, as AWS writes it.
 * @throws {DataError} naming file and row of a group that lacks it.
 */
export function textOf(
  { Metrics }: Group,
  metric: Metric,
  place: Place,
): { amount: string; unit: string } {
  const { Amount: amount, Unit: unit = metric === 'UsageQuantity' ? 'N/A' : undefined } =
    Metrics?.[metric] ?? {};
  if (amount === undefined) throw rowFault(place, `has no ${metric}`);
  if (unit === undefined) throw rowFault(place, `has an ${metric} without its unit`);
  return { amount, unit };
}

/** The same, as an exact amount. */
export function valueOf(
  group: Group,
  metric: Metric,
  place: Place,
): ParsedAmount & { unit: string } {
  const { amount, unit } = textOf(group, metric, place);
  return { ...exactly(() => parseAmount(amount), place), unit };
}

/**
 * Appends an amount to a column.
 * @returns whether digits past the 18th were dropped.
 * @throws {DataError} naming file and row of what is no amount.
 */
export function addAmount(decimals: DecimalsBuilder, text: string, place: Place): boolean {
  return exactly(() => decimals.add(text), place);
}

function exactly<T>(read: () => T, place: Place): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof DataError) throw rowFault(place, `has a wrong amount: ${cause.message}`);
    throw cause;
  }
}
