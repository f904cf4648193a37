import type { ColumnValues, RowBatch } from './batch.js';
import { isList } from './batch.js';
import type { Cells, CellWriter } from './csv-cells.js';
import { createCells, headerRecord, RECORD_END } from './csv-cells.js';
import { createDecimals } from './decimals.js';
import type { OpenExport } from './export.js';
import { createCounter } from './written.js';

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
  const counter = createCounter(columns);
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
      counter.add(batch.length, (column) => readAgain(batch.columns[column]));
    },
    async finish() {
      await encode();
      if (filled > 0) await handOver();
      return counter.written;
    },
  };
};

/** What a row is put together from: columns that differ from row to row, with all between them. */
function partsOf({ columns }: RowBatch, writers: readonly CellWriter[]): Cells[] {
  const parts: Cells[] = [];
  let after = RECORD_END;
  for (let index = writers.length - 1; index >= 0; index--) {
    const writer = writers[index];
    const values = columns[index] ?? [];
    const same = index === 0 ? undefined : writer?.same(values);
    if (same === undefined && writer !== undefined) parts.unshift(writer.cells(values, after));
    after = same === undefined ? ',' : `,${same}${after}`;
  }
  return parts;
}

/** The amounts as the file's texts say them, so that what is counted is what was written. */
function readAgain(values: ColumnValues | undefined): ColumnValues {
  if (values === undefined) return [];
  if (isList(values) || values.kind !== 'decimals') return values;
  const decimals = createDecimals(values.texts.length);
  for (const text of values.texts) {
    if (text === null) decimals.addUnits(null);
    else decimals.add(text);
  }
  return decimals.take();
}
