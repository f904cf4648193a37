import type { Units } from '../shared/money.js';
import { divide, formatAmount, parseAmount } from '../shared/money.js';
import type { TransformManifest } from '../staging/manifest.js';
import type * as figures from './figures.js';

/** Bars of a chart; all others are one more. */
const BARS = 10;

/** Movers that are named each way. */
const MOVERS = 5;

/** What a customer's month and the one before hold of a service. */
export interface Cell {
  amount: Units;
  rows: number;
  previous: Units;
  previousRows: number;
}

export function noCell(): Cell {
  return { amount: 0n, rows: 0, previous: 0n, previousRows: 0 };
}

export function addCell(sum: Cell, more: Cell): void {
  sum.amount += more.amount;
  sum.rows += more.rows;
  sum.previous += more.previous;
  sum.previousRows += more.previousRows;
}

export function sumOfCells(cells: Iterable<Cell>): Cell {
  const sum = noCell();
  for (const cell of cells) addCell(sum, cell);
  return sum;
}

export function compared(amount: Units, previous: Units | null): figures.Compared {
  if (previous === null)
    return { amount: formatAmount(amount), previous: null, change: null, ratio: null };
  const change = amount - previous;
  return {
    amount: formatAmount(amount),
    previous: formatAmount(previous),
    change: formatAmount(change),
    ratio: previous === 0n ? null : textOrNull(divide(change, magnitude(previous))),
  };
}

export function shared(amount: Units, previous: Units | null, total: Units): figures.Share {
  return { ...compared(amount, previous), share: shareOf(amount, total) };
}

export function shareOf(amount: Units, total: Units): figures.Ratio | null {
  return total <= 0n ? null : textOrNull(divide(amount, total));
}

/** An amount as text, where there is one. */
export function textOrNull(units: Units | null): string | null {
  return units === null ? null : formatAmount(units);
}

/** The first ten of what is sorted, and the others in one. */
export function barsOf(
  sorted: readonly { name: string; file: string | null; units: Units }[],
  total: Units,
): figures.Bars {
  const others = sorted.slice(BARS);
  const rest = others.reduce((sum, { units }) => sum + units, 0n);
  return {
    bars: sorted.slice(0, BARS).map(({ name, file, units }) => ({
      ...{ name, file, amount: formatAmount(units), share: shareOf(units, total) },
    })),
    others:
      others.length === 0
        ? null
        : { count: others.length, amount: formatAmount(rest), share: shareOf(rest, total) },
  };
}

export interface Moving {
  name: string;
  file: string | null;
  cell: Cell;
}

export function moversOf(all: readonly Moving[]): figures.Movers {
  const side = (moved: readonly Moving[]): figures.MovingSide => {
    const sorted = moved.toSorted(
      (a, b) =>
        compareUnits(magnitude(changeOf(b)), magnitude(changeOf(a))) ||
        compareTexts(a.name, b.name) ||
        compareTexts(a.file ?? '', b.file ?? ''),
    );
    const sum = (of: readonly Moving[]): figures.Amount =>
      formatAmount(of.reduce((units, one) => units + changeOf(one), 0n));
    const others = sorted.slice(MOVERS);
    return {
      count: sorted.length,
      amount: sum(sorted),
      top: sorted.slice(0, MOVERS).map(({ name, file, cell }) => ({
        ...{ name, file },
        ...compared(cell.amount, cell.previous),
        kind: cell.previousRows === 0 ? 'new' : cell.rows === 0 ? 'vanished' : 'changed',
      })),
      others: others.length === 0 ? null : { count: others.length, amount: sum(others) },
    };
  };
  return {
    up: side(all.filter((one) => changeOf(one) > 0n)),
    down: side(all.filter((one) => changeOf(one) < 0n)),
  };
}

function changeOf({ cell }: Moving): Units {
  return cell.amount - cell.previous;
}

/** The largest first, those of one amount by name. */
export function byAmount<T extends { cell: Cell }>(
  nameOf: (one: T) => string,
): (a: T, b: T) => number {
  return (a, b) => compareUnits(b.cell.amount, a.cell.amount) || compareTexts(nameOf(a), nameOf(b));
}

/** Whether two months tell the cost of the same billing view, so that one may be held against the other. */
export function isSameView(
  a: Pick<TransformManifest, 'scope'>,
  b: Pick<TransformManifest, 'scope'>,
): boolean {
  return a.scope.billingViewArn === b.scope.billingViewArn;
}

export function unitsOf(amount: figures.Amount | null): Units {
  return amount === null ? 0n : parseAmount(amount).units;
}

export function magnitude(units: Units): Units {
  return units < 0n ? -units : units;
}

export function compareUnits(a: Units, b: Units): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function member<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let found = map.get(key);
  if (found === undefined) map.set(key, (found = make()));
  return found;
}
