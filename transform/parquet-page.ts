import type { Encoding } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeRleBitPackedHybrid } from 'hyparquet-writer/src/encoding.js';
import type { Compress } from './parquet-encoder.js';

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
