import { parseAmount } from '../pipeline/shared/money.js';
import { addRows } from '../pipeline/staging/batch.js';
import type { RowBatch } from '../pipeline/staging/batch.js';
import type { StagedInvoice } from '../pipeline/staging/answers.js';
import { invoiceFault, invoiceTexts } from '../pipeline/staging/answers.js';
import type { Value } from '../pipeline/staging/tables.js';
import { invoices } from '../pipeline/staging/tables.js';
import type { RowTally, Stamp } from './columns.js';
import { batchOf } from './columns.js';
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
      const fault = invoiceFault(invoice, extraction.slice.month);
      if (fault !== undefined) throw rowFault(row, fault);
      if (known.has(invoice.InvoiceId)) throw rowFault(row, 'names an invoice once more');
      known.add(invoice.InvoiceId);
    }
    const batch = batchOf(invoices, listed.length, stamp, valuesOf(listed));
    addRows(tally, invoices, batch.length, (column) => batch.columns[column]);
    yield batch;
  }
}

function valuesOf(listed: readonly StagedInvoice[]): Record<string, Value[]> {
  const texts = listed.map(invoiceTexts);
  return Object.fromEntries(
    invoices
      .filter(({ name }) => name !== 'BillingPeriod' && name !== 'Organization')
      .map(({ name, type }) => [name, texts.map((of) => valueOf(type, of[name]))]),
  );
}

function valueOf(type: string, text: string | undefined): Value {
  if (type === 'string') return text ?? '';
  if (text === undefined) return null;
  return type === 'decimal' ? parseAmount(text).units : Date.parse(text);
}
