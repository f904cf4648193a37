import type { Units } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import type { TransformManifest } from '../staging/manifest.js';
import type { Cell } from './comparisons.js';
import { member, noCell, unitsOf } from './comparisons.js';
import type { Entry, GroupOptions } from './customer-groups.js';
import { customersOf } from './customer-groups.js';
import type * as figures from './figures.js';
import type { BreakdownRows, MoneyRows, SliceRows } from './month-rows.js';
import type { Gap, MonthData } from './months.js';

/** How figures are computed. */
export interface ReportOptions extends GroupOptions {
  /** When the report is made. */
  made: Date;
  provisionalDays: number;
  /**
   * What earlier statements told otherwise of a customer's months.
   * @param months those before, oldest first, and the shown one.
   * @param source what the figures of the shown month were made from.
   */
  corrected: (
    customer: string,
    months: readonly ToldMonth[],
    source: string,
  ) => figures.Correction[];
}

/** What a month cost a customer: currency → amount. */
export interface ToldMonth {
  month: Month;
  totals: ReadonlyMap<string, figures.Amount>;
}

/** The rows of a table that are a customer's. */
export type RowsOf = (customer: number) => Uint32Array;

export interface Context {
  data: MonthData;
  options: ReportOptions;
  customers: readonly Entry[];
  now: readonly { slice: SliceRows; rowsOf: RowsOf }[];
  before: readonly { slice: SliceRows; rowsOf: RowsOf }[];
  broken: readonly { organization: string; rows: BreakdownRows; rowsOf: RowsOf }[];
}

/** Brings each customer's rows together, and finds out who the customers are. */
export function contextOf(data: MonthData, options: ReportOptions): Context {
  const { names, shown, previous } = data;
  const customers = customersOf(data, options);
  const customerOf = new Int32Array(names.size).fill(-1);
  for (const [index, { codes }] of customers.entries())
    for (const code of codes) customerOf[code] = index;
  const own = (rows: MoneyRows): RowsOf => byCustomer(rows, customerOf, customers.length);
  const now = shown.slices.map((slice) => ({ slice, rowsOf: own(slice.consumption) }));
  const before = previous.slices.map((slice) => ({ slice, rowsOf: own(slice.consumption) }));
  const broken = shown.slices.flatMap(({ organization, breakdowns: rows }) =>
    rows === undefined ? [] : [{ organization, rows, rowsOf: own(rows) }],
  );
  return { data, options, customers, now, before, broken };
}

/** Sorts rows by customer; those of no customer are left out. */
function byCustomer(rows: MoneyRows, customerOf: Int32Array, customers: number): RowsOf {
  const starts = new Uint32Array(customers + 1);
  const owner = (row: number): number => customerOf[rows.account[row] ?? 0] ?? -1;
  const count = (customer: number, more: number): number => {
    const at = starts[customer] ?? 0;
    starts[customer] = at + more;
    return at;
  };
  for (let row = 0; row < rows.length; row++) if (owner(row) >= 0) count(owner(row) + 1, 1);
  for (let customer = 0; customer < customers; customer++)
    count(customer + 1, starts[customer] ?? 0);
  const order = new Uint32Array(starts[customers] ?? 0);
  // Each start moves on to its own end, which is the next one's start.
  for (let row = 0; row < rows.length; row++)
    if (owner(row) >= 0) order[count(owner(row), 1)] = row;
  return (customer) => order.subarray(customer === 0 ? 0 : starts[customer - 1], starts[customer]);
}

/** A customer's services in a currency, by code. */
export type Services = Map<number, Cell>;

/** Adds up a customer's rows: currency → service → cell. */
export function servicesOf({ now, before }: Context, customer: number): Map<number, Services> {
  const currencies = new Map<number, Services>();
  const cellAt = ({ currency, kind }: MoneyRows, row: number): Cell => {
    const services = member(currencies, currency[row] ?? 0, () => new Map<number, Cell>());
    return member(services, kind[row] ?? 0, noCell);
  };
  for (const { slice, rowsOf } of now) {
    for (const row of rowsOf(customer)) {
      const cell = cellAt(slice.consumption, row);
      cell.rows += 1;
      cell.amount += slice.consumption.amount.at(row) ?? 0n;
    }
  }
  for (const { slice, rowsOf } of before) {
    for (const row of rowsOf(customer)) {
      const cell = cellAt(slice.consumption, row);
      cell.previousRows += 1;
      cell.previous += slice.consumption.amount.at(row) ?? 0n;
    }
  }
  return currencies;
}

export function stateOfSlices({ data, options }: Context): Map<string, figures.State | 'stale'> {
  return new Map(
    data.shown.slices.map(({ organization, manifest }) => [
      organization,
      data.stale.some((one) => one.organization === organization)
        ? 'stale'
        : stateOf(manifest, options.provisionalDays),
    ]),
  );
}

export function stateOf(manifest: TransformManifest, provisionalDays: number): figures.State {
  return isProvisional({ ...manifest, provisionalDays }) ? 'provisional' : 'final';
}

export function totalOf(manifest: TransformManifest, currency: string): Units {
  return amountIn(manifest.consumption.totals, currency);
}

export function amountIn(totals: Readonly<Record<string, string>>, currency: string): Units {
  return unitsOf(Object.hasOwn(totals, currency) ? (totals[currency] ?? '0') : '0');
}

export interface TrendSlices {
  month: Month;
  slices: readonly { organization: string; manifest: TransformManifest }[];
  gaps: readonly Gap[];
}

/** The months of the trend, from the first one of which anything is there. */
export function trendMonths({ earlier, previous, shown }: MonthData): TrendSlices[] {
  const isFirst = [...earlier, ...previous.slices, ...previous.gaps].length === 0;
  return [...earlier, ...(isFirst ? [] : [previous]), shown];
}
