import { nextRun, shownCommand } from '../shared/commands.js';
import type { InvoiceComparison, InvoicedCurrency } from '../shared/invoice-comparison.js';
import { addComparisons, isRounding } from '../shared/invoice-comparison.js';
import { amountColumn, formatTable } from '../shared/table.js';
import type { Slice } from '../staging/layout.js';

/** An organization's month and its invoices. */
export interface InvoicedSlice extends Slice {
  invoiced: InvoiceComparison;
}

/**
 * The invoices beside the cost for people: a table, the sums of each month, and what each difference is; nothing
 * where invoices were asked for of none.
 */
export function invoiceLines(all: readonly InvoicedSlice[]): string[] {
  const slices = all.filter(({ invoiced }) => invoiced.state !== 'not asked');
  if (slices.length === 0) return [];
  return [table([...slices.flatMap(linesOf), ...sums(slices)]), ...slices.flatMap(notesOf)];
}

interface Line extends Slice {
  state: string;
  of: InvoicedCurrency | undefined;
}

function linesOf({ month, organization, invoiced }: InvoicedSlice): Line[] {
  const { state, currencies } = invoiced;
  const place = { month, organization, state };
  return currencies.length === 0
    ? [{ ...place, of: undefined }]
    : currencies.map((of) => ({ ...place, of }));
}

/** What a month's organizations come to by currency, where there are several. */
function sums(slices: readonly InvoicedSlice[]): Line[] {
  return [...new Set(slices.map(({ month }) => month))].flatMap((month) => {
    const known = slices.filter((one) => one.month === month && one.invoiced.currencies.length > 0);
    const currencies = known.flatMap(({ invoiced }) => invoiced.currencies);
    return [...new Set(currencies.map(({ currency }) => currency))].sort().flatMap((currency) => {
      const own = currencies.filter((one) => one.currency === currency);
      if (own.length < 2) return [];
      return [{ month, organization: 'all', state: '', of: addComparisons(currency, own) }];
    });
  });
}

function table(lines: readonly Line[]): string {
  const column = (head: string, of: (one: InvoicedCurrency) => string | null) =>
    amountColumn(
      head,
      lines.map(({ of: one }) => {
        const amount = one === undefined ? null : of(one);
        return one === undefined || amount === null ? undefined : { [one.currency]: amount };
      }),
    );
  const columns = [
    column('cost', ({ cost }) => cost.total),
    column('without tax', ({ cost }) => cost.beforeTax),
    column('invoices', ({ invoices }) => invoices.total),
    column('credit memos', ({ creditMemos }) => creditMemos.total),
    column('difference', ({ difference }) => difference),
  ];
  const heads = columns.map(({ head }) => head);
  return formatTable(
    ['month', 'organization', ...heads, 'invoices are'],
    lines.map(({ month, organization, state }, index) => [
      ...[month, organization],
      ...columns.map(({ cells }) => cells[index] ?? ''),
      state,
    ]),
    heads,
    { names: ['organization'] },
  );
}

function notesOf({ month, organization, invoiced }: InvoicedSlice): string[] {
  const { state, reasons, uncounted, currencies } = invoiced;
  const again = nextRun([], { month, organization }, '--invoices', '--force');
  const place = `${month} ${organization}`;
  return [
    ...currencies.flatMap((one) => {
      const words = isRounding(one) ? undefined : differenceWords(one);
      return words === undefined ? [] : [`${place}: ${words}`];
    }),
    ...reasons.map((reason) => `${place}: ${reason}`),
    ...(state === 'refused'
      ? [
          `${place}: once AWS allows it, fetch the month again, which costs as much as the first time: "${shownCommand(again)}"`,
        ]
      : []),
    ...uncounted.map(({ id, reason }) => `${place}: ${id} does not count: it ${reason}`),
  ];
}

/** `invoices minus cost is 3.2 USD: tax 1.2, not explained 2`; nothing where both agree, or are not compared. */
export function differenceWords({
  currency,
  difference,
  parts,
  rest,
}: InvoicedCurrency): string | undefined {
  if (difference === null || difference === '0') return undefined;
  const known = parts.map(({ part, amount }) => `${part} ${amount}`);
  const unknown = rest === null || rest === '0' ? [] : [`not explained ${rest}`];
  return `invoices minus cost is ${difference} ${currency}: ${[...known, ...unknown].join(', ')}`;
}
