import { advice, fetchAgain, nextRun } from '../pipeline/shared/commands.js';
import { DataError } from '../pipeline/shared/errors.js';
import type { Totals, Units } from '../pipeline/shared/money.js';
import {
  SCALE,
  addTo,
  beyond,
  difference,
  formatAmount,
  formatNamed,
  formatTotals,
  parseAmount,
  sameNamed,
  sameTotals,
} from '../pipeline/shared/money.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { scopeOf } from '../pipeline/staging/manifest.js';
import { columnIndex, furtherMoney } from '../pipeline/staging/tables.js';
import type { CodedColumn, CodedRows, Sums } from './driver.js';
import { sliceRows, valueAt } from './driver.js';

type CheckDifferenceSums = Readonly<Record<string, string>>;

/** What a manifest says of a slice's sums. */
export type Figures = Pick<
  TransformManifest,
  'month' | 'organization' | 'scope' | 'awsTotal' | 'awsMetrics' | 'serviceDifferences'
> & {
  consumption: Pick<TransformManifest['consumption'], 'totals' | 'columns' | 'pairs'>;
  charges?: Pick<NonNullable<TransformManifest['charges']>, 'totals' | 'columns'> | undefined;
};

/**
 * AWS's ungrouped total minus the rows' sums, currency by currency; undefined where the total was not
 * asked for.
 */
export function awsDifference({ awsTotal, consumption }: Figures): CheckDifferenceSums | undefined {
  return awsTotal === undefined || awsTotal === null
    ? undefined
    : difference(awsTotal, consumption.totals);
}

const BY_AWS = 'by AWS';

/** Most services that a message names. */
const NAMED = 5;

/**
 * In words, which services make a difference between AWS's total and the rows, the largest first.
 * @param what `total`, or the name of a further metric.
 */
export function describeServices(
  { serviceDifferences }: Pick<Figures, 'serviceDifferences'>,
  currency: string,
  what = 'total',
): string {
  if (serviceDifferences === undefined) return 'which services make it was not asked for';
  const metric = what === 'total' ? 'UnblendedCost' : what;
  const apart = serviceDifferences.filter(
    (one) => one.metric === metric && one.currency === currency,
  );
  if (apart.length === 0) return "no service makes it: AWS's cost by service is what the rows say";
  const named = apart
    .slice(0, NAMED)
    .map(({ service, difference: of }) => `${JSON.stringify(service)} (${of} ${currency})`);
  const more = apart.length - named.length;
  return `it is made by ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** A total, and what the rows of a table add up to. */
interface Compared {
  /** `total`, or the name of a further metric. */
  what: string;
  /** Who says the total. */
  by: string;
  said: CheckDifferenceSums;
  rows: string;
  sums: CheckDifferenceSums;
}

function* comparedTotals(figures: Figures): Generator<Compared> {
  const { awsTotal, awsMetrics = {}, consumption, charges } = figures;
  const { detail } = scopeOf(figures);
  const ofCharges = charges === undefined ? [] : [{ rows: 'its charges', table: charges }];
  // Without AWS's own total, the two tables are still to tell the same cost.
  const { by, said, metrics, tables } =
    awsTotal === undefined || awsTotal === null
      ? {
          by: 'by its rows',
          said: consumption.totals,
          metrics: consumption.columns ?? {},
          tables: ofCharges,
        }
      : {
          by: BY_AWS,
          said: awsTotal,
          metrics: awsMetrics,
          tables: [{ rows: 'its rows', table: consumption }, ...ofCharges],
        };
  for (const { rows, table } of tables) {
    yield { what: 'total', by, said, rows, sums: table.totals };
    for (const [metric, ofMetric] of Object.entries(metrics)) {
      const columns = table.columns ?? {};
      const sums =
        columns[metric] ??
        (metric === 'BlendedCost' && detail === 'usage-type' && table === consumption
          ? columns['DiscountedAmount']
          : undefined);
      if (sums !== undefined) yield { what: metric, by, said: ofMetric, rows, sums };
    }
  }
}

/**
 * Refuses a slice that lies further from one of AWS's own totals than the tolerance: of the month, by each
 * metric; or, by usage type, of a usage type in a service or an account. Where AWS's total was not asked
 * for, the charges are held against the rows.
 * @param tolerance units of 10^-18 of the currency.
 * @throws {DataError} naming organization, total, sum and difference.
 */
export function checkDifference(figures: Figures, tolerance: Units): void {
  const { month, organization } = figures;
  const fault = (what: string, apart: string, services = ''): DataError =>
    new DataError(
      `${what}: a difference of ${apart}, more than the tolerance of ${formatAmount(tolerance)}${services}`,
      {
        ...advice(
          'fetch the month again with',
          fetchAgain(figures),
          ', or take the difference with --tolerance',
        ),
      },
    );
  for (const { what, by, said, rows, sums } of comparedTotals(figures)) {
    const differences = difference(said, sums);
    const [currency] = beyond(differences, tolerance);
    if (currency === undefined) continue;
    const amount = (of: CheckDifferenceSums): string => `${of[currency] ?? '0'} ${currency}`;
    throw fault(
      `${organization}'s ${what} of ${month} is ${amount(said)} ${by}, ${rows} add up to ${amount(sums)}`,
      amount(differences),
      by === BY_AWS ? `; ${describeServices(figures, currency, what)}` : '',
    );
  }
  const largest = figures.consumption.pairs?.largest ?? null;
  if (largest === null) return;
  const { units } = parseAmount(largest.difference);
  if ((units < 0n ? -units : units) <= tolerance) return;
  const { usageType, service, account, currency } = largest;
  throw fault(
    `${organization}'s usage type ${JSON.stringify(usageType)} of ${service === null ? `account ${account ?? ''}` : JSON.stringify(service)} in ${month} is not what its rows add up to`,
    `${largest.difference} ${currency}`,
  );
}

/** No rows. */
export function emptySums(): Sums {
  return { rows: 0, totals: new Map(), columns: new Map() };
}

/** What a manifest says of a table's rows and sums; of one that was not made, that there are none. */
export function expectedSums(manifest: TransformManifest, table: TableName): ManifestSums {
  if (table === 'customers') return { rows: manifest.customers.rows, totals: {}, columns: {} };
  const { rows = 0, totals = {}, columns = {} } = manifest[table] ?? {};
  return { rows, totals, columns };
}

export interface ManifestSums {
  rows: number;
  /** The column Amount per currency. */
  totals: Readonly<Record<string, string>>;
  /** The other columns of money that hold any value. */
  columns: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Rows between two calls of `onPiece`: some tenths of a second. */
const PIECE = 10_000;

/**
 * Passes rows on in pieces, counting them, and adding up their columns of money, in `sums`. `onPiece` is called
 * before each piece and after the last with the rows passed on so far; what it throws ends the rows.
 */
export async function* tallied(
  table: TableName,
  batches: AsyncIterable<CodedRows>,
  sums: Sums,
  onPiece: (rows: number) => void,
): AsyncGenerator<CodedRows, void, undefined> {
  for await (const batch of batches) {
    for (const piece of pieces(batch)) {
      onPiece(sums.rows);
      if (table !== 'customers') addUp(table, piece, sums);
      sums.rows += piece.length;
      yield piece;
    }
  }
  onPiece(sums.rows);
}

function* pieces(rows: CodedRows): Generator<CodedRows, void, undefined> {
  for (let start = 0; start < rows.length; start += PIECE) {
    yield sliceRows(rows, start, Math.min(start + PIECE, rows.length));
  }
}

function addUp(table: TableName, { columns, length }: CodedRows, sums: Sums): void {
  const column = (name: string): CodedColumn | undefined => columns[columnIndex(table, name)];
  const currencies = column('Currency');
  addColumn(sums.totals, column('Amount'), currencies, length);
  for (const name of furtherMoney(table)) {
    const totals: Totals = sums.columns.get(name) ?? new Map<string, bigint>();
    addColumn(totals, column(name), currencies, length);
    if (totals.size > 0) sums.columns.set(name, totals);
  }
}

/** Adds a column of money to the sum of each row's currency; null adds nothing. */
function addColumn(
  totals: Totals,
  amounts: CodedColumn | undefined,
  currencies: CodedColumn | undefined,
  length: number,
): void {
  if (amounts === undefined || currencies === undefined) return;
  if (amounts.codes === undefined && amounts.values[0] === null) return;
  for (let row = 0; row < length; row++) {
    const units = valueAt(amounts, row);
    if (typeof units === 'bigint') addTo(totals, valueAt(currencies, row) as string, units);
  }
}

/**
 * Compares rows, and the exact sum of each column of money and currency, with the manifest.
 * @param what says which rows were counted: `consumption as staged`.
 * @throws {DataError} on any difference.
 */
export function checkSums(
  what: string,
  manifest: TransformManifest,
  table: TableName,
  found: Sums,
): void {
  const expected = expectedSums(manifest, table);
  const sums = {
    rows: found.rows,
    totals: formatTotals(found.totals),
    columns: formatNamed(found.columns),
  };
  if (
    sums.rows === expected.rows &&
    sameTotals(sums.totals, expected.totals) &&
    sameNamed(sums.columns, expected.columns)
  )
    return;
  const describe = ({ rows, totals, columns }: ManifestSums): string =>
    `${rows} rows${table === 'customers' ? '' : ` with sum ${JSON.stringify({ ...totals, ...columns })}`}`;
  throw new DataError(
    `${what}: expected ${describe(expected)}, found ${describe(sums)}; nothing was changed`,
    {
      ...advice('run', nextRun(['transform', 'load'], manifest, '--force')),
    },
  );
}

const SPACE = 0x20;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** Digits that are added up as plain numbers: so many of them, as often as `FOLD`, stay below 2^53. */
const DIGITS = 10;
const FOLD = 100_000;
const powers = Array.from({ length: DIGITS + 1 }, (_, digits) => 10 ** digits);

/**
 * Adds up amounts in plain notation, exactly.
 * @param amounts separated by single spaces.
 * @param parse reads what is longer than ten digits before or after the point, or no amount.
 */
export function sumTexts(amounts: string, parse: (amount: string) => Units): Units {
  let units = 0n;
  let whole = 0;
  let fraction = 0;
  let added = 0;
  const fold = (): void => {
    units +=
      BigInt(whole) * 10n ** BigInt(SCALE) + BigInt(fraction) * 10n ** BigInt(SCALE - DIGITS);
    whole = fraction = added = 0;
  };
  for (let start = 0; start <= amounts.length;) {
    const negative = amounts.charCodeAt(start) === MINUS;
    const first = negative ? start + 1 : start;
    const point = digitsEnd(amounts, first);
    const hasPoint = amounts.charCodeAt(point) === POINT;
    const end = hasPoint ? digitsEnd(amounts, point + 1) : point;
    const wholes = point - first;
    const fractions = hasPoint ? end - point - 1 : 0;
    const ends = end === amounts.length || amounts.charCodeAt(end) === SPACE;
    if (ends && wholes > 0 && wholes <= DIGITS && fractions <= DIGITS) {
      const sign = negative ? -1 : 1;
      whole += sign * digitsAt(amounts, first, point);
      if (fractions > 0) {
        fraction += sign * digitsAt(amounts, point + 1, end) * (powers[DIGITS - fractions] ?? 1);
      }
      if (++added === FOLD) fold();
      start = end + 1;
      continue;
    }
    const space = amounts.indexOf(' ', start);
    const stop = space < 0 ? amounts.length : space;
    units += parse(amounts.slice(start, stop));
    start = stop + 1;
  }
  fold();
  return units;
}

function digitsEnd(text: string, start: number): number {
  let at = start;
  for (let code = text.charCodeAt(at); code >= ZERO && code <= ZERO + 9;) {
    code = text.charCodeAt(++at);
  }
  return at;
}

function digitsAt(text: string, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) value = value * 10 + text.charCodeAt(at) - ZERO;
  return value;
}
