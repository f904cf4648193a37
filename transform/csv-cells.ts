import { stringify } from 'csv-stringify/sync';
import { formatAmount } from '../pipeline/money.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import type { ColumnValues } from './batch.js';
import { isList } from './batch.js';

/** RFC 4180 ends every record, the header too, with CRLF. */
export const RECORD_END = '\r\n';

/** The cells of a column in one batch, with the text that follows each of them. */
export interface Cells {
  readonly cells: readonly string[];
  /** Which cell each row has; `undefined`: one cell a row. */
  readonly codes: Uint32Array | undefined;
  readonly after: string;
}

/** Turns a column's values into cells; what was quoted once is remembered from batch to batch. */
export interface CellWriter {
  /** The one cell of all rows, if they have the same value. */
  same(values: ColumnValues): string | undefined;
  /** @param after What stands between this column's cell and the next one that differs. */
  cells(values: ColumnValues, after: string): Cells;
}

export function createCells(column: Column): CellWriter {
  const cellOf = cellWriter(column);
  const empty = cellOf(null);
  let list: readonly Value[] = [];
  let known: string[] = [];
  return {
    same: (values) =>
      isList(values) || values.kind !== 'constant' ? undefined : cellOf(values.value),
    cells(values, after) {
      if (isList(values)) return { cells: values.map(cellOf), codes: undefined, after };
      switch (values.kind) {
        case 'constant':
          return { cells: [cellOf(values.value)], codes: noCodes, after };
        case 'decimals':
          return { cells: values.texts.map((text) => text ?? empty), codes: undefined, after };
        case 'coded':
          if (values.distinct !== list) [list, known] = [values.distinct, []];
          for (let code = known.length; code < list.length; code++) {
            known.push(cellOf(list[code] ?? null));
          }
          return { cells: known, codes: values.codes, after };
      }
    },
  };
}

const noCodes = new Uint32Array();

/** Distinct texts to remember the cells of, where values come one by one. */
const REMEMBERED = 10_000;

/** How a value becomes a cell. Texts often repeat, so each is quoted and defused once, not once a row. */
function cellWriter({ type }: Column): (value: Value) => string {
  switch (type) {
    case 'decimal':
      return (value) => (typeof value === 'bigint' ? formatAmount(value) : 'N/A');
    case 'timestamp':
      return (value) => (typeof value === 'number' ? new Date(value).toISOString() : '');
    case 'date':
    case 'boolean':
      return (value) => String(value ?? '');
    case 'string': {
      const known = new Map<string, string>();
      return (value) => {
        if (typeof value !== 'string') return '';
        let cell = known.get(value);
        if (cell === undefined) {
          if (known.size === REMEMBERED) known.clear();
          known.set(value, (cell = textCell(value)));
        }
        return cell;
      };
    }
  }
}

/**
 * What makes a text need quotes: all but letters, digits and signs that no reader splits or cuts at. The
 * separators of other lands are in it (`;`, tab, `|`), and blanks at an end, which some readers drop.
 */
const special = /^[^A-Za-z0-9]|[^\w .()@+/:-]| $/;

const rules = {
  escape_formulas: true,
  record_delimiter: RECORD_END,
  // Without it, a line feed alone would stand unquoted, since it is not the record's end here.
  quote_record_delimiter: true,
  quoted_match: special,
  eof: false,
} as const;

/** One text as a cell, which no reader takes for a formula, see {@link defused}. */
export function textCell(text: string): string {
  // Most texts are their own cells, and the library takes a while to begin a text.
  return special.test(text) ? stringify([[defused(text)]], rules) : text;
}

/** The header's record. Every name is quoted: who guesses a file's form by its first rows sees the quote. */
export function headerRecord(names: readonly string[]): string {
  return stringify([[...names]], { ...rules, quoted: true }) + RECORD_END;
}

/** A sign that begins a formula, behind blanks and quotes that a spreadsheet may drop. */
const formula = '["\\p{Zs}\\v\\f\\uFEFF]*[=+\\-@＝＋－＠]';
const begins = new RegExp(`^(?:\n|${formula})`, 'u');
const beginsLater = new RegExp(`(?<=[;\t|\r\n])(?=${formula})`, 'gu');
/** What `escape_formulas` puts an apostrophe before. */
const escaped = /^[=+\-@\t\r＝＋－＠]/;

/**
 * The text with an apostrophe wherever a spreadsheet would begin a formula: at its begin and, since one
 * that splits at `;`, tabs, `|` or line ends takes a quote in mid field for a character, after each of
 * those. `escape_formulas` knows the begin alone; OWASP's "CSV Injection" names the line feed and the
 * separators too.
 */
function defused(text: string): string {
  const later = text.replaceAll(beginsLater, "'");
  return begins.test(later) && !escaped.test(later) ? `'${later}` : later;
}
