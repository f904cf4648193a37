import { Readable } from 'node:stream';
import type { Knex } from 'knex';
import type { Connection } from 'mysql2';
import { z } from 'zod';
import { advice, transformAgain } from '../pipeline/shared/commands.js';
import { DataError } from '../pipeline/shared/errors.js';
import type { Coded, CodedColumn, RowBatch } from '../pipeline/staging/batch.js';
import { codedAt } from '../pipeline/staging/batch.js';
import type { TableName } from '../pipeline/staging/layout.js';
import { tables } from '../pipeline/staging/tables.js';
import { connectionsOf } from './driver.js';
import { causeOf } from './mysql-connection.js';
import { LINE, columnNames } from './schema.js';
import { createWriter, databaseText } from './values.js';

const CHUNK = 1 << 18;

const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\0': '\\0' };
const special = /[\\\t\n\0]/;

function escapeField(text: string): string {
  return special.test(text)
    ? text.replace(/[\\\t\n\0]/g, (found) => escapes[found] ?? found)
    : text;
}

/**
 * Rows as LOAD DATA reads them here: fields end with a tab, lines with a line feed, a backslash
 * escapes, `\N` is null; the last field is the row's number. Chunks hold whole lines and are never empty,
 * since an empty packet ends the data.
 */
function* writeLines(
  fields: readonly Coded<string>[],
  rows: number,
  firstLine: number,
): Generator<Buffer, void, undefined> {
  let chunk = '';
  for (let row = 0; row < rows; row++) {
    for (const field of fields) chunk += `${codedAt(field, row)}\t`;
    chunk += `${firstLine + row}\n`;
    if (chunk.length >= CHUNK) {
      yield Buffer.from(chunk);
      chunk = '';
    }
  }
  if (chunk !== '') yield Buffer.from(chunk);
}

/**
 * Error numbers of a refused LOCAL (MySQL error reference 1148, 3948; MariaDB's 4166): the driver has
 * no names for some.
 */
const refused: readonly unknown[] = [1148, 3948, 4166];
const answer = z
  .tuple([z.object({ affectedRows: z.number(), warningStatus: z.number() })])
  .rest(z.unknown());
const warnings = z.tuple([z.array(z.object({ Message: z.string() }))]).rest(z.unknown());

/**
 * Makes a function that sends rows of a table with LOAD DATA LOCAL INFILE, without any file: the client
 * answers the server's request from memory, and only the request for this load's own name. A value that
 * all the rows hold stands in the statement, once: the server reads only what differs from row to row.
 * LOCAL makes the server take wrong values with a warning, so any warning is a failure.
 * The function returns false, having sent nothing, when the server does not allow it.
 * @throws {DataError} (the function) on a warning; the driver's failures.
 */
export function bulkLoader(
  trx: Knex,
  table: TableName,
): (rows: RowBatch<CodedColumn>, firstLine: number) => Promise<boolean> {
  const name = `pipeline:${table}`;
  const write = createWriter(table, 'mysql', '\\N', escapeField);
  return async (rows, firstLine) => {
    const fields = write(rows).filter((column) => column.kind === 'coded');
    const { sql, bindings } = statementFor(table, rows, name);
    const asked: { foreign?: Error; stream?: Readable } = {};
    const infileStreamFactory = (requested: string): Readable => {
      if (requested !== name) asked.foreign = new Error('the server asked for a foreign file');
      const lines = requested === name ? writeLines(fields, rows.length, firstLine) : [];
      return (asked.stream = Readable.from(lines, { objectMode: false }));
    };
    let warned: number;
    try {
      const result: unknown = await trx.raw(sql, bindings).options({ infileStreamFactory });
      warned = answer.parse(result)[0].warningStatus;
    } catch (error) {
      if (asked.foreign !== undefined) throw asked.foreign;
      const isRefused = refused.includes((error as { errno?: unknown }).errno);
      if (asked.stream === undefined && isRefused) return false;
      throw error;
    } finally {
      asked.stream?.destroy();
    }
    if (asked.foreign !== undefined) throw asked.foreign;
    if (warned > 0) await refuseWarnings(trx, table, warned);
    return true;
  };
}

/** The statement, with the names of the fields and the values that all rows hold. */
function statementFor(
  table: TableName,
  { columns }: RowBatch<CodedColumn>,
  file: string,
): { sql: string; bindings: Knex.RawBinding[] } {
  const fields: string[] = [];
  const constants: string[] = [];
  const bindings: Knex.RawBinding[] = [];
  tables[table].forEach((column, index) => {
    const values = columns[index];
    if (values?.kind !== 'constant') {
      fields.push(`\`${column.name}\``);
      return;
    }
    const { value } = values;
    constants.push(`\`${column.name}\` = ?`);
    bindings.push(value === null ? null : databaseText(column, 'mysql')(value));
  });
  const set = constants.length === 0 ? '' : `SET ${constants.join(', ')}`;
  const sql = `LOAD DATA LOCAL INFILE '${file}' INTO TABLE \`${table}\` CHARACTER SET utf8mb4
    FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'
    (${[...fields, `\`${LINE}\``].join(', ')}) ${set}`;
  return { sql, bindings };
}

async function refuseWarnings(trx: Knex, table: TableName, count: number): Promise<never> {
  const [messages] = warnings.parse(await trx.raw('SHOW WARNINGS LIMIT 3'));
  throw new DataError(
    `the database does not take ${count} values of ${table} as they are: ${messages.map(({ Message }) => Message).join('; ')}`,
    advice('make the tables anew with', transformAgain()),
  );
}

/** Rows of one statement: more make it no faster. Every server takes 65,535 values in one. */
const ROWS = 500;

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
): (rows: RowBatch<CodedColumn>, firstLine: number) => Promise<void> {
  const write = createWriter(table, 'mysql', null);
  const longestRow = rowMeasure(escape);
  return async (rows, firstLine) => {
    const connection = await connectionsOf<Connection>(trx).acquireConnection();
    const written = write(rows);
    const fields = written.filter((column) => column.kind === 'coded');
    const values = written.map((column) =>
      column.kind === 'constant' ? escape(column.value) : '?',
    );
    const most = Math.min(ROWS, Math.max(1, Math.floor(maxBytes / longestRow(written))));
    const send = async (start: number, end: number, size: number): Promise<void> => {
      const sql = insertSql(table, values, size);
      try {
        for (let at = start; at < end; at += size) {
          await execute(connection, sql, bind(fields, at, at + size, firstLine));
        }
      } catch (error) {
        throw causeOf(connection, error);
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
  fields: readonly Coded<string | null>[],
  start: number,
  end: number,
  firstLine: number,
): Bound[] {
  const values: Bound[] = [];
  for (let row = start; row < end; row++) {
    for (const field of fields) values.push(codedAt(field, row));
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
): (written: readonly CodedColumn<string | null>[]) => number {
  const known = new WeakMap<readonly (string | null)[], number>();
  const longest = (texts: readonly (string | null)[]): number => {
    let bytes = known.get(texts);
    if (bytes === undefined) {
      bytes = texts.reduce((most, text) => Math.max(most, Buffer.byteLength(text ?? '')), 0);
      known.set(texts, bytes);
    }
    return bytes;
  };
  return (written) =>
    written.reduce((bytes, column) => {
      const own =
        column.kind === 'constant'
          ? Buffer.byteLength(escape(column.value))
          : longest(column.distinct);
      return bytes + VALUE + own;
    }, VALUE);
}

/**
 * Passes items on, asking for the next one while the consumer still works on the one before: at most one
 * is ready and unused.
 */
export async function* ahead<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const item = await next;
      if (item.done === true) return;
      next = iterator.next();
      // Its failure is thrown when its turn comes, and is no one's before.
      next.catch(() => undefined);
      yield item.value;
    }
  } finally {
    await next.catch(() => undefined);
    await iterator.return?.();
  }
}
