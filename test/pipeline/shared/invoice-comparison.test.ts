import test from 'ava';
import fc from 'fast-check';
import type {
  CostOfMonth,
  InvoiceComparison,
  InvoiceDocument,
} from '../../../pipeline/shared/invoice-comparison.js';
import { addComparisons, compareInvoices } from '../../../pipeline/shared/invoice-comparison.js';
import type { Units } from '../../../pipeline/shared/money.js';
import { formatAmount, parseAmount } from '../../../pipeline/shared/money.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import type { Totals } from '../../../pipeline/shared/sums.js';
import { addTo } from '../../../pipeline/shared/sums.js';

const month = parseMonth('2026-10');
const units = (text: string): Units => parseAmount(text).units;
const settled = '2026-11-06T00:00:00Z';

function cost(types: Record<string, string>, marketplace?: string): CostOfMonth {
  const totals: Totals = new Map();
  const chargeTypes = new Map<string, Totals>();
  for (const [type, amount] of Object.entries(types)) {
    addTo(totals, 'USD', units(amount));
    chargeTypes.set(type, new Map([['USD', units(amount)]]));
  }
  return {
    totals,
    chargeTypes,
    marketplace: marketplace === undefined ? undefined : new Map([['USD', units(marketplace)]]),
    isOfView: false,
  };
}

type Texts = Partial<Record<'beforeTax' | 'tax' | 'total', string>>;

function invoice({ beforeTax, tax, total }: Texts, more: Partial<InvoiceDocument> = {}) {
  const of = (text: string | undefined): Units | null => (text === undefined ? null : units(text));
  return {
    ...{ id: 'INV-1', type: 'INVOICE', billType: 'ANNIVERSARY', receiverRole: 'BUYER' },
    ...{ billingEntity: 'AWS', commercialInvoiceId: '', taxAuthorityStatus: '', currency: 'USD' },
    ...{ beforeTax: of(beforeTax), tax: of(tax), total: of(total) },
    ...more,
  };
}

const compare = (
  of: CostOfMonth,
  documents: readonly InvoiceDocument[],
  fetched = settled,
): InvoiceComparison => compareInvoices({ month, fetched }, of, documents);

const only = ({ currencies }: InvoiceComparison) => {
  if (currencies.length !== 1) throw new Error(`${currencies.length} currencies`);
  return currencies[0]!;
};

test('an invoice that matches is invoiced, and nothing is left', (t) => {
  const found = compare(cost({ Usage: '100.25', Tax: '20.05' }), [
    invoice({ beforeTax: '100.25', tax: '20.05', total: '120.30' }),
  ]);
  t.deepEqual(
    { ...found, currencies: [] },
    { state: 'invoiced', reasons: [], isPending: false, uncounted: [], currencies: [] },
  );
  t.deepEqual(only(found), {
    currency: 'USD',
    cost: { total: '120.3', beforeTax: '100.25', tax: '20.05' },
    invoices: { count: 1, total: '120.3', beforeTax: '100.25', tax: '20.05' },
    creditMemos: { count: 0, total: '0', beforeTax: '0', tax: '0' },
    difference: '0',
    parts: [],
    rest: '0',
  });
});

test('the difference is told by tax, credits, refunds, support, upfront fees, Marketplace and rounding', (t) => {
  const of = cost(
    {
      'Usage': '1000',
      'Tax': '0',
      'Credit': '-33',
      'Refund': '-7',
      'Support': '101',
      'Upfront reservation fee': '555',
    },
    '71',
  );
  const billed = (amount: string, tax = '0'): InvoiceDocument[] => [
    invoice({ beforeTax: amount, tax }),
  ];
  const parts = (documents: readonly InvoiceDocument[]) => only(compare(of, documents)).parts;
  // 1616 is Cost Explorer's total.
  t.deepEqual(parts(billed('1616', '323.2')), [{ part: 'tax', amount: '323.2' }]);
  t.deepEqual(parts(billed('1649')), [{ part: 'credits', amount: '33' }]);
  t.deepEqual(parts(billed('1623')), [{ part: 'refunds', amount: '7' }]);
  t.deepEqual(parts(billed('1515')), [{ part: 'support', amount: '-101' }]);
  t.deepEqual(parts(billed('1061')), [{ part: 'upfront fees', amount: '-555' }]);
  t.deepEqual(parts(billed('1545')), [{ part: 'Marketplace', amount: '-71' }]);
  t.deepEqual(parts(billed('960', '192')), [
    { part: 'tax', amount: '192' },
    { part: 'support', amount: '-101' },
    { part: 'upfront fees', amount: '-555' },
  ]);
  t.deepEqual(parts(billed('1515.004')), [
    { part: 'support', amount: '-101' },
    { part: 'rounding', amount: '0.004' },
  ]);
  // What is on an invoice of its own is no suspect.
  const purchase = invoice({ total: '0' }, { id: 'INV-2', billType: 'PURCHASE' });
  t.deepEqual(parts([...billed('1061'), purchase]), []);
  const none = only(compare(of, billed('1600')));
  t.deepEqual([none.parts, none.difference, none.rest], [[], '-16', '-16']);
});

test('a credit memo lowers the sum, whichever sign it comes with', (t) => {
  const of = cost({ Usage: '100', Refund: '-10' });
  for (const sign of ['', '-']) {
    const memo = invoice(
      { beforeTax: `${sign}10`, tax: `${sign}2`, total: `${sign}12` },
      { id: 'CM-1', type: 'CREDIT_MEMO', billType: 'REFUND' },
    );
    const usd = only(compare(of, [invoice({ beforeTax: '100', tax: '20' }), memo]));
    t.deepEqual(usd.creditMemos, { count: 1, total: '-12', beforeTax: '-10', tax: '-2' });
    t.is(usd.difference, '18');
    t.deepEqual(usd.parts, [{ part: 'tax', amount: '18' }]);
  }
});

test('a credit memo of what Cost Explorer does not tell is the difference', (t) => {
  const memo = invoice({ total: '12', tax: '0' }, { id: 'CM-1', type: 'CREDIT_MEMO' });
  const usd = only(compare(cost({ Usage: '100' }), [invoice({ total: '100', tax: '0' }), memo]));
  t.deepEqual([usd.difference, usd.parts], ['-12', [{ part: 'refunds', amount: '-12' }]]);
});

test('receipts, cancelled ones, those of a seller and those that state another once more do not count', (t) => {
  const amount = { total: '5', tax: '1' };
  const found = compare(cost({ Usage: '4', Tax: '1' }), [
    invoice(amount),
    invoice(amount, { id: 'R', type: 'PAYMENT_RECEIPT' }),
    invoice(amount, { id: 'S', receiverRole: 'SELLER' }),
    invoice(amount, { id: 'C', taxAuthorityStatus: 'CANCELLED' }),
    invoice(amount, { id: 'T', commercialInvoiceId: 'INV-1' }),
    invoice(amount, { id: 'X', type: 'PRO_FORMA' }),
    invoice({}, { id: 'N' }),
  ]);
  t.deepEqual(found.uncounted, [
    { id: 'R', reason: 'is the receipt of a payment' },
    { id: 'S', reason: 'is addressed to the account as SELLER, not as buyer' },
    { id: 'C', reason: 'was cancelled' },
    { id: 'T', reason: 'states the invoice INV-1 once more, for the tax' },
    { id: 'X', reason: 'is of the unknown type PRO_FORMA' },
    { id: 'N', reason: 'has no amount in its answer' },
  ]);
  t.is(only(found).difference, '0');
  // A tax invoice whose commercial one is not in the list is the only one there is.
  t.is(
    only(compare(cost({ Usage: '5' }), [invoice(amount, { commercialInvoiceId: 'Z' })])).rest,
    '0',
  );
});

test('a document is left out for another one only where that one is in the sum', (t) => {
  const amount = { beforeTax: '5', tax: '0', total: '5' };
  const total = (documents: readonly InvoiceDocument[]) => {
    const { invoices, creditMemos } = only(compare(cost({ Usage: '5' }), documents));
    return [invoices.total, creditMemos.total];
  };
  const restated = invoice(amount, { id: 'T', commercialInvoiceId: 'INV-1' });
  const receipt = invoice(amount, { type: 'PAYMENT_RECEIPT' });
  t.deepEqual(total([receipt, restated]), ['5', '0'], 'a receipt has the same id');
  const cancelled = invoice(amount, { taxAuthorityStatus: 'CANCELLED' });
  t.deepEqual(total([cancelled, restated]), ['5', '0']);
  const memo = invoice(amount, { id: 'T', commercialInvoiceId: 'INV-1', type: 'CREDIT_MEMO' });
  t.deepEqual(total([invoice(amount), memo]), ['5', '-5'], 'a credit memo states no invoice');
  const each = [
    invoice(amount, { id: 'A', commercialInvoiceId: 'B' }),
    invoice(amount, { id: 'B', commercialInvoiceId: 'A' }),
  ];
  t.deepEqual(total(each), ['5', '0']);
  t.deepEqual(total([...each].reverse()), ['5', '0']);
});

test('states: by the day of the fetch, and by what the cost has and no invoice tells', (t) => {
  const usage = cost({ Usage: '10' });
  const document = invoice({ total: '10' });
  const purchase = invoice({ total: '90' }, { id: 'P', billType: 'PURCHASE' });
  const market = invoice({ total: '70' }, { id: 'M', billingEntity: 'AWS_MARKETPLACE' });
  const last = '2026-11-05T23:59:59Z';
  const state = (...args: Parameters<typeof compare>): string => compare(...args).state;

  const early = compare(usage, [], last);
  t.deepEqual([early.state, early.isPending], ['not yet invoiced', true]);
  t.deepEqual([only(early).difference, only(early).rest], [null, null]);
  const late = compare(usage, []);
  t.deepEqual([late.state, late.isPending, only(late).difference], ['none', false, '-10']);
  t.regex(late.reasons.join(), /another account may receive them/);

  t.is(state(usage, [document]), 'invoiced');
  t.regex(compare(usage, [document], last).reasons.join(), /more may follow/);
  t.is(state(usage, [purchase]), 'partly');
  t.regex(compare(usage, [purchase]).reasons.join(), /of the month itself is not there/);

  const upfront = cost({ Usage: '10', SavingsPlanUpfrontFee: '90' });
  t.regex(compare(upfront, [document]).reasons.join(), /upfront fees of subscriptions/);
  t.is(state(upfront, [document, purchase]), 'invoiced');

  const bought = cost({ Usage: '80' }, '70');
  t.regex(compare(bought, [document]).reasons.join(), /some of AWS Marketplace/);
  t.is(state(bought, [document, market]), 'invoiced');
  // Where the billing entity was not asked for, it cannot be seen.
  t.is(state(cost({ Usage: '80' }), [document]), 'invoiced');
});

test('without charge types there is no total without tax, and nothing but rounding is explained', (t) => {
  const of = { ...cost({ Usage: '100', Tax: '20' }), chargeTypes: undefined };
  const usd = only(compare(of, [invoice({ beforeTax: '100', tax: '10' })]));
  t.deepEqual(usd.cost, { total: '120', beforeTax: null, tax: null });
  t.deepEqual([usd.difference, usd.parts, usd.rest], ['-10', [], '-10']);
});

test('one amount that AWS leaves out is made of the other two; sums of what is unknown are unknown', (t) => {
  const of = cost({ Usage: '3' });
  for (const texts of [
    { beforeTax: '2', tax: '1' },
    { tax: '1', total: '3' },
    { beforeTax: '2', total: '3' },
  ])
    t.deepEqual(only(compare(of, [invoice(texts)])).invoices, {
      ...{ count: 1, total: '3', beforeTax: '2', tax: '1' },
    });
  t.deepEqual(
    only(compare(of, [invoice({ beforeTax: '1', tax: '0' }), invoice({ total: '2' }, { id: '2' })]))
      .invoices,
    {
      ...{ count: 2, total: '3', beforeTax: null, tax: null },
    },
  );
});

test('the cost of a billing view is shown beside the invoices, and not compared', (t) => {
  const of = { ...cost({ Usage: '10' }), isOfView: true };
  const found = compare(of, [invoice({ total: '25' })]);
  t.is(found.state, 'invoiced');
  t.regex(found.reasons.join(), /a billing view/);
  const { cost: shown, invoices, difference, rest } = only(found);
  t.deepEqual([shown.total, invoices.total, difference, rest], ['10', '25', null, null]);
});

test('organizations add up, and what one does not know is not known of all', (t) => {
  const one = only(compare(cost({ Usage: '10', Tax: '1' }), [invoice({ total: '12', tax: '3' })]));
  const other = only(compare(cost({ Usage: '5', Tax: '0' }), [invoice({ total: '4', tax: '0' })]));
  t.deepEqual(addComparisons('USD', [one, other]), {
    currency: 'USD',
    cost: { total: '16', beforeTax: '15', tax: '1' },
    invoices: { count: 2, total: '16', beforeTax: '13', tax: '3' },
    creditMemos: { count: 0, total: '0', beforeTax: '0', tax: '0' },
    difference: '0',
    parts: [{ part: 'tax', amount: '2' }],
    rest: '-2',
  });
  const early = only(compare(cost({ Usage: '7' }), [], '2026-11-02T00:00:00Z'));
  const all = addComparisons('USD', [one, early]);
  t.deepEqual([all.cost.total, all.invoices.total], ['18', '12']);
  t.deepEqual([all.difference, all.parts, all.rest], [null, [], null]);
});

test('currencies are never added', (t) => {
  const found = compare(cost({ Usage: '10' }), [
    invoice({ total: '10' }),
    invoice({ total: '7' }, { id: '2', currency: 'EUR' }),
  ]);
  t.deepEqual(
    found.currencies.map(({ currency, difference }) => [currency, difference]),
    [
      ['EUR', '7'],
      ['USD', '0'],
    ],
  );
});

/** A line of the bill: what Cost Explorer tells of it, and the document that it is on, if any. */
const line = fc.record({
  currency: fc.constantFrom('USD', 'USD', 'CNY'),
  type: fc.constantFrom(
    'Usage',
    'Tax',
    'Credit',
    'Refund',
    'Support',
    'Fee',
    'SavingsPlanNegation',
  ),
  amount: fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }),
  tax: fc.bigInt({ min: 0n, max: 10n ** 22n }),
  document: fc.option(fc.nat(4)),
  isInCost: fc.boolean(),
});
const kind = fc.record({
  type: fc.constantFrom('INVOICE', 'CREDIT_MEMO', ''),
  billType: fc.constantFrom('ANNIVERSARY', 'PURCHASE', 'REFUND', ''),
  billingEntity: fc.constantFrom('AWS', 'AWS_MARKETPLACE', ''),
  isRounded: fc.boolean(),
});

test('of any bill the parts and the rest are the difference, and the sums are those of the documents', (t) => {
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 30 }),
      fc.array(kind, { minLength: 5, maxLength: 5 }),
      fc.boolean(),
      (lines, kindsOf, isByType) => {
        const totals: Totals = new Map();
        const chargeTypes = new Map<string, Totals>();
        for (const { currency, type, amount, isInCost } of lines) {
          if (!isInCost) continue;
          addTo(totals, currency, amount);
          const ofType = chargeTypes.get(type) ?? new Map<string, Units>();
          chargeTypes.set(type, ofType);
          addTo(ofType, currency, amount);
        }
        // A document has one currency, and is rounded as a whole.
        const documents = kindsOf.flatMap((of, index) =>
          ['USD', 'CNY'].flatMap((currency) => {
            const own = lines.filter((one) => one.document === index && one.currency === currency);
            if (own.length === 0) return [];
            const sum = own.reduce((all, { amount }) => all + amount, 0n);
            const tax = own.reduce((all, one) => all + one.tax, 0n);
            const beforeTax = of.isRounded ? sum - (sum % 10n ** 16n) : sum;
            const id = `${index}-${currency}`;
            return [
              { ...invoice({}), ...of, id, currency, beforeTax, tax, total: beforeTax + tax },
            ];
          }),
        );
        const found = compare(
          {
            ...{ totals, chargeTypes: isByType ? chargeTypes : undefined },
            ...{ marketplace: undefined, isOfView: false },
          },
          documents,
        );
        for (const one of found.currencies) {
          const own = documents.filter(({ currency }) => currency === one.currency);
          const isMemo = (of: InvoiceDocument): boolean =>
            of.type === 'CREDIT_MEMO' || (of.type === '' && of.billType === 'REFUND');
          const sum = own.reduce(
            (all, of) => all + (isMemo(of) && of.total > 0n ? -of.total : of.total),
            0n,
          );
          const cost = totals.get(one.currency) ?? 0n;
          t.is(one.difference, formatAmount(sum - cost));
          t.is(units(one.invoices.total) + units(one.creditMemos.total), sum);
          t.is(one.invoices.count + one.creditMemos.count, own.length);
          t.true(units(one.creditMemos.total) <= 0n);
          const explained = one.parts.reduce((all, { amount }) => all + units(amount), 0n);
          t.is(explained + units(one.rest ?? 'none'), sum - cost);
          t.is(new Set(one.parts.map(({ part }) => part)).size, one.parts.length);
          if (one.cost.beforeTax !== null)
            t.is(units(one.cost.beforeTax) + units(one.cost.tax ?? 'none'), cost);
        }
      },
    ),
    { numRuns: 300 },
  );
});
