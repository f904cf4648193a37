import type { Value } from '../pipeline/staging/tables.js';
import type { Decimals } from './decimals.js';

/** A column with the same value in every row of its batch. */
export interface Constant {
  readonly kind: 'constant';
  readonly value: Value;
}

/**
 * A column of values that rows repeat: row `r` holds `distinct[codes[r]]`. Batches of one table may share
 * the list, which may grow but never changes what it holds; it is then encoded and quoted once for them all.
 */
export interface Coded {
  readonly kind: 'coded';
  readonly distinct: readonly Value[];
  readonly codes: Uint32Array;
}

/** A column that holds the same value in every row. */
export function constant(value: Value): Constant {
  return { kind: 'constant', value };
}

/** A column of repeated values: a constant where all rows have the same one. */
export function coded(distinct: readonly Value[], codes: Uint32Array): Coded | Constant {
  const [first = 0] = codes;
  if (codes.length > 0 && codes.every((code) => code === first)) {
    return constant(distinct[first] ?? null);
  }
  return { kind: 'coded', distinct, codes };
}

/**
 * The values of a column of a batch, in the form that costs its maker and its writers the least: a
 * constant, codes of repeated values, amounts as they were read, or any values one by one.
 */
export type ColumnValues = Constant | Coded | Decimals | readonly Value[];

/** Rows of a table, column by column in the declared order. A plain `Batch` is one too. */
export interface RowBatch {
  readonly length: number;
  readonly columns: readonly ColumnValues[];
}

/** Whether the values are given one by one. */
export function isList(values: ColumnValues): values is readonly Value[] {
  return Array.isArray(values);
}

/** The value of a row; the slow way, for writers that take rows one at a time. */
export function valueAt(values: ColumnValues | undefined, row: number): Value {
  if (values === undefined) return null;
  if (isList(values)) return values[row] ?? null;
  switch (values.kind) {
    case 'constant':
      return values.value;
    case 'coded':
      return values.distinct[values.codes[row] ?? -1] ?? null;
    case 'decimals':
      return values.units(row);
  }
}
