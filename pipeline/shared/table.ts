import widthOf from 'string-width';
import { parseAmount } from './money.js';
import { printable } from './printable.js';

/** How a table is to look. */
export interface TableLook {
  /** Heads of the columns whose texts may be shortened where there is no room: names, never numbers. */
  names?: readonly string[];
  /** Columns of the terminal; 100 where there is none. */
  width?: number;
}

/** Spaces between two columns. */
const GAP = 2;

/** Columns that a shortened name keeps, the mark of its end among them. */
const SHORTEST = 8;

const graphemes = new Intl.Segmenter();

/** Columns that a terminal shows of a text; most are plain ones, whose every character takes one. */
function stringWidth(text: string): number {
  return /^[ -~]*$/.test(text) ? text.length : widthOf(text);
}

/**
 * A table for people, line by line: no borders, columns by what a terminal shows of a text (wide characters,
 * combining marks, emoji), texts of others printable.
 * @param right heads of the columns that stand to the right, as numbers do.
 */
export function* tableLines(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[],
  { names = [], width = terminalWidth() }: TableLook = {},
): Generator<string> {
  const lines = [head, ...rows.map((row) => row.map(printable))];
  const widths = head.map((_, column) =>
    lines.reduce((most, line) => Math.max(most, stringWidth(line[column] ?? '')), 0),
  );
  shrink(
    widths,
    names.map((name) => head.indexOf(name)),
    width,
  );
  for (const line of lines) {
    const cells = line.map((text, column) => {
      const room = widths[column] ?? 0;
      const cell = shorten(text, room);
      const space = ' '.repeat(room - stringWidth(cell));
      return right.includes(head[column] ?? '') ? space + cell : cell + space;
    });
    yield cells.join(' '.repeat(GAP)).trimEnd();
  }
}

/** The same as one text. */
export function formatTable(...table: Parameters<typeof tableLines>): string {
  return [...tableLines(...table)].join('\n');
}

/** What is taken for the width where no terminal tells one: mails and files are read in one of this width at least. */
const USUAL_WIDTH = 100;

function terminalWidth(): number {
  const { isTTY, columns } = process.stdout;
  return isTTY && columns > 0 ? columns : USUAL_WIDTH;
}

/** Takes room from the widest of the columns that may give some, until the table fits or none has any left. */
function shrink(widths: number[], columns: readonly number[], width: number): void {
  const gaps = GAP * (widths.length - 1);
  let excess = widths.reduce((sum, one) => sum + one, gaps) - width;
  for (; excess > 0; excess -= 1) {
    const widest = columns.reduce(
      (most, column) => ((widths[column] ?? 0) > (widths[most] ?? 0) ? column : most),
      -1,
    );
    const room = widths[widest];
    if (room === undefined || room <= SHORTEST) return;
    widths[widest] = room - 1;
  }
}

/** A text in at most so many columns, its end cut off by whole characters as people see them. */
function shorten(text: string, room: number): string {
  if (stringWidth(text) <= room) return text;
  let kept = '';
  for (const { segment } of graphemes.segment(text)) {
    if (stringWidth(kept + segment) >= room) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Currency → exact sum, in plain decimal notation. */
type Amounts = Readonly<Record<string, string>>;

/**
 * A column of amounts: one currency is said once, in its head, several in every cell.
 * @param cells undefined: no amount, an empty cell.
 */
export function amountColumn(
  head: string,
  cells: readonly (Amounts | undefined)[],
): { head: string; cells: string[] } {
  const currencies = new Set(cells.flatMap((totals) => Object.keys(totals ?? {})));
  const [only] = currencies.size === 1 ? currencies : [];
  return {
    head: only === undefined ? head : `${head} ${printable(only)}`,
    cells: cells.map((totals) => {
      if (totals === undefined) return '';
      const amounts = Object.entries(totals).map(([currency, amount]) =>
        only === undefined ? `${shortAmount(amount)} ${currency}` : shortAmount(amount),
      );
      return amounts.length === 0 ? '0.00' : amounts.join(', ');
    }),
  };
}

/**
 * An amount as people read it: with two decimals, rounded half to even. One that is smaller than that is told
 * exactly, as nothing but nought is 0.00.
 * @param amount in plain decimal notation.
 */
export function shortAmount(amount: string): string {
  // In units of 10^-18, the 10^-16th part of an amount is its cents, rounded.
  const cents = parseAmount(`${amount}e-16`).units;
  if (cents === 0n && parseAmount(amount).units !== 0n) return amount;
  const digits = String(cents < 0n ? -cents : cents).padStart(3, '0');
  return `${cents < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

/** Totals as people read them where every digit counts: each sum with its currency. */
export function amountOf(totals: Amounts): string {
  const sums = Object.entries(totals).map(([currency, amount]) => `${amount} ${currency}`);
  return sums.length === 0 ? '0' : sums.join(', ');
}
