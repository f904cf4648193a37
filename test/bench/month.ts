import type { CostMetric } from '../../fixtures/demo/model.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Column } from '../../pipeline/staging/tables.js';
import { consumption } from '../../pipeline/staging/tables.js';

/** The month that is generated, and the name of its extraction: after the month's provisional days. */
export const month = parseMonth('2026-10');
export const extraction = '20261115T020304Z';

/** A month of consumption to be generated: each organization has a row for every account and service. */
export interface MonthSize {
  name: string;
  /** Accounts of each organization. */
  accounts: number;
  services: number;
}

export const organizationNames = ['oab', 'internal', 'spp_ecm', 'spp_pm'] as const;

/** Consumption rows of all organizations together. */
export function rowsOf({ accounts, services }: MonthSize): number {
  return organizationNames.length * accounts * services;
}

export const sizes = {
  '2k': { name: '2k', accounts: 20, services: 25 },
  '10k': { name: '10k', accounts: 50, services: 50 },
  '1m': { name: '1m', accounts: 2500, services: 100 },
  'report': { name: 'report', accounts: 3125, services: 80 },
  '10m': { name: '10m', accounts: 12_500, services: 200 },
} as const satisfies Record<string, MonthSize>;

export type SizeName = keyof typeof sizes;

/** The metrics that the staged pages hold, and the columns that show them: those of a run without flags. */
const metricColumns: ReadonlyMap<string, CostMetric> = new Map([['Amount', 'UnblendedCost']]);

/** The metric that a column of consumption holds, if it holds one. */
export function metricOf(column: string): CostMetric | undefined {
  return metricColumns.get(column);
}

export const metrics: readonly CostMetric[] = [...metricColumns.values()];

/** A column's name in SQL. */
export function quoted(name: string): string {
  return `"${name}"`;
}

/** A column's type in DuckDB. */
export function duckdbType({ type }: Column): string {
  return {
    string: 'VARCHAR',
    decimal: 'DECIMAL(38,18)',
    date: 'DATE',
    timestamp: 'TIMESTAMP',
    boolean: 'BOOLEAN',
  }[type];
}

export const decimals: readonly Column[] = consumption.filter(({ type }) => type === 'decimal');
