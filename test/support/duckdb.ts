import { DuckDBInstance } from '@duckdb/node-api';

/** Runs a query in a fresh DuckDB, a reader independent of the libraries that wrote the files. */
export async function query(sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(sql);
    return reader.getRowObjectsJson();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** A text as an SQL literal. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/**
 * DuckDB's rows of CSV files, every cell as text: the options of docs/reading.md, where nothing of the files' form is
 * guessed, and further ones.
 */
export function csvRows(files: string, further = ''): string {
  return `read_csv(${literal(files)}, all_varchar = true, header = true, quote = '"', escape = '"'${further && `, ${further}`})`;
}
