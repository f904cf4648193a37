import type { AsyncBuffer, FileMetaData, RowGroup } from 'hyparquet';
import { parquetMetadataAsync } from 'hyparquet';
import { DataError, PipelineError } from '../pipeline/errors.js';
import { readAll } from '../pipeline/staging/bytes.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { ExportedFile } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import type { Batch } from '../pipeline/staging/tables.js';
import { tables } from '../pipeline/staging/tables.js';
import type { CodedColumn, CodedRows } from './coded.js';
import { decodeRows } from './coded.js';
import { checkSchema, remake, withRawDecimals } from './parquet-schema.js';
import { readColumn } from './read-column.js';

/**
 * Reads a staged Parquet file of the standard profile, a row group a batch, with exact decimals.
 * @param rows what its manifest says; a file of a few kilobytes may hold any number.
 * @throws {DataError} when it is not such a file, lacks a byte of its declared length, or holds another
 * number of rows, before any of them is handed out.
 */
export async function* readParquet(
  staging: Staging,
  file: ExportedFile,
  table: TableName,
  rows: number,
): AsyncGenerator<Batch, void, undefined> {
  for await (const coded of readCoded(staging, file, table, rows)) yield decodeRows(coded);
}

/** The same as columns of values and codes; a row group of no rows is left out. */
export async function* readCoded(
  staging: Staging,
  file: ExportedFile,
  table: TableName,
  rows: number,
): AsyncGenerator<CodedRows, void, undefined> {
  const where = `${staging.location}/${file.key}`;
  try {
    const buffer = rangeReader(staging, file, where);
    const metadata = withRawDecimals(await parquetMetadataAsync(buffer));
    const columns = tables[table];
    checkSchema(metadata, columns, where);
    checkRows(metadata, rows, where);
    for (const group of metadata.row_groups) {
      const length = Number(group.num_rows);
      if (length === 0) continue;
      const held = await holdGroup(buffer, group);
      const alone: FileMetaData = { ...metadata, row_groups: [group] };
      const found: CodedColumn[] = [];
      for (const column of columns) {
        found.push(await readColumn(held, alone, column, length, where));
      }
      yield { length, columns: found };
    }
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    throw new DataError('the Parquet file cannot be read', { where, next: remake, cause });
  }
}

/** @throws {DataError} when the footer counts other rows than the manifest, in the file, a row group or a column. */
function checkRows(metadata: FileMetaData, rows: number, where: string): void {
  const counts = metadata.row_groups.map(({ num_rows }) => num_rows);
  const held = counts.reduce((sum, count) => sum + count, 0n);
  const fault = (what: string): DataError =>
    new DataError(`the Parquet file ${what}`, { where, next: remake });
  if (held !== BigInt(rows)) throw fault(`holds ${held} rows, its manifest says ${rows}`);
  if (metadata.num_rows !== held || counts.some((count) => count < 0n))
    throw fault(`counts ${metadata.num_rows} rows, its row groups hold ${counts.join(', ')}`);
  for (const { columns, num_rows: count } of metadata.row_groups) {
    for (const { meta_data: column } of columns) {
      if (column === undefined || column.num_values === count) continue;
      const name = column.path_in_schema.join('.');
      throw fault(`holds ${column.num_values} values of column ${name} for ${count} rows`);
    }
  }
}

function rangeReader(staging: Staging, file: ExportedFile, where: string): AsyncBuffer {
  return {
    byteLength: file.bytes,
    async slice(start, end = file.bytes) {
      const content = await staging.read(file.key, { start, end });
      const bytes = content === undefined ? undefined : await readAll(content);
      if (bytes?.length !== end - start) {
        throw new DataError('the Parquet file ends too early', { where, next: remake });
      }
      return new Uint8Array(bytes).buffer;
    },
  };
}

/** Reads a row group's bytes at once, whose columns are then read one by one. */
async function holdGroup(file: AsyncBuffer, group: RowGroup): Promise<AsyncBuffer> {
  let [first, last] = [Infinity, 0];
  for (const { meta_data: column } of group.columns) {
    if (column === undefined) continue;
    // hyparquet takes a dictionary's place of 0, as some writers give it, for none.
    const start = Number(column.dictionary_page_offset || column.data_page_offset);
    first = Math.min(first, start);
    last = Math.max(last, start + Number(column.total_compressed_size));
  }
  const bytes = await file.slice(first, last);
  return {
    byteLength: file.byteLength,
    slice: (start, end = file.byteLength) =>
      start < first || end > last
        ? file.slice(start, end)
        : bytes.slice(start - first, end - first),
  };
}
