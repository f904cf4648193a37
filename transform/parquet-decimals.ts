import type { Column } from '../pipeline/staging/tables.js';
import type { ColumnValues } from './batch.js';
import { isList, valueAt } from './batch.js';
import { WIDTH } from './decimals.js';
import { compareInt128, setInt128, toBigint } from './int128.js';
import type { ColumnGatherer } from './parquet-encoder.js';
import { chunkOf, encoderOf } from './parquet-encoder.js';
import { writePage } from './parquet-page.js';

/**
 * Gathers decimals as the bytes that the file will hold. The library takes them as bigints only, whose
 * bytes it makes one by one.
 */
export function gatherDecimals(column: Column, capacity: number): ColumnGatherer {
  // Memory that nobody wrote to takes none: a column without values never touches its zeros.
  const bytes = new Uint8Array(capacity * WIDTH);
  const view = new DataView(bytes.buffer);
  /** 1 where a row has a value. */
  const defined = new Uint8Array(capacity);
  let touched = false;
  let rows = 0;

  return {
    append(values, start, end) {
      const length = end - start;
      if (!isList(values) && values.kind === 'constant' && values.value === null) {
        if (touched) {
          bytes.fill(0, rows * WIDTH, (rows + length) * WIDTH);
          defined.fill(0, rows, rows + length);
        }
        rows += length;
        return;
      }
      touched = true;
      if (isList(values) || values.kind !== 'decimals') {
        for (let row = start; row < end; row++) {
          const units = valueAt(values, row);
          setInt128(view, rows * WIDTH, typeof units === 'bigint' ? units : 0n);
          defined[rows++] = typeof units === 'bigint' ? 1 : 0;
        }
        return;
      }
      bytes.set(values.bytes.subarray(start * WIDTH, end * WIDTH), rows * WIDTH);
      for (let row = 0; row < length; row++) {
        defined[rows + row] = values.texts[start + row] === null ? 0 : 1;
      }
      rows += length;
    },
    gathered: () => gathered(bytes, defined, rows),
    flush(out, compress) {
      const encoder = encoderOf(column, compress);
      const start = out.offset;
      const statistics = statisticsOf(view, defined, rows);
      const nulls = Number(statistics.null_count);
      if (nulls > 0 && column.nullable !== true) {
        throw new Error(`the column ${column.name} has a row without a value`);
      }
      const uncompressed = writePage(out, compress, {
        rows,
        nulls,
        defined: column.nullable === true ? defined.subarray(0, rows) : undefined,
        encoding: 'PLAIN',
        values: nulls === rows ? none : compact(bytes, defined, rows),
      });
      const chunk = chunkOf(encoder, {
        rows,
        start,
        end: out.offset,
        dataPage: start,
        uncompressed,
        encoding: 'PLAIN',
        statistics,
      });
      rows = 0;
      return { chunk };
    },
  };
}

const none = new Uint8Array();

function gathered(bytes: Uint8Array, defined: Uint8Array, rows: number): ColumnValues {
  const view = new DataView(bytes.buffer);
  return {
    kind: 'decimals',
    texts: [],
    bytes: bytes.subarray(0, rows * WIDTH),
    units: (row) => (defined[row] === 1 ? toBigint(view, row * WIDTH) : null),
  };
}

/** The bytes of the rows that have a value, one after the other. */
function compact(bytes: Uint8Array, defined: Uint8Array, rows: number): Uint8Array {
  const first = defined.subarray(0, rows).indexOf(0);
  if (first < 0) return bytes.subarray(0, rows * WIDTH);
  const packed = bytes.slice(0, rows * WIDTH);
  let at = first * WIDTH;
  for (let row = first; row < rows; row++) {
    if (defined[row] !== 1) continue;
    packed.copyWithin(at, row * WIDTH, (row + 1) * WIDTH);
    at += WIDTH;
  }
  return packed.subarray(0, at);
}

function statisticsOf(view: DataView, defined: Uint8Array, rows: number) {
  let nulls = 0;
  let least = -1;
  let most = -1;
  for (let row = 0; row < rows; row++) {
    if (defined[row] !== 1) {
      nulls++;
      continue;
    }
    const at = row * WIDTH;
    if (least < 0) least = most = at;
    else if (compareInt128(view, at, least) < 0) least = at;
    else if (compareInt128(view, at, most) > 0) most = at;
  }
  const null_count = BigInt(nulls);
  return least < 0
    ? { null_count }
    : { null_count, min_value: toBigint(view, least), max_value: toBigint(view, most) };
}
