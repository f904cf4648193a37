import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { parquetMetadataAsync, parquetRead } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DataError, PipelineError } from '../pipeline/errors.js';
import { readAll } from '../pipeline/staging/bytes.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { ExportedFile } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import type { Batch, Column, Value } from '../pipeline/staging/tables.js';
import { tables } from '../pipeline/staging/tables.js';
import { checkSchema, remake, withRawDecimals } from './parquet-schema.js';

const DAY = 86_400_000;
const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Texts as they are, byte order marks included; dates and timestamps in the form of a row's value. */
const parsers = {
  stringFromBytes: (bytes: Uint8Array | undefined) => bytes && text.decode(bytes),
  dateFromDays: (days: number | null | undefined) =>
    days == null ? days : new Date(days * DAY).toISOString().slice(0, 10),
  timestampFromMilliseconds: (value: bigint | null | undefined) =>
    value == null ? value : Number(value),
};

/**
 * Reads a staged Parquet file of the standard profile, a row group a batch, with exact decimals.
 * @throws {DataError} when it is not such a file, or lacks a byte of its declared length.
 */
export async function* readParquet(
  staging: Staging,
  file: ExportedFile,
  table: TableName,
): AsyncGenerator<Batch, void, undefined> {
  const where = `${staging.location}/${file.key}`;
  try {
    const buffer = rangeReader(staging, file, where);
    const metadata = withRawDecimals(await parquetMetadataAsync(buffer));
    const columns = tables[table];
    checkSchema(metadata, columns, where);
    let start = 0;
    for (const group of metadata.row_groups) {
      const end = start + Number(group.num_rows);
      yield await readRows(buffer, metadata, columns, { start, end }, where);
      start = end;
    }
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    throw new DataError('the Parquet file cannot be read', { where, next: remake, cause });
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

async function readRows(
  file: AsyncBuffer,
  metadata: FileMetaData,
  columns: readonly Column[],
  { start, end }: { start: number; end: number },
  where: string,
): Promise<Batch> {
  const length = end - start;
  const parts = new Map(columns.map(({ name }) => [name, new Array<unknown>(length)]));
  const filled = new Map(columns.map(({ name }) => [name, 0]));
  await parquetRead({
    file,
    metadata,
    compressors,
    parsers,
    rowStart: start,
    rowEnd: end,
    onChunk: ({ columnName, columnData, rowStart }) => {
      const values = parts.get(columnName);
      for (let index = 0; values !== undefined && index < columnData.length; index++) {
        values[rowStart - start + index] = columnData[index];
      }
      filled.set(columnName, (filled.get(columnName) ?? 0) + columnData.length);
    },
  });
  return {
    length,
    columns: columns.map((column) => {
      const values = parts.get(column.name);
      if (values === undefined || filled.get(column.name) !== length) {
        throw new DataError(`the Parquet file's column ${column.name} has a wrong length`, {
          where,
          next: remake,
        });
      }
      return values.map((value) => parseValue(value, column, where));
    }),
  };
}

const javascriptType = {
  string: 'string',
  date: 'string',
  timestamp: 'number',
  boolean: 'boolean',
} as const;

function parseValue(value: unknown, column: Column, where: string): Value {
  if (value === null || value === undefined) {
    if (column.nullable === true) return null;
  } else if (column.type === 'decimal') {
    if (value instanceof Uint8Array && value.length === 16) return unitsOf(value);
  } else if (typeof value === javascriptType[column.type]) {
    if (column.length !== undefined) checkLength(value as string, column, column.length, where);
    return value as Value;
  }
  throw new DataError(`the Parquet file holds a wrong value in column ${column.name}`, {
    where,
    next: remake,
  });
}

function checkLength(value: string, column: Column, length: number, where: string): void {
  // Characters are counted only when the UTF-16 units, never fewer, are too many.
  if (value.length <= length || Array.from(value).length <= length) return;
  throw new DataError(
    `the Parquet file holds a text of more than ${length} characters in column ${column.name}`,
    { where, next: remake },
  );
}

const scratch = new Uint8Array(16);
const halves = new DataView(scratch.buffer);

/** The number that 16 bytes hold, big-endian two's complement (Parquet format, DECIMAL). */
function unitsOf(bytes: Uint8Array): bigint {
  scratch.set(bytes);
  const high = halves.getBigInt64(0);
  const low = halves.getBigUint64(8);
  return high === 0n ? low : (high << 64n) | low;
}
