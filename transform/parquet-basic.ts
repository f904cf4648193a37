import parquetjs from 'parquetjs-lite';
import { formatAmount } from '../pipeline/shared/money.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { noSums } from '../pipeline/shared/sums.js';
import { addRows, valueAt } from '../pipeline/staging/batch.js';
import type { OpenExport } from './table-export.js';

/** Rows of a row group: the writer keeps each of them as objects until the group is full. */
const ROW_GROUP = 20_000;

/**
 * The basic profile: plain types and version 1 pages that every old reader knows. Money is DOUBLE, as in
 * AWS's own cost exports, hence not exact: the one place where an amount becomes a float.
 * Memory is bounded by one row group.
 */
export const openParquetBasic: OpenExport = (out, columns) => {
  let chunks: Buffer[] = [];
  const sink = {
    write(bytes: Buffer, done: () => void) {
      chunks.push(bytes);
      done();
    },
    end(done: () => void) {
      done();
    },
  };
  const handOver = async (): Promise<void> => {
    const ready = chunks;
    chunks = [];
    for (const chunk of ready) await out.write(chunk);
  };
  const schema = new parquetjs.ParquetSchema(
    Object.fromEntries(columns.map((column) => [column.name, field(column)])),
  );
  const opened = parquetjs.ParquetWriter.openStream(schema, sink, {
    rowGroupSize: ROW_GROUP,
    useDataPageV2: false,
    // Its column index lacks members that the format requires.
    pageIndex: false,
  });
  const converters = columns.map(converter);
  const sums = noSums();

  return {
    async write(batch) {
      const writer = await opened;
      for (let row = 0; row < batch.length; row++) {
        const record: Record<string, unknown> = {};
        for (const [index, { name }] of columns.entries()) {
          record[name] = converters[index]?.(valueAt(batch.columns[index], row));
        }
        await writer.appendRow(record);
        if (chunks.length > 0) await handOver();
      }
      addRows(sums, columns, batch.length, (column) => batch.columns[column]);
    },
    async finish() {
      await (await opened).close();
      await handOver();
      return sums;
    },
  };
};

const fieldTypes = {
  string: 'UTF8',
  decimal: 'DOUBLE',
  date: 'DATE',
  timestamp: 'TIMESTAMP_MILLIS',
  boolean: 'BOOLEAN',
} as const;

/** Texts that are ASCII by what they are: an account's id, and an organization's name. */
const ascii: readonly string[] = ['Reference', 'Organization'];

function field({ name, type, nullable = false }: Column) {
  return {
    type: fieldTypes[type],
    optional: nullable,
    compression: 'SNAPPY' as const,
    // By which readers skip row groups. It compares texts by UTF-16 units, readers by bytes: of ASCII both
    // say the same. Those of instants before 1970 it refuses. After a page of nulls it gives no bounds.
    statistics: type === 'string' ? ascii.includes(name) : type !== 'timestamp',
  };
}

function converter({ type }: Column): (value: Value) => unknown {
  switch (type) {
    case 'decimal':
      return (value) => (typeof value === 'bigint' ? Number(formatAmount(value)) : undefined);
    case 'date':
      return (value) => (typeof value === 'string' ? new Date(value) : undefined);
    case 'timestamp':
      return (value) => (typeof value === 'number' ? new Date(value) : undefined);
    case 'string':
    case 'boolean':
      return (value) => value ?? undefined;
  }
}
