import type { AsyncBuffer, FileMetaData, RowGroup, SchemaElement } from 'hyparquet';
import { parquetMetadataAsync, parquetRead } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { Knex } from 'knex';
import { z } from 'zod';
import { advice, transformAgain } from '../pipeline/shared/commands.js';
import { DataError, PipelineError } from '../pipeline/shared/errors.js';
import { SCALE, formatAmount, parseAmount } from '../pipeline/shared/money.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import type { ExportedFile } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAll } from '../pipeline/staging/staging.js';
import type { Batch, Column, Value } from '../pipeline/staging/tables.js';
import { DECIMAL, tables } from '../pipeline/staging/tables.js';
import type { CodedColumn, CodedRows, Dialect } from './driver.js';
import { decodeRows, textOf, writeColumn } from './driver.js';
import { LINE, columnNames, sliceKey } from './schema.js';

/**
 * Reads a staged Parquet file of the standard profile, a row group a batch, with exact decimals.
 * @param rows what its manifest says; a file of a few kilobytes may hold any number.
 * @throws {DataError} when it is not such a file, lacks a byte of its declared length, or holds another
 * number of rows, before any of them is handed out.
 */
export async function* readParquet(
  staging: Staging,
  file: ExportedFile,
  table: TableName,
  rows: number,
): AsyncGenerator<Batch, void, undefined> {
  for await (const coded of readCoded(staging, file, table, rows)) yield decodeRows(coded);
}

/** The same as columns of values and codes; a row group of no rows is left out. */
export async function* readCoded(
  staging: Staging,
  file: ExportedFile,
  table: TableName,
  rows: number,
): AsyncGenerator<CodedRows, void, undefined> {
  const where = `${staging.location}/${file.key}`;
  try {
    const buffer = rangeReader(staging, file, where);
    const metadata = withRawDecimals(await parquetMetadataAsync(buffer));
    const columns = tables[table];
    checkSchema(metadata, columns, where);
    checkRows(metadata, rows, where);
    for (const group of metadata.row_groups) {
      const length = Number(group.num_rows);
      if (length === 0) continue;
      const held = await holdGroup(buffer, group);
      const alone: FileMetaData = { ...metadata, row_groups: [group] };
      const found: CodedColumn[] = [];
      for (const column of columns) {
        found.push(await readColumn(held, alone, column, length, where));
      }
      yield { length, columns: found };
    }
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    throw new DataError('the Parquet file cannot be read', { where, ...remake, cause });
  }
}

/** @throws {DataError} when the footer counts other rows than the manifest, in the file, a row group or a column. */
function checkRows(metadata: FileMetaData, rows: number, where: string): void {
  const counts = metadata.row_groups.map(({ num_rows }) => num_rows);
  const held = counts.reduce((sum, count) => sum + count, 0n);
  const fault = (what: string): DataError =>
    new DataError(`the Parquet file ${what}`, { where, ...remake });
  if (held !== BigInt(rows)) throw fault(`holds ${held} rows, its manifest says ${rows}`);
  if (metadata.num_rows !== held || counts.some((count) => count < 0n))
    throw fault(`counts ${metadata.num_rows} rows, its row groups hold ${counts.join(', ')}`);
  for (const { columns, num_rows: count } of metadata.row_groups) {
    for (const { meta_data: column } of columns) {
      if (column === undefined || column.num_values === count) continue;
      const name = column.path_in_schema.join('.');
      throw fault(`holds ${column.num_values} values of column ${name} for ${count} rows`);
    }
  }
}

function rangeReader(staging: Staging, file: ExportedFile, where: string): AsyncBuffer {
  return {
    byteLength: file.bytes,
    async slice(start, end = file.bytes) {
      const content = await staging.read(file.key, { start, end });
      const bytes = content === undefined ? undefined : await readAll(content);
      if (bytes?.length !== end - start) {
        throw new DataError('the Parquet file ends too early', { where, ...remake });
      }
      return new Uint8Array(bytes).buffer;
    },
  };
}

/** Reads a row group's bytes at once, whose columns are then read one by one. */
async function holdGroup(file: AsyncBuffer, group: RowGroup): Promise<AsyncBuffer> {
  let [first, last] = [Infinity, 0];
  for (const { meta_data: column } of group.columns) {
    if (column === undefined) continue;
    // hyparquet takes a dictionary's place of 0, as some writers give it, for none.
    const start = Number(column.dictionary_page_offset || column.data_page_offset);
    first = Math.min(first, start);
    last = Math.max(last, start + Number(column.total_compressed_size));
  }
  const bytes = await file.slice(first, last);
  return {
    byteLength: file.byteLength,
    slice: (start, end = file.byteLength) =>
      start < first || end > last
        ? file.slice(start, end)
        : bytes.slice(start - first, end - first),
  };
}

const DAY = 86_400_000;
const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads a column of a file's only row group. hyparquet gives a dictionary's values to its parsers once
 * each, and then puts what they return into the rows: here the value's place in a list.
 * @param metadata with the schema of `withRawDecimals`.
 * @param rows of the row group, at least one.
 * @throws {DataError} on a value that the column cannot hold, or on too few or too many values.
 */
export async function readColumn(
  file: AsyncBuffer,
  metadata: FileMetaData,
  column: Column,
  rows: number,
  where: string,
): Promise<CodedColumn> {
  const { name, type, length } = column;
  const values: Value[] = type === 'boolean' ? [false, true] : [];
  const keep = (value: Value): number => values.push(value) - 1;
  const fault = (what: string): DataError =>
    new DataError(`the Parquet file ${what} column ${name}`, { where, ...remake });
  const readText = (bytes: Uint8Array): string => {
    const value = text.decode(bytes);
    // Characters are counted only when the UTF-16 units, never fewer, are too many.
    if (length !== undefined && value.length > length && Array.from(value).length > length) {
      throw fault(`holds a text of more than ${length} characters in`);
    }
    return value;
  };
  const parse = type === 'decimal' ? unitsOf : readText;
  const codes = new Uint32Array(rows);
  let filled = 0;
  let nothing: number | undefined;
  const codeOf = (found: unknown): number => {
    if (typeof found === 'number') return found;
    if (typeof found === 'boolean') return found ? 1 : 0;
    if (column.nullable !== true || (found !== null && found !== undefined)) {
      throw fault('holds a wrong value in');
    }
    return (nothing ??= keep(null));
  };
  const chunks: (readonly unknown[])[] = [];
  await parquetRead({
    file,
    metadata,
    columns: [name],
    compressors,
    parsers: {
      stringFromBytes: (bytes: Uint8Array | undefined) => bytes && keep(parse(bytes)),
      dateFromDays: (days: number | null | undefined) =>
        days == null ? days : keep(new Date(days * DAY).toISOString().slice(0, 10)),
      timestampFromMilliseconds: (value: bigint | null | undefined) =>
        value == null ? value : keep(Number(value)),
    },
    onChunk: ({ columnData }) => chunks.push(columnData as unknown as readonly unknown[]),
  });
  for (const chunk of chunks) {
    if (filled + chunk.length > rows) throw fault('holds too many values in');
    for (const found of chunk) codes[filled++] = codeOf(found);
  }
  if (filled !== rows) throw fault('holds too few values in');
  return packed(values, codes);
}

/** Without codes where every row holds the same. */
function packed(values: readonly Value[], codes: Uint32Array): CodedColumn {
  const first = codes[0] ?? 0;
  return codes.every((code) => code === first)
    ? { values: [values[first] ?? null], codes: undefined }
    : { values, codes };
}

const scratch = new Uint8Array(16);
const halves = new DataView(scratch.buffer);

/** The number that 16 bytes hold, big-endian two's complement (Parquet format, DECIMAL). */
function unitsOf(bytes: Uint8Array): bigint {
  for (let index = 0; index < 16; index++) scratch[index] = bytes[index] ?? 0;
  const high = halves.getBigInt64(0);
  const low = halves.getBigUint64(8);
  return high === 0n ? low : (high << 64n) | low;
}

/** Rows that are read at once. */
const PIECE = 10_000;

/** Stands for null, which no text in a database equals. */
export const NULL = '\0';

/** A row as the database holds it: its number in the slice, and each declared column in plain text. */
export interface StoredRow {
  line: number;
  texts: readonly string[];
}

const stored = z.array(
  z.looseObject({ [LINE]: z.number() }).catchall(z.union([z.string(), z.number(), z.null()])),
);

/** The slice's rows in the order of their lines, in pieces that are never empty. */
export async function* readRows(
  knex: Knex,
  table: TableName,
  slice: Slice,
): AsyncGenerator<StoredRow[], void, undefined> {
  const columns = tables[table];
  let last: number | undefined;
  for (;;) {
    const query = knex(table).where(sliceKey(slice)).orderBy(LINE).limit(PIECE);
    if (last !== undefined) void query.andWhere(LINE, '>', last);
    const answer: unknown = await query.select(columnNames(table));
    const rows = stored.parse(answer);
    if (rows.length === 0) return;
    last = rows.at(-1)?.[LINE];
    yield rows.map((row) => ({
      line: row[LINE],
      texts: columns.map((column) => canonical(row[column.name] ?? null, column)),
    }));
    if (rows.length < PIECE) return;
  }
}

/** Amounts without the zeros that a server adds; what is no amount stays as it is. */
function canonical(value: string | number | null, { type }: Column): string {
  if (value === null) return NULL;
  const text = String(value);
  if (type !== 'decimal') return text;
  try {
    const { units, rounded } = parseAmount(text);
    return rounded ? text : formatAmount(units);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return text;
  }
}

/** The texts that a batch's values have once they are stored, column by column. */
export function storedTexts(table: TableName, batch: Batch, dialect: Dialect): string[][] {
  return tables[table].map((column, index) =>
    writeColumn(batch.columns[index] ?? [], NULL, textOf(column, dialect)),
  );
}

/** What to do about a Parquet file that is not as it should be. */
export const remake = advice('make it anew with', transformAgain());

/**
 * hyparquet turns a declared DECIMAL into a float. Declared as texts, the decimals' bytes come out as they
 * are, to the parser of texts.
 */
export function withRawDecimals(metadata: FileMetaData): FileMetaData {
  const raw = ({ logical_type, ...element }: SchemaElement): SchemaElement =>
    element.type === 'FIXED_LEN_BYTE_ARRAY' &&
    (element.converted_type === 'DECIMAL' || logical_type?.type === 'DECIMAL')
      ? { ...element, converted_type: 'UTF8' }
      : { ...element, ...(logical_type === undefined ? {} : { logical_type }) };
  return { ...metadata, schema: metadata.schema.map(raw) };
}

function isDeclared(element: SchemaElement, column: Column): boolean {
  const { type, converted_type: converted, logical_type: logical } = element;
  switch (column.type) {
    case 'string':
      return type === 'BYTE_ARRAY' && (converted === 'UTF8' || logical?.type === 'STRING');
    case 'decimal':
      return (
        type === 'FIXED_LEN_BYTE_ARRAY' &&
        element.type_length === 16 &&
        element.scale === DECIMAL.scale
      );
    case 'date':
      return type === 'INT32' && converted === 'DATE';
    case 'timestamp':
      return (
        type === 'INT64' &&
        (converted === 'TIMESTAMP_MILLIS' ||
          (logical?.type === 'TIMESTAMP' && logical.unit === 'MILLIS'))
      );
    case 'boolean':
      return type === 'BOOLEAN';
  }
}

/** @throws {DataError} when the file's columns are not the declared ones. */
export function checkSchema(
  metadata: FileMetaData,
  columns: readonly Column[],
  where: string,
): void {
  const elements = metadata.schema.slice(1);
  const wrong = columns.find((column, index) => {
    const element = elements[index];
    return element?.name !== column.name || !isDeclared(element, column);
  });
  if (wrong === undefined && elements.length === columns.length) return;
  const fault = wrong === undefined ? 'it has more columns' : `its column ${wrong.name} differs`;
  throw new DataError(`the Parquet file is not of this version's standard profile: ${fault}`, {
    where,
    ...remake,
  });
}

/**
 * Passes items on, asking for the next one while the consumer still works on the one before: at most one
 * is ready and unused.
 */
export async function* ahead<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const item = await next;
      if (item.done === true) return;
      next = iterator.next();
      // Its failure is thrown when its turn comes, and is no one's before.
      next.catch(() => undefined);
      yield item.value;
    }
  } finally {
    await next.catch(() => undefined);
    await iterator.return?.();
  }
}

/** A column put into writing; codes as in {@link CodedColumn}. */
export interface WrittenColumn<Nothing> {
  readonly column: Column;
  readonly texts: readonly (string | Nothing)[];
  readonly codes: Uint32Array | undefined;
}

/** What stands for a row's value. */
export function textAt<Nothing>(
  { texts, codes }: Pick<WrittenColumn<Nothing>, 'texts' | 'codes'>,
  row: number,
): string | Nothing {
  // A code is always a place in the list.
  return texts[codes === undefined ? 0 : (codes[row] ?? 0)] as string | Nothing;
}

/** How a database reads values. */
export interface Writing<Nothing> {
  dialect: Dialect;
  /** Stands for null. */
  nothing: Nothing;
  /** Makes a value's plain text safe where it is put. */
  escape?: (text: string, column: Column) => string;
}

/**
 * Puts rows into writing, each value once for all the rows that follow one another with the same list
 * of values.
 */
export function createWriter<Nothing extends string | null>(
  table: TableName,
  writing: Writing<Nothing>,
): (rows: CodedRows) => WrittenColumn<Nothing>[] {
  const known = new WeakMap<CodedColumn['values'], (string | Nothing)[]>();
  return ({ columns }) =>
    tables[table].map((column, index) => {
      const { values, codes } = columns[index] ?? absent;
      let texts = known.get(values);
      if (texts === undefined) known.set(values, (texts = write(column, values, writing)));
      return { column, texts, codes };
    });
}

const absent: CodedColumn = { values: [], codes: undefined };

function write<Nothing>(
  column: Column,
  values: readonly Value[],
  { dialect, nothing, escape }: Writing<Nothing>,
): (string | Nothing)[] {
  const texts = plainTexts(column, values, dialect);
  return values.map((value, index) => {
    if (value === null) return nothing;
    const text = texts[index] ?? '';
    return escape === undefined ? text : escape(text, column);
  });
}

/** Texts of the values; of null, any. */
function plainTexts(column: Column, values: readonly Value[], dialect: Dialect): string[] {
  if (column.type === 'decimal') {
    return decimalTexts(values.map((value) => (typeof value === 'bigint' ? value : 0n)));
  }
  const text = textOf(column, dialect);
  return values.map((value) => (value === null ? '' : text(value)));
}

/** Fraction digits of nearly every amount of AWS; whole numbers of them are counted exactly below. */
const DIGITS = 10;
const UNIT = 10 ** (SCALE - DIGITS);
/** Up to here a number divided by `UNIT` is off by less than one. */
const LIMIT = 2 ** 50;
/** Sign, whole part, point and fraction of a number below `LIMIT`. */
const LONGEST = 1 + 6 + 1 + DIGITS;

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/**
 * Writes amounts as `formatAmount` does. Amounts of up to ten fraction digits, below 112,000, are
 * written with plain numbers, in a third of the time of a bigint's own digits.
 * @param units each in units of 10^-18.
 */
export function decimalTexts(units: readonly bigint[]): string[] {
  const bytes = Buffer.allocUnsafe(units.length * LONGEST);
  const ends = new Uint32Array(units.length);
  let at = 0;
  units.forEach((value, index) => {
    const count = countOf(value);
    if (count !== undefined) at = writeCount(bytes, at, count);
    ends[index] = at;
  });
  const all = bytes.toString('latin1', 0, at);
  let start = 0;
  return units.map((value, index) => {
    const text = all.slice(start, ends[index]);
    start = ends[index] ?? 0;
    return text === '' ? formatAmount(value) : text;
  });
}

/** The amount in units of 10^-10, if it is a whole number of them below `LIMIT`. */
function countOf(units: bigint): number | undefined {
  const count = Math.round(Number(units) / UNIT);
  // Off by less than 2 × 10^8, it is exact when the lowest 32 bits are.
  return Math.abs(count) < LIMIT && Math.imul(count, UNIT) === Number(BigInt.asIntN(32, units))
    ? count
    : undefined;
}

/** @returns where the text ends. */
function writeCount(bytes: Buffer, start: number, count: number): number {
  let at = start;
  if (count < 0) bytes[at++] = MINUS;
  const size = Math.abs(count);
  const whole = Math.floor(size / 10 ** DIGITS);
  const fraction = size - whole * 10 ** DIGITS;
  at = writeDigits(bytes, at, whole, digitsOf(whole));
  if (fraction === 0) return at;
  bytes[at++] = POINT;
  const upper = Math.floor(fraction / 100_000);
  at = writeDigits(bytes, at, upper, 5);
  at = writeDigits(bytes, at, fraction - upper * 100_000, 5);
  while (bytes[at - 1] === ZERO) at--;
  return at;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let limit = 10; value >= limit; limit *= 10) digits++;
  return digits;
}

function writeDigits(bytes: Buffer, start: number, value: number, digits: number): number {
  let rest = value | 0;
  for (let at = start + digits - 1; at >= start; at--) {
    const tenth = (rest / 10) | 0;
    bytes[at] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return start + digits;
}
