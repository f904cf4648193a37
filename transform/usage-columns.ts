import type { Units } from '../pipeline/money.js';
import { divide } from '../pipeline/money.js';
import type { ColumnValues } from './batch.js';
import { coded, constant } from './batch.js';
import { addAmount, textOf } from './costs.js';
import type { Decimals } from './decimals.js';
import { createDecimals } from './decimals.js';
import type { Group } from './pages.js';
import type { Place } from './rows.js';
import { checkLength, columnOf } from './rows.js';
import type { Terms } from './terms.js';
import { createTerms } from './terms.js';

/** The columns of a page's rows that tell quantities; constants in the detail by service. */
export interface UsageColumns {
  /**
   * Appends a row.
   * @returns whether digits past the 18th were dropped.
   * @throws {DataError} naming file and row of a group without an exact quantity.
   */
  add(group: Group, place: Place): boolean;
  /** The columns since the last call, by name. @param amounts the rows' Amount. */
  take(amounts: Decimals): Readonly<Record<string, ColumnValues>>;
}

/** The texts of the column Unit, for all pages of a slice. */
export function unitTerms(): Terms {
  const unit = columnOf('consumption', 'Unit');
  return createTerms((text, place) => {
    checkLength(unit, text, place);
  });
}

/** What the detail by service has for quantities. */
export const noUsage: Readonly<Record<string, ColumnValues>> = {
  Quantity: constant(null),
  Unit: constant('N/A'),
  UnitPrice: constant(null),
  DiscountedAmount: constant(null),
};

/** @param capacity Rows of the page to make room for. */
export function createUsageColumns(units: Terms, capacity: number): UsageColumns {
  const quantities = createDecimals(capacity);
  const prices = createDecimals(capacity);
  const codes = new Uint32Array(capacity);
  let rows = 0;
  return {
    add(group, place) {
      const { amount, unit } = textOf(group, 'UsageQuantity', place);
      codes[rows++] = units.of(unit, place).index;
      return addAmount(quantities, amount, place);
    },
    take(amounts) {
      const Quantity = quantities.take();
      for (let row = 0; row < rows; row++) {
        const unit = units.texts[codes[row] ?? 0] ?? '';
        prices.addUnits(unitPrice(amounts.units(row) ?? 0n, Quantity.units(row) ?? 0n, unit));
      }
      const Unit = coded(units.texts, codes.subarray(0, rows));
      return { Quantity, Unit, UnitPrice: prices.take() };
    },
  };
}

/** Only a quantity of a known unit has a price, and only a cost, not a credit. */
function unitPrice(amount: Units, quantity: Units, unit: string): Units | null {
  if (quantity <= 0n || amount < 0n || unit === 'N/A' || unit === '') return null;
  return divide(amount, quantity);
}
