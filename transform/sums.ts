import type { NamedTotals, Totals } from '../pipeline/money.js';
import { addTo } from '../pipeline/money.js';
import type { ColumnValues } from './batch.js';
import { isList, valueAt } from './batch.js';
import { WIDTH } from './decimals.js';
import type { Int128Sum } from './int128.js';
import { createSum } from './int128.js';

/** Adds a batch's amounts to the exact sum of each one's currency; rows without an amount add nothing. */
export function addSums(
  totals: Totals,
  amounts: ColumnValues,
  currencies: ColumnValues,
  rows: number,
): void {
  if (isList(amounts) || amounts.kind !== 'decimals') {
    if (!isList(amounts) && amounts.kind === 'constant' && amounts.value === null) return;
    for (let row = 0; row < rows; row++) {
      const units = valueAt(amounts, row);
      if (typeof units === 'bigint') addTo(totals, String(valueAt(currencies, row)), units);
    }
    return;
  }
  const { buffer, byteOffset, byteLength } = amounts.bytes;
  const view = new DataView(buffer, byteOffset, byteLength);
  const sums = new Map<string, Int128Sum>();
  let current = '';
  let sum: Int128Sum | undefined;
  for (let row = 0; row < rows; row++) {
    const currency = valueAt(currencies, row);
    if (sum === undefined || currency !== current) {
      current = String(currency);
      sum = sums.get(current) ?? createSum();
      sums.set(current, sum);
    }
    sum.add(view, row * WIDTH);
  }
  for (const [name, total] of sums) addTo(totals, name, total.total());
}

/**
 * Adds a column of money to the sums of its table: Amount to the totals, any other to those of its name, if
 * it holds any value.
 */
export function addColumnSums(
  sums: { totals: Totals; columns: NamedTotals },
  name: string,
  values: ColumnValues,
  currencies: ColumnValues,
  rows: number,
): void {
  if (name === 'Amount') {
    addSums(sums.totals, values, currencies, rows);
    return;
  }
  const totals: Totals = sums.columns.get(name) ?? new Map<string, bigint>();
  addSums(totals, values, currencies, rows);
  if (totals.size > 0) sums.columns.set(name, totals);
}
