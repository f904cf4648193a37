import { findSource, readTable } from '../../load/source.js';
import { advice, transformAgain } from '../shared/commands.js';
import type { Breakdown } from '../shared/dimensions.js';
import { DataError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { Totals, TotalsText } from '../shared/sums.js';
import { addMoney, formatTotals, noSums, sameTotals } from '../shared/sums.js';
import type { CodedColumn, RowBatch } from '../staging/batch.js';
import { addColumn, codedAt, valueAt } from '../staging/batch.js';
import { WIDTH, setInt128, toBigint } from '../staging/decimals.js';
import type { Slice, TableName } from '../staging/layout.js';
import type { TransformManifest } from '../staging/manifest.js';
import { billedRows, tableSums } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { columnIndex } from '../staging/tables.js';

/** Texts that rows repeat: each stands here once, and a row holds its number. */
export interface Names {
  codeOf(text: string): number;
  textOf(code: number): string;
  /** How many there are: every code is less. */
  readonly size: number;
}

export function createNames(): Names {
  const codes = new Map<string, number>();
  const texts: string[] = [];
  return {
    codeOf(text) {
      let code = codes.get(text);
      if (code === undefined) codes.set(text, (code = texts.push(text) - 1));
      return code;
    },
    textOf: (code) => texts[code] ?? '',
    get size() {
      return texts.length;
    },
  };
}

/** A column of exact decimals, 17 bytes a row: a million bigints would take three times as much. */
export interface UnitsColumn {
  set(row: number, units: Units | null): void;
  at(row: number): Units | null;
}

export function unitsColumn(rows: number): UnitsColumn {
  const view = new DataView(new ArrayBuffer(rows * WIDTH));
  const isSet = new Uint8Array(rows);
  return {
    set(row, units) {
      isSet[row] = units === null ? 0 : 1;
      if (units !== null) setInt128(view, row * WIDTH, units);
    },
    at: (row) => (isSet[row] === 1 ? toBigint(view, row * WIDTH) : null),
  };
}

/** Rows of money: every text as its code in {@link Names}. */
export interface MoneyRows {
  readonly length: number;
  readonly account: Uint32Array;
  /** The service; in a breakdown, the dimension's value. */
  readonly kind: Uint32Array;
  readonly currency: Uint32Array;
  readonly amount: UnitsColumn;
}

/**
 * What the rows of consumption cost the reseller. The first ones are those of the bill, in its order; those behind
 * them stand in the cost view alone.
 */
export interface CostRows extends MoneyRows {
  /** Null: the cost view has no such cost. */
  readonly cost: UnitsColumn;
}

/** What the detail by usage type tells of each row besides. */
export interface UsageColumns {
  readonly usageType: Uint32Array;
  readonly region: Uint32Array;
  readonly unit: Uint32Array;
  readonly quantity: UnitsColumn;
}

export interface Account {
  name: string;
  status: string;
}

/** One organization's month, as its exports hold it. */
export interface SliceRows {
  organization: string;
  manifest: TransformManifest;
  /** Every account that the table of customers lists, by its code. */
  accounts: ReadonlyMap<number, Account>;
  /** Rows of the bill: those of the cost view alone are none of them. */
  consumption: MoneyRows;
  /** Absent where it was not read, or there is no cost view. */
  costs?: CostRows | undefined;
  /** Absent where it was not read, or the detail is that by service. */
  usage: UsageColumns | undefined;
  /** The breakdown by RECORD_TYPE; absent where it was not read, or was not fetched. */
  charges: MoneyRows | undefined;
}

/**
 * Reads an organization's month: for the month that is shown all of it, for the one before what it is compared
 * by. Memory holds some 60 bytes a row.
 * @throws {DataError} when the exports are missing or altered, or their sums are not the manifest's.
 */
export async function readSlice(
  staging: Staging,
  slice: Slice,
  names: Names,
  depth: 'shown' | 'compared',
): Promise<SliceRows> {
  const source = await findSource(staging, slice);
  const { manifest } = source;
  const accounts = new Map<number, Account>();
  for await (const batch of readTable(staging, source, 'customers', customerColumns)) {
    const [reference, name, status] = columnsOf(batch, 'customers', customerColumns);
    for (let row = 0; row < batch.length; row++) {
      accounts.set(names.codeOf(textAt(reference, row)), {
        name: textAt(name, row),
        status: textAt(status, row),
      });
    }
  }
  const isByUsageType = depth === 'shown' && manifest.scope.detail === 'usage-type';
  const rows = tableSums(manifest, 'consumption').rows;
  const usage = isByUsageType
    ? {
        usageType: new Uint32Array(rows),
        region: new Uint32Array(rows),
        unit: new Uint32Array(rows),
        quantity: unitsColumn(rows),
      }
    : undefined;
  const cost =
    depth === 'shown' && manifest.consumption.costView !== undefined
      ? unitsColumn(rows)
      : undefined;
  const read = { staging, source, names };
  const all = await readConsumption(read, usage, cost);
  return {
    organization: slice.organization,
    manifest,
    accounts,
    consumption: firstRows(all, billedRows(manifest)),
    costs: cost && { ...all, cost },
    usage,
    charges: depth === 'shown' ? await readBreakdown(read, 'RECORD_TYPE') : undefined,
  };
}

function firstRows(rows: MoneyRows, length: number): MoneyRows {
  if (rows.length === length) return rows;
  const { account, kind, currency, amount } = rows;
  const first = (codes: Uint32Array): Uint32Array => codes.subarray(0, length);
  return { length, account: first(account), kind: first(kind), currency: first(currency), amount };
}

/**
 * The accounts that an organization's month lists, as their codes.
 * @throws {DataError} when the exports are missing or altered.
 */
export async function readListed(
  staging: Staging,
  slice: Slice,
  names: Names,
): Promise<Set<number>> {
  const source = await findSource(staging, slice);
  const codes = new Set<number>();
  for await (const batch of readTable(staging, source, 'customers', ['Reference'])) {
    const [reference] = columnsOf(batch, 'customers', ['Reference']);
    for (let row = 0; row < batch.length; row++) codes.add(names.codeOf(textAt(reference, row)));
  }
  return codes;
}

const customerColumns = ['Reference', 'TenantName', 'Status'] as const;

interface Read {
  staging: Staging;
  source: Awaited<ReturnType<typeof findSource>>;
  names: Names;
}

function moneyRows(length: number): MoneyRows {
  return {
    length,
    account: new Uint32Array(length),
    kind: new Uint32Array(length),
    currency: new Uint32Array(length),
    amount: unitsColumn(length),
  };
}

/** The rows of one breakdown, their values as kinds; `undefined` where it was not fetched. */
async function readBreakdown(
  { staging, source, names }: Read,
  dimension: Breakdown,
): Promise<MoneyRows | undefined> {
  const told = source.manifest.breakdowns?.dimensions.find((one) => one.dimension === dimension);
  if (told === undefined) return undefined;
  const rows = moneyRows(told.rows);
  const wanted = ['Dimension', 'Reference', 'Value', 'Currency', 'Amount'];
  const sums = noSums();
  for await (const batch of readTable(staging, source, 'breakdowns', wanted)) {
    const [of, account, value, currency, amount] = columnsOf(batch, 'breakdowns', wanted);
    for (let row = 0; row < batch.length; row++) {
      const units = valueAt(amount, row);
      if (textAt(of, row) !== dimension || typeof units !== 'bigint') continue;
      const at = sums.rows++;
      rows.account[at] = names.codeOf(textAt(account, row));
      rows.kind[at] = names.codeOf(textAt(value, row));
      rows.currency[at] = names.codeOf(textAt(currency, row));
      rows.amount.set(at, units);
      addMoney(sums, 'Amount', textAt(currency, row), units);
    }
  }
  checkTotals(source.manifest, `breakdowns by ${dimension}`, sums.totals, told.totals);
  return rows;
}

const noTotals: Totals = new Map();

async function readConsumption(
  { staging, source, names }: Read,
  usage?: UsageColumns,
  cost?: UnitsColumn,
): Promise<MoneyRows> {
  const table = 'consumption';
  const expected = tableSums(source.manifest, table);
  const rows = moneyRows(expected.rows);
  const wanted = ['Reference', 'Service', 'Currency', 'Amount'];
  if (usage !== undefined) wanted.push('Category', 'Region', 'Unit', 'Quantity');
  if (cost !== undefined) wanted.push('CostAmount');
  const sums = noSums();
  let start = 0;
  for await (const batch of readTable(staging, source, table, wanted)) {
    const [account, kinds, currency, amount, ...further] = columnsOf(batch, table, wanted);
    copyCodes(names, account, rows.account, start, batch.length);
    copyCodes(names, kinds, rows.kind, start, batch.length);
    copyCodes(names, currency, rows.currency, start, batch.length);
    copyUnits(amount, rows.amount, start, batch.length);
    if (currency !== undefined) addColumn(sums, 'Amount', amount, currency, batch.length);
    if (cost !== undefined) {
      const column = batch.columns[columnIndex(table, 'CostAmount')];
      copyUnits(column, cost, start, batch.length);
      if (currency !== undefined) addColumn(sums, 'CostAmount', column, currency, batch.length);
    }
    if (usage !== undefined) {
      const [usageType, region, unit, quantity] = further;
      copyCodes(names, usageType, usage.usageType, start, batch.length);
      copyCodes(names, region, usage.region, start, batch.length);
      copyCodes(names, unit, usage.unit, start, batch.length);
      copyUnits(quantity, usage.quantity, start, batch.length);
    }
    start += batch.length;
  }
  checkTotals(source.manifest, table, sums.totals, expected.totals);
  if (cost !== undefined) {
    const [found = noTotals, said = {}] = [
      sums.columns.get('CostAmount'),
      expected.columns['CostAmount'],
    ];
    checkTotals(source.manifest, `${table}'s CostAmount`, found, said);
  }
  return rows;
}

/** What an organization's month cost each account, by currency: code → code → units. */
export type AccountTotals = ReadonlyMap<number, ReadonlyMap<number, Units>>;

/**
 * Reads of an organization's month only what it cost each account, as a month of the trend needs it.
 * @throws {DataError} as {@link readSlice} does.
 */
export async function readAccountTotals(
  staging: Staging,
  slice: Slice,
  names: Names,
): Promise<{ manifest: TransformManifest; totals: AccountTotals }> {
  const source = await findSource(staging, slice);
  const totals = new Map<number, Map<number, Units>>();
  const sums = noSums();
  const wanted = ['Reference', 'Currency', 'Amount'];
  const own = billedRows(source.manifest);
  let line = 0;
  for await (const batch of readTable(staging, source, 'consumption', wanted)) {
    const [account, currency, amount] = columnsOf(batch, 'consumption', wanted);
    for (let row = 0; row < batch.length; row++) {
      const units = valueAt(amount, row);
      if (line++ >= own || typeof units !== 'bigint') continue;
      const code = names.codeOf(textAt(currency, row));
      const ofCurrency = totals.get(code) ?? new Map<number, Units>();
      totals.set(code, ofCurrency);
      const reference = names.codeOf(textAt(account, row));
      ofCurrency.set(reference, (ofCurrency.get(reference) ?? 0n) + units);
    }
    if (currency !== undefined) addColumn(sums, 'Amount', amount, currency, batch.length);
  }
  const expected = tableSums(source.manifest, 'consumption').totals;
  checkTotals(source.manifest, 'consumption', sums.totals, expected);
  return { manifest: source.manifest, totals };
}

/** @throws {DataError} when rows that were read do not add up to what their manifest says. */
function checkTotals(
  manifest: TransformManifest,
  what: string,
  totals: Totals,
  expected: TotalsText,
): void {
  const found = formatTotals(totals);
  if (sameTotals(found, expected)) return;
  const { month, organization } = manifest;
  throw new DataError(
    `the rows of ${what} of ${organization} for ${month} add up to ${JSON.stringify(found)}, their manifest says ${JSON.stringify(expected)}`,
    advice('make the exports anew with', transformAgain(manifest)),
  );
}

function columnsOf(
  { columns }: RowBatch<CodedColumn>,
  table: TableName,
  wanted: readonly string[],
): (CodedColumn | undefined)[] {
  return wanted.map((name) => columns[columnIndex(table, name)]);
}

function textAt(column: CodedColumn | undefined, row: number): string {
  return String(valueAt(column, row) ?? '');
}

/** A text is looked up once for all rows of a batch that repeat it. */
function copyCodes(
  names: Names,
  column: CodedColumn | undefined,
  to: Uint32Array,
  start: number,
  length: number,
): void {
  if (column?.kind !== 'coded') {
    to.fill(names.codeOf(textAt(column, 0)), start, start + length);
    return;
  }
  const known = new Map<number, number>();
  for (let row = 0; row < length; row++) {
    const own = column.codes[row] ?? 0;
    let code = known.get(own);
    if (code === undefined)
      known.set(own, (code = names.codeOf(String(column.distinct[own] ?? ''))));
    to[start + row] = code;
  }
}

function copyUnits(
  column: CodedColumn | undefined,
  to: UnitsColumn,
  start: number,
  length: number,
): void {
  for (let row = 0; row < length; row++) {
    const units = column?.kind === 'coded' ? codedAt(column, row) : (column?.value ?? null);
    to.set(start + row, typeof units === 'bigint' ? units : null);
  }
}
