import type { Units } from '../shared/money.js';
import type { Sums } from '../shared/sums.js';
import { addMoney } from '../shared/sums.js';
import type { Column, Value } from './tables.js';

/** A column with the same value in every row of its batch. */
interface Constant<T = Value> {
  readonly kind: 'constant';
  readonly value: T;
}

/**
 * A column of values that rows repeat: row `r` holds `distinct[codes[r]]`, so that what is done to a value is
 * done once and not in every row. A value may stand in the list twice, or be no row's. Batches of one table may
 * share the list, which may grow but never changes what it holds.
 */
export interface Coded<T = Value> {
  readonly kind: 'coded';
  readonly distinct: readonly T[];
  readonly codes: Uint32Array;
}

export type CodedColumn<T = Value> = Constant<T> | Coded<T>;

/** A column of exact decimals in both forms that files need. */
export interface Decimals {
  readonly kind: 'decimals';
  /** A value's plain notation, as `formatAmount` writes it; null where there is none. */
  readonly texts: readonly (string | null)[];
  /** 16 bytes a row, in units of 10^-18, as Parquet holds a DECIMAL(38,18); zeros where there is no value. */
  readonly bytes: Uint8Array;
  /** The value of a row in units of 10^-18. */
  units(row: number): Units | null;
  /** The sum of the rows from `start` (included) to `end` (excluded). */
  sum(start: number, end: number): Units;
}

/**
 * The values of a column of a batch, in the form that costs its maker and its readers the least: a
 * constant, codes of repeated values, amounts as they were read, or any values one by one.
 */
export type ColumnValues = CodedColumn | Decimals | readonly Value[];

/** Rows of a table, column by column in the declared order. */
export interface RowBatch<C extends ColumnValues = ColumnValues> {
  readonly length: number;
  readonly columns: readonly C[];
}

/** A column that holds the same value in every row. */
export function constant<T>(value: T): Constant<T> {
  return { kind: 'constant', value };
}

/** A column of repeated values: a constant where all rows have the same one. */
export function coded<T>(distinct: readonly T[], codes: Uint32Array): CodedColumn<T> {
  const [first] = codes;
  return first !== undefined && codes.every((code) => code === first)
    ? constant(distinct[first] as T)
    : { kind: 'coded', distinct, codes };
}

/** Whether the values are given one by one. */
export function isList(values: ColumnValues): values is readonly Value[] {
  return Array.isArray(values);
}

/** A row's value of repeated ones. */
export function codedAt<T>({ distinct, codes }: Coded<T>, row: number): T {
  // A code is always a place in the list.
  return distinct[codes[row] ?? 0] as T;
}

/** The value of a row in any form; the slow way, for whoever takes rows one at a time. */
export function valueAt(values: ColumnValues | undefined, row: number): Value {
  if (values === undefined) return null;
  if (isList(values)) return values[row] ?? null;
  switch (values.kind) {
    case 'constant':
      return values.value;
    case 'coded':
      return codedAt(values, row);
    case 'decimals':
      return values.units(row);
  }
}

/** Rows `start` (included) to `end` (excluded); the columns share their values with those of the batch. */
export function sliceRows(
  { columns }: RowBatch<CodedColumn>,
  start: number,
  end: number,
): RowBatch<CodedColumn> {
  return {
    length: end - start,
    columns: columns.map((column) =>
      column.kind === 'constant' ? column : { ...column, codes: column.codes.subarray(start, end) },
    ),
  };
}

/**
 * Counts rows of a table, and adds up its columns of money.
 * @param valuesOf what a column's rows hold; asked for the columns that are summed, and their currencies, only.
 */
export function addRows(
  sums: Sums,
  table: readonly Column[],
  rows: number,
  valuesOf: (index: number) => ColumnValues | undefined,
): void {
  sums.rows += rows;
  const currencies = valuesOf(table.findIndex(({ name }) => name === 'Currency'));
  if (currencies === undefined) return;
  for (const [index, { name, money }] of table.entries())
    if (money === true) addColumn(sums, name, valuesOf(index), currencies, rows);
}

/** Adds a column's amounts to the sum of each one's currency; rows without an amount add nothing. */
export function addColumn(
  sums: Sums,
  name: string,
  amounts: ColumnValues | undefined,
  currencies: ColumnValues,
  rows: number,
): void {
  if (amounts === undefined) return;
  if (!isList(amounts) && amounts.kind === 'constant' && amounts.value === null) return;
  const isOne = !isList(currencies) && currencies.kind === 'constant';
  for (let start = 0, end; start < rows; start = end) {
    const currency = valueAt(currencies, start);
    end = isOne ? rows : start + 1;
    while (end < rows && valueAt(currencies, end) === currency) end++;
    const sum = sumOf(amounts, start, end);
    if (sum !== undefined) addMoney(sums, name, String(currency), sum);
  }
}

function sumOf(amounts: ColumnValues, start: number, end: number): Units | undefined {
  if (!isList(amounts) && amounts.kind === 'decimals') return amounts.sum(start, end);
  let sum: Units | undefined;
  for (let row = start; row < end; row++) {
    const units = valueAt(amounts, row);
    if (typeof units === 'bigint') sum = (sum ?? 0n) + units;
  }
  return sum;
}
