import { mkdir } from 'node:fs/promises';
import { LINE } from '../../load/schema.js';
import { columnIndex, consumption } from '../../pipeline/staging/tables.js';
import { query } from '../support/duckdb.js';
import { quoted } from './columns.js';
import { month } from './month.js';
import { organizationNames } from './size.js';

/**
 * Writes consumption as CSV files that a database's own loader takes as they are: numbers without
 * trailing zeros, booleans as 0 and 1.
 * @param names the database table's columns, in the order to write them.
 * @param nothing how null is written.
 * @returns the files, one an organization.
 */
export async function writeReadyFiles(
  staging: string,
  folder: string,
  names: readonly string[],
  nothing: string,
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const columns = names.map((name) => `${readyText(name)} AS ${quoted(name)}`);
  return Promise.all(
    organizationNames.map(async (organization) => {
      const parquet = `${staging}/parquet/consumption/month=${month}/${organization}.parquet`;
      const file = `${folder}/${organization}.csv`;
      await query(
        `COPY (SELECT ${columns.join(', ')} FROM read_parquet('${parquet}', file_row_number = true, hive_partitioning = false))
         TO '${file}' (FORMAT csv, HEADER, NULLSTR '${nothing}')`,
      );
      return file;
    }),
  );
}

function readyText(name: string): string {
  if (name === LINE) return 'file_row_number + 1';
  const { type } = consumption[columnIndex('consumption', name)] ?? {};
  const column = quoted(name);
  if (type === 'decimal') return `rtrim(rtrim(${column}::VARCHAR, '0'), '.')`;
  return type === 'boolean' ? `${column}::INTEGER` : column;
}
