import type { Knex } from 'knex';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import { formatAmount, parseAmount } from '../pipeline/money.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import type { Batch, Column } from '../pipeline/staging/tables.js';
import { tables } from '../pipeline/staging/tables.js';
import type { Dialect } from './driver.js';
import { columnNames, LINE } from './schema.js';
import { sliceKey } from './slice-rows.js';
import { textOf, writeColumn } from './values.js';

/** Rows that are read at once. */
const PIECE = 10_000;

/** Stands for null, which no text in a database equals. */
export const NULL = '\0';

/** A row as the database holds it: its number in the slice, and each declared column in plain text. */
export interface StoredRow {
  line: number;
  texts: readonly string[];
}

const stored = z.array(
  z.looseObject({ [LINE]: z.number() }).catchall(z.union([z.string(), z.number(), z.null()])),
);

/** The slice's rows in the order of their lines, in pieces that are never empty. */
export async function* readRows(
  knex: Knex,
  table: TableName,
  slice: Slice,
): AsyncGenerator<StoredRow[], void, undefined> {
  const columns = tables[table];
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
      texts: columns.map((column) => canonical(row[column.name] ?? null, column)),
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

/** The texts that a batch's values have once they are stored, column by column. */
export function storedTexts(table: TableName, batch: Batch, dialect: Dialect): string[][] {
  return tables[table].map((column, index) =>
    writeColumn(batch.columns[index] ?? [], NULL, textOf(column, dialect)),
  );
}
