import { compress, init } from '@bokuweb/zstd-wasm';
import type { ColumnChunk, Encoding, SchemaElement, Statistics } from 'hyparquet';
import type { ParquetWriter } from 'hyparquet-writer';
import { ByteWriter } from 'hyparquet-writer';
import type { writeColumn } from 'hyparquet-writer/src/column.js';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeRleBitPackedHybrid } from 'hyparquet-writer/src/encoding.js';
import type { Column } from '../pipeline/staging/tables.js';
import { DECIMAL } from '../pipeline/staging/tables.js';
import type { ColumnValues } from '../pipeline/staging/batch.js';
import { WIDTH } from './decimals.js';

type WriteColumn = Parameters<typeof writeColumn>[0];

/** A column, as the library's functions want to know it. */
export type ColumnEncoder = WriteColumn['column'];
/** Values with their definition levels. */
export type PageData = WriteColumn['pageData'];
/** A column chunk that was written, with the index of its pages. */
export type PageIndexes = ParquetWriter['pendingIndexes'][number];

/** Compresses a page. */
export type Compress = (bytes: Uint8Array) => Uint8Array;

/** One column's values of a row group, gathered batch by batch. */
export interface ColumnGatherer {
  /** Appends a part of a batch's column. */
  append(values: ColumnValues, start: number, end: number): void;
  /** What was gathered, for counting. */
  gathered(): ColumnValues;
  /** Writes the column chunk of what was gathered, and begins anew. */
  flush(out: ByteWriter, compress: Compress): PageIndexes;
}

/** Readers learn from it how each page is packed. */
export const CODEC = 'ZSTD';

/** Bytes of a page, before compression, that the library aims at: its own default. */
const PAGE = 1 << 20;

export function encoderOf(column: Column, compress: Compress): ColumnEncoder {
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

/** What the file's footer says of a column chunk that was written from `start` on. */
export function chunkOf(
  encoder: ColumnEncoder,
  {
    rows,
    start,
    end,
    dataPage,
    uncompressed,
    encoding,
    statistics,
  }: {
    rows: number;
    /** Offsets in the file: of the chunk, its end and its data page. */
    start: number;
    end: number;
    dataPage: number;
    /** Bytes of its pages before compression, headers included. */
    uncompressed: number;
    /** Of the one data page; a dictionary's codes mean that the dictionary stands before it. */
    encoding: Encoding;
    statistics: Statistics;
  },
): ColumnChunk {
  const { element } = encoder;
  const coded = encoding === 'RLE_DICTIONARY';
  if (element.type === undefined) throw new Error(`column ${element.name} has no type`);
  return {
    file_offset: BigInt(start),
    meta_data: {
      type: element.type,
      encodings: coded ? ['PLAIN', encoding] : [encoding],
      path_in_schema: [element.name],
      codec: encoder.codec,
      num_values: BigInt(rows),
      total_compressed_size: BigInt(end - start),
      total_uncompressed_size: BigInt(uncompressed),
      data_page_offset: BigInt(dataPage),
      ...(coded ? { dictionary_page_offset: BigInt(start) } : {}),
      statistics,
      encoding_stats: [
        ...(coded ? [{ page_type: 'DICTIONARY_PAGE', encoding: 'PLAIN', count: 1 } as const] : []),
        { page_type: 'DATA_PAGE_V2', encoding, count: 1 },
      ],
    },
  };
}

/** What a data page holds. */
export interface Page {
  rows: number;
  /** 1 where a row has a value; `undefined` for a column that is not nullable. */
  defined: Uint8Array | undefined;
  nulls: number;
  encoding: Encoding;
  /** The rows' values that are not null, encoded. */
  values: Uint8Array;
}

/**
 * Writes a data page of version 2 (Parquet format, DataPageHeaderV2): definition levels, uncompressed, where
 * the column is nullable, then the values, compressed where that makes them shorter.
 * @returns its bytes before compression, the header included.
 */
export function writePage(out: ByteWriter, compress: Compress, page: Page): number {
  const levels = page.defined === undefined ? nothing : levelsOf(page.defined, page.nulls);
  const packed = compress(page.values);
  const compressed = packed.length < page.values.length;
  const values = compressed ? packed : page.values;
  const start = out.offset;
  writePageHeader(out, {
    type: 'DATA_PAGE_V2',
    uncompressed_page_size: levels.length + page.values.length,
    compressed_page_size: levels.length + values.length,
    data_page_header_v2: {
      num_values: page.rows,
      num_nulls: page.nulls,
      num_rows: page.rows,
      encoding: page.encoding,
      definition_levels_byte_length: levels.length,
      repetition_levels_byte_length: 0,
      is_compressed: compressed,
    },
  });
  const header = out.offset - start;
  out.appendBytes(levels);
  out.appendBytes(values);
  return header + levels.length + page.values.length;
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

/** The root of a table's schema, then its columns. */
export function schemaOf(columns: readonly Column[]): SchemaElement[] {
  return [{ name: 'root', num_children: columns.length }, ...columns.map(schemaElement)];
}

/** Both the logical type and its older converted type are written: old readers know only the latter. */
export function schemaElement({ name, type, nullable = false }: Column): SchemaElement {
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

/**
 * Level 1: on amounts it packs a little closer than 3, the usual one, and faster, since their bytes hardly
 * repeat.
 */
const LEVEL = 1;

let ready: Promise<void> | undefined;

/**
 * Zstandard as WebAssembly: the same bytes on every machine and version of Node, whose own zlib has it only
 * from 22.15 on.
 */
export async function loadZstd(): Promise<(bytes: Uint8Array) => Uint8Array> {
  await (ready ??= init());
  return (bytes) => compress(bytes, LEVEL);
}
