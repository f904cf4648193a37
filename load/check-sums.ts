import { DataError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { addTo, formatTotals, sameTotals } from '../pipeline/money.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { columnIndex } from '../pipeline/staging/tables.js';
import type { CodedColumn, CodedRows } from './coded.js';
import { sliceRows, valueAt } from './coded.js';
import type { Sums } from './driver.js';

/** Rows between two calls of `onPiece`: some tenths of a second. */
const PIECE = 10_000;

/**
 * Passes rows on in pieces, counting them, and adding up consumption, in `sums`. `onPiece` is called
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
      if (table === 'consumption') addUp(piece, sums);
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

function addUp({ columns, length }: CodedRows, sums: Sums): void {
  const amounts = columns[columnIndex('consumption', 'Amount')];
  const currencies = columns[columnIndex('consumption', 'Currency')];
  addColumn(sums.totals, amounts, currencies, length);
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
 * Compares rows, and for consumption the exact sum of each currency, with the manifest.
 * @param what says which rows were counted: `consumption as staged`.
 * @throws {DataError} on any difference.
 */
export function checkSums(
  what: string,
  manifest: TransformManifest,
  table: TableName,
  found: Sums,
): void {
  const expected = { totals: {}, ...manifest[table] };
  const totals = formatTotals(found.totals);
  if (found.rows === expected.rows && sameTotals(totals, expected.totals)) return;
  const describe = (rows: number, sums: Readonly<Record<string, string>>): string =>
    `${rows} rows${table === 'consumption' ? ` with sum ${JSON.stringify(sums)}` : ''}`;
  throw new DataError(
    `${what}: expected ${describe(expected.rows, expected.totals)}, found ${describe(found.rows, totals)}; nothing was changed`,
    {
      next: `run "pipeline run --stage transform --stage load --force --month ${manifest.month} --organization ${manifest.organization}"`,
    },
  );
}
