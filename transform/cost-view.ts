import { addMoney } from '../pipeline/shared/sums.js';
import { currencyFault } from '../pipeline/staging/answers.js';
import type { StagedGroup } from '../pipeline/staging/answers.js';
import type { ColumnValues, RowBatch } from '../pipeline/staging/batch.js';
import { addColumn, constant } from '../pipeline/staging/batch.js';
import { createDecimals } from '../pipeline/staging/decimals.js';
import { costViewQuery } from '../pipeline/staging/manifest.js';
import { columnOf, consumption } from '../pipeline/staging/tables.js';
import type { FurtherColumn, RowTally, Stamp } from './columns.js';
import { addAmount, batchOf } from './columns.js';
import { addNames } from './customer-rows.js';
import type { FinishedExtraction, Place } from './staged-pages.js';
import { checkAccountId, checkLength, costPages, metricText, rowFault } from './staged-pages.js';
import { noUsage } from './usage-types.js';

/** What the bill's services cost the reseller, as the organization's second billing view tells it. */
export interface CostView {
  /** Begins the column CostAmount of a page of the bill. @param capacity Rows of the page to make room for. */
  openColumn(capacity: number): CostColumn;
  /** Rows so far that have no cost. */
  onlyBill(): number;
  /**
   * The rows of what stands in this view alone, in AWS's order, after all rows of the bill: their Amount, and every
   * further metric that is asked for, is 0.
   * @param further the columns of money beside Amount that are asked for.
   */
  rest(further: readonly FurtherColumn[], stamp: Stamp): RowBatch;
}

interface CostColumn {
  /** Appends a row of the bill: what it costs, or null where this view has no such cost in its currency. */
  add(account: string, service: string, group: StagedGroup, place: Place): void;
  /** The column, counted and added up in the tally. */
  take(currencies: ColumnValues): ColumnValues;
}

/** A group of this view that no row of the bill has taken yet. */
interface Cost {
  account: string;
  service: string;
  currency: string;
  amount: string;
  estimated: boolean;
  place: Place;
}

/**
 * Reads the whole answer of the cost view; some 300 bytes a group are held until its row is made.
 * @param tally gets its sum, the accounts that it alone has, and the names that it tells.
 * @throws {DataError} naming file and row of a group that is incomplete, no number, or was there before.
 */
export async function readCostView(
  extraction: FinishedExtraction,
  tally: RowTally,
  signal: AbortSignal,
): Promise<CostView> {
  const costs = new Map<string, Cost>();
  const names = new Map<string, string>();
  for await (const page of costPages(extraction, costViewQuery, signal)) {
    addNames(names, page);
    const [accountOf, serviceOf] = [page.keyOf('LINKED_ACCOUNT'), page.keyOf('SERVICE')];
    for (const [index, group] of page.groups.entries()) {
      const place = { where: page.where, row: index + 1 };
      const [account, service] = [accountOf(group, place), serviceOf(group, place)];
      checkAccountId(account, place);
      checkLength(columnOf('consumption', 'Service'), service, place);
      const { amount, unit: currency } = metricText(group, 'UnblendedCost', place);
      const fault = currencyFault(currency);
      if (fault !== undefined) throw rowFault(place, fault);
      const key = keyOf(account, service, currency);
      const former = costs.get(key);
      if (former !== undefined)
        throw rowFault(
          place,
          `repeats service ${JSON.stringify(service)} of account ${account}, which row ${former.place.row} of ${former.place.where} has already`,
        );
      costs.set(key, { account, service, currency, amount, estimated: page.estimated, place });
    }
  }
  let onlyBill = 0;
  return {
    onlyBill: () => onlyBill,
    openColumn(capacity) {
      const values = createDecimals(capacity);
      let rows = 0;
      return {
        add(account, service, group, place) {
          const { unit } = metricText(group, 'UnblendedCost', place);
          const key = keyOf(account, service, unit);
          const cost = costs.get(key);
          costs.delete(key);
          rows++;
          if (cost === undefined) {
            onlyBill++;
            values.addUnits(null);
          } else if (addAmount(values, cost.amount, cost.place)) tally.rounded++;
        },
        take(currencies) {
          const column = values.take();
          addColumn(tally, 'CostAmount', column, currencies, rows);
          return column;
        },
      };
    },
    rest(further, stamp) {
      const rest = [...costs.values()];
      const [zeros, amounts] = [createDecimals(rest.length), createDecimals(rest.length)];
      for (const { amount, place } of rest) {
        zeros.addUnits(0n);
        if (addAmount(amounts, amount, place)) tally.rounded++;
      }
      const [Amount, CostAmount] = [zeros.take(), amounts.take()];
      for (const [row, { account, currency }] of rest.entries()) {
        addMoney(tally, 'CostAmount', currency, CostAmount.units(row) ?? 0n);
        if (!tally.accounts.has(account)) tally.accounts.set(account, '');
      }
      tally.rows += rest.length;
      for (const [account, name] of tally.accounts)
        if (name === '') tally.accounts.set(account, names.get(account) ?? '');
      const na = constant('N/A');
      return batchOf(consumption, rest.length, stamp, {
        ...Object.fromEntries(
          consumption.flatMap(({ name, type }) =>
            type === 'decimal' ? [[name, constant(null)] as const] : [],
          ),
        ),
        ...noUsage,
        Reference: rest.map(({ account }) => account),
        Region: na,
        Service: rest.map(({ service }) => service),
        Category: na,
        SubCategory: na,
        ...Object.fromEntries(further.map(([name]) => [name, Amount])),
        Amount,
        CostAmount,
        Currency: rest.map(({ currency }) => currency),
        Estimated: rest.map(({ estimated }) => estimated),
      });
    },
  };
}

/** Neither an account's id nor a currency has a space in it. */
function keyOf(account: string, service: string, currency: string): string {
  return `${account} ${currency} ${service}`;
}
