import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { parquetRead } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DataError } from '../pipeline/errors.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import type { CodedColumn } from './coded.js';
import { remake } from './parquet-schema.js';

const DAY = 86_400_000;
const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads a column of a file's only row group. hyparquet gives a dictionary's values to its parsers once
 * each, and then puts what they return into the rows: here the value's place in a list.
 * @param metadata with the schema of `withRawDecimals`.
 * @param rows of the row group, at least one.
 * @throws {DataError} on a value that the column cannot hold, or on too few or too many values.
 */
export async function readColumn(
  file: AsyncBuffer,
  metadata: FileMetaData,
  column: Column,
  rows: number,
  where: string,
): Promise<CodedColumn> {
  const { name, type, length } = column;
  const values: Value[] = type === 'boolean' ? [false, true] : [];
  const keep = (value: Value): number => values.push(value) - 1;
  const fault = (what: string): DataError =>
    new DataError(`the Parquet file ${what} column ${name}`, { where, next: remake });
  const readText = (bytes: Uint8Array): string => {
    const value = text.decode(bytes);
    // Characters are counted only when the UTF-16 units, never fewer, are too many.
    if (length !== undefined && value.length > length && Array.from(value).length > length) {
      throw fault(`holds a text of more than ${length} characters in`);
    }
    return value;
  };
  const parse = type === 'decimal' ? unitsOf : readText;
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
    compressors,
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
  return packed(values, codes);
}

/** Without codes where every row holds the same. */
function packed(values: readonly Value[], codes: Uint32Array): CodedColumn {
  const first = codes[0] ?? 0;
  return codes.every((code) => code === first)
    ? { values: [values[first] ?? null], codes: undefined }
    : { values, codes };
}

const scratch = new Uint8Array(16);
const halves = new DataView(scratch.buffer);

/** The number that 16 bytes hold, big-endian two's complement (Parquet format, DECIMAL). */
function unitsOf(bytes: Uint8Array): bigint {
  for (let index = 0; index < 16; index++) scratch[index] = bytes[index] ?? 0;
  const high = halves.getBigInt64(0);
  const low = halves.getBigUint64(8);
  return high === 0n ? low : (high << 64n) | low;
}
