import type { Knex } from 'knex';
import type { Connection } from 'mysql2';
import type { TableName } from '../pipeline/staging/layout.js';
import type { CodedRows } from './coded.js';
import { columnNames } from './schema.js';
import type { WrittenColumn } from './written.js';
import { createWriter, textAt } from './written.js';

/** Rows of one statement: more make it no faster. Every server takes 65,535 values in one. */
const ROWS = 500;

/** A client of Knex inside a transaction, which its types leave open. */
interface TransactionClient {
  acquireConnection(): Promise<Connection>;
}

/**
 * Makes a function that sends rows of a table to MySQL as INSERT statements of many rows. The server parses
 * a statement once for all the rows that it is run with; a value that all of them hold stands in it, and is
 * not sent again. Knex knows no prepared statements, so they are made on its connection itself.
 * @param escape makes a value safe inside a statement.
 * @param maxBytes that neither the statement nor its values exceed, unless they are one row's.
 */
export function rowInserter(
  trx: Knex.Transaction,
  table: TableName,
  escape: (text: string | null) => string,
  maxBytes: number,
): (rows: CodedRows, firstLine: number) => Promise<void> {
  const write = createWriter(table, { dialect: 'mysql', nothing: null });
  const longestRow = rowMeasure(escape);
  return async (rows, firstLine) => {
    const connection = await (trx.client as TransactionClient).acquireConnection();
    const written = write(rows);
    const fields = written.filter(({ codes }) => codes !== undefined);
    const values = written.map((column) =>
      column.codes === undefined ? escape(textAt(column, 0)) : '?',
    );
    const most = Math.min(ROWS, Math.max(1, Math.floor(maxBytes / longestRow(written))));
    const send = async (start: number, end: number, size: number): Promise<void> => {
      const sql = insertSql(table, values, size);
      try {
        for (let at = start; at < end; at += size) {
          await execute(connection, sql, bind(fields, at, at + size, firstLine));
        }
      } finally {
        // The driver and the server would keep it as long as the connection.
        connection.unprepare(sql);
      }
    };
    const whole = rows.length - (rows.length % most);
    if (whole > 0) await send(0, whole, most);
    if (whole < rows.length) await send(whole, rows.length, rows.length - whole);
  };
}

function insertSql(table: TableName, values: readonly string[], rows: number): string {
  const names = columnNames(table).map((name) => `\`${name}\``);
  const row = `(${[...values, '?'].join(',')})`;
  return `INSERT INTO \`${table}\` (${names.join(', ')}) VALUES ${new Array(rows).fill(row).join(',')}`;
}

type Bound = string | number | null;

function bind(
  fields: readonly WrittenColumn<null>[],
  start: number,
  end: number,
  firstLine: number,
): Bound[] {
  const values: Bound[] = [];
  for (let row = start; row < end; row++) {
    for (const field of fields) values.push(textAt(field, row));
    values.push(firstLine + row);
  }
  return values;
}

/** Runs a statement that the driver prepares at its first run. */
function execute(connection: Connection, sql: string, values: Bound[]): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.execute(sql, values, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

/** Bytes of a value beside its own: quotes and comma in the statement, or its length, type and place in a packet. */
const VALUE = 12;

/** Makes a function that says how many bytes no row exceeds, in the statement or among its values. */
function rowMeasure(
  escape: (text: string | null) => string,
): (written: readonly WrittenColumn<null>[]) => number {
  const known = new WeakMap<WrittenColumn<null>['texts'], number>();
  const longest = (texts: WrittenColumn<null>['texts']): number => {
    let bytes = known.get(texts);
    if (bytes === undefined) {
      bytes = texts.reduce((most, text) => Math.max(most, Buffer.byteLength(text ?? '')), 0);
      known.set(texts, bytes);
    }
    return bytes;
  };
  return (written) => {
    let bytes = VALUE;
    for (const column of written) {
      const { texts, codes } = column;
      bytes += VALUE;
      bytes += codes === undefined ? Buffer.byteLength(escape(textAt(column, 0))) : longest(texts);
    }
    return bytes;
  };
}
