import { formatAmount } from '../pipeline/money.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import type { Dialect } from './driver.js';

/** A UTC instant as the database keeps it: DATETIME(3) text, or ISO 8601 text in SQLite. */
export function instantText(dialect: Dialect, milliseconds: number): string {
  const iso = new Date(milliseconds).toISOString();
  return dialect === 'mysql' ? iso.replace('T', ' ').slice(0, -1) : iso;
}

/** The instant that {@link instantText} wrote, in either dialect. */
export function instantOf(text: string): Date {
  return new Date(text.endsWith('Z') ? text : `${text.replace(' ', 'T')}Z`);
}

/** How a column's values are written, null apart: plain text that the database reads exactly. */
export function textOf(column: Column, dialect: Dialect): (value: Value) => string {
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
 * A column's values, each put into writing once while it repeats: most columns hold the same value
 * in row after row.
 */
export function writeColumn(
  values: readonly Value[],
  nothing: string,
  write: (value: Value) => string,
): string[] {
  const texts = new Array<string>(values.length);
  let last: Value = null;
  let text = nothing;
  for (let row = 0; row < values.length; row++) {
    const value = values[row] ?? null;
    if (value !== last) {
      last = value;
      text = value === null ? nothing : write(value);
    }
    texts[row] = text;
  }
  return texts;
}
