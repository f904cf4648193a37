import { Readable } from 'node:stream';
import type { Knex } from 'knex';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import type { TableName } from '../pipeline/staging/layout.js';
import { tables } from '../pipeline/staging/tables.js';
import type { CodedRows } from './coded.js';
import { LINE } from './schema.js';
import { textOf } from './values.js';
import type { Writing, WrittenColumn } from './written.js';
import { createWriter, textAt } from './written.js';

const CHUNK = 1 << 18;

const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\0': '\\0' };
const special = /[\\\t\n\0]/;

const fieldWriting: Writing<string> = {
  dialect: 'mysql',
  nothing: '\\N',
  escape: (text) =>
    special.test(text) ? text.replace(/[\\\t\n\0]/g, (found) => escapes[found] ?? found) : text,
};

/**
 * Rows as LOAD DATA reads them here: fields end with a tab, lines with a line feed, a backslash
 * escapes, `\N` is null; the last field is the row's number. Chunks hold whole lines and are never empty,
 * since an empty packet ends the data.
 */
function* writeLines(
  fields: readonly WrittenColumn<string>[],
  rows: number,
  firstLine: number,
): Generator<Buffer, void, undefined> {
  let chunk = '';
  for (let row = 0; row < rows; row++) {
    for (const field of fields) chunk += `${textAt(field, row)}\t`;
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
): (rows: CodedRows, firstLine: number) => Promise<boolean> {
  const name = `pipeline:${table}`;
  const write = createWriter(table, fieldWriting);
  return async (rows, firstLine) => {
    const fields = write(rows).filter(({ codes }) => codes !== undefined);
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
  { columns }: CodedRows,
  file: string,
): { sql: string; bindings: Knex.RawBinding[] } {
  const fields: string[] = [];
  const constants: string[] = [];
  const bindings: Knex.RawBinding[] = [];
  tables[table].forEach((column, index) => {
    const coded = columns[index];
    if (coded === undefined || coded.codes !== undefined) {
      fields.push(`\`${column.name}\``);
      return;
    }
    const value = coded.values[0] ?? null;
    constants.push(`\`${column.name}\` = ?`);
    bindings.push(value === null ? null : textOf(column, 'mysql')(value));
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
    { next: 'make the tables anew with "pipeline run --stage transform --force"' },
  );
}
