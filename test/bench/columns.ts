import type { Column } from '../../pipeline/staging/tables.js';
import { consumption } from '../../pipeline/staging/tables.js';

/** Consumption's columns as DuckDB and the databases of the peers see them, all from their declaration. */

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
