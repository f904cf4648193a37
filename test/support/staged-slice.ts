import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { Totals } from '../../pipeline/shared/sums.js';
import { addTo, formatTotals } from '../../pipeline/shared/sums.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import type { Slice, TableName } from '../../pipeline/staging/layout.js';
import { exportKey, transformManifestKey } from '../../pipeline/staging/layout.js';
import type { ExportedFile, TransformManifest } from '../../pipeline/staging/manifest.js';
import { serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { sha256Of } from '../../pipeline/staging/staging.js';
import type { Column, Value } from '../../pipeline/staging/tables.js';
import { DECIMAL, tableColumns, tables } from '../../pipeline/staging/tables.js';

/** A row by column name; what is left out gets an ordinary value. */
export type Row = Record<string, Value>;

export interface SliceContent {
  customers: Row[];
  consumption: Row[];
}

export const october: Slice = { month: parseMonth('2026-10'), organization: 'oab' };

const ordinary: Row = {
  Reference: '012345678901',
  TenantName: 'Contoso',
  Contact: '',
  Email: 'aws@contoso.example',
  Tag: 'aws',
  Status: 'active',
  Created: Date.UTC(2020, 1, 29, 23, 59, 59, 999),
  Id: '',
  Region: 'N/A',
  Service: 'Amazon Elastic Compute Cloud - Compute',
  Category: 'N/A',
  SubCategory: 'N/A',
  Quantity: null,
  Unit: 'N/A',
  UnitPrice: null,
  Amount: 0n,
  DiscountedAmount: null,
  Currency: 'USD',
  Estimated: false,
};

/** The row with every column, in the slice. */
export function completeRow(table: TableName, slice: Slice, row: Row): Value[] {
  const full: Row = {
    ...ordinary,
    BillingPeriod: `${slice.month}-28`,
    Organization: slice.organization,
    ...row,
  };
  return tables[table].map(({ name }) => full[name] ?? null);
}

function element({ name, type, nullable }: Column): SchemaElement {
  const common = {
    name,
    repetition_type: nullable === true ? ('OPTIONAL' as const) : ('REQUIRED' as const),
  };
  switch (type) {
    case 'string':
      return { ...common, type: 'BYTE_ARRAY', converted_type: 'UTF8' };
    case 'decimal':
      return {
        ...common,
        type: 'FIXED_LEN_BYTE_ARRAY',
        type_length: 16,
        converted_type: 'DECIMAL',
        ...DECIMAL,
      };
    case 'date':
      return { ...common, type: 'INT32', converted_type: 'DATE' };
    case 'timestamp':
      return { ...common, type: 'INT64', converted_type: 'TIMESTAMP_MILLIS' };
    case 'boolean':
      return { ...common, type: 'BOOLEAN' };
  }
}

/**
 * A Parquet file of the standard profile, written by hyparquet-writer.
 * @param claimed rows that its footer says it has, whatever its columns hold.
 * @param optional whether every column may hold nothing, as other writers have it.
 */
export function parquetFile(
  table: TableName,
  rows: readonly Value[][],
  rowGroupSize = 1000,
  claimed?: number,
  optional = false,
): Uint8Array {
  const columns = tables[table];
  const schema = [
    { name: 'root', num_children: columns.length },
    ...columns.map((column) => element(optional ? { ...column, nullable: true } : column)),
  ];
  const columnData = columns.map(({ name, type }, index) => ({
    name,
    data: rows.map((row) => {
      const value = row[index] ?? null;
      if (value === null) return null;
      if (type === 'date') return new Date(`${String(value)}T00:00:00Z`);
      return type === 'timestamp' ? new Date(Number(value)) : value;
    }),
  }));
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({ writer: bytes, schema });
  void writer.write({ columnData, rowGroupSize });
  if (claimed !== undefined) {
    for (const group of writer.row_groups) {
      group.num_rows = BigInt(claimed);
      for (const { meta_data: column } of group.columns)
        if (column !== undefined) column.num_values = BigInt(claimed);
    }
    writer.num_rows = BigInt(claimed);
  }
  void writer.finish();
  return new Uint8Array(bytes.getBuffer());
}

/** Stages a slice as the transform stage leaves it: two Parquet files, then the manifest. */
export async function stageSlice(
  staging: Staging,
  slice: Slice,
  content: SliceContent,
  options: { extraction?: string; rowGroupSize?: number } = {},
): Promise<TransformManifest> {
  const write = async (table: 'customers' | 'consumption'): Promise<ExportedFile> => {
    const rows = content[table].map((row) => completeRow(table, slice, row));
    const bytes = parquetFile(table, rows, options.rowGroupSize);
    const key = exportKey('parquet', table, slice);
    await staging.write(key, bytes);
    return { key, bytes: bytes.length, sha256: sha256Of(bytes) };
  };
  const totals: Totals = new Map();
  for (const { Currency = 'USD', Amount = 0n } of content.consumption) {
    addTo(totals, String(Currency), BigInt(Amount ?? 0));
  }
  const manifest: TransformManifest = {
    format: 1,
    version: '0.0.0',
    month: slice.month,
    organization: slice.organization,
    extraction: options.extraction ?? '20261101T020304Z',
    source: sha256Of(new Uint8Array()),
    finished: '2026-11-01T02:04:00.000Z',
    tag: 'aws',
    refused: [],
    estimated: false,
    columns: tableColumns(),
    scope: plainScope,
    awsTotal: null,
    difference: null,
    awsMetrics: {},
    fetched: '2026-11-01T02:03:09.000Z',
    customers: { rows: content.customers.length, unlisted: 0, files: [await write('customers')] },
    consumption: {
      rows: content.consumption.length,
      totals: formatTotals(totals),
      columns: {},
      rounded: 0,
      pairs: null,
      files: [await write('consumption')],
    },
  };
  await staging.write(transformManifestKey(slice), serializeManifest(manifest));
  return manifest;
}
