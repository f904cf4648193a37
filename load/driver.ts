import type { Knex } from 'knex';
import type { Log } from '../pipeline/shared/log.js';
import type { NamedTotals, Totals } from '../pipeline/shared/money.js';
import { formatAmount } from '../pipeline/shared/money.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import type { Batch, Column, Value } from '../pipeline/staging/tables.js';

/** The two kinds of SQL that the stage speaks. */
export type Dialect = 'mysql' | 'sqlite';

/** Rows of a table and their exact sums per currency. */
export interface Sums {
  rows: number;
  /** The column Amount. */
  totals: Totals;
  /** The other columns of money that hold any value. */
  columns: NamedTotals;
}

/** What loading needs of a database that differs from server to server. */
export interface LoadTransaction {
  readonly dialect: Dialect;
  /** Runs queries inside the transaction. */
  readonly trx: Knex.Transaction;
  /** Adds rows to a table; the first piece's first row becomes line 1 of the slice. */
  append(table: TableName, pieces: AsyncIterable<CodedRows>): Promise<void>;
  /** Counts the slice's rows as the database holds them, and adds up Amount and the named columns, exactly. */
  sums(table: TableName, slice: Slice, columns: readonly string[]): Promise<Sums>;
}

/** An open database with its tables in place. */
export interface Database {
  /** The database as people write it, without its password. */
  readonly location: string;
  readonly dialect: Dialect;
  /** For reading; failures of its queries are the driver's own, see `databaseError`. */
  readonly knex: Knex;
  /**
   * Runs `work` in one transaction while no other process does so for the same slice: commits when
   * it resolves, rolls back when it rejects. Waits for its turn, or throws once the signal is given.
   */
  transact<T>(
    slice: Slice,
    context: { signal: AbortSignal; log: Log },
    work: (transaction: LoadTransaction) => Promise<T>,
  ): Promise<T>;
  close(): Promise<void>;
}

/** Longest wait for another process that loads or migrates, in milliseconds. */
export const LONGEST_WAIT = 30 * 60_000;

/** A UTC instant as the database keeps it: DATETIME(3) text, or ISO 8601 text in SQLite. */
export function instantText(dialect: Dialect, milliseconds: number): string {
  const iso = new Date(milliseconds).toISOString();
  return dialect === 'mysql' ? iso.replace('T', ' ').slice(0, -1) : iso;
}

/** The instant that {@link instantText} wrote, in either dialect. */
export function instantOf(text: string): Date {
  return new Date(text.endsWith('Z') ? text : `${text.replace(' ', 'T')}Z`);
}

/** How a column's values are written, null apart: plain text that the database reads exactly. */
export function textOf(column: Column, dialect: Dialect): (value: Value) => string {
  switch (column.type) {
    case 'string':
    case 'date':
      return (value) => value as string;
    case 'decimal':
      return (value) => formatAmount(value as bigint);
    case 'timestamp':
      return (value) => instantText(dialect, value as number);
    case 'boolean':
      return (value) => (value === true ? '1' : '0');
  }
}

/**
 * A column's values, each put into writing once while it repeats: most columns hold the same value
 * in row after row.
 */
export function writeColumn(
  values: readonly Value[],
  nothing: string,
  write: (value: Value) => string,
): string[] {
  const texts = new Array<string>(values.length);
  let last: Value = null;
  let text = nothing;
  for (let row = 0; row < values.length; row++) {
    const value = values[row] ?? null;
    if (value !== last) {
      last = value;
      text = value === null ? nothing : write(value);
    }
    texts[row] = text;
  }
  return texts;
}

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
