import { writeColumn } from 'hyparquet-writer/src/column.js';
import { writeDataPageV2 } from 'hyparquet-writer/src/datapage.js';
import { writeDictionaryPage } from 'hyparquet-writer/src/dictionary.js';
import type { ByteWriter } from 'hyparquet-writer';
import type { Column, Value } from '../pipeline/staging/tables.js';
import type { ColumnValues } from './batch.js';
import { isList } from './batch.js';
import type { ColumnEncoder, ColumnGatherer, PageData, PageIndexes } from './parquet-encoder.js';
import { chunkOf, encoderOf } from './parquet-encoder.js';

const UNKNOWN = 0xffffffff;

/**
 * Gathers texts, dates, times and flags as codes of their distinct values, which most columns have few of:
 * each is encoded and compared once a row group. The library would look at every row of every column.
 */
export function gatherCodes(column: Column, capacity: number): ColumnGatherer {
  const codes = new Uint32Array(capacity);
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
        for (let row = start; row < end; row++) codes[rows++] = learn(values[row] ?? null);
      } else if (values.kind === 'constant') {
        codes.fill(learn(values.value), rows, (rows += end - start));
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
    gathered: (): ColumnValues => ({
      kind: 'coded',
      distinct: [...known.keys()],
      codes: codes.subarray(0, rows),
    }),
    flush(out, compress) {
      const encoder = encoderOf(column, compress);
      const written = write(out, encoder, column, [...known.keys()], codes.subarray(0, rows));
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
  encoder: ColumnEncoder,
  column: Column,
  distinct: readonly Value[],
  codes: Uint32Array,
): PageIndexes {
  const physical = distinct.map((value) => toPhysical(value, column));
  const flags = column.type === 'boolean';
  // A dictionary of values that hardly repeat would only add its codes to them.
  if (!flags && 2 * distinct.length > codes.length) {
    const values = Array.from(codes, (code) => physical[code]);
    return writeColumn({
      writer: out,
      column: { ...encoder, encoding: 'PLAIN' },
      pageData: pageOf(values, column),
    });
  }
  const start = out.offset;
  const dictionary = physical.filter((value) => value !== null);
  const encoding = flags ? 'RLE' : 'RLE_DICTIONARY';
  let uncompressed = flags ? 0 : writeDictionaryPage(out, encoder, dictionary);
  const dataPage = out.offset;
  const pageData = pageOf(positions(physical, codes, flags), column);
  uncompressed += writeDataPageV2({ writer: out, column: encoder, encoding, pageData });
  const chunk = chunkOf(encoder, {
    rows: codes.length,
    start,
    end: out.offset,
    dataPage,
    uncompressed,
    encoding,
    statistics: {
      null_count: BigInt(codes.length - pageData.definitionLevels.reduce((a, b) => a + b, 0)),
      ...bounds(dictionary),
    },
  });
  return { chunk };
}

/** Each row's place in the dictionary, which has no null; of flags, 1 for true. */
function positions(
  physical: readonly (Physical | null)[],
  codes: Uint32Array,
  flags: boolean,
): Uint32Array | (number | null)[] {
  let next = 0;
  const places = physical.map((value) => (value === null ? null : flags ? Number(value) : next++));
  if (places.every((place, code) => place === code)) return codes;
  return Array.from(codes, (code) => places[code] ?? null);
}

/** A flat column's values with their definition levels. */
function pageOf(values: PageData['values'], { name, nullable = false }: Column): PageData {
  const isNull = (value: unknown): boolean => value === null || value === undefined;
  if (!nullable && Array.isArray(values) && values.some(isNull)) {
    throw new Error(`the column ${name} has a row without a value`);
  }
  return {
    values,
    definitionLevels: nullable ? Array.from(values, (value) => (isNull(value) ? 0 : 1)) : [],
    repetitionLevels: [],
    maxDefinitionLevel: nullable ? 1 : 0,
  };
}

/** What Parquet holds of a value: UTF-8, days or milliseconds since 1970-01-01, a flag. */
type Physical = Uint8Array | number | bigint | boolean;

const DAY = 86_400_000;

function toPhysical(value: Value, { name, type }: Column): Physical | null {
  if (value === null) return null;
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
