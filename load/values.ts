import type { Knex } from 'knex';
import { z } from 'zod';
import { DataError } from '../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../pipeline/shared/money.js';
import type { CodedColumn, RowBatch } from '../pipeline/staging/batch.js';
import { constant } from '../pipeline/staging/batch.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { tables } from '../pipeline/staging/tables.js';
import type { Dialect } from './driver.js';
import { instantText } from './driver.js';
import { LINE, columnNames, sliceKey } from './schema.js';

/** How a column's values are written, null apart: plain text that the database reads exactly. */
export function databaseText(column: Column, dialect: Dialect): (value: Value) => string {
  switch (column.type) {
    case 'string':
    case 'date':
      return (value) => value as string;
    case 'decimal':
      return (value) => formatAmount(value as bigint);
    case 'timestamp':
      return (value) => instantText(dialect, value as number);
    case 'boolean':
      return (value) => (value === true ? '1' : '0');
  }
}

/**
 * Puts rows into writing, column by column: each value once for all the rows that follow one another with the
 * same list of values.
 * @param nothing stands for null. @param escape makes a value's plain text safe where it is put.
 */
export function createWriter<Nothing extends string | null>(
  table: TableName,
  dialect: Dialect,
  nothing: Nothing,
  escape = (text: string): string => text,
): (rows: RowBatch<CodedColumn>) => CodedColumn<string | Nothing>[] {
  const known = new WeakMap<readonly Value[], (string | Nothing)[]>();
  const writers = tables[table].map((column) => {
    const textOf = databaseText(column, dialect);
    return (value: Value) => (value === null ? nothing : escape(textOf(value)));
  });
  return ({ columns }) =>
    writers.map((write, index) => {
      const column = columns[index] ?? constant(null);
      if (column.kind === 'constant') return constant(write(column.value));
      const { distinct, codes } = column;
      let texts = known.get(distinct);
      if (texts === undefined) known.set(distinct, (texts = distinct.map(write)));
      return { kind: 'coded', distinct: texts, codes };
    });
}

/** Rows that are read at once. */
const PIECE = 10_000;

/** Stands for null, which no text in a database equals. */
export const NULL = '\0';

/** A row as the database holds it: its number in the slice, and each declared column in plain text. */
export interface StoredRow {
  line: number;
  texts: readonly string[];
}

/** A row as the drivers give it. */
type Answered = Readonly<Record<string, string | number | null>> & { readonly [LINE]: number };

/** By hand: a schema that looks at each value of every row took a sixth of the CPU of reading them. */
function isAnswered(row: unknown): row is Answered {
  if (typeof row !== 'object' || row === null || !(LINE in row) || typeof row[LINE] !== 'number')
    return false;
  return Object.values(row).every(
    (value) => value === null || typeof value === 'string' || typeof value === 'number',
  );
}

const stored = z.array(z.custom<Answered>(isAnswered, 'is no row of the table'));

/** The slice's rows in the order of their lines, in pieces that are never empty. */
export async function* readRows(
  knex: Knex,
  table: TableName,
  slice: Slice,
): AsyncGenerator<StoredRow[], void, undefined> {
  let last: number | undefined;
  for (;;) {
    const query = knex(table).where(sliceKey(slice)).orderBy(LINE).limit(PIECE);
    if (last !== undefined) void query.andWhere(LINE, '>', last);
    const answer: unknown = await query.select(columnNames(table));
    const rows = stored.parse(answer);
    if (rows.length === 0) return;
    last = rows.at(-1)?.[LINE];
    yield rows.map((row) => ({
      line: row[LINE],
      texts: tables[table].map((column) => canonical(row[column.name] ?? null, column)),
    }));
    if (rows.length < PIECE) return;
  }
}

/** Amounts without the zeros that a server adds; what is no amount stays as it is. */
function canonical(value: string | number | null, { type }: Column): string {
  if (value === null) return NULL;
  const text = String(value);
  if (type !== 'decimal') return text;
  try {
    const { units, rounded } = parseAmount(text);
    return rounded ? text : formatAmount(units);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return text;
  }
}
