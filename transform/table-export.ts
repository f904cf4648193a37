import { DataError } from '../pipeline/shared/errors.js';
import type { Sums } from '../pipeline/shared/sums.js';
import { describeSums, formatSums, sameSums } from '../pipeline/shared/sums.js';
import type { RowBatch } from '../pipeline/staging/batch.js';
import type { StagedWriter } from '../pipeline/staging/staging.js';
import type { Column } from '../pipeline/staging/tables.js';

/** One table on its way into one file. */
export interface TableExport {
  /** Appends rows, in the order they come. */
  write(batch: RowBatch): Promise<void>;
  /**
   * Hands over what is buffered, and the file's end; closing the file is its opener's business.
   * @returns what went into the file, counted where each row becomes bytes.
   */
  finish(): Promise<Sums>;
}

/** Begins a file of an export format: same columns and rows, same bytes. */
export type OpenExport = (
  out: Pick<StagedWriter, 'write'>,
  columns: readonly Column[],
) => TableExport;

/**
 * Compares what went into a file with the rows that were made.
 * @throws {DataError} when a row, or a part of a sum, was lost or doubled on the way.
 */
export function checkWritten(where: string, written: Sums, made: Sums): void {
  const [found, expected] = [formatSums(written), formatSums(made)];
  if (sameSums(found, expected)) return;
  throw new DataError(`${describeSums(found)} were written of ${describeSums(expected)}`, {
    where,
    next: 'run the same command again; if it stays so, report it',
  });
}
