import type { StagedWriter } from '../pipeline/staging/bytes.js';
import type { Column } from '../pipeline/staging/tables.js';
import type { RowBatch } from './batch.js';
import type { Written } from './written.js';

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
