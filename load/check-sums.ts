import { DataError } from '../pipeline/errors.js';
import { addTo, formatTotals, sameTotals } from '../pipeline/money.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import type { Batch } from '../pipeline/staging/tables.js';
import { columnIndex } from '../pipeline/staging/tables.js';
import type { Sums } from './driver.js';

/** Rows between two calls of `onPiece`: some tenths of a second. */
const PIECE = 10_000;

/**
 * Passes rows on in pieces, counting them, and adding up consumption, in `sums`. `onPiece` is called
 * before each piece and after the last with the rows passed on so far; what it throws ends the rows.
 */
export async function* tallied(
  table: TableName,
  batches: AsyncIterable<Batch>,
  sums: Sums,
  onPiece: (rows: number) => void,
): AsyncGenerator<Batch, void, undefined> {
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

function* pieces({ length, columns }: Batch): Generator<Batch, void, undefined> {
  for (let start = 0; start < length; start += PIECE) {
    const end = Math.min(start + PIECE, length);
    yield { length: end - start, columns: columns.map((values) => values.slice(start, end)) };
  }
}

function addUp(batch: Batch, sums: Sums): void {
  const amounts = batch.columns[columnIndex('consumption', 'Amount')] ?? [];
  const currencies = batch.columns[columnIndex('consumption', 'Currency')] ?? [];
  for (let row = 0; row < batch.length; row++) {
    addTo(sums.totals, currencies[row] as string, amounts[row] as bigint);
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
