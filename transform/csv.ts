import { stringify } from 'csv-stringify/sync';
import { formatAmount } from '../pipeline/shared/money.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { noSums } from '../pipeline/shared/sums.js';
import { addRows, isList } from '../pipeline/staging/batch.js';
import type { ColumnValues, RowBatch } from '../pipeline/staging/batch.js';
import { createDecimals } from '../pipeline/staging/decimals.js';
import type { OpenExport } from './table-export.js';

/** Characters to gather before they are encoded: a longer text grown cell by cell outlives the young heap. */
const TEXT = 1 << 14;
/** Bytes of a piece of the file, and the most that a character of a text takes in UTF-8. */
const PIECE = 1 << 18;
const WIDEST = 3;

/**
 * CSV by RFC 4180: UTF-8 without byte order mark, CRLF, the header's names quoted, texts where any reader
 * might need it. A null number is `N/A`, any other null an empty cell; decimals are plain, dates and times
 * ISO 8601, booleans `true` and `false`. What a spreadsheet would run as a formula has an apostrophe before it.
 */
export const openCsv: OpenExport = (out, columns) => {
  const writers = columns.map(createCells);
  const sums = noSums();
  let piece = Buffer.allocUnsafe(PIECE);
  let filled = 0;
  let text = headerRecord(columns.map(({ name }) => name));

  const handOver = async (): Promise<void> => {
    const full = piece.subarray(0, filled);
    piece = Buffer.allocUnsafe(PIECE);
    filled = 0;
    await out.write(full);
  };
  const encode = async (): Promise<void> => {
    const most = WIDEST * text.length;
    if (filled + most > PIECE) await handOver();
    if (most > PIECE) await out.write(Buffer.from(text));
    else filled += piece.write(text, filled);
    text = '';
  };

  return {
    async write(batch) {
      const parts = partsOf(batch, writers);
      for (let row = 0; row < batch.length; row++) {
        for (const { cells, codes, after } of parts) {
          text += (cells[codes === undefined ? row : (codes[row] ?? 0)] ?? '') + after;
        }
        if (text.length >= TEXT) await encode();
      }
      addRows(sums, columns, batch.length, (column) => readAgain(batch.columns[column]));
    },
    async finish() {
      await encode();
      if (filled > 0) await handOver();
      return sums;
    },
  };
};

/** The cells of a column in one batch, with the text that follows each of them. */
interface Cells {
  readonly cells: readonly string[];
  /** Which cell each row has; `undefined`: one cell a row. */
  readonly codes: Uint32Array | undefined;
  after: string;
}

/** What a row is put together from: columns that differ from row to row, with all that stands between them. */
function partsOf({ columns }: RowBatch, writers: readonly CellWriter[]): Cells[] {
  const parts: Cells[] = [];
  for (const [index, writer] of writers.entries()) {
    const found = writer(columns[index] ?? []);
    const [before, after] = [parts.at(-1), index + 1 < writers.length ? ',' : RECORD_END];
    const [only] = found.cells;
    // The same cell in every row is a part of what follows the one before.
    if (before !== undefined && found.codes === noCodes) before.after += `${only ?? ''}${after}`;
    else parts.push({ ...found, after });
  }
  return parts;
}

/** The amounts as the file's texts say them, so that what is counted is what was written. */
function readAgain(values: ColumnValues | undefined): ColumnValues | undefined {
  if (values === undefined || isList(values) || values.kind !== 'decimals') return values;
  const decimals = createDecimals(values.texts.length);
  for (const text of values.texts) {
    if (text === null) decimals.addUnits(null);
    else decimals.add(text);
  }
  return decimals.take();
}

/** RFC 4180 ends every record, the header too, with CRLF. */
const RECORD_END = '\r\n';

/** Turns a column's values into cells; what was quoted once is remembered from batch to batch. */
type CellWriter = (values: ColumnValues) => Omit<Cells, 'after'>;

/** Codes of a column that holds the same value in every row. */
const noCodes = new Uint32Array();

function createCells(column: Column): CellWriter {
  const cellOf = cellWriter(column);
  const empty = cellOf(null);
  let list: readonly Value[] = [];
  let known: string[] = [];
  return (values) => {
    if (isList(values)) return { cells: values.map(cellOf), codes: undefined };
    switch (values.kind) {
      case 'constant':
        return { cells: [cellOf(values.value)], codes: noCodes };
      case 'decimals':
        return { cells: values.texts.map((text) => text ?? empty), codes: undefined };
      case 'coded':
        if (values.distinct !== list) [list, known] = [values.distinct, []];
        for (let code = known.length; code < list.length; code++)
          known.push(cellOf(list[code] ?? null));
        return { cells: known, codes: values.codes };
    }
  };
}

/** How a value becomes a cell. */
function cellWriter({ type }: Column): (value: Value) => string {
  switch (type) {
    case 'decimal':
      return (value) => (typeof value === 'bigint' ? formatAmount(value) : 'N/A');
    case 'timestamp':
      return (value) => (typeof value === 'number' ? new Date(value).toISOString() : '');
    case 'date':
    case 'boolean':
      return (value) => String(value ?? '');
    case 'string':
      return (value) => (typeof value === 'string' ? textCell(value) : '');
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
