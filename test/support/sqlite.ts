import Database from 'libsql';

/** Runs a query on an SQLite file and returns its rows. */
export function querySqlite(file: string, sql: string): Record<string, unknown>[] {
  const database = new Database(file, { readonly: true });
  try {
    return database.prepare(sql).all() as Record<string, unknown>[];
  } finally {
    database.close();
  }
}
