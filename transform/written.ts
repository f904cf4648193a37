import { DataError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { formatTotals, sameTotals } from '../pipeline/money.js';
import type { Column } from '../pipeline/staging/tables.js';
import type { ColumnValues } from './batch.js';
import type { ConsumptionTally } from './consumption.js';
import { addSums } from './sums.js';

/** What a writer put into its file, counted where each row becomes bytes. */
export interface Written {
  rows: number;
  /** Sums of the column Amount by currency; empty for a table without it. */
  totals: Totals;
}

/** Counts the rows that were written. */
export interface Counter {
  readonly written: Written;
  /** @param valuesOf What a column's rows hold; asked for the columns that are summed only. */
  add(rows: number, valuesOf: (column: number) => ColumnValues): void;
}

/** A counter for rows of these columns. */
export function createCounter(columns: readonly Column[]): Counter {
  const written: Written = { rows: 0, totals: new Map() };
  const amount = columns.findIndex(({ name }) => name === 'Amount');
  const currency = columns.findIndex(({ name }) => name === 'Currency');
  return {
    written,
    add(rows, valuesOf) {
      written.rows += rows;
      if (amount < 0) return;
      addSums(written.totals, valuesOf(amount), valuesOf(currency), rows);
    },
  };
}

/**
 * Compares what went into a file with the rows that were made.
 * @throws {DataError} when a row, or a part of a sum, was lost or doubled on the way.
 */
export function checkWritten(
  where: string,
  { rows, totals }: Written,
  made: Pick<ConsumptionTally, 'rows' | 'totals'>,
): void {
  const sums = formatTotals(totals);
  const expected = formatTotals(made.totals);
  if (rows === made.rows && sameTotals(sums, expected)) return;
  throw new DataError(
    `${rows} rows with sum ${JSON.stringify(sums)} were written of ${made.rows} rows with sum ${JSON.stringify(expected)}`,
    { where, next: 'run the same command again; if it stays so, report it' },
  );
}
