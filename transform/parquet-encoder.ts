import type { ColumnChunk, Encoding, Statistics } from 'hyparquet';
import type { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { writeColumn } from 'hyparquet-writer/src/column.js';
import type { Column } from '../pipeline/staging/tables.js';
import type { ColumnValues } from './batch.js';
import { schemaElement } from './parquet-schema.js';

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
