import type { TableName } from '../pipeline/staging/layout.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { tables } from '../pipeline/staging/tables.js';
import type { CodedColumn, CodedRows } from './coded.js';
import { decimalTexts } from './decimal-texts.js';
import type { Dialect } from './driver.js';
import { textOf } from './values.js';

/** A column put into writing; codes as in {@link CodedColumn}. */
export interface WrittenColumn<Nothing> {
  readonly column: Column;
  readonly texts: readonly (string | Nothing)[];
  readonly codes: Uint32Array | undefined;
}

/** What stands for a row's value. */
export function textAt<Nothing>(
  { texts, codes }: Pick<WrittenColumn<Nothing>, 'texts' | 'codes'>,
  row: number,
): string | Nothing {
  // A code is always a place in the list.
  return texts[codes === undefined ? 0 : (codes[row] ?? 0)] as string | Nothing;
}

/** How a database reads values. */
export interface Writing<Nothing> {
  dialect: Dialect;
  /** Stands for null. */
  nothing: Nothing;
  /** Makes a value's plain text safe where it is put. */
  escape?: (text: string, column: Column) => string;
}

/**
 * Puts rows into writing, each value once for all the rows that follow one another with the same list
 * of values.
 */
export function createWriter<Nothing extends string | null>(
  table: TableName,
  writing: Writing<Nothing>,
): (rows: CodedRows) => WrittenColumn<Nothing>[] {
  const known = new WeakMap<CodedColumn['values'], (string | Nothing)[]>();
  return ({ columns }) =>
    tables[table].map((column, index) => {
      const { values, codes } = columns[index] ?? absent;
      let texts = known.get(values);
      if (texts === undefined) known.set(values, (texts = write(column, values, writing)));
      return { column, texts, codes };
    });
}

const absent: CodedColumn = { values: [], codes: undefined };

function write<Nothing>(
  column: Column,
  values: readonly Value[],
  { dialect, nothing, escape }: Writing<Nothing>,
): (string | Nothing)[] {
  const texts = plainTexts(column, values, dialect);
  return values.map((value, index) => {
    if (value === null) return nothing;
    const text = texts[index] ?? '';
    return escape === undefined ? text : escape(text, column);
  });
}

/** Texts of the values; of null, any. */
function plainTexts(column: Column, values: readonly Value[], dialect: Dialect): string[] {
  if (column.type === 'decimal') {
    return decimalTexts(values.map((value) => (typeof value === 'bigint' ? value : 0n)));
  }
  const text = textOf(column, dialect);
  return values.map((value) => (value === null ? '' : text(value)));
}
