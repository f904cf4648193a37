import type { ByteWriter } from 'hyparquet-writer';
import { writeColumn } from 'hyparquet-writer/src/column.js';
import type { ColumnValues } from '../pipeline/staging/batch.js';
import { isList, valueAt } from '../pipeline/staging/batch.js';
import {
  WIDTH,
  compareInt128,
  setInt128,
  sumInt128,
  toBigint,
} from '../pipeline/staging/decimals.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import type { Compress, Content, Physical, WrittenChunk } from './parquet-chunk.js';
import { encoderOf, packCodes, packFlags, writeChunk } from './parquet-chunk.js';

/** One column's values of a row group, gathered batch by batch. */
export interface ColumnGatherer {
  /** Appends a part of a batch's column. */
  append(values: ColumnValues, start: number, end: number): void;
  /** What was gathered, for counting. */
  gathered(): ColumnValues;
  /** Writes the column chunk of what was gathered, and begins anew. */
  flush(out: ByteWriter, compress: Compress): WrittenChunk;
}

/** @param capacity Rows of a row group at the most. */
export function gatherColumn(column: Column, capacity: number): ColumnGatherer {
  return column.type === 'decimal'
    ? gatherDecimals(column, capacity)
    : gatherCodes(column, capacity);
}

const UNKNOWN = 0xffffffff;

/** Rows that there is room for at first: most months of an organization have no more. */
const FIRST = 1024;

/** Room for so many rows, and for some that may follow. */
function roomFor(rows: number, capacity: number): number {
  let room = FIRST;
  while (room < rows) room *= 8;
  return Math.min(room, capacity);
}

/**
 * Gathers texts, dates, times and flags as codes of their distinct values, which most columns have few of:
 * each is encoded and compared once a row group.
 */
function gatherCodes(column: Column, capacity: number): ColumnGatherer {
  // Memory that nobody wrote to takes none: a column of one value never touches its codes, all 0.
  let codes = new Uint32Array(roomFor(0, capacity));
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
  const gathered = () => ({ distinct: [...known.keys()], codes: codes.subarray(0, rows) });

  return {
    append(values, start, end) {
      if (rows + end - start > codes.length) {
        const longer = new Uint32Array(roomFor(rows + end - start, capacity));
        if (known.size > 1) longer.set(codes.subarray(0, rows));
        codes = longer;
      }
      if (isList(values)) {
        for (let row = start; row < end; row++) codes[rows++] = learn(values[row] ?? null);
      } else if (values.kind === 'constant') {
        const code = learn(values.value);
        if (code !== 0) codes.fill(code, rows, rows + end - start);
        rows += end - start;
      } else if (values.kind === 'coded') {
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
    gathered: (): ColumnValues => ({ kind: 'coded', ...gathered() }),
    flush(out, compress) {
      const written = writeCodes(out, compress, column, gathered());
      if (known.size > 1) codes.fill(0, 0, rows);
      rows = 0;
      known = new Map();
      list = [];
      ours.fill(UNKNOWN);
      return written;
    },
  };
}

function writeCodes(
  out: ByteWriter,
  compress: Compress,
  column: Column,
  { distinct, codes }: { distinct: readonly Value[]; codes: Uint32Array },
): WrittenChunk {
  const physical = distinct.map((value) => toPhysical(value, column));
  const isFlag = column.type === 'boolean';
  // A dictionary of values that hardly repeat would only add its codes to them.
  if (!isFlag && 2 * distinct.length > codes.length) {
    return writeColumn({
      writer: out,
      column: { ...encoderOf(column, compress), encoding: 'PLAIN' },
      pageData: listOf(physical, codes, column),
    });
  }
  const values = physical.filter((value) => value !== null);
  const { places, defined, nulls } = placesOf(physical, codes, isFlag);
  return writeChunk(out, compress, column, {
    rows: codes.length,
    defined,
    nulls,
    ...bounds(values),
    ...(isFlag
      ? { encoding: 'RLE', values: packFlags(places) }
      : {
          encoding: 'RLE_DICTIONARY',
          dictionary: values,
          values: packCodes(places, values.length),
        }),
  });
}

/** The values one by one, with the definition levels of a flat column. */
function listOf(
  physical: readonly (Physical | null)[],
  codes: Uint32Array,
  { nullable = false }: Column,
): Parameters<typeof writeColumn>[0]['pageData'] {
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
  isFlag: boolean,
): { places: Uint32Array; defined: Uint8Array; nulls: number } {
  let next = 0;
  const placeOf = physical.map((value) => (value === null ? -1 : isFlag ? Number(value) : next++));
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

const DAY = 86_400_000;

function toPhysical(value: Value, { name, type, nullable = false }: Column): Physical | null {
  if (value === null && nullable) return null;
  if (type === 'string' && typeof value === 'string') return Buffer.from(value);
  if (type === 'date' && typeof value === 'string') return Date.parse(value) / DAY;
  if (type === 'timestamp' && typeof value === 'number') return BigInt(value);
  if (type === 'boolean' && typeof value === 'boolean') return value;
  throw new Error(`the column ${name} cannot hold a ${typeof value}`);
}

function bounds(values: readonly Physical[]): Pick<Content, 'least' | 'most'> {
  const [first, ...others] = values;
  let [least, most] = [first, first];
  for (const value of others) {
    if (least === undefined || isLess(value, least)) least = value;
    if (most === undefined || isLess(most, value)) most = value;
  }
  return { least, most };
}

/** Texts are ordered by their bytes (Parquet format, ColumnOrder). */
function isLess(a: Physical, b: Physical): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.compare(a, b) < 0 : a < b;
}

/**
 * Gathers decimals as the bytes that the file will hold. The library takes them as bigints only, whose
 * bytes it makes one by one.
 */
function gatherDecimals(column: Column, capacity: number): ColumnGatherer {
  // Memory that nobody wrote to takes none: a column without values never touches its zeros.
  let bytes = new Uint8Array(roomFor(0, capacity) * WIDTH);
  let view = new DataView(bytes.buffer);
  /** 1 where a row has a value. */
  let defined = new Uint8Array(roomFor(0, capacity));
  let rows = 0;

  const reserve = (wanted: number): void => {
    if (wanted <= defined.length) return;
    const [shorter, flags] = [bytes, defined];
    const room = roomFor(wanted, capacity);
    bytes = new Uint8Array(room * WIDTH);
    view = new DataView(bytes.buffer);
    defined = new Uint8Array(room);
    if (!flags.includes(1)) return;
    bytes.set(shorter.subarray(0, rows * WIDTH));
    defined.set(flags.subarray(0, rows));
  };

  return {
    append(values, start, end) {
      const length = end - start;
      reserve(rows + length);
      if (!isList(values) && values.kind === 'decimals') {
        bytes.set(values.bytes.subarray(start * WIDTH, end * WIDTH), rows * WIDTH);
        for (let row = 0; row < length; row++)
          if (values.texts[start + row] !== null) defined[rows + row] = 1;
      } else if (isList(values) || values.kind !== 'constant' || values.value !== null) {
        for (let row = 0; row < length; row++) {
          const units = valueAt(values, start + row);
          if (typeof units !== 'bigint') continue;
          setInt128(view, (rows + row) * WIDTH, units);
          defined[rows + row] = 1;
        }
      }
      rows += length;
    },
    gathered: () => ({
      kind: 'decimals',
      texts: [],
      bytes: bytes.subarray(0, rows * WIDTH),
      units: (row) => (defined[row] === 1 ? toBigint(view, row * WIDTH) : null),
      sum: (start, end) => sumInt128(view, start * WIDTH, end * WIDTH),
    }),
    flush(out, compress) {
      const found = extent(view, defined, rows);
      if (found.nulls > 0 && column.nullable !== true) {
        throw new Error(`the column ${column.name} has a row without a value`);
      }
      const chunk = writeChunk(out, compress, column, {
        rows,
        defined: defined.subarray(0, rows),
        ...found,
        encoding: 'PLAIN',
        values: compact(bytes, defined, rows),
      });
      if (found.nulls < rows) {
        bytes.fill(0, 0, rows * WIDTH);
        defined.fill(0, 0, rows);
      }
      rows = 0;
      return chunk;
    },
  };
}

/** The bytes of the rows that have a value, one after the other. */
function compact(bytes: Uint8Array, defined: Uint8Array, rows: number): Uint8Array {
  const flags = defined.subarray(0, rows);
  /** The first row from `start` on that has the flag. */
  const find = (flag: number, start: number): number => {
    const row = flags.indexOf(flag, start);
    return row < 0 ? rows : row;
  };
  if (find(0, 0) === rows) return bytes.subarray(0, rows * WIDTH);
  const first = find(1, 0);
  if (first === rows) return new Uint8Array();
  const packed = bytes.slice(0, rows * WIDTH);
  let at = 0;
  for (let start = first, end; start < rows; start = find(1, end)) {
    end = find(0, start);
    packed.copyWithin(at, start * WIDTH, end * WIDTH);
    at += (end - start) * WIDTH;
  }
  return packed.subarray(0, at);
}

function extent(
  view: DataView,
  defined: Uint8Array,
  rows: number,
): Pick<Content, 'nulls' | 'least' | 'most'> {
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
  return least < 0
    ? { nulls, least: undefined, most: undefined }
    : { nulls, least: toBigint(view, least), most: toBigint(view, most) };
}
