import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { TableName } from '../../pipeline/staging/tables.js';
import { tables } from '../../pipeline/staging/tables.js';
import { literal, query } from '../support/duckdb.js';
import { resold } from '../support/resold.js';
import type { World } from '../support/world.js';
import { world } from '../support/world.js';

/** The months that every trial runs, from the oldest. */
export const months = ['2026-09', '2026-10'].map(parseMonth);
const organizations = [
  { name: 'oab', accounts: 23 },
  { name: 'internal', accounts: 7 },
];

/**
 * A stand-in cloud, and a folder whose configuration file asks for all that the exports can have, side by side: one
 * organization by service with its cost view, the other by usage type, both with breakdowns, further metrics and invoices.
 * @param place the folder of staging area and database, below that of the world.
 */
export async function everyDetail(
  t: { teardown: (end: () => Promise<void>) => void },
  place = '.',
): Promise<World & { whole: readonly string[] }> {
  const made = await world(t, { data: resold(months, organizations), groupsPerPage: 100 });
  const settings = {
    staging: join(place, 'staging'),
    database: `sqlite:${join(place, 'billing.sqlite')}`,
    detail: { oab: 'service', internal: 'usage-type' },
    by: ['record-type', 'tag:team', 'region', 'cost-category:Product'],
    metrics: ['AmortizedCost', 'NetUnblendedCost'],
    invoices: true,
  };
  await mkdir(join(made.folder, place), { recursive: true });
  // YAML is a superset of JSON.
  await writeFile(join(made.folder, 'pipeline.config.yaml'), JSON.stringify(settings));
  return { ...made, whole: ['--from', months[0] ?? '', '--to', months.at(-1) ?? ''] };
}

/** The command's standard output; it must have ended well. */
export async function succeeded(run: ReturnType<World['run']>): Promise<string> {
  const { code, stdout, stderr } = await run;
  assert.equal(code, 0, stdout + stderr);
  return stdout;
}

type Row = Record<string, unknown>;

/** A cell as one text, however a database or reader gives it. */
function cell(type: string, value: unknown): string {
  const text = String(value);
  if (value === null || value === undefined) return 'null';
  if (type === 'decimal') return formatAmount(parseAmount(text).units);
  if (type === 'boolean') return String(text === 'true' || text === '1');
  return JSON.stringify(text);
}

/** One text a row, sorted. */
export function linesOf(table: TableName, rows: readonly Row[]): string[] {
  return rows
    .map((row) => tables[table].map(({ name, type }) => cell(type, row[name])).join('\t'))
    .sort();
}

/** What the Parquet files of a staging area hold, read by DuckDB: one text a row, sorted. */
export async function exported(staging: string, table: TableName): Promise<string[]> {
  const columns = tables[table].map(({ name, type }) =>
    type === 'timestamp'
      ? `strftime(${name}, '%Y-%m-%d %H:%M:%S.%g') AS ${name}`
      : `CAST(${name} AS VARCHAR) AS ${name}`,
  );
  const files = literal(join(staging, `parquet/${table}/*/*.parquet`));
  return linesOf(table, await query(`SELECT ${columns.join()} FROM ${files}`));
}
