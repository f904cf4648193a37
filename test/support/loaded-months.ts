import { join } from 'node:path';
import type { Database } from '../../load/database.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Slice } from '../../pipeline/staging/layout.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { query } from './duckdb.js';
import { loadSlice } from './load-fixture.js';
import type { Row } from './staged-slice.js';
import { stageSlice } from './staged-slice.js';

/** Months with everything that comparing a month with the one before has to get right. */

const idOf = (index: number): string => String(index).padStart(12, '0');

const cost = (account: number, Service: string, amount: string, Currency = 'USD'): Row => ({
  Reference: idOf(account),
  Service,
  Amount: parseAmount(amount).units,
  Currency,
});

const customer = (account: number, TenantName: string, Status = 'active'): Row => ({
  Reference: idOf(account),
  TenantName,
  Status,
});

/** Names that are somebody else's text. */
const hostileTexts = [
  "'; DROP TABLE customers; --",
  '`ticks` "quotes" \\ %s ? :name ${x}',
  '<script>alert(1)</script>',
  "=cmd|' /C calc'!A0",
  'two\nlines\tand a tab',
  '\u202eturned, and \u{1f600}',
  'É',
  'é',
];

interface Content {
  customers: Row[];
  consumption: Row[];
}

/** In the order in which they are loaded; oab's October comes twice, as AWS restates it. */
const months: readonly (readonly [month: string, organization: string, Content])[] = [
  [
    '2026-09',
    'oab',
    {
      customers: [
        customer(1, 'Stays'),
        customer(2, 'Leaves without a trace'),
        customer(3, 'Is listed on'),
        customer(4, 'Moves to internal'),
        ...hostileTexts.map((text, index) => customer(100 + index, text.slice(0, 255))),
      ],
      consumption: [
        cost(1, 'Compute', '0.1'),
        cost(1, 'Compute', '0.2'),
        cost(1, 'Storage', '12345678.0000000001'),
        cost(1, 'Same as ever', '7.77'),
        cost(2, 'Compute', '5.5'),
        cost(3, 'Compute', '-3.25'),
        cost(4, 'Compute', '40'),
        cost(1, 'Free', '0'),
        ...hostileTexts.map((text, index) => cost(100 + index, text.slice(0, 512), '1.5')),
      ],
    },
  ],
  [
    '2026-10',
    'oab',
    { customers: [customer(9, 'Restated away')], consumption: [cost(9, 'Compute', '99')] },
  ],
  [
    '2026-10',
    'oab',
    {
      customers: [
        customer(1, 'Stays, renamed'),
        customer(3, 'Is listed on', 'suspended'),
        customer(5, 'Is new'),
        ...hostileTexts.map((text, index) => customer(100 + index, text.slice(0, 255))),
      ],
      consumption: [
        // As much as the month before, in other pieces: 0.1 + 0.2 and 0.3 are two numbers to a computer.
        cost(1, 'Compute', '0.3'),
        cost(1, 'Storage', '12345679.0000000003'),
        cost(1, 'Same as ever', '7.77'),
        // To MySQL these two are one text.
        cost(1, 'Tax', '1'),
        cost(1, 'Tax ', '2'),
        cost(5, 'Compute', '0.0000000289'),
        cost(5, 'Compute', '17', 'EUR'),
        cost(5, 'Cancels out', '0.1'),
        cost(5, 'Cancels out', '0.2'),
        cost(5, 'Cancels out', '-0.3'),
        ...hostileTexts.map((text, index) => cost(100 + index, text.slice(0, 512), `${index}.5`)),
      ],
    },
  ],
  // It has no month before.
  [
    '2026-10',
    'internal',
    { customers: [customer(4, 'Came from oab')], consumption: [cost(4, 'Compute', '41')] },
  ],
  // A month is missing between these two.
  ['2026-08', 'gap', { customers: [customer(6, 'A')], consumption: [cost(6, 'Compute', '1')] }],
  ['2026-10', 'gap', { customers: [customer(6, 'A')], consumption: [cost(6, 'Compute', '2')] }],
  // Over the turn of the year, and to a month without any cost.
  ['2025-12', 'ends', { customers: [customer(7, 'B')], consumption: [cost(7, 'Compute', '3')] }],
  ['2026-01', 'ends', { customers: [customer(7, 'B')], consumption: [] }],
];

/** The slices that are loaded in the end. */
export const loaded: readonly Slice[] = [
  ...new Map(
    months.map(([month, organization]) => [
      `${month} ${organization}`,
      { month: parseMonth(month), organization },
    ]),
  ).values(),
];

/** Stages and loads them all. */
export async function loadMonths(staging: Staging, ...databases: Database[]): Promise<void> {
  for (const [index, [month, organization, content]] of months.entries()) {
    const slice = { month: parseMonth(month), organization };
    await stageSlice(staging, slice, content, { extraction: `20261101T02030${index}Z` });
    for (const database of databases) await loadSlice(staging, database, { slice });
  }
}

/** What a view has to hold: its columns, and how many of them make a row's key. */
export interface ExpectedView {
  name: string;
  columns: readonly string[];
  rows: readonly (readonly (string | null)[])[];
}

const stamp = (period: string): string => `strftime(${period}, '%Y-%m-%d')`;

/** The views as DuckDB makes them of the Parquet files: each month joined to the one before. */
export async function expectedViews(staging: Staging): Promise<ExpectedView[]> {
  const files = (table: string): string =>
    `read_parquet('${join(staging.location, 'parquet', table)}/*/*.parquet')`;
  const list = loaded.map(({ month, organization }) => `(DATE '${month}-28', '${organization}')`);
  const views = [
    { name: 'customer_month', keys: ['Reference', 'TenantName', 'Status'] },
    { name: 'service_month', keys: ['Service'] },
    { name: 'organization_month', keys: [] },
    { name: 'movement', keys: ['Reference', 'TenantName', 'Status', 'Service'] },
  ];
  const made = views.map(async ({ name, keys }) => {
    const own = keys.filter((key) => key === 'Reference' || key === 'Service');
    const by = ['Organization', 'Currency', ...own];
    const shown: string[] = keys.map((key) =>
      key === 'TenantName'
        ? "coalesce(c.TenantName, d.TenantName, '')"
        : key === 'Status'
          ? "coalesce(c.Status, 'gone')"
          : `m.${key}`,
    );
    const kind =
      "CASE WHEN before = 0 THEN 'appeared' WHEN amount = 0 THEN 'vanished' ELSE 'changed' END";
    const isMovement = name === 'movement';
    const columns = [
      ...['BillingPeriod', 'Organization', ...keys, 'Currency', ...(isMovement ? ['Kind'] : [])],
      ...['Amount', 'PreviousAmount', 'Change'],
    ];
    const names = (alias: string, period: string): string =>
      own.includes('Reference')
        ? `LEFT JOIN ${files('customers')} ${alias} ON ${alias}.Reference = m.Reference AND ${alias}.Organization = m.Organization AND ${alias}.BillingPeriod = ${period}`
        : '';
    const rows = await query(`
      WITH loaded(period, org) AS (VALUES ${list.join(', ')}),
      one AS (SELECT BillingPeriod AS period, ${by.join(', ')}, sum(Amount) AS amount FROM ${files('consumption')} GROUP BY ALL),
      shifted AS (
        SELECT one.* REPLACE ((one.period + INTERVAL 1 MONTH)::DATE AS period)
        FROM one JOIN loaded ON loaded.period = (one.period + INTERVAL 1 MONTH)::DATE AND org = Organization),
      m AS (
        SELECT period, ${by.join(', ')}, coalesce(one.amount, 0) AS amount,
          CASE WHEN (period - INTERVAL 1 MONTH, Organization) IN (SELECT (period, org) FROM loaded) THEN coalesce(shifted.amount, 0) END AS before
        FROM one FULL JOIN shifted USING (period, ${by.join(', ')}))
      SELECT [${[stamp('m.period'), 'm.Organization', ...shown, 'm.Currency', ...(isMovement ? [kind] : [])].join(', ')},
        ${['amount', 'before', 'amount - before'].map((one) => `(${one})::DECIMAL(38,18)::VARCHAR`).join(', ')}] AS row
      FROM m ${names('c', 'm.period')} ${names('d', 'm.period - INTERVAL 1 MONTH')}
      ${isMovement ? 'WHERE amount <> before' : ''}`);
    return { name, columns, rows: rows.map(({ row }) => row as (string | null)[]) };
  });
  return Promise.all([...made, expectedLoads(files, list)]);
}

async function expectedLoads(
  files: (table: string) => string,
  list: readonly string[],
): Promise<ExpectedView> {
  const count = (table: string): string =>
    `(SELECT count(*) FROM ${files(table)} WHERE BillingPeriod = period AND Organization = org)::VARCHAR`;
  const amounts = `(SELECT list(struct_pack(c := Currency, a := amount)) FROM (
    SELECT Currency, sum(Amount) AS amount FROM ${files('consumption')} WHERE BillingPeriod = period AND Organization = org GROUP BY ALL))`;
  // What was fetched on November 1 is final 10 days after a month's end; several currencies have no one sum.
  const rows = await query(`
    WITH loaded(period, org) AS (VALUES ${list.join(', ')}), told AS (SELECT *, ${amounts} AS sums FROM loaded)
    SELECT [${stamp('period')}, org, CASE WHEN period >= DATE '2026-10-28' THEN '1' ELSE '0' END,
      ${count('customers')}, ${count('consumption')}, CASE WHEN len(sums) = 1 THEN sums[1].c END,
      CASE WHEN coalesce(len(sums), 0) < 2 THEN coalesce(sums[1].a, 0)::DECIMAL(38,18)::VARCHAR END] AS row FROM told`);
  return {
    name: 'load_state',
    columns: [
      ...['BillingPeriod', 'Organization', 'Provisional', 'CustomerRows', 'ConsumptionRows'],
      ...['Currency', 'Amount'],
    ],
    rows: rows.map(({ row }) => row as (string | null)[]),
  };
}
