import type { Units } from './money.js';
import { formatAmount, parseAmount } from './money.js';
import type { Month } from './month.js';
import { timePeriod } from './month.js';
import type { Totals } from './sums.js';
import { addTo } from './sums.js';

/**
 * A month of Cost Explorer beside its invoices. An invoice has its own rounding, its own day and its own receiver:
 * what does not agree is shown and explained as far as charge types tell, and is no fault by itself.
 */

/** What the comparison needs of an invoice or credit memo; a text is '' where AWS leaves it out. */
export interface InvoiceDocument {
  id: string;
  /** `INVOICE`, `CREDIT_MEMO`, `PAYMENT_RECEIPT` (Invoicing API, InvoiceType). */
  type: string;
  /** `ANNIVERSARY` (the month's usage), `PURCHASE` (upfront fees), `REFUND` (Data Exports, bill_bill_type). */
  billType: string;
  /** `BUYER`, `SELLER`, `RESELLER`. */
  receiverRole: string;
  /** `AWS`, `AWS_MARKETPLACE`. */
  billingEntity: string;
  /** Of a tax invoice: the commercial invoice that it states once more. */
  commercialInvoiceId: string;
  /** `ISSUED`, `CANCELLED`. */
  taxAuthorityStatus: string;
  /** Base currency, that of products and services, in which Cost Explorer counts too. */
  currency: string;
  /** Null where AWS leaves it out. */
  beforeTax: Units | null;
  tax: Units | null;
  total: Units | null;
}

/** What Cost Explorer says of the month, by currency. */
export interface CostOfMonth {
  totals: Totals;
  /** By charge type; undefined where charge types were not asked for. */
  chargeTypes: ReadonlyMap<string, Totals> | undefined;
  /** Cost of AWS Marketplace; undefined where the cost by billing entity was not asked for. */
  marketplace: Totals | undefined;
  /** Whether it is the cost of a billing view, of which nobody knows how much of what is invoiced it is. */
  isOfView: boolean;
}

/**
 * `not asked`: they were not fetched; `refused`: AWS refused them; `not yet invoiced`: AWS issues a month's invoices
 * on day 3 to 5 of the next one, and there is none so far; `none`: there is none though it is later; `partly`: some
 * are missing, or may be, see `reasons`.
 */
export type InvoiceState =
  'not asked' | 'refused' | 'not yet invoiced' | 'none' | 'partly' | 'invoiced';

/** Sums of documents in one currency, as plain decimals; null where AWS leaves it out of one of them. */
export interface DocumentSums {
  count: number;
  total: string;
  beforeTax: string | null;
  tax: string | null;
}

/** A part of the difference, and what it is. */
export interface DifferencePart {
  part: 'tax' | 'credits' | 'refunds' | 'support' | 'upfront fees' | 'Marketplace' | 'rounding';
  amount: string;
}

/** One currency; all amounts are plain decimals. */
export interface InvoicedCurrency {
  currency: string;
  /** Cost Explorer's total with tax; its tax and what is left without it, null where charge types are not known. */
  cost: { total: string; beforeTax: string | null; tax: string | null };
  invoices: DocumentSums;
  /** Negative: they lower what is to be paid. */
  creditMemos: DocumentSums;
  /** Invoices and credit memos minus the cost; null while there are none, and beside the cost of a billing view. */
  difference: string | null;
  /** What charge types, and the invoices' own tax, explain of it. */
  parts: readonly DifferencePart[];
  /** What nothing explains: `difference` minus the parts, exactly. */
  rest: string | null;
}

/** An organization's month beside its invoices. */
export interface InvoiceComparison {
  state: InvoiceState;
  /** Why it is so, as sentences without a point; empty where the state says all. */
  reasons: readonly string[];
  /** Whether the invoices were fetched while AWS was still issuing them: nothing can be held against them yet. */
  isPending: boolean;
  /** What is in the list and not in the sums. */
  uncounted: readonly { id: string; reason: string }[];
  /** Every currency of the cost and of the invoices, sorted; empty where the invoices are not known. */
  currencies: readonly InvoicedCurrency[];
}

/** The last day of the next month on which AWS issues a month's invoices. */
const LAST_DAY = 5;
const DAY = 86_400_000;
/** One hundredth, in units of 10^-18: what a document may be off by its own rounding. */
const CENT = 10n ** 16n;

/**
 * Sets a month's cost beside its invoices, currency by currency, exactly.
 * @param fetched ISO 8601 instant at which the invoices were fetched.
 */
export function compareInvoices(
  { month, fetched }: { month: Month; fetched: string },
  cost: CostOfMonth,
  listed: readonly InvoiceDocument[],
): InvoiceComparison {
  const all = listed.map(completed);
  const found = all.map((one) => ({ one, reason: whyUncounted(one) ?? whyRestated(one, all) }));
  const uncounted = found.flatMap(({ one, reason }) =>
    reason === undefined ? [] : [{ id: one.id, reason }],
  );
  const counted = found.flatMap(({ one, reason }) => (reason === undefined ? [one] : []));
  const currencies = new Set([...cost.totals.keys(), ...counted.map(({ currency }) => currency)]);
  const nextMonth = Date.parse(`${timePeriod(month).End}T00:00:00Z`);
  const isPending = Date.parse(fetched) < nextMonth + LAST_DAY * DAY;
  const missing = {
    purchase: !counted.some(({ billType }) => billType === 'PURCHASE'),
    marketplace: !counted.some(isMarketplace),
  };
  const { state, reasons } = stateOf(cost, counted, uncounted.length, missing, isPending);
  const isCompared = !cost.isOfView && (counted.length > 0 || state === 'none');
  return {
    ...{ state, isPending, uncounted },
    reasons: cost.isOfView ? [...reasons, OF_VIEW] : reasons,
    currencies: [...currencies].sort().map((currency) =>
      compareCurrency(
        currency,
        cost,
        counted.filter((one) => one.currency === currency),
        missing,
        isCompared,
      ),
    ),
  };
}

const OF_VIEW =
  'the cost is that of a billing view, and invoices are of the whole account: they are not compared';

/** What is to be said where there are no invoices to compare with. */
export function withoutInvoices(
  state: 'not asked' | 'refused',
  ...reasons: readonly string[]
): InvoiceComparison {
  return { state, reasons, isPending: false, uncounted: [], currencies: [] };
}

/** Whether nothing but rounding is in the way of both being the same, which needs no words. */
export function isRounding({ parts, rest }: InvoicedCurrency): boolean {
  return rest === '0' && parts.every(({ part }) => part === 'rounding');
}

/** The same currency of several organizations, added up; what one of them does not know, none knows. */
export function addComparisons(
  currency: string,
  several: readonly InvoicedCurrency[],
): InvoicedCurrency {
  const sum = <T>(of: readonly T[], amount: (one: T) => string | null): string | null =>
    textOf(
      of.reduce<Units | null>((units, one) => {
        const more = amount(one);
        return units === null || more === null ? null : units + parseAmount(more).units;
      }, 0n),
    );
  const documents = (of: (one: InvoicedCurrency) => DocumentSums): DocumentSums => {
    const all = several.map(of);
    return {
      count: all.reduce((count, one) => count + one.count, 0),
      total: sum(all, ({ total }) => total) ?? '0',
      beforeTax: sum(all, ({ beforeTax }) => beforeTax),
      tax: sum(all, ({ tax }) => tax),
    };
  };
  const difference = sum(several, (one) => one.difference);
  const parts = difference === null ? [] : several.flatMap((one) => one.parts);
  return {
    currency,
    cost: {
      total: sum(several, ({ cost }) => cost.total) ?? '0',
      beforeTax: sum(several, ({ cost }) => cost.beforeTax),
      tax: sum(several, ({ cost }) => cost.tax),
    },
    invoices: documents(({ invoices }) => invoices),
    creditMemos: documents(({ creditMemos }) => creditMemos),
    difference,
    parts: [...new Set(parts.map(({ part }) => part))].map((part) => {
      const own = parts.filter((one) => one.part === part);
      return { part, amount: sum(own, ({ amount }) => amount) ?? '0' };
    }),
    rest: difference === null ? null : sum(several, (one) => one.rest),
  };
}

type Missing = Readonly<Record<'purchase' | 'marketplace', boolean>>;

/** A document whose amounts are completed from each other, a credit memo's with the sign of what lowers a sum. */
interface Counted extends InvoiceDocument {
  isCredit: boolean;
}

/**
 * AWS's documentation does not say whether a credit memo's amounts are negative. Either way it lowers what is to be
 * paid, so that one whose total is above 0 is turned round as a whole.
 */
function completed(document: InvoiceDocument): Counted {
  const { type, billType } = document;
  const isCredit = type === 'CREDIT_MEMO' || (type === '' && billType === 'REFUND');
  const { beforeTax: before, tax: ofTax, total: sum } = document;
  const total = sum ?? (before !== null && ofTax !== null ? before + ofTax : null);
  const beforeTax = before ?? (total !== null && ofTax !== null ? total - ofTax : null);
  const tax = ofTax ?? (total !== null && beforeTax !== null ? total - beforeTax : null);
  const isTurned = isCredit && (total ?? 0n) > 0n;
  const signed = (units: Units | null): Units | null =>
    units !== null && isTurned ? -units : units;
  return {
    ...document,
    isCredit,
    beforeTax: signed(beforeTax),
    tax: signed(tax),
    total: signed(total),
  };
}

function whyUncounted(document: Counted): string | undefined {
  const { type, receiverRole, taxAuthorityStatus, total, currency } = document;
  if (type === 'PAYMENT_RECEIPT') return 'is the receipt of a payment';
  if (!['INVOICE', 'CREDIT_MEMO', ''].includes(type)) return `is of the unknown type ${type}`;
  if (!['BUYER', ''].includes(receiverRole))
    return `is addressed to the account as ${receiverRole}, not as buyer`;
  if (taxAuthorityStatus === 'CANCELLED') return 'was cancelled';
  return total === null || currency === '' ? 'has no amount in its answer' : undefined;
}

/**
 * A document that states another one of its kind once more, where that one counts itself; of two that name each other
 * the first counts.
 */
function whyRestated(one: Counted, all: readonly Counted[]): string | undefined {
  const { id, commercialInvoiceId: of, isCredit } = one;
  if (of === '' || of === id) return undefined;
  const stated = all.find(
    (other) => other.id === of && other.isCredit === isCredit && whyUncounted(other) === undefined,
  );
  if (stated === undefined) return undefined;
  const isFirst = all.indexOf(one) < all.indexOf(stated);
  if (stated.commercialInvoiceId === id && isFirst) return undefined;
  return `states the invoice ${of} once more, for the tax`;
}

function isMarketplace({ billingEntity }: InvoiceDocument): boolean {
  return billingEntity === 'AWS_MARKETPLACE';
}

function stateOf(
  cost: CostOfMonth,
  counted: readonly Counted[],
  uncounted: number,
  missing: Missing,
  isPending: boolean,
): Pick<InvoiceComparison, 'state' | 'reasons'> {
  if (counted.length === 0 && uncounted === 0)
    return isPending
      ? { state: 'not yet invoiced', reasons: [] }
      : {
          state: 'none',
          reasons: [
            `there is none though day ${LAST_DAY} is over: another account may receive them, or there is nothing to pay`,
          ],
        };
  const isOfMonth = (one: Counted): boolean =>
    !one.isCredit && !isMarketplace(one) && one.billType !== 'PURCHASE';
  const has = (totals: Iterable<Units>): boolean => [...totals].some((units) => units > CENT);
  const upfront = sumsOf(cost.chargeTypes, kinds['upfront fees']);
  const reasons = [
    counted.some(isOfMonth) ? undefined : "AWS's invoice of the month itself is not there",
    missing.purchase && has(upfront.values())
      ? 'the cost has upfront fees of subscriptions, and no invoice is of the bill type PURCHASE'
      : undefined,
    missing.marketplace && has(cost.marketplace?.values() ?? [])
      ? 'the cost has some of AWS Marketplace, and no invoice is of AWS_MARKETPLACE'
      : undefined,
    isPending
      ? `they were fetched before day ${LAST_DAY} of the next month was over: more may follow`
      : undefined,
  ].filter((reason) => reason !== undefined);
  return { state: reasons.length === 0 ? 'invoiced' : 'partly', reasons };
}

/**
 * Charge types by what they are. Cost Explorer's words for them are an open set: those of its console, of its API
 * and of the line items (`SavingsPlanUpfrontFee`) are known here.
 */
const kinds = {
  'tax': /^tax$/i,
  'credits': /^credits?$/i,
  'refunds': /^refunds?$/i,
  'support': /^support( fee)?$/i,
  'upfront fees': /^(fee|upfront|upfront reservation fee|savings ?plans? ?upfront ?fee)$/i,
} as const;

function sumsOf(types: CostOfMonth['chargeTypes'], kind: RegExp): Totals {
  const sums: Totals = new Map();
  for (const [type, totals] of types ?? [])
    if (kind.test(type)) for (const [currency, units] of totals) addTo(sums, currency, units);
  return sums;
}

function compareCurrency(
  currency: string,
  { totals, chargeTypes, marketplace }: CostOfMonth,
  documents: readonly Counted[],
  missing: Missing,
  isCompared: boolean,
): InvoicedCurrency {
  const ofKind = (kind: keyof typeof kinds): Units =>
    sumsOf(chargeTypes, kinds[kind]).get(currency) ?? 0n;
  const total = totals.get(currency) ?? 0n;
  const tax = chargeTypes === undefined ? null : ofKind('tax');
  const invoices = addUp(documents.filter(({ isCredit }) => !isCredit));
  const memos = addUp(documents.filter(({ isCredit }) => isCredit));
  const difference = isCompared ? invoices.total + memos.total - total : null;
  const shown = {
    currency,
    cost: {
      total: formatAmount(total),
      beforeTax: textOf(tax === null ? null : total - tax),
      tax: textOf(tax),
    },
    invoices: textsOf(invoices),
    creditMemos: textsOf(memos),
  };
  if (difference === null) return { ...shown, difference, parts: [], rest: null };
  const parts: { part: DifferencePart['part']; units: Units }[] = [];
  let rest = difference;
  const explain = (part: DifferencePart['part'], units: Units): void => {
    if (units === 0n) return;
    parts.push({ part, units });
    rest -= units;
  };
  const slack = CENT * BigInt(Math.max(documents.length, 1));
  if (size(rest) > slack && tax !== null && invoices.tax !== null && memos.tax !== null)
    explain('tax', invoices.tax + memos.tax - tax);
  const credited = memos.beforeTax;
  const suspects: typeof parts = [
    { part: 'credits', units: -ofKind('credits') },
    { part: 'refunds', units: credited === null ? 0n : credited - ofKind('refunds') },
    { part: 'support', units: -ofKind('support') },
    { part: 'upfront fees', units: missing.purchase ? -ofKind('upfront fees') : 0n },
    {
      part: 'Marketplace',
      units: missing.marketplace ? -(marketplace?.get(currency) ?? 0n) : 0n,
    },
  ];
  for (const { part, units } of explanation(rest, suspects, slack)) explain(part, units);
  if (size(rest) <= slack) explain('rounding', rest);
  return {
    ...shown,
    difference: formatAmount(difference),
    parts: parts.map(({ part, units }) => ({ part, amount: formatAmount(units) })),
    rest: formatAmount(rest),
  };
}

/**
 * The fewest of the suspects that are the difference together, but for the documents' rounding: what Cost Explorer
 * counts and no invoice does, or the reverse. None where nothing is to explain, or no choice of them fits.
 */
function explanation<T extends { units: Units }>(
  difference: Units,
  suspects: readonly T[],
  slack: Units,
): readonly T[] {
  const possible = suspects.filter(({ units }) => size(units) > slack);
  let fitting: readonly T[] = [];
  for (let choice = 0; choice < 2 ** possible.length; choice += 1) {
    const chosen = possible.filter((_, index) => Math.floor(choice / 2 ** index) % 2 === 1);
    const sum = chosen.reduce((units, one) => units + one.units, 0n);
    if (size(difference - sum) > slack) continue;
    if (chosen.length === 0) return [];
    if (fitting.length === 0 || chosen.length < fitting.length) fitting = chosen;
  }
  return fitting;
}

interface Added {
  count: number;
  total: Units;
  beforeTax: Units | null;
  tax: Units | null;
}

function addUp(documents: readonly Counted[]): Added {
  const sum = (of: (one: Counted) => Units | null): Units | null =>
    documents.reduce<Units | null>((units, one) => {
      const more = of(one);
      return units === null || more === null ? null : units + more;
    }, 0n);
  return {
    count: documents.length,
    // Without a total it would not be counted.
    total: sum(({ total }) => total) ?? 0n,
    beforeTax: sum(({ beforeTax }) => beforeTax),
    tax: sum(({ tax }) => tax),
  };
}

function textsOf({ count, total, beforeTax, tax }: Added): DocumentSums {
  return {
    count,
    total: formatAmount(total),
    beforeTax: textOf(beforeTax),
    tax: textOf(tax),
  };
}

function textOf(units: Units | null): string | null {
  return units === null ? null : formatAmount(units);
}

function size(units: Units): Units {
  return units < 0n ? -units : units;
}
