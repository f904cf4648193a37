import { ByteWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeRleBitPackedHybrid } from 'hyparquet-writer/src/encoding.js';
import type { Column } from '../pipeline/staging/tables.js';
import type { ColumnValues } from './batch.js';
import { isList, valueAt } from './batch.js';
import { WIDTH } from './decimals.js';
import { compareInt128, setInt128, toBigint } from './int128.js';
import type { ColumnGatherer, Compress } from './parquet-encoder.js';
import { chunkOf, encoderOf } from './parquet-encoder.js';

/**
 * Gathers decimals as the bytes that the file will hold. The library takes them as bigints only, whose
 * bytes it makes one by one.
 */
export function gatherDecimals(column: Column, capacity: number): ColumnGatherer {
  const bytes = new Uint8Array(capacity * WIDTH);
  const view = new DataView(bytes.buffer);
  /** 1 where a row has a value. */
  const defined = new Uint8Array(capacity);
  let rows = 0;

  return {
    append(values, start, end) {
      const length = end - start;
      if (isList(values) || values.kind !== 'decimals') {
        for (let row = start; row < end; row++) {
          const units = valueAt(values, row);
          setInt128(view, rows * WIDTH, typeof units === 'bigint' ? units : 0n);
          defined[rows++] = typeof units === 'bigint' ? 1 : 0;
        }
        return;
      }
      bytes.set(values.bytes.subarray(start * WIDTH, end * WIDTH), rows * WIDTH);
      for (let row = 0; row < length; row++) {
        defined[rows + row] = values.texts[start + row] === null ? 0 : 1;
      }
      rows += length;
    },
    gathered: () => gathered(bytes, defined, rows),
    flush(out, compress) {
      const encoder = encoderOf(column, compress);
      const start = out.offset;
      const statistics = statisticsOf(view, defined, rows);
      const uncompressed = writePage(out, compress, {
        rows,
        nulls: Number(statistics.null_count),
        levels: column.nullable === true ? defined.subarray(0, rows) : undefined,
        values: compact(bytes, defined, rows),
      });
      const chunk = chunkOf(encoder, {
        rows,
        start,
        end: out.offset,
        dataPage: start,
        uncompressed,
        encoding: 'PLAIN',
        statistics,
      });
      rows = 0;
      return { chunk };
    },
  };
}

function gathered(bytes: Uint8Array, defined: Uint8Array, rows: number): ColumnValues {
  const view = new DataView(bytes.buffer);
  return {
    kind: 'decimals',
    texts: [],
    bytes: bytes.subarray(0, rows * WIDTH),
    units: (row) => (defined[row] === 1 ? toBigint(view, row * WIDTH) : null),
  };
}

/** The bytes of the rows that have a value, one after the other. */
function compact(bytes: Uint8Array, defined: Uint8Array, rows: number): Uint8Array {
  const first = defined.subarray(0, rows).indexOf(0);
  if (first < 0) return bytes.subarray(0, rows * WIDTH);
  const packed = bytes.slice(0, rows * WIDTH);
  let at = first * WIDTH;
  for (let row = first; row < rows; row++) {
    if (defined[row] !== 1) continue;
    packed.copyWithin(at, row * WIDTH, (row + 1) * WIDTH);
    at += WIDTH;
  }
  return packed.subarray(0, at);
}

function statisticsOf(view: DataView, defined: Uint8Array, rows: number) {
  let nulls = 0;
  let least = -1;
  let most = -1;
  for (let row = 0; row < rows; row++) {
    if (defined[row] !== 1) {
      nulls++;
      continue;
    }
    const at = row * WIDTH;
    if (least < 0) least = most = at;
    else if (compareInt128(view, at, least) < 0) least = at;
    else if (compareInt128(view, at, most) > 0) most = at;
  }
  const null_count = BigInt(nulls);
  return least < 0
    ? { null_count }
    : { null_count, min_value: toBigint(view, least), max_value: toBigint(view, most) };
}

/**
 * A data page of version 2 (Parquet format, DataPageHeaderV2): definition levels, uncompressed, where the
 * column is nullable, then the values.
 * @returns its bytes before compression, the header included.
 */
function writePage(
  out: ByteWriter,
  compress: Compress,
  page: { rows: number; nulls: number; levels: Uint8Array | undefined; values: Uint8Array },
): number {
  const levels = new ByteWriter();
  if (page.levels !== undefined) writeRleBitPackedHybrid(levels, page.levels, 1);
  const packed = compress(page.values);
  const compressed = packed.length < page.values.length;
  const values = compressed ? packed : page.values;
  const start = out.offset;
  writePageHeader(out, {
    type: 'DATA_PAGE_V2',
    uncompressed_page_size: levels.offset + page.values.length,
    compressed_page_size: levels.offset + values.length,
    data_page_header_v2: {
      num_values: page.rows,
      num_nulls: page.nulls,
      num_rows: page.rows,
      encoding: 'PLAIN',
      definition_levels_byte_length: levels.offset,
      repetition_levels_byte_length: 0,
      is_compressed: compressed,
    },
  });
  const header = out.offset - start;
  out.appendBytes(levels.getBytes());
  out.appendBytes(values);
  return header + levels.offset + page.values.length;
}
