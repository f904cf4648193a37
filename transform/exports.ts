import type { ExportFormat, Slice, TableName } from '../pipeline/staging/layout.js';
import { exportKey } from '../pipeline/staging/layout.js';
import type { ExportedFile } from '../pipeline/staging/manifest.js';
import type { StagedWriter, Staging } from '../pipeline/staging/staging.js';
import { openWriter } from '../pipeline/staging/staging.js';
import { tableNames, tables } from '../pipeline/staging/tables.js';
import type { RowBatch } from '../pipeline/staging/batch.js';
import type { Sums } from '../pipeline/shared/sums.js';
import type { OpenExport, TableExport } from './table-export.js';
import { checkWritten } from './table-export.js';

/** Every export file of a slice, written side by side and made visible together. */
export interface Exports {
  /** Appends rows to the table in every format. */
  write(table: TableName, batch: RowBatch): Promise<void>;
  /**
   * Completes all files, the Parquet file of `customers` first; only when the last byte of each is written, and each
   * holds what was made, does the first become visible.
   * @param made rows and sums of each table.
   * @throws {DataError} when a file holds something else.
   */
  close(made: Record<TableName, Sums>): Promise<Record<TableName, ExportedFile[]>>;
  /** Gives all files up, so that the former ones stay. Never throws. */
  abort(): Promise<void>;
}

interface OpenFile {
  table: TableName;
  key: string;
  out: StagedWriter;
  rows: TableExport;
}

/** Opens the files of the given tables in the given formats. */
export async function openExports(
  staging: Staging,
  slice: Slice,
  names: readonly TableName[],
  formats: readonly ExportFormat[],
): Promise<Exports> {
  const openers = await Promise.all(
    formats.map(async (format) => ({ format, open: await opener(format) })),
  );
  const files: OpenFile[] = openers.flatMap(({ format, open }) =>
    names.map((table) => {
      const key = exportKey(format, table, slice);
      const out = openWriter(staging, key);
      return { table, key, out, rows: open(out, tables[table]) };
    }),
  );
  return {
    async write(table, batch) {
      for (const file of files) if (file.table === table) await file.rows.write(batch);
    },
    async close(made) {
      for (const { table, key, rows, out } of files) {
        checkWritten(`${staging.location}/${key}`, await rows.finish(), made[table]);
        // The driver takes this empty piece once it has written the last one, so that a full disk shows
        // before the first file becomes visible.
        await out.write(new Uint8Array());
      }
      const closed = Object.fromEntries(
        tableNames.map((table): [TableName, ExportedFile[]] => [table, []]),
      ) as Record<TableName, ExportedFile[]>;
      for (const { table, out } of files) closed[table].push(await out.close());
      return closed;
    },
    async abort() {
      await Promise.all(files.map(({ out }) => out.abort()));
    },
  };
}

/** Each is loaded only when asked for: few runs want the last, and who only asks whether there is work wants none. */
async function opener(format: ExportFormat): Promise<OpenExport> {
  switch (format) {
    case 'parquet':
      return (await import('./parquet.js')).openParquet;
    case 'csv':
      return (await import('./csv.js')).openCsv;
    case 'parquet-basic':
      return (await import('./parquet-basic.js')).openParquetBasic;
  }
}
