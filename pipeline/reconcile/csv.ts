import { Readable, pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { z } from 'zod';
import { emptySums } from '../../load/check-sums.js';
import type { Sums } from '../../load/driver.js';
import { DataError } from '../errors.js';
import { addTo, addToNamed, parseAmount } from '../money.js';
import type { TableName } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import { columnIndex, furtherMoney, tables } from '../staging/tables.js';

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
