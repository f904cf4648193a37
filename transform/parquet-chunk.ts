import type { ColumnChunk, Encoding, SchemaElement } from 'hyparquet';
import type { ParquetWriter } from 'hyparquet-writer';
import { ByteWriter } from 'hyparquet-writer';
import type { writeColumn } from 'hyparquet-writer/src/column.js';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeDictionaryPage } from 'hyparquet-writer/src/dictionary.js';
import { writeRleBitPackedHybrid } from 'hyparquet-writer/src/encoding.js';
import { WIDTH } from '../pipeline/staging/decimals.js';
import type { Column } from '../pipeline/staging/tables.js';
import { DECIMAL } from '../pipeline/staging/tables.js';

/** Compresses a page. */
export type Compress = (bytes: Uint8Array) => Uint8Array;

/** A column chunk that was written, with the index of its pages. */
export type WrittenChunk = ParquetWriter['pendingIndexes'][number];

/** What Parquet holds of a value: UTF-8, days or milliseconds since 1970-01-01, a flag, a decimal's units. */
export type Physical = Uint8Array | number | bigint | boolean;

type WriteColumn = Parameters<typeof writeColumn>[0];

/** What a column chunk holds: one data page, behind a dictionary where it has one. */
export interface Content {
  rows: number;
  /** 1 where a row has a value. */
  defined: Uint8Array;
  nulls: number;
  /** The smallest and the largest value, if there is any. */
  least: Physical | undefined;
  most: Physical | undefined;
  encoding: Encoding;
  /** The values whose places the rows' codes tell. */
  dictionary?: Physical[];
  /** The rows' values that are not null, encoded. */
  values: Uint8Array;
}

/** Writes a column chunk. The library itself does so from a JavaScript value of every cell, each looked at several times. */
export function writeChunk(
  out: ByteWriter,
  compress: Compress,
  column: Column,
  content: Content,
): WrittenChunk {
  const { rows, nulls, least, most, encoding, dictionary } = content;
  const start = out.offset;
  const beside =
    dictionary === undefined
      ? undefined
      : writeDictionaryPage(out, encoderOf(column, compress), dictionary);
  const dataPage = out.offset;
  const uncompressed = writePage(out, compress, content, column.nullable === true);
  const chunk: ColumnChunk = {
    file_offset: BigInt(start),
    meta_data: {
      type: schemaElement(column).type,
      encodings: beside === undefined ? [encoding] : ['PLAIN', encoding],
      path_in_schema: [column.name],
      codec: CODEC,
      num_values: BigInt(rows),
      total_compressed_size: BigInt(out.offset - start),
      total_uncompressed_size: BigInt(uncompressed + (beside ?? 0)),
      data_page_offset: BigInt(dataPage),
      ...(beside === undefined ? {} : { dictionary_page_offset: BigInt(start) }),
      statistics: {
        null_count: BigInt(nulls),
        ...(least === undefined ? {} : { min_value: least }),
        ...(most === undefined ? {} : { max_value: most }),
      },
      encoding_stats: [
        ...(beside === undefined
          ? []
          : [{ page_type: 'DICTIONARY_PAGE', encoding: 'PLAIN', count: 1 } as const]),
        { page_type: 'DATA_PAGE_V2', encoding, count: 1 },
      ],
    },
  };
  return { chunk };
}

/**
 * Writes a data page of version 2 (Parquet format, DataPageHeaderV2): definition levels, uncompressed, where
 * the column is nullable, then the values, compressed where that makes them shorter.
 * @returns its bytes before compression, the header included.
 */
function writePage(
  out: ByteWriter,
  compress: Compress,
  { rows, defined, nulls, encoding, values }: Content,
  isNullable: boolean,
): number {
  const levels = isNullable ? levelsOf(defined, nulls) : nothing;
  const packed = compress(values);
  const isShorter = packed.length < values.length;
  const start = out.offset;
  writePageHeader(out, {
    type: 'DATA_PAGE_V2',
    uncompressed_page_size: levels.length + values.length,
    compressed_page_size: levels.length + (isShorter ? packed : values).length,
    data_page_header_v2: {
      num_values: rows,
      num_nulls: nulls,
      num_rows: rows,
      encoding,
      definition_levels_byte_length: levels.length,
      repetition_levels_byte_length: 0,
      is_compressed: isShorter,
    },
  });
  const header = out.offset - start;
  out.appendBytes(levels);
  out.appendBytes(isShorter ? packed : values);
  return header + levels.length + values.length;
}

const nothing = new Uint8Array();

function levelsOf(defined: Uint8Array, nulls: number): Uint8Array {
  const levels = new ByteWriter();
  if (nulls === 0 || nulls === defined.length) {
    writeRun(levels, nulls === 0 ? 1 : 0, defined.length, 1);
  } else {
    writeRleBitPackedHybrid(levels, defined, 1);
  }
  return levels.getBytes();
}

/**
 * The codes of a dictionary, packed in as few bits as its size takes. The library's function looks at every
 * code, which a column of one value does not need.
 */
export function packCodes(codes: Uint32Array, size: number): Uint8Array {
  const width = Math.ceil(Math.log2(size));
  const packed = new ByteWriter();
  packed.appendUint8(width);
  if (size === 1 && codes.length > 0) writeRun(packed, 0, codes.length, width);
  else writeRleBitPackedHybrid(packed, codes, width);
  return packed.getBytes();
}

/** Flags, as BOOLEAN columns hold them in the encoding RLE: length, then bits. */
export function packFlags(codes: Uint32Array): Uint8Array {
  const bits = new ByteWriter();
  writeRleBitPackedHybrid(bits, codes, 1);
  const packed = new ByteWriter();
  packed.appendUint32(bits.offset);
  packed.appendBytes(bits.getBytes());
  return packed.getBytes();
}

/** One run of the hybrid encoding (Parquet format, RLE): its length, then the value in whole bytes. */
function writeRun(out: ByteWriter, value: number, length: number, width: number): void {
  out.appendVarInt(length << 1);
  for (let bits = 0; bits < width; bits += 8) out.appendUint8((value >> bits) & 0xff);
}

/** Readers learn from it how each page is packed. */
const CODEC = 'ZSTD';

/** Bytes of a page, before compression, that the library aims at: its own default. */
const PAGE = 1 << 20;

/** A column, as the library's functions want to know it. */
export function encoderOf(column: Column, compress: Compress): WriteColumn['column'] {
  const element = schemaElement(column);
  return {
    columnName: column.name,
    element,
    schemaPath: [{ name: 'root' }, element],
    codec: CODEC,
    compressors: { [CODEC]: compress },
    stats: true,
    pageSize: PAGE,
    columnIndex: false,
    offsetIndex: true,
  };
}

/** A column of the file's schema. Old readers know the converted type alone, hence both it and the logical one. */
export function schemaElement({
  name,
  type,
  nullable = false,
}: Column): SchemaElement & Required<Pick<SchemaElement, 'type'>> {
  const base = { name, repetition_type: nullable ? 'OPTIONAL' : 'REQUIRED' } as const;
  switch (type) {
    case 'string':
      return {
        ...base,
        type: 'BYTE_ARRAY',
        converted_type: 'UTF8',
        logical_type: { type: 'STRING' },
      };
    case 'decimal':
      return {
        ...base,
        ...DECIMAL,
        type: 'FIXED_LEN_BYTE_ARRAY',
        // 16 bytes hold 38 digits: 10^38 < 2^127.
        type_length: WIDTH,
        converted_type: 'DECIMAL',
        logical_type: { type: 'DECIMAL', ...DECIMAL },
      };
    case 'date':
      return { ...base, type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } };
    case 'timestamp':
      return {
        ...base,
        type: 'INT64',
        converted_type: 'TIMESTAMP_MILLIS',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
      };
    case 'boolean':
      return { ...base, type: 'BOOLEAN' };
  }
}
