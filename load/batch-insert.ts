import type { Knex } from 'knex';
import type { TableName } from '../pipeline/staging/layout.js';
import type { CodedRows } from './coded.js';
import { columnNames } from './schema.js';
import type { WrittenColumn } from './written.js';
import { createWriter, textAt } from './written.js';

/** What MySQL's driver offers for values inside a statement. */
export interface Quoting {
  escape: (text: string) => string;
  /** Marks a text that goes into the statement as it is. */
  raw: (text: string) => unknown;
}

/**
 * Makes a function that sends rows of a table to MySQL as INSERT statements of many rows, each statement
 * at most `maxBytes` long (or one row).
 */
export function rowInserter(
  trx: Knex,
  table: TableName,
  { escape, raw }: Quoting,
  maxBytes: number,
): (rows: CodedRows, firstLine: number) => Promise<void> {
  const columns = columnNames(table).map((column) => `\`${column}\``);
  const sql = `INSERT INTO \`${table}\` (${columns.join(', ')}) VALUES ?`;
  const longestRow = rowMeasure();
  const write = createWriter(table, {
    dialect: 'mysql',
    nothing: 'NULL',
    escape: (text, { type }) => (type === 'decimal' || type === 'boolean' ? text : escape(text)),
  });
  return async (rows, firstLine) => {
    const written = write(rows);
    const rowText = rowTexts(written);
    const rowBytes = longestRow(written, firstLine + rows.length);
    const size = Math.max(1, Math.floor((maxBytes - sql.length) / rowBytes));
    for (let start = 0; start < rows.length; start += size) {
      let text = rowText(start, firstLine + start);
      const end = Math.min(start + size, rows.length);
      for (let row = start + 1; row < end; row++) text += `,${rowText(row, firstLine + row)}`;
      // Only a bound value may hold question marks: in the statement itself Knex would read them.
      await trx.raw(sql, [raw(text) as Knex.Value]);
    }
  };
}

/** Writes `(value, …, line)`; what stands between the values that differ from row to row is joined once. */
function rowTexts(
  written: readonly WrittenColumn<string>[],
): (row: number, line: number) => string {
  const fields: { before: string; column: WrittenColumn<string> }[] = [];
  let before = '(';
  for (const column of written) {
    if (column.codes === undefined) before += `${textAt(column, 0)},`;
    else {
      fields.push({ before, column });
      before = ',';
    }
  }
  return (row, line) => {
    let text = '';
    for (const field of fields) text += field.before + textAt(field.column, row);
    return `${text}${before}${line})`;
  };
}

/** Makes a function that says how many bytes no row exceeds, with the comma after it. */
function rowMeasure(): (written: readonly WrittenColumn<string>[], lastLine: number) => number {
  const known = new WeakMap<WrittenColumn<string>['texts'], number>();
  const longest = (texts: readonly string[]): number => {
    let bytes = known.get(texts);
    if (bytes === undefined) {
      bytes = texts.reduce((most, text) => Math.max(most, Buffer.byteLength(text)), 0);
      known.set(texts, bytes);
    }
    return bytes;
  };
  return (written, lastLine) =>
    written.reduce(
      (sum, { texts }) => sum + longest(texts) + ','.length,
      '(),'.length + String(lastLine).length,
    );
}
