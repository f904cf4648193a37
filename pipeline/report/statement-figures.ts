import type { Units } from '../shared/money.js';
import { divide, formatAmount } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { sha256Of } from '../staging/staging.js';
import { customerBreakdowns } from './breakdown-figures.js';
import type { Cell } from './comparisons.js';
import {
  barsOf,
  byAmount,
  compareTexts,
  compareUnits,
  compared,
  isSameView,
  member,
  moversOf,
  noCell,
  shared,
  sumOfCells,
} from './comparisons.js';
import type { Context, Services } from './context.js';
import { servicesOf, stateOf, stateOfSlices, trendMonths } from './context.js';
import type { Entry } from './customer-groups.js';
import type * as figures from './figures.js';
import type { SliceRows } from './month-rows.js';
import type { MonthData } from './months.js';

/** Every figure of a customer's statement. */
export function statementFigures(
  context: Context,
  month: figures.MonthFigures,
  index: number,
): figures.StatementFigures {
  const { data, options, customers } = context;
  const entry = customers[index];
  if (entry === undefined) throw new Error(`there is no customer ${index}`);
  const { names, shown, previous } = data;
  const currencies = servicesOf(context, index);
  if (currencies.size === 0)
    currencies.set(names.codeOf(month.currencies[0]?.currency ?? ''), new Map());
  const own = shown.slices.filter(({ organization }) => entry.organizations.has(organization));
  const isOtherView = (others: readonly SliceRows[]): boolean =>
    own.some((one) => !isOneSeries(one, others));
  const fetched = own.map(({ manifest }) => manifest.fetched).sort();
  const states = stateOfSlices(context);
  const isFinal = own.every(({ organization }) => states.get(organization) === 'final');
  const trend = customerMonths(context, index);
  const source = sourceOf(own);
  return {
    ...{ month: shown.month, previousMonth: previous.month, made: month.made, source },
    key: entry.key,
    state: isFinal ? 'final' : 'provisional',
    finalFrom: month.finalFrom,
    fetched: fetched[0] ?? month.fetched.oldest,
    ...{ id: entry.id, name: entry.name, file: entry.file, accounts: entry.accounts },
    missingAccounts: entry.missing,
    uncompared: entry.isCompared
      ? null
      : previous.slices.length === 0
        ? `There are no figures of ${previous.month}.`
        : isOtherView(previous.slices)
          ? `The figures of ${previous.month} are of another kind than those of ${shown.month}.`
          : `Not all figures of ${previous.month} and ${shown.month} are there.`,
    currencies: [...currencies]
      .map(([code, services]) =>
        statementCurrency(context, { index, entry, code, services, trend }),
      )
      .sort(
        (a, b) => b.services.length - a.services.length || compareTexts(a.currency, b.currency),
      ),
    corrections:
      entry.missing.length > 0
        ? []
        : options.corrected(
            entry.key,
            trend.flatMap(({ month: told, totals }) =>
              totals === null ? [] : [{ month: told, totals: textTotals(data, totals) }],
            ),
            source,
          ),
  };
}

/** The extractions that an exports' manifest names, and their contents. */
function sourceOf(slices: readonly SliceRows[]): string {
  const lines = slices.map(
    ({ organization, manifest }) => `${organization} ${manifest.extraction} ${manifest.source}\n`,
  );
  return sha256Of(new TextEncoder().encode(lines.join(''))).slice(0, 16);
}

/** Whether an organization's month, where it is among others, tells the cost of the same billing view. */
function isOneSeries(
  { organization, manifest }: Pick<SliceRows, 'organization' | 'manifest'>,
  others: readonly Pick<SliceRows, 'organization' | 'manifest'>[],
): boolean {
  return others.every(
    (one) => one.organization !== organization || isSameView(one.manifest, manifest),
  );
}

/** What a month cost a customer, by currency's code; null where its figures are not there, or not all of them. */
interface CustomerMonth {
  month: Month;
  state: figures.State | 'missing';
  totals: ReadonlyMap<number, Units> | null;
}

function customerMonths(context: Context, index: number): CustomerMonth[] {
  const { data, options, customers } = context;
  const entry = customers[index];
  const months = trendMonths(data);
  const states = stateOfSlices(context);
  const accounts = entry?.all ?? [];
  /** Those too that had its accounts before they moved. */
  const organizations = new Set([
    ...(entry?.organizations ?? []),
    ...data.earlier.flatMap(({ slices }) =>
      slices
        .filter(({ totals }) =>
          [...totals.values()].some((amounts) => accounts.some((code) => amounts.has(code))),
        )
        .map(({ organization }) => organization),
    ),
  ]);
  return months.map(({ month, slices, gaps }): CustomerMonth => {
    const own = slices.filter(({ organization }) => organizations.has(organization));
    const totals = customerTotals(context, index, month);
    const isShown = month === data.shown.month;
    const isWhole =
      slices.length > 0 &&
      !gaps.some(({ organization }) => organizations.has(organization)) &&
      // What another billing view tells is no part of one series.
      own.every((one) => isOneSeries(one, data.shown.slices)) &&
      // Nothing of it, and not all is there: it may be where nothing is known of.
      (isShown || totals.size > 0 || gaps.length === 0) &&
      (isShown || !accounts.some((code) => data.elsewhere.get(month)?.has(code)));
    if (!isWhole) return { month, state: 'missing', totals: null };
    const isFinal = own.every(({ organization, manifest }) =>
      isShown
        ? states.get(organization) === 'final'
        : stateOf(manifest, options.provisionalDays) === 'final',
    );
    return {
      month,
      state: isFinal ? 'final' : 'provisional',
      totals,
    };
  });
}

function customerTotals(context: Context, index: number, month: Month): Map<number, Units> {
  const { data, customers, now, before } = context;
  const totals = new Map<number, Units>();
  const add = (code: number, units: Units): void => {
    totals.set(code, (totals.get(code) ?? 0n) + units);
  };
  const rows =
    month === data.shown.month ? now : month === data.previous.month ? before : undefined;
  for (const { slice, rowsOf } of rows ?? [])
    for (const row of rowsOf(index))
      add(slice.consumption.currency[row] ?? 0, slice.consumption.amount.at(row) ?? 0n);
  if (rows !== undefined) return totals;
  const earlier = data.earlier.find((one) => one.month === month);
  for (const { totals: ofSlice } of earlier?.slices ?? []) {
    for (const [code, accounts] of ofSlice) {
      for (const account of customers[index]?.all ?? []) {
        const units = accounts.get(account);
        if (units !== undefined) add(code, units);
      }
    }
  }
  return totals;
}

function textTotals(
  { names }: MonthData,
  totals: ReadonlyMap<number, Units>,
): Map<string, figures.Amount> {
  return new Map([...totals].map(([code, units]) => [names.textOf(code), formatAmount(units)]));
}

interface StatementPart {
  index: number;
  entry: Entry;
  code: number;
  services: Services;
  trend: readonly CustomerMonth[];
}

function statementCurrency(context: Context, part: StatementPart): figures.StatementCurrency {
  const { data } = context;
  const { names } = data;
  const { entry, code, services, trend } = part;
  const { isCompared } = entry;
  const sum = sumOfCells(services.values());
  const usage = usageOf(context, part);
  const sorted = [...services]
    .map(([service, cell]) => ({ code: service, service: names.textOf(service), cell }))
    .sort(
      (a, b) =>
        Number(a.cell.rows === 0) - Number(b.cell.rows === 0) ||
        byAmount<typeof a>(({ service }) => service)(a, b),
    );
  const before = (cell: Cell): Units | null => (isCompared ? cell.previous : null);
  return {
    currency: names.textOf(code),
    total: compared(sum.amount, before(sum)),
    accounts: accountsFigures(context, part, sum.amount),
    services: sorted.map(({ code: service, service: name, cell }) => ({
      service: name,
      ...shared(cell.amount, before(cell), sum.amount),
      usage: usage.get(service) ?? [],
    })),
    topServices: barsOf(
      sorted
        .filter(({ cell }) => cell.rows > 0)
        .map(({ service, cell }) => ({ name: service, file: null, units: cell.amount })),
      sum.amount,
    ),
    movingServices: isCompared
      ? moversOf(sorted.map(({ service, cell }) => ({ name: service, file: null, cell })))
      : null,
    trend: trend.map(({ month, state, totals }) => ({
      ...{ month, state },
      amount: totals === null ? null : formatAmount(totals.get(code) ?? 0n),
    })),
    breakdowns: customerBreakdowns(context, part.index, code, sum.amount),
  };
}

function accountsFigures(
  { now, before }: Context,
  { index, entry, code }: StatementPart,
  total: Units,
): figures.StatementCurrency['accounts'] {
  const cells = new Map<number, Cell>(entry.codes.map((account) => [account, noCell()]));
  const each = (of: Context['now'], add: (cell: Cell, units: Units) => void): void => {
    for (const { slice, rowsOf } of of) {
      const { account, currency, amount } = slice.consumption;
      for (const row of rowsOf(index)) {
        const cell = cells.get(account[row] ?? 0);
        if (cell !== undefined && currency[row] === code) add(cell, amount.at(row) ?? 0n);
      }
    }
  };
  each(now, (cell, units) => (cell.amount += units));
  each(before, (cell, units) => (cell.previous += units));
  return entry.codes.map((account, place) => {
    const cell = cells.get(account) ?? noCell();
    const { account: id = '', name = '', status = '' } = entry.accounts[place] ?? {};
    return {
      ...{ account: id, name, status },
      ...shared(cell.amount, entry.isCompared ? cell.previous : null, total),
    };
  });
}

interface Usage {
  usageType: number;
  region: number;
  unit: number;
  quantity: Units | null;
  amount: Units;
}

/** A customer's usage types, by service: those of several accounts are added up. */
function usageOf(
  { data, now }: Context,
  { index, code }: StatementPart,
): Map<number, figures.UsageFigures[]> {
  const services = new Map<number, Map<string, Usage>>();
  for (const { slice, rowsOf } of now) {
    const { consumption, usage } = slice;
    if (usage === undefined) continue;
    for (const row of rowsOf(index)) {
      if (consumption.currency[row] !== code) continue;
      const usageType = usage.usageType[row] ?? 0;
      const region = usage.region[row] ?? 0;
      const unit = usage.unit[row] ?? 0;
      const lines = member(services, consumption.kind[row] ?? 0, () => new Map<string, Usage>());
      const line = member(lines, `${usageType} ${region} ${unit}`, () => ({
        ...{ usageType, region, unit },
        quantity: null,
        amount: 0n,
      }));
      const quantity = usage.quantity.at(row);
      if (quantity !== null) line.quantity = (line.quantity ?? 0n) + quantity;
      line.amount += consumption.amount.at(row) ?? 0n;
    }
  }
  const orNull = (text: string): string | null => (text === 'N/A' ? null : text);
  const { names } = data;
  return new Map(
    [...services].map(([service, lines]) => [
      service,
      [...lines.values()]
        .map((line) => ({
          ...line,
          usageType: names.textOf(line.usageType),
          region: names.textOf(line.region),
          unit: orNull(names.textOf(line.unit)),
        }))
        .sort(
          (a, b) =>
            compareUnits(b.amount, a.amount) ||
            compareTexts(a.usageType, b.usageType) ||
            compareTexts(a.region, b.region),
        )
        .map(({ usageType, region, unit, quantity, amount }): figures.UsageFigures => ({
          usageType,
          region: orNull(region),
          quantity: quantity === null ? null : formatAmount(quantity),
          unit,
          price: priceOf(amount, quantity, unit),
          amount: formatAmount(amount),
        })),
    ]),
  );
}

/** A price as the column UnitPrice has it, see `pipeline/staging/tables.ts`. */
function priceOf(amount: Units, quantity: Units | null, unit: string | null): string | null {
  if (quantity === null || quantity === 0n || unit === null || amount < 0n) return null;
  const price = divide(amount, quantity);
  return price === null ? null : formatAmount(price);
}
