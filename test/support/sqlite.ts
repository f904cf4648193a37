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

/** Runs statements that change an SQLite file. */
export function executeSqlite(file: string, sql: string): void {
  const database = new Database(file);
  try {
    database.exec(sql);
  } finally {
    database.close();
  }
}
