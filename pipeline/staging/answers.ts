import { isAscii } from 'node:buffer';
import { z } from 'zod';
import type { Dimension } from '../shared/dimensions.js';
import { valueIn } from '../shared/dimensions.js';
import type { Month } from '../shared/month.js';
import { timePeriod } from '../shared/month.js';
import type { Metric } from '../shared/scope.js';
import type { Column } from './tables.js';
import { columnOf, tables } from './tables.js';
import { parseAmount } from '../shared/money.js';
import { DataError } from '../shared/errors.js';

/**
 * What an answer of AWS looks like, and what it must be to be believed. The extract stage asks it of every answer
 * before it is staged, the transform stage once more of what is staged: a member that is missing then is missed by
 * the row that needs it.
 */

const text = z.string().optional();
/** AWS leaves it out on the last page; an empty one means the same. */
const nextToken = text.transform((token) => (token === '' ? undefined : token));

/** Every member is optional in AWS's model; the SDK makes null of a JoinedTimestamp that is no instant. */
const account = z.object({
  Arn: text,
  Id: text,
  Name: text,
  Email: text,
  State: text,
  Status: text,
  JoinedTimestamp: z.unknown().optional(),
});

/** An answer of ListAccounts as it comes. */
export const freshAccounts = z.object({ Accounts: z.array(account), NextToken: nextToken });

/** The same as it is staged. */
export const stagedAccounts = z.object({
  Accounts: z.array(
    account.extend({ JoinedTimestamp: z.string().refine(isInstant, 'is no instant').optional() }),
  ),
});
export type StagedAccounts = z.infer<typeof stagedAccounts>;

const period = z.object({ Start: z.string(), End: z.string() });
const cost = z.object({ Amount: z.string(), Unit: z.string() });
/** AWS may leave out the unit of a quantity that has none. */
const quantity = cost.extend({ Unit: z.string().default('N/A') });

function costAnswer<Key extends z.ZodType, Group extends z.ZodType, Total extends z.ZodType>(
  key: Key,
  group: Group,
  total: Total,
) {
  return z.object({
    GroupDefinitions: z.array(z.object({ Type: text, Key: key })).optional(),
    ResultsByTime: z.array(
      z.object({
        TimePeriod: period,
        Groups: z.array(group).optional(),
        Total: total,
        Estimated: z.boolean().optional(),
      }),
    ),
    DimensionValueAttributes: z
      .array(z.object({ Value: text, Attributes: z.object({ description: text }).optional() }))
      .optional(),
  });
}

const freshCosts = new Map<string, ReturnType<typeof costOf>>();

/** The schema of {@link parseFreshCost}: its parser, which takes longer to make than a page to read, is made once. */
export function freshCost(metrics: readonly Metric[]): ReturnType<typeof costOf> {
  const name = metrics.join();
  const known = freshCosts.get(name) ?? costOf(metrics);
  freshCosts.set(name, known);
  return known;
}

function costOf(metrics: readonly Metric[]) {
  const amounts = z.object(
    Object.fromEntries(metrics.map((name) => [name, name === 'UsageQuantity' ? quantity : cost])),
  );
  const group = z.object({ Keys: z.array(z.string()), Metrics: amounts });
  const { shape } = costAnswer(z.string(), group, amounts.partial().optional());
  return z.object({ NextPageToken: nextToken, ...shape });
}
export type FreshCost = z.infer<ReturnType<typeof costOf>>;

const stagedGroup = z.object({
  Keys: z.array(z.string()).optional(),
  Metrics: z.record(z.string(), cost.partial()).optional(),
});
export type StagedGroup = z.infer<typeof stagedGroup>;

/** An answer of GetCostAndUsage to a question that groups, as it is staged. */
export const stagedCost = costAnswer(text, stagedGroup, z.unknown().optional());
export type StagedCost = z.infer<typeof stagedCost>;

/** The answer without groups, as it is staged; for a month without cost, Total may be absent or empty. */
export const stagedTotal = z.object({
  ResultsByTime: z.array(
    z.object({
      TimePeriod: period,
      Groups: z.array(z.unknown()).max(0, { error: 'an ungrouped total has groups' }).optional(),
      Total: z.record(z.string(), cost).optional(),
    }),
  ),
});
export type StagedTotal = z.infer<typeof stagedTotal>;

/**
 * The JSON value of an answer's bytes.
 * @throws {TypeError} when they are no UTF-8. @throws {SyntaxError} when they are no JSON.
 */
export function answerJson(bytes: Uint8Array): unknown {
  // Nearly every answer is ASCII, which is copied where other bytes have to be decoded.
  return JSON.parse(
    isAscii(bytes)
      ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
      : new TextDecoder('utf-8', { fatal: true }).decode(bytes),
  );
}

/** Reads an answer of GetCostAndUsage as it comes: every group has to have the metrics that were asked for. */
export function parseFreshCost(
  json: unknown,
  metrics: readonly Metric[],
): z.ZodSafeParseResult<FreshCost> {
  return isUsualFreshCost(json, metrics)
    ? { success: true, data: json }
    : freshCost(metrics).safeParse(json);
}

/** Reads a staged answer to a question that groups. */
export function parseStagedCost(json: unknown): z.ZodSafeParseResult<StagedCost> {
  return isUsualCost(json) ? { success: true, data: json } : stagedCost.safeParse(json);
}

/**
 * Whether an answer has the form of {@link stagedCost}, of which it accepts no more. It says no rather than think
 * twice: the schema then decides, and finds the words for what is wrong. A schema's parser makes every group
 * anew, which takes longer than reading the page.
 */
export function isUsualCost(json: unknown): json is StagedCost {
  return isUsual(json, isText, isGroup, () => true);
}

/** The same of an answer as it comes: what it lacks but for its metrics, such as a quantity's unit, the schema fills in. */
export function isUsualFreshCost(json: unknown, metrics: readonly Metric[]): json is FreshCost {
  const isMetric = (of: Record<string, unknown>, name: Metric): boolean => {
    const metric = of[name];
    return (
      isObject(metric) && typeof metric['Amount'] === 'string' && typeof metric['Unit'] === 'string'
    );
  };
  const isFreshGroup = (group: unknown): boolean => {
    if (!isObject(group)) return false;
    const { Keys, Metrics } = group;
    if (Keys === undefined || !isListOf(Keys, isString) || !isObject(Metrics)) return false;
    for (const name of metrics) if (!isMetric(Metrics, name)) return false;
    return true;
  };
  const isTotal = (total: unknown): boolean =>
    total === undefined ||
    (isObject(total) &&
      metrics.every((name) => total[name] === undefined || isMetric(total, name)));
  return (
    isUsual(json, isString, isFreshGroup, isTotal) &&
    isText(json['NextPageToken']) &&
    json['NextPageToken'] !== ''
  );
}

/** What both have in common. */
function isUsual(
  json: unknown,
  isKey: (key: unknown) => boolean,
  isOneGroup: (group: unknown) => boolean,
  isTotal: (total: unknown) => boolean,
): json is Record<string, unknown> {
  const isDefinition = (one: unknown): boolean =>
    isObject(one) && isText(one['Type']) && isKey(one['Key']);
  const isResult = (one: unknown): boolean => {
    if (!isObject(one)) return false;
    const { TimePeriod, Estimated, Groups, Total } = one;
    return (
      isObject(TimePeriod) &&
      typeof TimePeriod['Start'] === 'string' &&
      typeof TimePeriod['End'] === 'string' &&
      (Estimated === undefined || typeof Estimated === 'boolean') &&
      isListOf(Groups, isOneGroup) &&
      isTotal(Total)
    );
  };
  return (
    isObject(json) &&
    isListOf(json['GroupDefinitions'], isDefinition) &&
    json['ResultsByTime'] !== undefined &&
    isListOf(json['ResultsByTime'], isResult) &&
    isListOf(json['DimensionValueAttributes'], isDescribed)
  );
}

function isGroup(json: unknown): boolean {
  return isObject(json) && isListOf(json['Keys'], isString) && isMetrics(json['Metrics']);
}

/** Every metric, also those that nobody asks for. */
function isMetrics(json: unknown): boolean {
  if (json === undefined) return true;
  if (!isObject(json)) return false;
  for (const name in json) {
    const metric = json[name];
    if (!isObject(metric) || !isText(metric['Amount']) || !isText(metric['Unit'])) return false;
  }
  return true;
}

function isDescribed(json: unknown): boolean {
  if (!isObject(json) || !isText(json['Value'])) return false;
  const { Attributes } = json;
  return Attributes === undefined || (isObject(Attributes) && isText(Attributes['description']));
}

function isListOf(json: unknown, isItem: (item: unknown) => boolean): boolean {
  if (json === undefined) return true;
  if (!Array.isArray(json)) return false;
  for (const item of json) if (!isItem(item)) return false;
  return true;
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isString(json: unknown): boolean {
  return typeof json === 'string';
}

function isText(json: unknown): boolean {
  return json === undefined || typeof json === 'string';
}

/** SQLite ends a text at NUL, and UTF-8 cannot hold half of a surrogate pair; all else is kept everywhere. */
const lost = /[\0\p{Cs}]/u;

/**
 * What keeps a text from a column, as `has 300 characters for Service, which holds 255`: cutting it, or
 * letting a database cut it, would change the data unseen. Lengths count characters, as databases do, not
 * UTF-16 units.
 */
export function textFault({ name, length = Infinity }: Column, text: string): string | undefined {
  const alien = lost.exec(text)?.[0];
  if (alien !== undefined) {
    const what = alien === '\0' ? 'the character NUL' : 'half of a surrogate pair';
    return `has ${what} in ${JSON.stringify(text.slice(0, 60))} for ${name}`;
  }
  if (text.length <= length) return undefined;
  const characters = Array.from(text).length;
  return characters <= length
    ? undefined
    : `has ${characters} characters for ${name}, which holds ${length}`;
}

/** What keeps a text from being an account id as AWS gives it: 12 digits, leading zeros kept. */
export function accountIdFault(id: string): string | undefined {
  return /^\d{12}$/.test(id)
    ? undefined
    : `has ${JSON.stringify(id.slice(0, 40))} for an account id of 12 digits`;
}

const currencyColumn = columnOf('consumption', 'Currency');

/** What keeps a text from being the unit of a cost: a currency's code, such as `USD`. */
export function currencyFault(unit: string): string | undefined {
  return /^[A-Z][A-Z0-9/]*$/.test(unit)
    ? textFault(currencyColumn, unit)
    : `has ${JSON.stringify(unit.slice(0, 40))} for a currency`;
}

/** The columns that hold the values of the detail's dimensions; those of any other stand in breakdowns. */
const detailColumns: Readonly<Partial<Record<Dimension, Column>>> = {
  SERVICE: columnOf('consumption', 'Service'),
  USAGE_TYPE: columnOf('consumption', 'Category'),
};
const valueColumn = columnOf('breakdowns', 'Value');

/** What keeps a group's key from telling a value of the dimension. */
export function keyFault(dimension: Dimension, key: string): string | undefined {
  if (dimension === 'LINKED_ACCOUNT') return accountIdFault(key);
  const value = valueIn(dimension, key);
  if (value === undefined)
    return `has ${JSON.stringify(key.slice(0, 60))}, which is no value of ${dimension}`;
  return textFault(detailColumns[dimension] ?? valueColumn, value);
}

const nameColumn = columnOf('customers', 'TenantName');

/** What keeps a value's description, beside the groups, from being an account's name; other dimensions' values are of no use. */
export function descriptionFault(value: string, description: string): string | undefined {
  return accountIdFault(value) === undefined ? textFault(nameColumn, description) : undefined;
}

/** Years as every database holds them (MySQL, DATETIME: 1000 to 9999). */
const instant = /^[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** Whether a text is an instant in ISO 8601 that every database holds. */
function isInstant(text: string): boolean {
  return instant.test(text) && !Number.isNaN(Date.parse(text));
}

/** What keeps an account from being a customer. */
export function accountFault(listed: z.infer<typeof account>): string | undefined {
  const { Id, Name = '', Email = '', State, Status, JoinedTimestamp: joined } = listed;
  if (Id === undefined) return 'has no account id';
  return (
    accountIdFault(Id) ??
    textFault(nameColumn, Name) ??
    textFault(columnOf('customers', 'Email'), Email) ??
    textFault(columnOf('customers', 'Status'), State ?? Status ?? '') ??
    (joined === undefined || (typeof joined === 'string' && isInstant(joined))
      ? undefined
      : 'has a JoinedTimestamp that is no instant of the years 1000 to 9999')
  );
}

/**
 * What keeps the parts of a page from telling the month's cost: asked for one month as a whole, AWS answers with
 * exactly that period, once a page. Only where the whole answer is a single page may it be left out, as for a
 * month without cost.
 */
export function periodFault(
  results: readonly { TimePeriod: z.infer<typeof period> }[],
  month: Month,
  isSinglePage: boolean,
): string | undefined {
  const asked = timePeriod(month);
  const wanted = `${asked.Start} to ${asked.End}`;
  const other = results.find(
    ({ TimePeriod: { Start, End } }) => Start !== asked.Start || End !== asked.End,
  );
  if (other !== undefined) {
    const { Start, End } = other.TimePeriod;
    return `tells the cost of ${Start.slice(0, 40)} to ${End.slice(0, 40)}, where ${wanted} was asked for`;
  }
  if (results.length > 1) return `tells the period ${wanted} ${results.length} times`;
  if (results.length === 0 && !isSinglePage)
    return `lacks the period ${wanted}, though it is one of several pages`;
  return undefined;
}

const invoiceAmount = z.object({
  TotalAmount: text,
  TotalAmountBeforeTax: text,
  CurrencyCode: text,
  AmountBreakdown: z.object({ Taxes: z.object({ TotalAmount: text }).optional() }).optional(),
  CurrencyExchangeDetails: z.object({ Rate: text }).optional(),
});
type InvoiceAmount = z.infer<typeof invoiceAmount>;
const invoiceInstant = z.string().refine(isInstant, 'is no instant').optional();

/** An invoice of ListInvoiceSummaries; every member is optional in AWS's model, and here. */
const invoice = z.object({
  InvoiceId: text,
  AccountId: text,
  InvoiceType: text,
  BillType: text,
  ReceiverRole: text,
  Entity: z.object({ InvoicingEntity: text, BillingEntity: text }).optional(),
  IssuedDate: invoiceInstant,
  DueDate: invoiceInstant,
  BillingPeriod: z.object({ Month: z.int(), Year: z.int() }).optional(),
  OriginalInvoiceId: text,
  CommercialInvoiceId: text,
  TaxAuthorityStatus: text,
  PurchaseOrderNumber: text,
  BaseCurrencyAmount: invoiceAmount.optional(),
  TaxCurrencyAmount: invoiceAmount.optional(),
  PaymentCurrencyAmount: invoiceAmount.optional(),
});
export type StagedInvoice = z.infer<typeof invoice>;

/** An answer of ListInvoiceSummaries, as it comes and as it is staged. */
export const invoiceSummaries = z.object({
  InvoiceSummaries: z.array(invoice),
  NextToken: nextToken,
});

/** An invoice's values by the columns of the table: texts, instants in ISO 8601, amounts as AWS writes them. */
export function invoiceTexts(one: StagedInvoice): Readonly<Record<string, string | undefined>> {
  const amounts = (prefix: string, of: InvoiceAmount = {}) => ({
    [`${prefix}AmountBeforeTax`]: of.TotalAmountBeforeTax,
    [`${prefix}Tax`]: of.AmountBreakdown?.Taxes?.TotalAmount,
    [`${prefix}Amount`]: of.TotalAmount,
  });
  return {
    InvoiceId: one.InvoiceId,
    Reference: one.AccountId,
    InvoiceType: one.InvoiceType,
    BillType: one.BillType,
    ReceiverRole: one.ReceiverRole,
    Entity: one.Entity?.InvoicingEntity,
    BillingEntity: one.Entity?.BillingEntity,
    Issued: one.IssuedDate,
    Due: one.DueDate,
    ...amounts('', one.BaseCurrencyAmount),
    TaxCurrency: one.TaxCurrencyAmount?.CurrencyCode,
    ...amounts('TaxCurrency', one.TaxCurrencyAmount),
    TaxCurrencyRate: one.TaxCurrencyAmount?.CurrencyExchangeDetails?.Rate,
    PaymentCurrency: one.PaymentCurrencyAmount?.CurrencyCode,
    ...amounts('PaymentCurrency', one.PaymentCurrencyAmount),
    PaymentCurrencyRate: one.PaymentCurrencyAmount?.CurrencyExchangeDetails?.Rate,
    OriginalInvoiceId: one.OriginalInvoiceId,
    CommercialInvoiceId: one.CommercialInvoiceId,
    TaxAuthorityStatus: one.TaxAuthorityStatus,
    PurchaseOrderNumber: one.PurchaseOrderNumber,
    Currency: one.BaseCurrencyAmount?.CurrencyCode,
  };
}

/** What no two documents of a month have alike, as a receipt may have its invoice's id; undefined without an id. */
export function invoiceKey({ InvoiceId, InvoiceType }: StagedInvoice): string | undefined {
  return InvoiceId === undefined ? undefined : JSON.stringify([InvoiceType, InvoiceId]);
}

/** What keeps an invoice from being a row of a month, as `is of 2026-09`. */
export function invoiceFault(one: StagedInvoice, month: Month): string | undefined {
  const { BillingPeriod, AccountId } = one;
  if (BillingPeriod !== undefined) {
    const { Year, Month } = BillingPeriod;
    const of = `${Year}-${String(Month).padStart(2, '0')}`;
    if (of !== month) return `is of ${of.slice(0, 20)}, where ${month} was asked for`;
  }
  const account = AccountId === undefined ? undefined : accountIdFault(AccountId);
  if (account !== undefined) return account;
  const { BaseCurrencyAmount, TaxCurrencyAmount, PaymentCurrencyAmount } = one;
  for (const amount of [BaseCurrencyAmount, TaxCurrencyAmount, PaymentCurrencyAmount]) {
    const fault = amount && invoicedFault(amount);
    if (fault !== undefined) return fault;
  }
  const texts = invoiceTexts(one);
  for (const column of tables.invoices) {
    const value = texts[column.name];
    if (value === undefined) continue;
    const fault =
      column.type === 'string'
        ? textFault(column, value)
        : column.type === 'decimal'
          ? amountFault(value)
          : undefined;
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** What keeps amounts from being money of a currency; without amounts there need not be one. */
function invoicedFault(amount: InvoiceAmount): string | undefined {
  const { TotalAmount, TotalAmountBeforeTax, AmountBreakdown, CurrencyCode = '' } = amount;
  if (CurrencyCode !== '') return currencyFault(CurrencyCode);
  const amounts = [TotalAmount, TotalAmountBeforeTax, AmountBreakdown?.Taxes?.TotalAmount];
  return amounts.every((one) => one === undefined)
    ? undefined
    : 'has an amount without its currency';
}

function amountFault(amount: string): string | undefined {
  try {
    return parseAmount(amount).rounded
      ? `has an amount of too many digits, ${amount.slice(0, 60)}`
      : undefined;
  } catch (error) {
    if (error instanceof DataError) return `has a wrong amount: ${error.message}`;
    throw error;
  }
}
