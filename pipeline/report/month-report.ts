import { formatAmount } from '../shared/money.js';
import type { Context, ReportOptions } from './context.js';
import { contextOf } from './context.js';
import type { Entry } from './customer-groups.js';
import type * as figures from './figures.js';
import { monthFigures } from './month-figures.js';
import type { MoneyRows, SliceRows } from './month-rows.js';
import type { MonthData } from './months.js';
import { statementFigures } from './statement-figures.js';

/**
 * Computes every figure of a month's page, its statements and its workbook, exactly.
 * @throws {UsageError} naming an account of a group that no month has.
 * @throws {DataError} when customers, services and organizations do not add up to the same.
 */
export function monthReport(data: MonthData, options: ReportOptions): figures.MonthReport {
  const { names } = data;
  const context = contextOf(data, options);
  const { customers, now, broken } = context;
  const month = monthFigures(context);
  return {
    figures: month,
    *statements(files) {
      for (const [index, customer] of customers.entries())
        if (files?.has(customer.file) !== false) yield statementFigures(context, month, index);
    },
    *consumption() {
      for (const [index, customer] of customers.entries())
        for (const { slice, rowsOf } of now)
          for (const row of rowsOf(index)) yield consumptionRow(context, customer, slice, row);
    },
    *breakdowns() {
      for (const [index, customer] of customers.entries()) {
        for (const { organization, rows, rowsOf } of broken) {
          for (const row of rowsOf(index)) {
            yield {
              ...placeOf(context, customer, rows, row),
              organization,
              dimension: names.textOf(rows.dimension[row] ?? 0),
              value: names.textOf(rows.kind[row] ?? 0),
            };
          }
        }
      }
    },
  };
}

function consumptionRow(
  context: Context,
  entry: Entry,
  { organization, consumption, usage }: SliceRows,
  row: number,
): figures.ConsumptionRow {
  const { names } = context.data;
  const text = (codes: Uint32Array | undefined): string | null => {
    const found = codes === undefined ? 'N/A' : names.textOf(codes[row] ?? 0);
    return found === 'N/A' ? null : found;
  };
  const quantity = usage?.quantity.at(row) ?? null;
  return {
    ...placeOf(context, entry, consumption, row),
    organization,
    service: names.textOf(consumption.kind[row] ?? 0),
    usageType: text(usage?.usageType),
    region: text(usage?.region),
    quantity: quantity === null ? null : formatAmount(quantity),
    unit: text(usage?.unit),
  };
}

function placeOf(
  { data }: Context,
  { name, accounts }: Entry,
  rows: MoneyRows,
  row: number,
): Pick<figures.BreakdownRow, 'customer' | 'account' | 'accountName' | 'amount' | 'currency'> {
  const account = data.names.textOf(rows.account[row] ?? 0);
  return {
    customer: name,
    account,
    accountName: accounts.find((one) => one.account === account)?.name ?? '',
    amount: formatAmount(rows.amount.at(row) ?? 0n),
    currency: data.names.textOf(rows.currency[row] ?? 0),
  };
}
