import { readFile } from 'node:fs/promises';
import test from 'ava';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { DataError } from '../../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { readTransformManifest } from '../../pipeline/staging/manifest.js';
import { tables } from '../../pipeline/staging/tables.js';
import { literal, query } from '../support/duckdb.js';
import { makeExtraction } from '../support/extraction.js';
import { temporaryStaging } from '../support/load-fixture.js';
import { pathOf, run, slice } from '../support/transform.js';

type Summaries = readonly { InvoiceSummaries: readonly object[] }[];

async function transformed(t: Parameters<typeof temporaryStaging>[0], invoices: Summaries) {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, { invoices });
  await run(staging, { tag: 'aws-oab' });
  const path = pathOf(staging, 'parquet', 'invoices');
  const columns = tables.invoices.map(({ name }) => `"${name}"::VARCHAR AS "${name}"`).join(', ');
  const rows = await query(`SELECT ${columns} FROM read_parquet(${literal(path)})`);
  const csv = parse(await readFile(pathOf(staging, 'csv', 'invoices')), {
    columns: true,
    record_delimiter: '\r\n',
  }) as unknown as Record<string, string>[];
  const { manifest } = (await readTransformManifest(staging, slice))!;
  return { staging, rows, csv, told: manifest.invoices };
}

const whole = {
  InvoiceId: 'EUINFR26-1',
  AccountId: '012345678901',
  InvoiceType: 'INVOICE',
  BillType: 'ANNIVERSARY',
  ReceiverRole: 'BUYER',
  Entity: { InvoicingEntity: 'Amazon Web Services EMEA SARL', BillingEntity: 'AWS' },
  IssuedDate: '2026-11-03T00:00:00.000Z',
  DueDate: '2026-12-03T00:00:00.000Z',
  BillingPeriod: { Month: 10, Year: 2026 },
  OriginalInvoiceId: 'EUINFR26-0',
  CommercialInvoiceId: 'C-1',
  TaxAuthorityStatus: 'ISSUED',
  PurchaseOrderNumber: 'PO-7',
  BaseCurrencyAmount: {
    TotalAmount: '120.10',
    TotalAmountBeforeTax: '100.1',
    CurrencyCode: 'USD',
    AmountBreakdown: { Taxes: { TotalAmount: '20' } },
  },
  TaxCurrencyAmount: {
    TotalAmount: '108.09',
    TotalAmountBeforeTax: '90.09',
    CurrencyCode: 'EUR',
    AmountBreakdown: { Taxes: { TotalAmount: '18' } },
    CurrencyExchangeDetails: { Rate: '0.9' },
  },
  PaymentCurrencyAmount: {
    TotalAmount: '103.286',
    CurrencyCode: 'CHF',
    CurrencyExchangeDetails: { Rate: '0.860000000000000001' },
  },
};

test('each member of a summary has its column, and what AWS leaves out is empty or null', async (t) => {
  const { rows, csv, told } = await transformed(t, [{ InvoiceSummaries: [whole, {}] }]);
  const zeros = (text: string): string => `${text}${text.includes('.') ? '' : '.'}`;
  const exact = (text: string): string => zeros(text).padEnd(zeros(text).indexOf('.') + 19, '0');
  t.deepEqual(rows[0], {
    InvoiceId: 'EUINFR26-1',
    Reference: '012345678901',
    InvoiceType: 'INVOICE',
    BillType: 'ANNIVERSARY',
    ReceiverRole: 'BUYER',
    Entity: 'Amazon Web Services EMEA SARL',
    BillingEntity: 'AWS',
    Issued: '2026-11-03 00:00:00+00',
    Due: '2026-12-03 00:00:00+00',
    AmountBeforeTax: exact('100.1'),
    Tax: exact('20'),
    Amount: exact('120.1'),
    TaxCurrency: 'EUR',
    TaxCurrencyAmountBeforeTax: exact('90.09'),
    TaxCurrencyTax: exact('18'),
    TaxCurrencyAmount: exact('108.09'),
    TaxCurrencyRate: exact('0.9'),
    PaymentCurrency: 'CHF',
    PaymentCurrencyAmountBeforeTax: null,
    PaymentCurrencyTax: null,
    PaymentCurrencyAmount: exact('103.286'),
    PaymentCurrencyRate: '0.860000000000000001',
    OriginalInvoiceId: 'EUINFR26-0',
    CommercialInvoiceId: 'C-1',
    TaxAuthorityStatus: 'ISSUED',
    PurchaseOrderNumber: 'PO-7',
    Tag: 'aws-oab',
    BillingPeriod: '2026-10-28',
    Organization: 'oab',
    Currency: 'USD',
  });
  const nothing = Object.fromEntries(
    tables.invoices.map(({ name, type }) => [name, type === 'string' ? '' : null]),
  );
  t.deepEqual(rows[1], {
    ...nothing,
    Tag: 'aws-oab',
    BillingPeriod: '2026-10-28',
    Organization: 'oab',
  });
  t.like(csv[0], { Amount: '120.1', PaymentCurrencyTax: 'N/A' });
  t.like(csv[1], { InvoiceId: '', Amount: 'N/A', Issued: '' });
  t.deepEqual(told?.totals, { USD: '120.1' });
  t.deepEqual(told?.columns, { AmountBeforeTax: { USD: '100.1' }, Tax: { USD: '20' } });
});

test('an id stands once for each type, and never twice', async (t) => {
  const receipt = { ...whole, InvoiceType: 'PAYMENT_RECEIPT' };
  const { rows } = await transformed(t, [{ InvoiceSummaries: [whole, receipt] }]);
  t.is(rows.length, 2);
  const error = await t.throwsAsync(
    transformed(t, [{ InvoiceSummaries: [whole] }, { InvoiceSummaries: [receipt, whole] }]),
    { instanceOf: DataError },
  );
  t.regex(error.message, /names "EUINFR26-1" once more/);
});

const hostile = [
  `'; DROP TABLE invoices; --`,
  "=cmd|'/c calc'!A1",
  '<script>alert(1)</script>"&amp;',
  '\u001b[31mred\u001b[0m\r\nnext;line\ttab',
  '名前 😀 \u202Eevil',
  '\\N \\0 %_',
];

test('hostile texts of entity and purchase order reach Parquet as they are, and a CSV that runs nothing', async (t) => {
  const summaries = hostile.map((text, index) => ({
    ...whole,
    InvoiceId: `I${index}`,
    Entity: { InvoicingEntity: text },
    PurchaseOrderNumber: text,
  }));
  const { rows, csv } = await transformed(t, [{ InvoiceSummaries: summaries }]);
  for (const [index, text] of hostile.entries()) {
    t.like(rows[index], { Entity: text, PurchaseOrderNumber: text, BillingEntity: '' });
    t.notRegex(csv[index]!['Entity']!, /^[=+\-@]/);
    t.is(csv[index]!['InvoiceId'], `I${index}`);
  }
  t.is(csv[1]!['PurchaseOrderNumber'], `'${hostile[1]!}`);
});

const amount = fc
  .bigInt({ min: -(10n ** 30n), max: 10n ** 30n })
  .map((units) => ({ units, text: formatAmount(units) }));
const summary = fc.record({
  currency: fc.constantFrom('USD', 'CNY', 'JPY'),
  beforeTax: fc.option(amount),
  tax: fc.option(amount),
  total: fc.option(amount),
});

test('amounts are kept to the last digit in every form, and their sums are by currency', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(summary, { minLength: 1, maxLength: 30 }), async (documents) => {
      const summaries = documents.map(({ currency, beforeTax, tax, total }, index) => ({
        InvoiceId: `I${index}`,
        BaseCurrencyAmount: {
          CurrencyCode: currency,
          ...(total && { TotalAmount: total.text }),
          ...(beforeTax && { TotalAmountBeforeTax: beforeTax.text }),
          ...(tax && { AmountBreakdown: { Taxes: { TotalAmount: tax.text } } }),
        },
      }));
      const half = Math.ceil(summaries.length / 2);
      const { rows, csv, told } = await transformed(t, [
        { InvoiceSummaries: summaries.slice(0, half) },
        { InvoiceSummaries: summaries.slice(half) },
      ]);
      const expected = new Map<string, bigint>();
      for (const [index, { currency, beforeTax, tax, total }] of documents.entries()) {
        for (const [column, given] of Object.entries({
          AmountBeforeTax: beforeTax,
          Tax: tax,
          Amount: total,
        })) {
          const found = rows[index]![column];
          t.is(typeof found === 'string' ? parseAmount(found).units : null, given?.units ?? null);
          t.is(csv[index]![column], given?.text ?? 'N/A');
        }
        if (total !== null) expected.set(currency, (expected.get(currency) ?? 0n) + total.units);
      }
      const sums = Object.fromEntries([...expected].map(([one, sum]) => [one, formatAmount(sum)]));
      t.deepEqual(told?.totals, sums);
    }),
    { numRuns: 8 },
  );
});
