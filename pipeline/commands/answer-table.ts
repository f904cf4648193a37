import { headerRecord, textCell } from '../../transform/csv.js';
import { print } from '../shared/output.js';
import { printable } from '../shared/printable.js';

/** What of an answer is a table: the rows of its JSON document, in the same words. */
export interface AnswerTable {
  /**
   * Where each column's value lies in a row, which is also its head: `extracted.finished`. One that ends in `.*` is a
   * column for each key that any row has there: `amount.*`, one for each currency.
   */
  columns: readonly string[];
  rows: readonly object[];
  /** What people have to know beside the rows. */
  notes?: readonly string[];
}

/** Characters that are gathered before they are written. */
const PIECE = 64 * 1024;

/**
 * Prints the rows as CSV.
 * @throws {ConfigurationError} when standard output cannot be written.
 */
export async function printCsv(table: AnswerTable): Promise<void> {
  for (const piece of csvOf(table, process.stdout.isTTY)) await print(piece);
}

/**
 * The rows as CSV, piece by piece, in the same manner as the exports: a header always, RFC 4180, decimals with every
 * digit, an apostrophe before what a spreadsheet would run as a formula. What there is no value for is an empty cell.
 * @param isTerminal a program gets the texts as they are; for a terminal they are made printable, and lines end as its
 * own do.
 */
export function* csvOf({ columns, rows }: AnswerTable, isTerminal: boolean): Generator<string> {
  const heads = columns.flatMap((column) => headsOf(column, rows));
  const end = isTerminal ? '\n' : '\r\n';
  const cell = (row: object, head: readonly string[]): string => {
    const text = textOf(valueAt(row, head));
    const shown = isTerminal ? printable(text) : text;
    return decimal.test(shown) ? shown : textCell(shown);
  };
  const names = heads.map((head) => head.join('.'));
  let piece = headerRecord(isTerminal ? names.map(printable) : names).trimEnd() + end;
  for (const row of rows) {
    piece += heads.map((head) => cell(row, head)).join(',') + end;
    if (piece.length < PIECE) continue;
    yield piece;
    piece = '';
  }
  yield piece;
}

/** A number as JSON and amounts write it: no formula, whatever sign it begins with. */
const decimal = /^-?\d+(?:\.\d+)?$/;

/** The keys that lead to a column's value; those of several columns for one that ends in `.*`. */
function headsOf(column: string, rows: readonly object[]): string[][] {
  const path = column.split('.');
  if (path.at(-1) !== '*') return [path];
  const parent = path.slice(0, -1);
  const keys = new Set<string>();
  for (const row of rows) {
    const found = valueAt(row, parent);
    if (typeof found === 'object' && found !== null)
      for (const key of Object.keys(found)) keys.add(key);
  }
  return [...keys].sort().map((key) => [...parent, key]);
}

/** What lies there; a text that stands where there could be more, such as `unknown`, is the value of all of it. */
function valueAt(row: object, path: readonly string[]): unknown {
  let found: unknown = row;
  for (const key of path) {
    if (typeof found !== 'object' || found === null) break;
    found = Object.hasOwn(found, key) ? (Reflect.get(found, key) as unknown) : undefined;
  }
  return found;
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) return value.map(textOf).join('; ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}
