import { PRECISION, SCALE } from '../money.js';
import type { TableName } from './layout.js';

/**
 * The two tables, each column declared once. The Parquet schema, the CSV header, the database's DDL
 * and the README's tables are derived from these declarations.
 */

/** How a column's values are held: see {@link Value}. */
export type ColumnType = 'string' | 'decimal' | 'date' | 'timestamp' | 'boolean';

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** Longest text of a `string` column, in characters; longer text is a fault in the data. */
  readonly length?: number;
  readonly nullable?: boolean;
  /** What the value means and where it comes from: the text of the README and of the database's comments. */
  readonly description: string;
}

/**
 * A value of a row: `string` as text; `decimal` as bigint in units of 10^-18; `date` as `YYYY-MM-DD`;
 * `timestamp` as milliseconds since 1970-01-01 UTC; `boolean`; null only where the column is nullable.
 */
export type Value = string | bigint | number | boolean | null;

/** Rows of a table, column by column in the declared order; every array has `length` values. */
export interface Batch {
  readonly length: number;
  readonly columns: readonly (readonly Value[])[];
}

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
  { name: 'Email', type: 'string', length: 255, description: "The account's root e-mail address" },
  tag,
  {
    name: 'Status',
    type: 'string',
    length: 32,
    description:
      'State (or the retired Status) in lower case; `unlisted` when only Cost Explorer still knows the account',
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

export const consumption: readonly Column[] = [
  reference,
  {
    name: 'Region',
    type: 'string',
    length: 64,
    description: 'Always `N/A`: the cost is grouped by service and account',
  },
  {
    name: 'Service',
    type: 'string',
    length: 512,
    description: 'The AWS service, as Cost Explorer names it',
  },
  { name: 'Category', type: 'string', length: 512, description: 'Always `N/A`' },
  { name: 'SubCategory', type: 'string', length: 512, description: 'Always `N/A`' },
  { name: 'Quantity', type: 'decimal', nullable: true, description: 'Always null (`N/A` in CSV)' },
  { name: 'Unit', type: 'string', length: 64, description: 'Always `N/A`' },
  { name: 'UnitPrice', type: 'decimal', nullable: true, description: 'Always null (`N/A` in CSV)' },
  {
    name: 'Amount',
    type: 'decimal',
    description: 'UnblendedCost, exactly as AWS gives it; credits are negative',
  },
  {
    name: 'DiscountedAmount',
    type: 'decimal',
    nullable: true,
    description: 'Always null (`N/A` in CSV)',
  },
  tag,
  billingPeriod,
  organization,
  { name: 'Currency', type: 'string', length: 16, description: "The amount's unit, such as `USD`" },
  {
    name: 'Estimated',
    type: 'boolean',
    description: "AWS's own flag: the month's figures may still change",
  },
];

/** Every table by name. */
export const tables: Readonly<Record<TableName, readonly Column[]>> = { customers, consumption };

export const tableNames: readonly TableName[] = ['customers', 'consumption'];

/** Position of a column in a table's {@link Batch}. */
export function columnIndex(table: TableName, name: string): number {
  const index = tables[table].findIndex((column) => column.name === name);
  if (index < 0) throw new Error(`${table} has no column ${name}`);
  return index;
}
