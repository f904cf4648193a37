import { Readable, pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { z } from 'zod';
import { checkSums, emptySums, expectedSums, tallied } from '../../load/checks.js';
import type { Sums } from '../../load/driver.js';
import { readCoded } from '../../load/read-parquet.js';
import type { Source } from '../../load/source.js';
import { findSource } from '../../load/source.js';
import { advice, nextRun, transformAgain } from '../shared/commands.js';
import { DataError } from '../shared/errors.js';
import {
  addTo,
  addToNamed,
  formatTotals,
  parseAmount,
  sameNamed,
  sameTotals,
} from '../shared/money.js';
import type { TableName } from '../staging/layout.js';
import { exportKey, transformManifestKey } from '../staging/layout.js';
import type { ExportedFile, TransformManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { digest } from '../staging/staging.js';
import { columnIndex, furtherMoney, tableNames, tables } from '../staging/tables.js';
import type { Layer, LayerName, Report } from './reconcile-findings.js';
import type { FurtherFigures, StagedFigures } from './reconcile-pages.js';

/** What the transform stage left, as far as it can be read. */
export interface ExportedFigures {
  source: Source;
  /** Tables whose Parquet file is whole. */
  intact: readonly TableName[];
  parquet: Layer;
  csv: Layer;
}

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
  const whole = await wholeFiles(staging, report, manifest);
  const intact: TableName[] = [];
  const parquet: Layer = { name: 'Parquet' };
  const csv: Layer = { name: 'CSV' };
  const placeOf = (key: string): string => `${staging.location}/${key}`;
  for (const table of tableNames) {
    const file = source.files[table];
    if (file === undefined) continue;
    if (whole.has(file.key)) {
      const sums = await report.examine('Parquet', () => readBack(staging, source, table, file));
      if (sums !== undefined) {
        record(parquet, table, sums);
        const what = `${table} in Parquet`;
        if (
          await agrees(report, 'Parquet', what, sums, { manifest, table, where: placeOf(file.key) })
        )
          intact.push(table);
      }
    }
    const csvKey = exportKey('csv', table, report.slice);
    if (whole.has(csvKey)) {
      const sums = await report.examine(
        'CSV',
        () => readCsv(staging, csvKey, table),
        placeOf(csvKey),
      );
      if (sums !== undefined) {
        record(csv, table, sums);
        await agrees(report, 'CSV', `${table} in CSV`, sums, {
          manifest,
          table,
          where: placeOf(csvKey),
        });
      }
    }
  }
  return { source, intact, parquet, csv };
}

function compareWithPages(
  staging: Staging,
  report: Report,
  manifest: TransformManifest,
  { extraction, source, pages, further }: StagedFigures,
): void {
  const place = {
    where: `${staging.location}/${transformManifestKey(report.slice)}`,
    ...advice('run', nextRun(['transform', 'load'], report.slice)),
  };
  if (manifest.extraction !== extraction || manifest.source !== source) {
    const older = manifest.extraction === extraction ? 'another state of it' : manifest.extraction;
    report.add('Parquet', `the tables are not made from ${extraction} but from ${older}`, place);
    return;
  }
  const { customers, consumption } = manifest;
  const same =
    (pages.customers === undefined || pages.customers === customers.rows) &&
    (pages.rows === undefined || pages.rows === consumption.rows) &&
    (pages.totals === undefined || sameTotals(pages.totals, consumption.totals));
  if (same) {
    if (further !== undefined && !isSameFurther(further, manifest)) {
      const what = `the manifest says ${JSON.stringify(furtherOf(manifest))} beside that, the staged pages give ${JSON.stringify(further)}`;
      report.add('Parquet', what, { ...place, next: forced(place.next) });
    }
    return;
  }
  report.add(
    'Parquet',
    `the manifest says ${figures(customers.rows, consumption.rows, consumption.totals)}, the staged pages give ${figures(pages.customers, pages.rows, pages.totals)}`,
    { ...place, next: forced(place.next) },
  );
}

function forced(command: string): string {
  return command.replace(' --month', ' --force --month');
}

function furtherOf({ consumption, charges }: TransformManifest): FurtherFigures {
  const { rows = 0, totals = {}, columns = {} } = charges ?? {};
  return { columns: consumption.columns ?? {}, charges: { rows, totals, columns } };
}

function isSameFurther(pages: FurtherFigures, manifest: TransformManifest): boolean {
  const said = furtherOf(manifest);
  return (
    sameNamed(pages.columns, said.columns) &&
    pages.charges.rows === said.charges.rows &&
    sameTotals(pages.charges.totals, said.charges.totals) &&
    sameNamed(pages.charges.columns, said.charges.columns)
  );
}

function figures(
  customers: number | undefined,
  rows: number | undefined,
  totals: Readonly<Record<string, string>> | undefined,
): string {
  return `${customers ?? '?'} customers and ${rows ?? '?'} rows with sum ${JSON.stringify(totals)}`;
}

/** The keys of the files that are there as the manifest says, byte for byte. */
async function wholeFiles(
  staging: Staging,
  report: Report,
  manifest: TransformManifest,
): Promise<Set<string>> {
  const whole = new Set<string>();
  for (const file of tableNames.flatMap((table) => manifest[table]?.files ?? [])) {
    const content = await staging.read(file.key);
    const found = content === undefined ? undefined : await digest(content);
    if (found?.sha256 === file.sha256) {
      whole.add(file.key);
      continue;
    }
    const what =
      found === undefined
        ? 'the file is missing'
        : `the file was altered: it has ${found.bytes} bytes and another sha256 than the ${file.bytes} bytes of its manifest`;
    report.add(file.key.startsWith('csv/') ? 'CSV' : 'Parquet', what, {
      where: `${staging.location}/${file.key}`,
      ...advice('make it anew with', transformAgain(report.slice)),
    });
  }
  return whole;
}

async function readBack(
  staging: Staging,
  { manifest }: Source,
  table: TableName,
  file: ExportedFile,
): Promise<Sums> {
  const sums = emptySums();
  const { rows } = expectedSums(manifest, table);
  const pieces = tallied(table, readCoded(staging, file, table, rows), sums, () => undefined);
  while ((await pieces.next()).done !== true);
  return sums;
}

function record(layer: Layer, table: TableName, { rows, totals }: Sums): void {
  if (table === 'customers') layer.customers = rows;
  else if (table === 'consumption') Object.assign(layer, { rows, totals: formatTotals(totals) });
}

async function agrees(
  report: Report,
  layer: LayerName,
  what: string,
  sums: Sums,
  { manifest, table, where }: { manifest: TransformManifest; table: TableName; where: string },
): Promise<boolean> {
  const check = (): boolean => {
    checkSums(what, manifest, table, sums);
    return true;
  };
  return (await report.examine(layer, check, where)) === true;
}

const cells = z.array(z.string());

/**
 * Reads a staged CSV file back: its rows, and the exact sums of its columns of money. Memory is bounded.
 * @throws {DataError} when it is no such file.
 */
export async function readCsv(staging: Staging, key: string, table: TableName): Promise<Sums> {
  const where = `${staging.location}/${key}`;
  const content = await staging.read(key);
  const sums = emptySums();
  if (content === undefined) throw new DataError('the file is missing', { where });
  const parser = parse({ record_delimiter: '\r\n' });
  // A failure of either end destroys the parser, so that the loop below throws it.
  pipeline(Readable.from(content), parser, () => undefined);
  try {
    let header: string[] | undefined;
    for await (const record of parser) {
      const row = cells.parse(record);
      if (header === undefined) checkHeader((header = row), table, where);
      else count(row, table, sums);
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

function count(row: readonly string[], table: TableName, sums: Sums): void {
  sums.rows++;
  if (table === 'customers') return;
  const cell = (name: string): string => row[columnIndex(table, name)] ?? '';
  const currency = cell('Currency');
  addTo(sums.totals, currency, parseAmount(cell('Amount')).units);
  for (const name of furtherMoney(table)) {
    const text = cell(name);
    if (text !== 'N/A') addToNamed(sums.columns, name, currency, parseAmount(text).units);
  }
}
