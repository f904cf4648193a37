import { DataError } from '../pipeline/errors.js';
import type { NamedTotals, Totals } from '../pipeline/money.js';
import {
  addTo,
  addToNamed,
  formatNamed,
  formatTotals,
  sameNamed,
  sameTotals,
} from '../pipeline/money.js';
import type { Column, Value } from '../pipeline/staging/tables.js';

/** What a writer put into its file, counted where each row becomes bytes. */
export interface Written {
  rows: number;
  /** Sums of the column Amount by currency; empty for a table without it. */
  totals: Totals;
  /** Sums of the other columns of money that hold any value. */
  columns: NamedTotals;
}

/** Nothing written. */
export function emptyWritten(): Written {
  return { rows: 0, totals: new Map(), columns: new Map() };
}

/** Counts rows, whose values are asked for by column and row. */
export interface Counter {
  readonly written: Written;
  add(valueAt: (column: number, row: number) => Value, rows: number): void;
}

/** A counter for rows of these columns. */
export function createCounter(columns: readonly Column[]): Counter {
  const written = emptyWritten();
  const currency = columns.findIndex(({ name }) => name === 'Currency');
  const money = [...columns.entries()].filter(([, column]) => column.money === true);
  return {
    written,
    add(valueAt, rows) {
      written.rows += rows;
      for (const [column, { name }] of money) {
        for (let row = 0; row < rows; row++) {
          const units = valueAt(column, row);
          if (typeof units !== 'bigint') continue;
          const unit = String(valueAt(currency, row));
          if (name === 'Amount') addTo(written.totals, unit, units);
          else addToNamed(written.columns, name, unit, units);
        }
      }
    },
  };
}

/**
 * Compares what went into a file with the rows that were made.
 * @throws {DataError} when a row, or a part of a sum, was lost or doubled on the way.
 */
export function checkWritten(where: string, written: Written, made: Written): void {
  const [found, expected] = [written, made].map(({ rows, totals, columns }) => ({
    rows,
    totals: formatTotals(totals),
    columns: formatNamed(columns),
  })) as [Figures, Figures];
  if (
    found.rows === expected.rows &&
    sameTotals(found.totals, expected.totals) &&
    sameNamed(found.columns, expected.columns)
  )
    return;
  const describe = ({ rows, totals, columns }: Figures): string =>
    `${rows} rows with sum ${JSON.stringify({ ...totals, ...columns })}`;
  throw new DataError(`${describe(found)} were written of ${describe(expected)}`, {
    where,
    next: 'run the same command again; if it stays so, report it',
  });
}

interface Figures {
  rows: number;
  totals: Record<string, string>;
  columns: Record<string, Record<string, string>>;
}
