import { DataError } from '../pipeline/errors.js';
import type { NamedTotals, Totals } from '../pipeline/money.js';
import { fits, PRECISION, SCALE } from '../pipeline/money.js';
import type { FurtherMetric } from '../pipeline/scope.js';
import { furtherMetrics } from '../pipeline/scope.js';
import { currencyFault } from '../pipeline/staging/answers.js';
import type { ColumnValues } from './batch.js';
import { coded, constant } from './batch.js';
import { addAmount, textOf } from './costs.js';
import type { Decimals } from './decimals.js';
import { createDecimals } from './decimals.js';
import type { Group } from './pages.js';
import type { Place } from './rows.js';
import { rowFault } from './rows.js';
import { addColumnSums } from './sums.js';
import { createTerms } from './terms.js';

/** What rows add up to, filled while they are made. */
export interface RowTally {
  rows: number;
  /** Amounts with more than 18 fraction digits, rounded half to even. */
  rounded: number;
  /** The column Amount per currency. */
  totals: Totals;
  /** The other columns of money that hold any value. */
  columns: NamedTotals;
  /** Every account with rows → the name that Cost Explorer gives it, '' without one. */
  accounts: Map<string, string>;
}

/** The columns of a page's rows that hold money, its currency and whether AWS calls it estimated. */
export interface CostColumns {
  /**
   * Appends a row.
   * @throws {DataError} naming file and row of a group that lacks a cost, or has it in two currencies.
   */
  add(group: Group, estimated: boolean, place: Place): void;
  /** The currency of the row that was added last. */
  readonly currency: string;
  /** The columns since the last call, by name; they are counted and added up in the tally. */
  take(): Readonly<Record<string, ColumnValues>> & { Amount: Decimals };
}

/** A further column of money, and the metric that fills it. */
export type FurtherColumn = readonly [name: string, metric: FurtherMetric];

const flags = [false, true] as const;

/** @param capacity Rows of a page to make room for. */
export function createCostColumns(
  further: readonly FurtherColumn[],
  tally: RowTally,
): (capacity: number) => CostColumns {
  const currencies = createTerms((text, place) => {
    const fault = currencyFault(text);
    if (fault !== undefined) throw rowFault(place, fault);
  });
  return (capacity) => {
    const amounts = createDecimals(capacity);
    const others = further.map(([name, metric]) => ({
      name,
      metric,
      values: createDecimals(capacity),
    }));
    const codes = { currency: new Uint32Array(capacity), estimated: new Uint32Array(capacity) };
    let rows = 0;
    let currency = '';
    let last: Place | undefined;
    return {
      get currency() {
        return currency;
      },
      add(group, estimated, place) {
        const { amount, unit } = textOf(group, 'UnblendedCost', place);
        if (addAmount(amounts, amount, place)) tally.rounded++;
        const term = currencies.of(unit, place);
        currency = term.text;
        for (const { metric, values } of others) {
          const cost = textOf(group, metric, place);
          if (cost.unit !== unit) {
            throw rowFault(
              place,
              `has its ${metric} in ${cost.unit}, its UnblendedCost in ${unit}`,
            );
          }
          if (addAmount(values, cost.amount, place)) tally.rounded++;
        }
        codes.currency[rows] = term.index;
        codes.estimated[rows] = estimated ? 1 : 0;
        last = place;
        rows++;
      },
      take() {
        const Currency = coded(currencies.texts, codes.currency.subarray(0, rows));
        const Amount = amounts.take();
        const columns: Record<string, ColumnValues> = Object.fromEntries(
          furtherMetrics.map((metric) => [metric, constant(null)]),
        );
        addColumnSums(tally, 'Amount', Amount, Currency, rows);
        for (const { name, values } of others) {
          const taken = values.take();
          columns[name] = taken;
          addColumnSums(tally, name, taken, Currency, rows);
        }
        tally.rows += rows;
        checkFit(tally, last);
        const Estimated = coded(flags, codes.estimated.subarray(0, rows));
        return { ...columns, Amount, Currency, Estimated };
      },
    };
  };
}

/** @throws {DataError} naming the file with whose rows a sum gets more digits than a database's. */
function checkFit({ totals, columns }: RowTally, last: Place | undefined): void {
  for (const [name, sums] of [['Amount', totals] as const, ...columns]) {
    for (const [currency, sum] of sums) {
      if (fits(sum) || last === undefined) continue;
      throw new DataError(
        `the sum of ${name} in ${currency} up to row ${last.row} does not fit DECIMAL(${PRECISION},${SCALE})`,
        {
          where: last.where,
          next: 'fetch the month again with "pipeline run --stage extract --force"; if it stays so, report it',
        },
      );
    }
  }
}
