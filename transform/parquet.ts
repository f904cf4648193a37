import { compress, init } from '@bokuweb/zstd-wasm';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { noSums } from '../pipeline/shared/sums.js';
import { addRows } from '../pipeline/staging/batch.js';
import type { Compress } from './parquet-chunk.js';
import { schemaElement } from './parquet-chunk.js';
import { gatherColumn } from './parquet-columns.js';
import type { OpenExport } from './table-export.js';

/**
 * Rows of a row group: enough for dictionaries to pay, each of which holds every account again, and for
 * readers to skip by statistics. Half as many made the file 2 % larger.
 */
const ROW_GROUP = 100_000;

/**
 * The standard profile: exact DECIMAL(38,18), UTF-8 strings, DATE, TIMESTAMP in UTC milliseconds,
 * dictionaries, statistics, ZSTD. Memory is bounded by one row group.
 */
export const openParquet: OpenExport = (out, columns) => {
  const zstd = loadZstd();
  // Whoever writes waits for it; without a writer its failure is nobody's.
  zstd.catch(() => undefined);
  const bytes = new ByteWriter();
  const parquet = new ParquetWriter({
    writer: bytes,
    schema: [{ name: 'root', num_children: columns.length }, ...columns.map(schemaElement)],
    createdBy: 'aws-billing-pipeline',
  });
  const gatherers = columns.map((column) => gatherColumn(column, ROW_GROUP));
  const sums = noSums();
  let rows = 0;

  const handOver = async (): Promise<void> => {
    // A copy, because the writer goes on in the same memory.
    const chunk = bytes.getBytes().slice();
    bytes.index = 0;
    await out.write(chunk);
  };
  const writeRowGroup = async (packed: Compress): Promise<void> => {
    addRows(sums, columns, rows, (column) => gatherers[column]?.gathered());
    const start = bytes.offset;
    const written = gatherers.map((gatherer) => gatherer.flush(bytes, packed));
    const sizes = written.map(({ chunk }) => chunk.meta_data?.total_uncompressed_size ?? 0n);
    parquet.pendingIndexes.push(...written);
    parquet.row_groups.push({
      columns: written.map(({ chunk }) => chunk),
      total_byte_size: sizes.reduce((sum, size) => sum + size, 0n),
      num_rows: BigInt(rows),
      total_compressed_size: BigInt(bytes.offset - start),
    });
    parquet.num_rows += BigInt(rows);
    rows = 0;
    await handOver();
  };

  return {
    async write(batch) {
      const packed = await zstd;
      for (let start = 0; start < batch.length;) {
        const end = Math.min(batch.length, start + ROW_GROUP - rows);
        gatherers.forEach((gatherer, index) => {
          gatherer.append(batch.columns[index] ?? [], start, end);
        });
        rows += end - start;
        start = end;
        if (rows === ROW_GROUP) await writeRowGroup(packed);
      }
    },
    async finish() {
      if (rows > 0) await writeRowGroup(await zstd);
      await parquet.finish();
      await handOver();
      return sums;
    },
  };
};

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
async function loadZstd(): Promise<Compress> {
  await (ready ??= init());
  return (bytes) => compress(bytes, LEVEL);
}
