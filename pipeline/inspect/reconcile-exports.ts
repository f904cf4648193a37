import { Readable, pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { z } from 'zod';
import type { Source } from '../../load/source.js';
import { checkSums, findSource, readTable } from '../../load/source.js';
import { advice, nextRun, transformAgain } from '../shared/commands.js';
import { DataError } from '../shared/errors.js';
import { parseAmount } from '../shared/money.js';
import type { Sums } from '../shared/sums.js';
import { describeSums, formatTotals, noSums, sameSums } from '../shared/sums.js';
import type { CodedColumn, RowBatch } from '../staging/batch.js';
import { addRows } from '../staging/batch.js';
import type { TableName } from '../staging/layout.js';
import { exportFormats, exportKey, exportPrefix, transformManifestKey } from '../staging/layout.js';
import type { TransformManifest } from '../staging/manifest.js';
import { tableSums } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { digest } from '../staging/staging.js';
import { columnOf, tableNames, tables } from '../staging/tables.js';
import type { FindingKind, Layer, Report } from './reconcile-findings.js';
import { textAdder } from './reconcile-findings.js';
import type { StagedFigures } from './reconcile-pages.js';

/** What the transform stage left, as far as it can be read. */
export interface ExportedFigures {
  source: Source;
  /** Tables whose Parquet file is whole. */
  intact: readonly TableName[];
  /** The rows of one of those, a row group a batch; none of a table that was not made. */
  rows: TableRows;
  parquet: Layer;
  csv: Layer;
}

type TableRows = (table: TableName) => AsyncIterable<RowBatch<CodedColumn>>;

/**
 * Compares the transform manifest with the current extraction, and each file that it names with its
 * sha256, rows and exact sums, read back.
 */
export async function checkExports(
  staging: Staging,
  report: Report,
  staged: StagedFigures | undefined,
): Promise<ExportedFigures | undefined> {
  const source = await report.examine('Parquet', () => findSource(staging, report.slice));
  if (source === undefined) return undefined;
  const { manifest } = source;
  if (staged !== undefined) compareWithPages(staging, report, manifest, staged);
  const rows = parsedOnce(staging, source);
  const whole = await wholeFiles(staging, report, manifest);
  const intact: TableName[] = [];
  const parquet: Layer = { name: 'Parquet' };
  const csv: Layer = { name: 'CSV' };
  /** Whether the file's rows, read back, are what the manifest says. */
  const agrees = async (
    layer: Layer,
    table: TableName,
    key: string,
    read: () => Promise<Sums>,
  ): Promise<boolean> => {
    if (!whole.has(key)) return false;
    const where = `${staging.location}/${key}`;
    const sums = await report.examine(layer.name, read, where);
    if (sums === undefined) return false;
    if (table === 'customers') layer.customers = sums.rows;
    if (table === 'consumption')
      Object.assign(layer, { rows: sums.rows, totals: formatTotals(sums.totals) });
    const check = (): true => {
      checkSums(`${table} in ${layer.name}`, manifest, table, sums);
      return true;
    };
    return (await report.examine(layer.name, check, where, 'difference')) === true;
  };
  for (const table of tableNames) {
    const key = source.files[table]?.key;
    if (key === undefined) continue;
    if (await agrees(parquet, table, key, () => readBack(rows, table))) intact.push(table);
    const csvKey = exportKey('csv', table, report.slice);
    await agrees(csv, table, csvKey, () => readCsv(staging, csvKey, table));
  }
  return { source, intact, rows, parquet, csv };
}

function compareWithPages(
  staging: Staging,
  report: Report,
  manifest: TransformManifest,
  { extraction, source, pages, consumption, breakdowns, invoices }: StagedFigures,
): void {
  const { slice } = report;
  const add = (kind: FindingKind, what: string, ...flags: string[]): void => {
    report.add(kind, 'Parquet', what, {
      where: `${staging.location}/${transformManifestKey(slice)}`,
      ...advice('run', nextRun(['transform', 'load'], slice, ...flags)),
    });
  };
  if (manifest.extraction !== extraction || manifest.source !== source) {
    const older = manifest.extraction === extraction ? 'another state of it' : manifest.extraction;
    add('fault', `the tables are not made from ${extraction} but from ${older}`);
    return;
  }
  const { customers: rows } = pages;
  const customers = rows === undefined ? undefined : { rows, totals: {}, columns: {} };
  const wrong = Object.entries({ customers, consumption, breakdowns, invoices }).flatMap(
    ([table, found]) => {
      const said = tableSums(manifest, table as TableName);
      return found === undefined || sameSums(found, said)
        ? []
        : [`${table} has ${describeSums(said)}, the staged pages give ${describeSums(found)}`];
    },
  );
  if (wrong.length > 0) add('difference', `by the manifest ${wrong.join('; ')}`, '--force');
}

/** The keys of the files that are there as the manifest says, byte for byte. */
async function wholeFiles(
  staging: Staging,
  report: Report,
  manifest: TransformManifest,
): Promise<Set<string>> {
  const whole = new Set<string>();
  for (const format of exportFormats) {
    const layer = format === 'csv' ? 'CSV' : 'Parquet';
    const add = (key: string, what: string): void => {
      report.add('fault', layer, what, {
        where: `${staging.location}/${key}`,
        ...advice('make it anew with', transformAgain(report.slice)),
      });
    };
    const missing: { table: TableName; key: string }[] = [];
    for (const table of tableNames)
      for (const { key, bytes, sha256 } of manifest[table]?.files ?? []) {
        if (!key.startsWith(exportPrefix(format, table))) continue;
        const content = await staging.read(key);
        if (content === undefined) {
          missing.push({ table, key });
          continue;
        }
        const found = await digest(content);
        if (found.sha256 === sha256) whole.add(key);
        else
          add(
            key,
            `the file was altered: it has ${found.bytes} bytes and another sha256 than the ${bytes} bytes of its manifest`,
          );
      }
    const [first, ...more] = missing;
    if (first === undefined) continue;
    const names = missing.map(({ table }) => table).join(', ');
    add(first.key, more.length === 0 ? 'the file is missing' : `the files of ${names} are missing`);
  }
  return whole;
}

/** Rows of a table that stay in memory once they are parsed: as many as the database is asked for at once. */
const KEPT_ROWS = 10_000;

/** Reads the tables of a slice; the rows of a small one are parsed once, however often they are asked for. */
function parsedOnce(staging: Staging, source: Source): TableRows {
  const kept = new Map<TableName, readonly RowBatch<CodedColumn>[]>();
  return async function* rows(table) {
    const parsed = kept.get(table);
    if (parsed !== undefined) {
      yield* parsed;
      return;
    }
    const batches: RowBatch<CodedColumn>[] = [];
    const isSmall = tableSums(source.manifest, table).rows <= KEPT_ROWS;
    for await (const batch of readTable(staging, source, table)) {
      if (isSmall) batches.push(batch);
      yield batch;
    }
    if (isSmall) kept.set(table, batches);
  };
}

async function readBack(rows: TableRows, table: TableName): Promise<Sums> {
  const sums = noSums();
  for await (const { length, columns } of rows(table))
    addRows(sums, tables[table], length, (index) => columns[index]);
  return sums;
}

const cells = z.array(z.string());

/**
 * Reads a staged CSV file back: its rows, and the exact sums of its columns of money. Memory is bounded.
 * @throws {DataError} when it is no such file.
 */
export async function readCsv(staging: Staging, key: string, table: TableName): Promise<Sums> {
  const where = `${staging.location}/${key}`;
  const content = await staging.read(key);
  const sums = noSums();
  const add = textAdder(table, sums, (text, column) =>
    text === 'N/A' && columnOf(table, column).nullable === true
      ? undefined
      : parseAmount(text).units,
  );
  if (content === undefined) throw new DataError('the file is missing', { where });
  const parser = parse({ record_delimiter: '\r\n' });
  // A failure of either end destroys the parser, so that the loop below throws it.
  pipeline(Readable.from(content), parser, () => undefined);
  try {
    let header: string[] | undefined;
    for await (const record of parser) {
      const row = cells.parse(record);
      if (header === undefined) checkHeader((header = row), table, where);
      else add(row);
    }
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new DataError(`the file is not CSV: ${cause.message}`, { where, cause });
  }
  return sums;
}

function checkHeader(header: readonly string[], table: TableName, where: string): void {
  const names = tables[table].map(({ name }) => name);
  if (names.join() === header.join()) return;
  throw new DataError(`the header is ${header.join()}, not ${names.join()}`, { where });
}
