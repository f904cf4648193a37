import { DuckDBInstance } from '@duckdb/node-api';
import { billingPeriod, parseMonth } from '../../pipeline/shared/month.js';
import type { Column } from '../../pipeline/staging/tables.js';
import { consumption } from '../../pipeline/staging/tables.js';
import { literal } from '../support/duckdb.js';
import { duckdbType, metricOf, metrics, organizationNames, quoted } from './month.js';

/**
 * `node peer-duckdb.js STAGING MONTH OUT`: consumption of every organization as Parquet (zstd) and CSV,
 * made by DuckDB from the same staged pages, with its default threads. Of what was tried this is its
 * fastest way: types given instead of detected, row order not kept, and the CSV copied from the Parquet
 * file instead of parsing the pages twice or holding a table.
 */
const [staging = '', monthText = '', out = ''] = process.argv.slice(2);
const month = parseMonth(monthText);

const metricType = 'STRUCT(Amount DECIMAL(38,18), Unit VARCHAR)';
const groupType = `STRUCT("Keys" VARCHAR[], Metrics STRUCT(${metrics.map((metric) => `${metric} ${metricType}`).join(', ')}))`;
const resultsType = `STRUCT(Groups ${groupType}[], Estimated BOOLEAN)[]`;

function expressionOf(column: Column, organization: string): string {
  const metric = metricOf(column.name);
  if (metric !== undefined) return `g.Metrics.${metric}.Amount`;
  const known: Record<string, string> = {
    Reference: 'g."Keys"[2]',
    Service: 'g."Keys"[1]',
    Tag: "'aws'",
    BillingPeriod: `DATE '${billingPeriod(month)}'`,
    Organization: literal(organization),
    Currency: 'g.Metrics.UnblendedCost.Unit',
    Estimated: 'r.Estimated',
  };
  const byDefault = column.nullable === true ? `NULL::${duckdbType(column)}` : "'N/A'";
  return known[column.name] ?? byDefault;
}

const instance = await DuckDBInstance.create(':memory:');
const connection = await instance.connect();
await connection.run('SET preserve_insertion_order = false');
for (const organization of organizationNames) {
  const pages = literal(`${staging}/raw/month=${month}/${organization}/*/cost-and-usage-*.json`);
  const columns = consumption
    .map((column) => `${expressionOf(column, organization)} AS ${quoted(column.name)}`)
    .join(', ');
  const parquet = literal(`${out}/${organization}.parquet`);
  await connection.run(
    `COPY (SELECT ${columns} FROM (SELECT r, unnest(r.Groups) AS g FROM (SELECT unnest(ResultsByTime) AS r
       FROM read_json(${pages}, format = 'newline_delimited', columns = {ResultsByTime: ${literal(resultsType)}}))))
     TO ${parquet} (FORMAT parquet, COMPRESSION zstd)`,
  );
  await connection.run(
    `COPY (FROM ${parquet}) TO ${literal(`${out}/${organization}.csv`)} (FORMAT csv, HEADER, NULLSTR 'N/A')`,
  );
}
