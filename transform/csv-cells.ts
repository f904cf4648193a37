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

/** Texts that are their own cells, as most are: the library takes a while to begin a text. */
const plain = /^[A-Za-z0-9][A-Za-z0-9 .()@+_-]*$/;

/**
 * One text as a cell. `escape_formulas` puts an apostrophe before `=`, `+`, `-`, `@`, tab, carriage
 * return and the wide forms of the signs; OWASP's "CSV Injection" names the line feed too.
 */
export function textCell(text: string): string {
  if (plain.test(text)) return text;
  return stringify([[text.startsWith('\n') ? `'${text}` : text]], {
    escape_formulas: true,
    record_delimiter: RECORD_END,
    // Without it, a line feed alone would stand unquoted, since it is not the record's end here.
    quote_record_delimiter: true,
    eof: false,
  });
}
