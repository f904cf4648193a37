import { DataError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { addTo, formatTotals, sameTotals } from '../pipeline/money.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import type { ConsumptionTally } from './consumption.js';

/** What a writer put into its file, counted where each row becomes bytes. */
export interface Written {
  rows: number;
  /** Sums of the column Amount by currency; empty for a table without it. */
  totals: Totals;
}

/** Counts rows, whose values are asked for by column and row. */
export interface Counter {
  readonly written: Written;
  add(valueAt: (column: number, row: number) => Value, rows: number): void;
}

/** A counter for rows of these columns. */
export function createCounter(columns: readonly Column[]): Counter {
  const written: Written = { rows: 0, totals: new Map() };
  const amount = columns.findIndex(({ name }) => name === 'Amount');
  const currency = columns.findIndex(({ name }) => name === 'Currency');
  return {
    written,
    add(valueAt, rows) {
      written.rows += rows;
      if (amount < 0) return;
      for (let row = 0; row < rows; row++) {
        const units = valueAt(amount, row);
        if (typeof units === 'bigint') addTo(written.totals, String(valueAt(currency, row)), units);
      }
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
