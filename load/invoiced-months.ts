import type { InvoiceComparison, InvoiceDocument } from '../pipeline/shared/invoice-comparison.js';
import { compareInvoices, withoutInvoices } from '../pipeline/shared/invoice-comparison.js';
import { formatAmount, parseAmount } from '../pipeline/shared/money.js';
import type { Totals, TotalsText } from '../pipeline/shared/sums.js';
import { addTo } from '../pipeline/shared/sums.js';
import { valueAt } from '../pipeline/staging/batch.js';
import type { Staging } from '../pipeline/staging/staging.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { columnIndex, tables } from '../pipeline/staging/tables.js';
import type { Source } from './source.js';
import { readTable } from './source.js';

/** An invoice as the table has it. */
export interface ListedInvoice extends InvoiceDocument {
  /** Every column by its name, as text; null where there is no value. */
  row: Readonly<Record<string, string | null>>;
}

/** A slice's invoices, and what they are beside its cost. */
export interface SliceInvoices {
  comparison: InvoiceComparison;
  /** In the order of the table. */
  listed: readonly ListedInvoice[];
}

/**
 * Reads what a slice's exports say of its invoices, and of its cost by charge type and billing entity where that was
 * asked for. Memory holds the invoices.
 * @throws {DataError} when a file is missing or altered.
 */
export async function readInvoices(staging: Staging, source: Source): Promise<SliceInvoices> {
  const { manifest } = source;
  const { scope, refused, consumption, awsTotal } = manifest;
  const refusal = refused.find(({ part }) => part === 'invoices');
  if (refusal !== undefined) {
    const said = `${refusal.message} (${refusal.error})`;
    return { comparison: withoutInvoices('refused', said), listed: [] };
  }
  if (!scope.invoices) return { comparison: withoutInvoices('not asked'), listed: [] };
  const listed: ListedInvoice[] = [];
  for await (const { length, columns } of readTable(staging, source, 'invoices')) {
    for (let index = 0; index < length; index++)
      listed.push(listedOf((name) => valueAt(columns[columnIndex('invoices', name)], index)));
  }
  const byValue = await readBreakdowns(staging, source);
  const marketplace: Totals = new Map();
  for (const [entity, totals] of byValue.get('BILLING_ENTITY') ?? [])
    if (/marketplace/i.test(entity))
      for (const [currency, units] of totals) addTo(marketplace, currency, units);
  const view = scope.billingViewArn;
  const comparison = compareInvoices(
    manifest,
    {
      totals: unitsOf(awsTotal ?? consumption.totals),
      chargeTypes: byValue.get('RECORD_TYPE'),
      marketplace: byValue.has('BILLING_ENTITY') ? marketplace : undefined,
      isOfView: view !== null && !/:billingview\/primary$/.test(view),
    },
    listed,
  );
  return { comparison, listed };
}

function unitsOf(totals: TotalsText): Totals {
  return new Map(
    Object.entries(totals).map(([currency, amount]) => [currency, parseAmount(amount).units]),
  );
}

function listedOf(valueOf: (column: string) => Value): ListedInvoice {
  const text = (column: string): string => String(valueOf(column) ?? '');
  const units = (column: string): bigint | null => {
    const value = valueOf(column);
    return typeof value === 'bigint' ? value : null;
  };
  return {
    id: text('InvoiceId'),
    type: text('InvoiceType'),
    billType: text('BillType'),
    receiverRole: text('ReceiverRole'),
    billingEntity: text('BillingEntity'),
    commercialInvoiceId: text('CommercialInvoiceId'),
    taxAuthorityStatus: text('TaxAuthorityStatus'),
    currency: text('Currency'),
    beforeTax: units('AmountBeforeTax'),
    tax: units('Tax'),
    total: units('Amount'),
    row: Object.fromEntries(
      tables.invoices.map((column) => [column.name, textOf(column, valueOf(column.name))]),
    ),
  };
}

function textOf({ type }: Column, value: Value): string | null {
  if (value === null) return null;
  if (typeof value === 'bigint') return formatAmount(value);
  return type === 'timestamp' ? new Date(Number(value)).toISOString() : String(value);
}

/** Sums by dimension, value and currency, of the dimensions that the comparison needs and that were fetched. */
async function readBreakdowns(
  staging: Staging,
  source: Source,
): Promise<Map<string, Map<string, Totals>>> {
  const { scope, refused } = source.manifest;
  const sums = new Map<string, Map<string, Totals>>();
  for (const dimension of ['RECORD_TYPE', 'BILLING_ENTITY'] as const)
    if (scope.by.includes(dimension) && !refused.some(({ part }) => part === dimension))
      sums.set(dimension, new Map());
  if (sums.size === 0) return sums;
  const wanted = ['Dimension', 'Value', 'Currency', 'Amount'];
  for await (const { length, columns } of readTable(staging, source, 'breakdowns', wanted)) {
    const [dimension, value, currency, amount] = wanted.map(
      (name) => columns[columnIndex('breakdowns', name)],
    );
    for (let row = 0; row < length; row++) {
      const ofDimension = sums.get(String(valueAt(dimension, row)));
      const units = valueAt(amount, row);
      if (ofDimension === undefined || typeof units !== 'bigint') continue;
      const key = String(valueAt(value, row));
      const totals = ofDimension.get(key) ?? new Map<string, bigint>();
      ofDimension.set(key, totals);
      addTo(totals, String(valueAt(currency, row)), units);
    }
  }
  return sums;
}
