import { PRECISION, SCALE } from '../shared/money.js';
import { furtherMetrics } from '../shared/scope.js';

/**
 * The tables, each column declared once. The Parquet schema, the CSV header, the database's DDL
 * and the README's tables are derived from these declarations.
 */

/** How a column's values are held: see {@link Value}. */
type ColumnType = 'string' | 'decimal' | 'date' | 'timestamp' | 'boolean';

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** Longest text of a `string` column, in characters; longer text is a fault in the data. */
  readonly length?: number;
  readonly nullable?: boolean;
  /** Whether the values are money of the row's Currency: their sums are compared from layer to layer. */
  readonly money?: boolean;
  /** What the value means and where it comes from: the text of the README and of the database's comments. */
  readonly description: string;
}

/**
 * A value of a row: `string` as text; `decimal` as bigint in units of 10^-18; `date` as `YYYY-MM-DD`;
 * `timestamp` as milliseconds since 1970-01-01 UTC; `boolean`; null only where the column is nullable.
 */
export type Value = string | bigint | number | boolean | null;

/** Total digits and fraction digits of every `decimal` column. */
export const DECIMAL = { precision: PRECISION, scale: SCALE } as const;

const tag: Column = {
  name: 'Tag',
  type: 'string',
  length: 64,
  description: "`aws`, or the organization's own tag from the configuration",
};
const billingPeriod: Column = {
  name: 'BillingPeriod',
  type: 'date',
  description: "The billing month's stamp: its day 28",
};
const organization: Column = {
  name: 'Organization',
  type: 'string',
  length: 64,
  description: 'The payer organization that the account belongs to',
};
const reference: Column = {
  name: 'Reference',
  type: 'string',
  length: 12,
  description: "The linked account's 12-digit id, leading zeros kept",
};

export const customers: readonly Column[] = [
  reference,
  {
    name: 'TenantName',
    type: 'string',
    length: 255,
    description: "The account's name; '' when AWS no longer gives it",
  },
  {
    name: 'Contact',
    type: 'string',
    length: 255,
    description: "Always '', as in the script's table",
  },
  {
    name: 'Email',
    type: 'string',
    length: 255,
    description: "The account's root e-mail address; '' when no organization of the month lists it",
  },
  tag,
  {
    name: 'Status',
    type: 'string',
    length: 32,
    description:
      'State (or the retired Status) in lower case; `unlisted` when the organization has cost of the account but does not list it (any more)',
  },
  {
    name: 'Created',
    type: 'timestamp',
    nullable: true,
    description: 'JoinedTimestamp, UTC, to the millisecond',
  },
  { name: 'Id', type: 'string', length: 64, description: "Always '', as in the script's table" },
  billingPeriod,
  organization,
];

const amount: Column = {
  name: 'Amount',
  type: 'decimal',
  money: true,
  description: 'UnblendedCost, exactly as AWS gives it; credits are negative',
};
const metrics: readonly Column[] = furtherMetrics.map((name) => ({
  name,
  type: 'decimal',
  money: true,
  nullable: true,
  description: `${name}; null unless asked for by \`--metric ${name}\``,
}));
const currency: Column = {
  name: 'Currency',
  type: 'string',
  length: 16,
  description: "The amounts' unit, such as `USD`",
};
const estimated: Column = {
  name: 'Estimated',
  type: 'boolean',
  description: "AWS's own flag: the month's figures may still change",
};

/**
 * What the column Region holds for a value of Cost Explorer's dimension REGION: a region's code, those of
 * local zones too, or `N/A` for any other word, such as `global` and `NoRegion`.
 */
export function regionOf(value: string): string {
  return /^[a-z]{2,}(?:-[a-z]+)+-\d+(?:-[a-z0-9]+)*$/.test(value) ? value : 'N/A';
}

/** The script's twelve columns come first, in its order: who reads them by place reads these too. */
export const consumption: readonly Column[] = [
  reference,
  {
    name: 'Region',
    type: 'string',
    length: 64,
    description:
      'The region as Cost Explorer tells it of the usage type, in the service and account where it has several; `N/A` without a region, where an account used it in several, and in the detail by service',
  },
  {
    name: 'Service',
    type: 'string',
    length: 512,
    description: 'The AWS service, as Cost Explorer names it',
  },
  {
    name: 'Category',
    type: 'string',
    length: 512,
    description: 'The usage type; `N/A` in the detail by service',
  },
  { name: 'SubCategory', type: 'string', length: 512, description: 'Always `N/A`' },
  {
    name: 'Quantity',
    type: 'decimal',
    nullable: true,
    description: 'UsageQuantity; null in the detail by service',
  },
  {
    name: 'Unit',
    type: 'string',
    length: 64,
    description: "The quantity's unit; `N/A` where AWS gives none, and in the detail by service",
  },
  {
    name: 'UnitPrice',
    type: 'decimal',
    nullable: true,
    description:
      'Amount ÷ Quantity, rounded half to even; null without a quantity or its unit, for a negative amount, and in the detail by service',
  },
  amount,
  {
    name: 'DiscountedAmount',
    type: 'decimal',
    money: true,
    nullable: true,
    description: 'BlendedCost in the detail by usage type; null in that by service',
  },
  tag,
  billingPeriod,
  organization,
  currency,
  estimated,
  ...metrics,
  {
    name: 'CostAmount',
    type: 'decimal',
    money: true,
    nullable: true,
    description:
      "UnblendedCost by the organization's `costViewArn`: what the same costs the reseller; null without that view, and where it has no such cost",
  },
];

export const breakdowns: readonly Column[] = [
  reference,
  {
    name: 'Dimension',
    type: 'string',
    length: 160,
    description:
      "What the cost is split by: `RECORD_TYPE`, `REGION` …, `TAG:` and a tag's key, `COST_CATEGORY:` and a name",
  },
  {
    name: 'Value',
    type: 'string',
    length: 1024,
    description:
      "The dimension's value, as Cost Explorer names it; '' where AWS gives none, such as cost without the tag",
  },
  amount,
  tag,
  billingPeriod,
  organization,
  currency,
  estimated,
  ...metrics,
];

const optionalText = (name: string, length: number, description: string): Column => ({
  name,
  type: 'string',
  length,
  description: `${description}; '' where AWS gives none`,
});
/** The amounts of an invoice in one currency; only those in the base currency are summed up. */
const invoiceAmounts = (prefix: string, of: string, money: boolean): readonly Column[] =>
  [
    ['AmountBeforeTax', 'TotalAmountBeforeTax'],
    ['Tax', 'AmountBreakdown.Taxes.TotalAmount'],
    ['Amount', 'TotalAmount'],
  ].map(([name, member]) => ({
    name: `${prefix}${name}`,
    type: 'decimal',
    nullable: true,
    ...(money ? { money } : {}),
    description: `${member} in the ${of} currency, exactly as AWS gives it; null where it gives none`,
  }));

const exchangeRate = (currency: string): Column => ({
  name: `${currency}Rate`,
  type: 'decimal',
  nullable: true,
  description: `CurrencyExchangeDetails.Rate: what one of the base currency is in ${currency}; null where AWS gives none`,
});

/** Invoices and credit memos as ListInvoiceSummaries tells them. */
export const invoices: readonly Column[] = [
  optionalText('InvoiceId', 1024, "The document's id"),
  {
    name: 'Reference',
    type: 'string',
    length: 12,
    description:
      "AccountId: the 12-digit id of the account that it is sent to; '' where AWS gives none",
  },
  optionalText('InvoiceType', 64, '`INVOICE`, `CREDIT_MEMO`, `PAYMENT_RECEIPT` …'),
  optionalText('BillType', 64, '`ANNIVERSARY`: the usage of the month, `PURCHASE`, `REFUND` …'),
  optionalText('ReceiverRole', 64, '`BUYER`, `SELLER`, `RESELLER` …'),
  optionalText('Entity', 512, 'InvoicingEntity: who issues it'),
  optionalText('BillingEntity', 64, '`AWS`, `AWS_MARKETPLACE` …'),
  { name: 'Issued', type: 'timestamp', nullable: true, description: 'IssuedDate, UTC' },
  { name: 'Due', type: 'timestamp', nullable: true, description: 'DueDate, UTC' },
  ...invoiceAmounts('', 'base', true),
  optionalText('TaxCurrency', 16, 'The currency of the tax'),
  ...invoiceAmounts('TaxCurrency', "tax's", false),
  exchangeRate('TaxCurrency'),
  optionalText('PaymentCurrency', 16, 'The currency of the payment'),
  ...invoiceAmounts('PaymentCurrency', "payment's", false),
  exchangeRate('PaymentCurrency'),
  optionalText('OriginalInvoiceId', 1024, 'Of a credit memo: the invoice that it corrects'),
  optionalText('CommercialInvoiceId', 1024, 'Of a tax invoice: the one that it states once more'),
  optionalText('TaxAuthorityStatus', 64, '`ISSUED`, `CANCELLED` …'),
  optionalText('PurchaseOrderNumber', 1024, 'The purchase order'),
  tag,
  billingPeriod,
  organization,
  optionalText('Currency', 16, 'The base currency: that of products and services, such as `USD`'),
];

/**
 * Every table by name; `breakdowns` is made only of months that were asked for by some, `invoices` of those that were
 * asked for invoices.
 */
export const tables = { customers, consumption, breakdowns, invoices };
export type TableName = keyof typeof tables;
export const tableNames = Object.keys(tables) as readonly TableName[];

/** Position of a column in a table's rows. */
export function columnIndex(table: TableName, name: string): number {
  const index = tables[table].findIndex((column) => column.name === name);
  if (index < 0) throw new Error(`${table} has no column ${name}`);
  return index;
}

/** The declared column of that name. */
export function columnOf(table: TableName, name: string): Column {
  const column = tables[table][columnIndex(table, name)];
  if (column === undefined) throw new Error(`${table} has no column ${name}`);
  return column;
}

/** The columns of every table in one text, by which a manifest tells whether its files have them. */
export function tableColumns(): string {
  return tableNames
    .map((table) => `${table}(${tables[table].map(({ name }) => name).join(',')})`)
    .join(' ');
}
