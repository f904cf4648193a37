import type { AsyncBuffer, FileMetaData, SchemaElement } from 'hyparquet';
import { decompress as decompressZstd } from 'fzstd';
import { parquetMetadata, parquetRead } from 'hyparquet';
import type { NextRun } from '../pipeline/shared/commands.js';
import { DataError, PipelineError } from '../pipeline/shared/errors.js';
import type { CodedColumn, RowBatch } from '../pipeline/staging/batch.js';
import { coded, constant } from '../pipeline/staging/batch.js';
import { WIDTH, toBigint } from '../pipeline/staging/decimals.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { DECIMAL } from '../pipeline/staging/tables.js';

/** Where a file lies, and what to do about it where it is not as it should be. */
export interface Origin {
  where: string;
  next: string;
  /** The command in `next`. */
  command?: NextRun;
}

/**
 * Reads a Parquet file of the standard profile, a row group a batch, with exact decimals; a row group of no rows
 * is left out.
 * @param rows what its manifest says; a file of a few kilobytes may hold any number.
 * @param wanted names of the columns to read; the others come as null in every row. Default: all.
 * @throws {DataError} when it is not such a file, or holds another number of rows, before any of them is handed
 * out.
 */
export async function* readParquet(
  file: ArrayBuffer,
  columns: readonly Column[],
  rows: number,
  origin: Origin,
  wanted?: readonly string[],
): AsyncGenerator<RowBatch<CodedColumn>, void, undefined> {
  try {
    const metadata = withRawDecimals(parquetMetadata(file));
    checkSchema(metadata, columns, origin);
    checkRows(metadata, rows, origin);
    for (const group of metadata.row_groups) {
      const length = Number(group.num_rows);
      if (length === 0) continue;
      const alone: FileMetaData = { ...metadata, row_groups: [group] };
      const found: CodedColumn[] = [];
      for (const column of columns)
        found.push(
          wanted?.includes(column.name) === false
            ? constant(null)
            : await readColumn(file, alone, column, length, origin),
        );
      yield { length, columns: found };
    }
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    throw new DataError('the Parquet file cannot be read', { ...origin, cause });
  }
}

/**
 * hyparquet turns a declared DECIMAL into a float. Declared as texts, the decimals' bytes come out as they
 * are, to the parser of texts.
 */
function withRawDecimals(metadata: FileMetaData): FileMetaData {
  const raw = ({ logical_type, ...element }: SchemaElement): SchemaElement =>
    element.type === 'FIXED_LEN_BYTE_ARRAY' &&
    (element.converted_type === 'DECIMAL' || logical_type?.type === 'DECIMAL')
      ? { ...element, converted_type: 'UTF8' }
      : { ...element, ...(logical_type === undefined ? {} : { logical_type }) };
  return { ...metadata, schema: metadata.schema.map(raw) };
}

function isDeclared(element: SchemaElement, column: Column): boolean {
  const { type, converted_type: converted, logical_type: logical } = element;
  switch (column.type) {
    case 'string':
      return type === 'BYTE_ARRAY' && (converted === 'UTF8' || logical?.type === 'STRING');
    case 'decimal':
      return (
        type === 'FIXED_LEN_BYTE_ARRAY' &&
        element.type_length === WIDTH &&
        element.scale === DECIMAL.scale
      );
    case 'date':
      return type === 'INT32' && converted === 'DATE';
    case 'timestamp':
      return (
        type === 'INT64' &&
        (converted === 'TIMESTAMP_MILLIS' ||
          (logical?.type === 'TIMESTAMP' && logical.unit === 'MILLIS'))
      );
    case 'boolean':
      return type === 'BOOLEAN';
  }
}

/** @throws {DataError} when the file's columns are not the declared ones. */
function checkSchema(metadata: FileMetaData, columns: readonly Column[], origin: Origin): void {
  const elements = metadata.schema.slice(1);
  const wrong = columns.find((column, index) => {
    const element = elements[index];
    return element?.name !== column.name || !isDeclared(element, column);
  });
  if (wrong === undefined && elements.length === columns.length) return;
  const fault = wrong === undefined ? 'it has more columns' : `its column ${wrong.name} differs`;
  throw new DataError(
    `the Parquet file is not of this version's standard profile: ${fault}`,
    origin,
  );
}

/** @throws {DataError} when the footer counts other rows than the manifest, in the file, a row group or a column. */
function checkRows(metadata: FileMetaData, rows: number, origin: Origin): void {
  const counts = metadata.row_groups.map(({ num_rows }) => num_rows);
  const held = counts.reduce((sum, count) => sum + count, 0n);
  const fault = (what: string): DataError => new DataError(`the Parquet file ${what}`, origin);
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

const DAY = 86_400_000;
const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads a column of a file's only row group. hyparquet gives a dictionary's values to its parsers once
 * each, and then puts what they return into the rows: here the value's place in a list.
 * @param metadata with the schema of `withRawDecimals`.
 * @param rows of the row group, at least one.
 * @throws {DataError} on a value that the column cannot hold, or on too few or too many values.
 */
async function readColumn(
  file: AsyncBuffer,
  metadata: FileMetaData,
  column: Column,
  rows: number,
  origin: Origin,
): Promise<CodedColumn> {
  const { name, type, length } = column;
  const values: Value[] = type === 'boolean' ? [false, true] : [];
  const keep = (value: Value): number => values.push(value) - 1;
  const fault = (what: string): DataError =>
    new DataError(`the Parquet file ${what} column ${name}`, origin);
  const readText = (bytes: Uint8Array): string => {
    const value = text.decode(bytes);
    // Characters are counted only when the UTF-16 units, never fewer, are too many.
    if (length !== undefined && value.length > length && Array.from(value).length > length) {
      throw fault(`holds a text of more than ${length} characters in`);
    }
    return value;
  };
  const parse =
    type === 'decimal'
      ? ({ buffer, byteOffset }: Uint8Array) => toBigint(new DataView(buffer, byteOffset, WIDTH), 0)
      : readText;
  const codes = new Uint32Array(rows);
  let filled = 0;
  let nothing: number | undefined;
  const codeOf = (found: unknown): number => {
    if (typeof found === 'number') return found;
    if (typeof found === 'boolean') return found ? 1 : 0;
    if (column.nullable !== true || (found !== null && found !== undefined)) {
      throw fault('holds a wrong value in');
    }
    return (nothing ??= keep(null));
  };
  const chunks: (readonly unknown[])[] = [];
  await parquetRead({
    file,
    metadata,
    columns: [name],
    compressors: { ZSTD: (input) => decompressZstd(input) },
    parsers: {
      stringFromBytes: (bytes: Uint8Array | undefined) => bytes && keep(parse(bytes)),
      dateFromDays: (days: number | null | undefined) =>
        days == null ? days : keep(new Date(days * DAY).toISOString().slice(0, 10)),
      timestampFromMilliseconds: (value: bigint | null | undefined) =>
        value == null ? value : keep(Number(value)),
    },
    onChunk: ({ columnData }) => chunks.push(columnData as unknown as readonly unknown[]),
  });
  for (const chunk of chunks) {
    if (filled + chunk.length > rows) throw fault('holds too many values in');
    for (const found of chunk) codes[filled++] = codeOf(found);
  }
  if (filled !== rows) throw fault('holds too few values in');
  return coded(values, codes);
}
