import type { Batch, Value } from '../pipeline/staging/tables.js';

/**
 * A column of some rows: values, and which of them each row holds. Most columns hold few distinct values,
 * so that what is done to a value is done once and not in every row.
 */
export interface CodedColumn {
  /** A value may stand here more than once, or be no row's. */
  readonly values: readonly Value[];
  /** Each row's place in `values`; `undefined` when every row holds the first value. */
  readonly codes: Uint32Array | undefined;
}

/** Rows of a table, column by column in the declared order, at least one. */
export interface CodedRows {
  readonly length: number;
  readonly columns: readonly CodedColumn[];
}

/** A row's value. */
export function valueAt({ values, codes }: CodedColumn, row: number): Value {
  return values[codes === undefined ? 0 : (codes[row] ?? 0)] ?? null;
}

/** Rows `start` (included) to `end` (excluded); the columns share `values` with those of `rows`. */
export function sliceRows({ columns }: CodedRows, start: number, end: number): CodedRows {
  return {
    length: end - start,
    columns: columns.map(({ values, codes }) => ({ values, codes: codes?.subarray(start, end) })),
  };
}

/** The same rows, each with its values. */
export function decodeRows({ length, columns }: CodedRows): Batch {
  return {
    length,
    columns: columns.map((column) => {
      const { values, codes } = column;
      if (codes === undefined) return new Array<Value>(length).fill(values[0] ?? null);
      return Array.from(codes, (code) => values[code] ?? null);
    }),
  };
}
