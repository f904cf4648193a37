import { setImmediate } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { TableName } from '../pipeline/staging/layout.js';
import type { Batch } from '../pipeline/staging/tables.js';
import { tables } from '../pipeline/staging/tables.js';
import { columnNames } from './schema.js';
import { textOf, writeColumn } from './values.js';

function insertInto(table: TableName): string {
  const columns = columnNames(table).map((column) => `\`${column}\``);
  return `INSERT INTO \`${table}\` (${columns.join(', ')}) VALUES `;
}

/** What MySQL's driver offers for values inside a statement. */
export interface Quoting {
  escape: (text: string) => string;
  /** Marks a text that goes into the statement as it is. */
  raw: (text: string) => unknown;
}

/**
 * Sends rows to MySQL as INSERT statements of many rows, each statement at most `maxBytes` long
 * (or one row).
 */
export async function insertRows(
  trx: Knex,
  table: TableName,
  batches: AsyncIterable<Batch>,
  { escape, raw }: Quoting,
  maxBytes: number,
): Promise<void> {
  const sql = `${insertInto(table)}?`;
  const columns = tables[table];
  let line = 0;
  let rows: string[] = [];
  let bytes = sql.length;
  const send = async (): Promise<void> => {
    // Only a bound value may hold question marks: in the statement itself Knex would read them.
    if (rows.length > 0) await trx.raw(sql, [raw(rows.join(',')) as Knex.Value]);
    rows = [];
    bytes = sql.length;
  };
  for await (const batch of batches) {
    const fields = columns.map((column, index) => {
      const write = textOf(column, 'mysql');
      const bare = column.type === 'decimal' || column.type === 'boolean';
      return writeColumn(batch.columns[index] ?? [], 'NULL', (value) =>
        bare ? write(value) : escape(write(value)),
      );
    });
    for (let row = 0; row < batch.length; row++) {
      let text = '(';
      for (const field of fields) text += `${field[row] ?? ''},`;
      text += `${++line})`;
      const length = Buffer.byteLength(text) + 1;
      if (bytes + length > maxBytes) await send();
      rows.push(text);
      bytes += length;
    }
  }
  await send();
}

/** Rows of one SQLite statement: more make it no faster. */
const SQLITE_ROWS = 100;

/** Adds rows to SQLite, letting other work of the process go on between two batches. */
export async function insertSqliteRows(
  trx: Knex,
  table: TableName,
  batches: AsyncIterable<Batch>,
): Promise<void> {
  const columns = tables[table];
  const row = `(${new Array(columns.length + 1).fill('?').join(',')})`;
  const sqlFor = (rows: number): string => insertInto(table) + new Array(rows).fill(row).join(',');
  const full = sqlFor(SQLITE_ROWS);
  let line = 0;
  for await (const batch of batches) {
    const writers = columns.map((column) => textOf(column, 'sqlite'));
    for (let start = 0; start < batch.length; start += SQLITE_ROWS) {
      const end = Math.min(start + SQLITE_ROWS, batch.length);
      const values: (string | number | null)[] = [];
      for (let index = start; index < end; index++) {
        for (let column = 0; column < writers.length; column++) {
          const value = batch.columns[column]?.[index] ?? null;
          values.push(value === null ? null : (writers[column]?.(value) ?? null));
        }
        values.push(++line);
      }
      await trx.raw(end - start === SQLITE_ROWS ? full : sqlFor(end - start), values);
    }
    await setImmediate();
  }
}
