import { DataError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { addTo, formatNamed, formatTotals, sameNamed, sameTotals } from '../pipeline/money.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { columnIndex, furtherMoney } from '../pipeline/staging/tables.js';
import type { CodedColumn, CodedRows } from './coded.js';
import { sliceRows, valueAt } from './coded.js';
import type { Sums } from './driver.js';

/** No rows. */
export function emptySums(): Sums {
  return { rows: 0, totals: new Map(), columns: new Map() };
}

/** What a manifest says of a table's rows and sums; of one that was not made, that there are none. */
export function expectedSums(manifest: TransformManifest, table: TableName): ManifestSums {
  if (table === 'customers') return { rows: manifest.customers.rows, totals: {}, columns: {} };
  const { rows = 0, totals = {}, columns = {} } = manifest[table] ?? {};
  return { rows, totals, columns };
}

export interface ManifestSums {
  rows: number;
  /** The column Amount per currency. */
  totals: Readonly<Record<string, string>>;
  /** The other columns of money that hold any value. */
  columns: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Rows between two calls of `onPiece`: some tenths of a second. */
const PIECE = 10_000;

/**
 * Passes rows on in pieces, counting them, and adding up their columns of money, in `sums`. `onPiece` is called
 * before each piece and after the last with the rows passed on so far; what it throws ends the rows.
 */
export async function* tallied(
  table: TableName,
  batches: AsyncIterable<CodedRows>,
  sums: Sums,
  onPiece: (rows: number) => void,
): AsyncGenerator<CodedRows, void, undefined> {
  for await (const batch of batches) {
    for (const piece of pieces(batch)) {
      onPiece(sums.rows);
      if (table !== 'customers') addUp(table, piece, sums);
      sums.rows += piece.length;
      yield piece;
    }
  }
  onPiece(sums.rows);
}

function* pieces(rows: CodedRows): Generator<CodedRows, void, undefined> {
  for (let start = 0; start < rows.length; start += PIECE) {
    yield sliceRows(rows, start, Math.min(start + PIECE, rows.length));
  }
}

function addUp(table: TableName, { columns, length }: CodedRows, sums: Sums): void {
  const column = (name: string): CodedColumn | undefined => columns[columnIndex(table, name)];
  const currencies = column('Currency');
  addColumn(sums.totals, column('Amount'), currencies, length);
  for (const name of furtherMoney(table)) {
    const totals: Totals = sums.columns.get(name) ?? new Map<string, bigint>();
    addColumn(totals, column(name), currencies, length);
    if (totals.size > 0) sums.columns.set(name, totals);
  }
}

/** Adds a column of money to the sum of each row's currency; null adds nothing. */
function addColumn(
  totals: Totals,
  amounts: CodedColumn | undefined,
  currencies: CodedColumn | undefined,
  length: number,
): void {
  if (amounts === undefined || currencies === undefined) return;
  if (amounts.codes === undefined && amounts.values[0] === null) return;
  for (let row = 0; row < length; row++) {
    const units = valueAt(amounts, row);
    if (typeof units === 'bigint') addTo(totals, valueAt(currencies, row) as string, units);
  }
}

/**
 * Compares rows, and the exact sum of each column of money and currency, with the manifest.
 * @param what says which rows were counted: `consumption as staged`.
 * @throws {DataError} on any difference.
 */
export function checkSums(
  what: string,
  manifest: TransformManifest,
  table: TableName,
  found: Sums,
): void {
  const expected = expectedSums(manifest, table);
  const sums = {
    rows: found.rows,
    totals: formatTotals(found.totals),
    columns: formatNamed(found.columns),
  };
  if (
    sums.rows === expected.rows &&
    sameTotals(sums.totals, expected.totals) &&
    sameNamed(sums.columns, expected.columns)
  )
    return;
  const describe = ({ rows, totals, columns }: ManifestSums): string =>
    `${rows} rows${table === 'customers' ? '' : ` with sum ${JSON.stringify({ ...totals, ...columns })}`}`;
  throw new DataError(
    `${what}: expected ${describe(expected)}, found ${describe(sums)}; nothing was changed`,
    {
      next: `run "pipeline run --stage transform --stage load --force --month ${manifest.month} --organization ${manifest.organization}"`,
    },
  );
}
