import { stringify } from 'csv-stringify/sync';
import { formatAmount } from '../pipeline/money.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import type { OpenExport } from './export.js';
import { createCounter } from './written.js';

/** RFC 4180 ends every record, the header too, with CRLF. */
const RECORD_END = '\r\n';
/** Characters to gather before they are encoded: a longer text grown cell by cell outlives the young heap. */
const CHUNK = 1 << 15;
/** Distinct texts to remember the cells of, per column. */
const REMEMBERED = 10_000;

/**
 * CSV by RFC 4180: UTF-8 without byte order mark, a header, CRLF, quotes where needed. A null number is
 * `N/A`, any other null an empty cell; decimals are plain, dates and times ISO 8601, booleans
 * `true` and `false`. Texts that a spreadsheet would run as a formula begin with an apostrophe.
 */
export const openCsv: OpenExport = (out, columns) => {
  const cells = columns.map(cellWriter);
  const counter = createCounter(columns);
  let text = columns.map(({ name }) => textCell(name)).join(',') + RECORD_END;

  const handOver = async (): Promise<void> => {
    const chunk = Buffer.from(text, 'utf8');
    text = '';
    await out.write(chunk);
  };

  return {
    async write(batch) {
      for (let row = 0; row < batch.length; row++) {
        for (let column = 0; column < cells.length; column++) {
          if (column > 0) text += ',';
          text += cells[column]?.(batch.columns[column]?.[row] ?? null) ?? '';
        }
        text += RECORD_END;
        counter.add((column) => batch.columns[column]?.[row] ?? null, 1);
        if (text.length >= CHUNK) await handOver();
      }
    },
    async finish() {
      if (text !== '') await handOver();
      return counter.written;
    },
  };
};

/**
 * How a column's values become cells. Most columns repeat a few texts, so each distinct text is quoted
 * and defused once, not once a row.
 */
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
 * One text as a cell. `escape_formulas` puts an apostrophe before `=`, `+`, `-`, `@`, tab, carriage
 * return and the wide forms of the signs; OWASP's "CSV Injection" names the line feed too.
 */
function textCell(text: string): string {
  return stringify([[text.startsWith('\n') ? `'${text}` : text]], {
    escape_formulas: true,
    record_delimiter: RECORD_END,
    // Without it, a line feed alone would stand unquoted, since it is not the record's end here.
    quote_record_delimiter: true,
    eof: false,
  });
}
