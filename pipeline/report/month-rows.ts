import type { SliceInvoices } from '../../load/invoiced-months.js';
import { readInvoices } from '../../load/invoiced-months.js';
import { findSource, readTable } from '../../load/source.js';
import { advice, transformAgain } from '../shared/commands.js';
import { DataError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { Totals } from '../shared/sums.js';
import { formatTotals, noSums, sameTotals } from '../shared/sums.js';
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
  /** The service; of breakdowns, the dimension's value. */
  readonly kind: Uint32Array;
  readonly currency: Uint32Array;
  readonly amount: UnitsColumn;
}

export interface BreakdownRows extends MoneyRows {
  readonly dimension: Uint32Array;
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
  /** Absent where it was not read, or nothing was asked for. */
  breakdowns: BreakdownRows | undefined;
  /** Absent where it was not read. */
  invoices: SliceInvoices | undefined;
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
  const further = moreOfUsage(usage);
  if (cost !== undefined) further.push({ name: 'CostAmount', to: cost });
  const read = { staging, source, names };
  const all = await readMoney(read, 'consumption', 'Service', further);
  return {
    organization: slice.organization,
    manifest,
    accounts,
    consumption: firstRows(all, billedRows(manifest)),
    costs: cost && { ...all, cost },
    usage,
    breakdowns:
      depth === 'shown' && manifest.breakdowns !== undefined
        ? await readBreakdowns(read)
        : undefined,
    invoices: depth === 'shown' ? await readInvoices(staging, source) : undefined,
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

/** A column that is read besides, and where its values go. */
interface FurtherColumn {
  name: string;
  to: Uint32Array | UnitsColumn;
}

function moreOfUsage(usage: UsageColumns | undefined): FurtherColumn[] {
  if (usage === undefined) return [];
  return [
    { name: 'Category', to: usage.usageType },
    { name: 'Region', to: usage.region },
    { name: 'Unit', to: usage.unit },
    { name: 'Quantity', to: usage.quantity },
  ];
}

async function readBreakdowns(read: Read): Promise<BreakdownRows> {
  const dimension = new Uint32Array(tableSums(read.source.manifest, 'breakdowns').rows);
  const further = [{ name: 'Dimension', to: dimension }];
  return { ...(await readMoney(read, 'breakdowns', 'Value', further)), dimension };
}

async function readMoney(
  { staging, source, names }: Read,
  table: 'consumption' | 'breakdowns',
  kind: string,
  further: readonly FurtherColumn[] = [],
): Promise<MoneyRows> {
  const { rows: length } = tableSums(source.manifest, table);
  const rows: MoneyRows = {
    length,
    account: new Uint32Array(length),
    kind: new Uint32Array(length),
    currency: new Uint32Array(length),
    amount: unitsColumn(length),
  };
  const wanted = ['Reference', kind, 'Currency', 'Amount', ...further.map(({ name }) => name)];
  const sums = noSums();
  let start = 0;
  for await (const batch of readTable(staging, source, table, wanted)) {
    const [account, kinds, currency, amount, ...columns] = columnsOf(batch, table, wanted);
    copyCodes(names, account, rows.account, start, batch.length);
    copyCodes(names, kinds, rows.kind, start, batch.length);
    copyCodes(names, currency, rows.currency, start, batch.length);
    copyUnits(amount, rows.amount, start, batch.length);
    if (currency !== undefined) addColumn(sums, 'Amount', amount, currency, batch.length);
    for (const [index, { to }] of further.entries()) {
      if (to instanceof Uint32Array) copyCodes(names, columns[index], to, start, batch.length);
      else copyUnits(columns[index], to, start, batch.length);
    }
    start += batch.length;
  }
  checkTotals(source.manifest, table, sums.totals);
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
  checkTotals(source.manifest, 'consumption', sums.totals);
  return { manifest: source.manifest, totals };
}

/** @throws {DataError} when rows that were read do not add up to what their manifest says. */
function checkTotals(
  manifest: TransformManifest,
  table: 'consumption' | 'breakdowns',
  totals: Totals,
): void {
  const [found, expected] = [formatTotals(totals), tableSums(manifest, table).totals];
  if (sameTotals(found, expected)) return;
  const { month, organization } = manifest;
  throw new DataError(
    `the rows of ${table} of ${organization} for ${month} add up to ${JSON.stringify(found)}, their manifest says ${JSON.stringify(expected)}`,
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
