import { parseAmount } from '../pipeline/shared/money.js';
import { addRows } from '../pipeline/staging/batch.js';
import type { RowBatch } from '../pipeline/staging/batch.js';
import type { StagedInvoice } from '../pipeline/staging/answers.js';
import { invoiceFault, invoiceKey, invoiceTexts } from '../pipeline/staging/answers.js';
import type { Value } from '../pipeline/staging/tables.js';
import { invoices } from '../pipeline/staging/tables.js';
import type { RowTally, Stamp } from './columns.js';
import { batchOf, checkFit } from './columns.js';
import type { FinishedExtraction } from './staged-pages.js';
import { invoicesPages, rowFault } from './staged-pages.js';

/**
 * The rows of the table of invoices, a page a batch, in the order in which AWS lists them.
 * @param tally counts them, and adds up their amounts in the base currency.
 * @throws {DataError} when a page is missing, altered or wrong, or names an invoice twice.
 */
export async function* invoicesBatches(
  extraction: FinishedExtraction,
  stamp: Stamp,
  tally: RowTally,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const known = new Set<string>();
  for await (const { where, invoices: listed } of invoicesPages(extraction, signal)) {
    for (const [index, invoice] of listed.entries()) {
      const row = { where, row: index + 1 };
      const fault = invoiceFault(invoice, extraction.slice.month) ?? repetition(invoice, known);
      if (fault !== undefined) throw rowFault(row, fault);
    }
    const batch = batchOf(invoices, listed.length, stamp, valuesOf(listed));
    addRows(tally, invoices, batch.length, (column) => batch.columns[column]);
    checkFit(tally, { where, row: listed.length });
    yield batch;
  }
}

/** A document that stands in the list twice would be counted twice. */
function repetition(invoice: StagedInvoice, known: Set<string>): string | undefined {
  const key = invoiceKey(invoice);
  if (key === undefined) return undefined;
  if (known.has(key)) return `names ${JSON.stringify(invoice.InvoiceId?.slice(0, 80))} once more`;
  known.add(key);
  return undefined;
}

function valuesOf(listed: readonly StagedInvoice[]): Record<string, Value[]> {
  const texts = listed.map(invoiceTexts);
  return Object.fromEntries(
    invoices
      .filter(({ name }) => !stamped.includes(name))
      .map(({ name, type }) => [name, texts.map((of) => valueOf(type, of[name]))]),
  );
}

/** The columns that a slice's rows have alike. */
const stamped: readonly string[] = ['Tag', 'BillingPeriod', 'Organization'];

function valueOf(type: string, text: string | undefined): Value {
  if (type === 'string') return text ?? '';
  if (text === undefined) return null;
  return type === 'decimal' ? parseAmount(text).units : Date.parse(text);
}
