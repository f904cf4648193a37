import { setImmediate } from 'node:timers/promises';
import type { Knex } from 'knex';
import type Libsql from 'libsql';
import type { TableName } from '../pipeline/staging/layout.js';
import type { CodedRows } from './coded.js';
import { columnNames } from './schema.js';
import type { WrittenColumn } from './written.js';
import { createWriter, textAt } from './written.js';

/** Rows of one statement: more make it no faster. SQLite takes 32,766 values in one. */
const ROWS = 500;

/** A client of Knex inside a transaction, which its types leave open. */
interface TransactionClient {
  acquireConnection(): Promise<Libsql.Database>;
}

type Bound = string | number | null;

/**
 * Adds rows to SQLite, letting other work of the process go on between two pieces. Statements are
 * prepared on Knex's connection itself, once for many runs: a value that all rows of a piece hold is
 * bound once, and Knex would have every value bound row by row, and parse every statement anew.
 */
export async function insertSqliteRows(
  trx: Knex.Transaction,
  table: TableName,
  pieces: AsyncIterable<CodedRows>,
): Promise<void> {
  const connection = await (trx.client as TransactionClient).acquireConnection();
  const write = createWriter(table, { dialect: 'sqlite', nothing: null });
  const prepare = preparer(connection, table);
  let line = 1;
  for await (const rows of pieces) {
    const written = write(rows);
    const fields = written.filter(({ codes }) => codes !== undefined);
    const constants = written.filter(({ codes }) => codes === undefined);
    const common = constants.map((column) => textAt(column, 0));
    for (let start = 0; start < rows.length; start += ROWS) {
      const end = Math.min(start + ROWS, rows.length);
      const values: Bound[] = [line, ...common];
      for (let row = start; row < end; row++) {
        for (const field of fields) values.push(textAt(field, row));
      }
      prepare(written, end - start).run(values);
      line += end - start;
    }
    await setImmediate();
  }
}

/** Makes statements that differ in their rows and in which of the columns all rows share. */
function preparer(connection: Libsql.Database, table: TableName) {
  const known = new Map<string, Libsql.Statement>();
  return (written: readonly WrittenColumn<null>[], rows: number): Libsql.Statement => {
    const shape = `${rows} ${written.map(({ codes }) => (codes === undefined ? 1 : 0)).join('')}`;
    let statement = known.get(shape);
    if (statement === undefined) {
      known.set(shape, (statement = connection.prepare(insertSql(table, written, rows))));
    }
    return statement;
  };
}

/** `?1` is the first row's line, `?2` and on are the values that all rows share, then come the rows' own. */
function insertSql(
  table: TableName,
  written: readonly WrittenColumn<null>[],
  rows: number,
): string {
  let next = 2;
  const shared = written.map(({ codes }) => (codes === undefined ? next++ : undefined));
  const row = (index: number): string => {
    const values = shared.map((parameter) => `?${parameter ?? next++}`);
    return `(${values.join(',')},?1+${index})`;
  };
  const names = columnNames(table).map((name) => `"${name}"`);
  const values = Array.from({ length: rows }, (_, index) => row(index));
  return `INSERT INTO "${table}" (${names.join(', ')}) VALUES ${values.join(',')}`;
}
