import type { ByteWriter } from 'hyparquet-writer';
import { writeColumn } from 'hyparquet-writer/src/column.js';
import { writeDictionaryPage } from 'hyparquet-writer/src/dictionary.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { isList, valueAt } from '../pipeline/staging/batch.js';
import type { ColumnValues } from '../pipeline/staging/batch.js';
import { WIDTH, compareInt128, setInt128, sumInt128, toBigint } from './decimals.js';
import type { ColumnGatherer, Compress, PageData, PageIndexes } from './parquet-encoder.js';
import { chunkOf, encoderOf, packCodes, packFlags, writePage } from './parquet-encoder.js';

const UNKNOWN = 0xffffffff;

/**
 * Gathers texts, dates, times and flags as codes of their distinct values, which most columns have few of:
 * each is encoded and compared once a row group. The library would look at every row of every column.
 */
export function gatherCodes(column: Column, capacity: number): ColumnGatherer {
  // Memory that nobody wrote to takes none: a column of one value never touches its codes, all 0.
  const codes = new Uint32Array(capacity);
  let touched = false;
  let rows = 0;
  let known = new Map<Value, number>();
  /** The batches' own list of values, and which of our codes each of them has. */
  let list: readonly Value[] = [];
  let ours = new Uint32Array(0);

  const learn = (value: Value): number => {
    let code = known.get(value);
    if (code === undefined) known.set(value, (code = known.size));
    return code;
  };
  const follow = (distinct: readonly Value[]): void => {
    if (distinct !== list) {
      list = distinct;
      ours.fill(UNKNOWN);
    }
    if (ours.length >= distinct.length) return;
    const longer = new Uint32Array(2 * distinct.length).fill(UNKNOWN);
    longer.set(ours);
    ours = longer;
  };

  return {
    append(values, start, end) {
      if (isList(values)) {
        touched = true;
        for (let row = start; row < end; row++) codes[rows++] = learn(values[row] ?? null);
      } else if (values.kind === 'constant') {
        const code = learn(values.value);
        touched ||= code !== 0;
        if (touched) codes.fill(code, rows, rows + end - start);
        rows += end - start;
      } else if (values.kind === 'coded') {
        touched = true;
        const { distinct } = values;
        follow(distinct);
        for (let row = start; row < end; row++) {
          const theirs = values.codes[row] ?? 0;
          let code = ours[theirs] ?? UNKNOWN;
          if (code === UNKNOWN) ours[theirs] = code = learn(distinct[theirs] ?? null);
          codes[rows++] = code;
        }
      } else {
        throw new Error(`the column ${column.name} is no decimal`);
      }
    },
    gathered: (): ColumnValues => ({
      kind: 'coded',
      distinct: [...known.keys()],
      codes: codes.subarray(0, rows),
    }),
    flush(out, compress) {
      const gathered = { distinct: [...known.keys()], codes: codes.subarray(0, rows) };
      const written = write(out, compress, column, gathered);
      rows = 0;
      known = new Map();
      list = [];
      ours.fill(UNKNOWN);
      return written;
    },
  };
}

function write(
  out: ByteWriter,
  compress: Compress,
  column: Column,
  { distinct, codes }: { distinct: readonly Value[]; codes: Uint32Array },
): PageIndexes {
  const encoder = encoderOf(column, compress);
  const physical = distinct.map((value) => toPhysical(value, column));
  const flags = column.type === 'boolean';
  // A dictionary of values that hardly repeat would only add its codes to them.
  if (!flags && 2 * distinct.length > codes.length) {
    return writeColumn({
      writer: out,
      column: { ...encoder, encoding: 'PLAIN' },
      pageData: listOf(physical, codes, column),
    });
  }
  const dictionary = physical.filter((value) => value !== null);
  const { places, defined, nulls } = placesOf(physical, codes, flags);
  const start = out.offset;
  let uncompressed = flags ? 0 : writeDictionaryPage(out, encoder, dictionary);
  const dataPage = out.offset;
  const encoding = flags ? 'RLE' : 'RLE_DICTIONARY';
  uncompressed += writePage(out, compress, {
    rows: codes.length,
    defined: column.nullable === true ? defined : undefined,
    nulls,
    encoding,
    values: flags ? packFlags(places) : packCodes(places, dictionary.length),
  });
  const chunk = chunkOf(encoder, {
    rows: codes.length,
    start,
    end: out.offset,
    dataPage,
    uncompressed,
    encoding,
    statistics: { null_count: BigInt(nulls), ...bounds(dictionary) },
  });
  return { chunk };
}

/** The values one by one, with the definition levels of a flat column. */
function listOf(
  physical: readonly (Physical | null)[],
  codes: Uint32Array,
  { nullable = false }: Column,
): PageData {
  const values = Array.from(codes, (code) => physical[code] ?? null);
  return {
    values,
    definitionLevels: nullable ? values.map((value) => (value === null ? 0 : 1)) : [],
    repetitionLevels: [],
    maxDefinitionLevel: nullable ? 1 : 0,
  };
}

/** Where in the dictionary, which has no null, the values of the rows stand; of flags, 1 for true. */
function placesOf(
  physical: readonly (Physical | null)[],
  codes: Uint32Array,
  flags: boolean,
): { places: Uint32Array; defined: Uint8Array; nulls: number } {
  let next = 0;
  const placeOf = physical.map((value) => (value === null ? -1 : flags ? Number(value) : next++));
  const defined = new Uint8Array(codes.length).fill(1);
  if (placeOf.every((place, code) => place === code)) return { places: codes, defined, nulls: 0 };
  const places = new Uint32Array(codes.length);
  let found = 0;
  for (let row = 0; row < codes.length; row++) {
    const place = placeOf[codes[row] ?? 0] ?? -1;
    if (place < 0) defined[row] = 0;
    else places[found++] = place;
  }
  return { places: places.subarray(0, found), defined, nulls: codes.length - found };
}

/** What Parquet holds of a value: UTF-8, days or milliseconds since 1970-01-01, a flag. */
type Physical = Uint8Array | number | bigint | boolean;

const DAY = 86_400_000;

function toPhysical(value: Value, { name, type, nullable = false }: Column): Physical | null {
  if (value === null && nullable) return null;
  if (type === 'string' && typeof value === 'string') return Buffer.from(value);
  if (type === 'date' && typeof value === 'string') return Date.parse(value) / DAY;
  if (type === 'timestamp' && typeof value === 'number') return BigInt(value);
  if (type === 'boolean' && typeof value === 'boolean') return value;
  throw new Error(`the column ${name} cannot hold a ${typeof value}`);
}

function bounds(values: readonly Physical[]): { min_value?: Physical; max_value?: Physical } {
  const [first, ...others] = values;
  if (first === undefined) return {};
  let least = first;
  let most = first;
  for (const value of others) {
    if (isLess(value, least)) least = value;
    if (isLess(most, value)) most = value;
  }
  return { min_value: least, max_value: most };
}

/** Texts are ordered by their bytes (Parquet format, ColumnOrder). */
function isLess(a: Physical, b: Physical): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.compare(a, b) < 0 : a < b;
}

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
    sum: (start, end) => sumInt128(view, start * WIDTH, end * WIDTH),
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
