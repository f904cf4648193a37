import { DataError } from '../pipeline/errors.js';
import { accountIdFault, textFault } from '../pipeline/staging/answers.js';
import type { Column } from '../pipeline/staging/tables.js';
import type { ColumnValues, RowBatch } from './batch.js';
import { constant } from './batch.js';

export { columnOf } from '../pipeline/staging/answers.js';

/** What every row of a slice carries. */
export interface Stamp {
  tag: string;
  /** `YYYY-MM-DD`. */
  billingPeriod: string;
  organization: string;
}

/** Where a row of the staged files stands. */
export interface Place {
  /** The file, as people find it. */
  where: string;
  /** Its number in the file, from 1. */
  row: number;
}

/** What is wrong with one row of a staged file. */
export function rowFault({ where, row }: Place, message: string): DataError {
  return new DataError(`row ${row} ${message}`, {
    where,
    next: 'fetch the month again with "pipeline run --stage extract --force"; if it stays so, report it',
  });
}

/**
 * Refuses a text that the column cannot hold, see {@link textFault}.
 * @throws {DataError} naming the column and the row.
 */
export function checkLength(column: Column, text: string, row: Place): string {
  const fault = textFault(column, text);
  if (fault !== undefined) throw rowFault(row, fault);
  return text;
}

/** Rows of a table from its columns by name; the stamp's columns are added. */
export function batchOf(
  table: readonly Column[],
  length: number,
  stamp: Stamp,
  values: Readonly<Record<string, ColumnValues>>,
): RowBatch {
  const all: typeof values = {
    Tag: constant(stamp.tag),
    BillingPeriod: constant(stamp.billingPeriod),
    Organization: constant(stamp.organization),
    ...values,
  };
  return {
    length,
    columns: table.map(({ name }) => {
      const column = all[name];
      if (column === undefined) throw new Error(`no value is known for the column ${name}`);
      return column;
    }),
  };
}

/**
 * Refuses what is no account id as AWS gives it: 12 digits, leading zeros kept.
 * @throws {DataError} naming the row.
 */
export function checkAccountId(id: string, row: Place): void {
  const fault = accountIdFault(id);
  if (fault !== undefined) throw rowFault(row, fault);
}
