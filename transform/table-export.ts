import { DataError } from '../pipeline/shared/errors.js';
import type { NamedTotals, Totals } from '../pipeline/shared/money.js';
import { formatNamed, formatTotals, sameNamed, sameTotals } from '../pipeline/shared/money.js';
import type { StagedWriter } from '../pipeline/staging/staging.js';
import type { Column } from '../pipeline/staging/tables.js';
import type { ColumnValues, RowBatch } from './columns.js';
import { addColumnSums } from './columns.js';

/** One table on its way into one file. */
export interface TableExport {
  /** Appends rows, in the order they come. */
  write(batch: RowBatch): Promise<void>;
  /**
   * Hands over what is buffered, and the file's end; closing the file is its opener's business.
   * @returns what went into the file.
   */
  finish(): Promise<Written>;
}

/** Begins a file of an export format: same columns and rows, same bytes. */
export type OpenExport = (
  out: Pick<StagedWriter, 'write'>,
  columns: readonly Column[],
) => TableExport;

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

/** Counts the rows that were written. */
export interface Counter {
  readonly written: Written;
  /** @param valuesOf What a column's rows hold; asked for the columns that are summed only. */
  add(rows: number, valuesOf: (column: number) => ColumnValues): void;
}

/** A counter for rows of these columns. */
export function createCounter(columns: readonly Column[]): Counter {
  const written = emptyWritten();
  const currency = columns.findIndex(({ name }) => name === 'Currency');
  const money = [...columns.entries()].filter(([, column]) => column.money === true);
  return {
    written,
    add(rows, valuesOf) {
      written.rows += rows;
      if (money.length === 0) return;
      const currencies = valuesOf(currency);
      for (const [column, { name }] of money)
        addColumnSums(written, name, valuesOf(column), currencies, rows);
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
