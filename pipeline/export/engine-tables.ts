import { resolve } from 'node:path';
import type { Config } from '../config/config.js';
import { UsageError } from '../shared/errors.js';
import { printable } from '../shared/printable.js';
import { exportPrefix } from '../staging/layout.js';
import type { Column, TableName } from '../staging/tables.js';
import { DECIMAL, tables } from '../staging/tables.js';

/** The staged Parquet files as tables of SQL engines: the statements by which an engine reads them where they lie. */

export const engines = ['athena', 'trino', 'spark', 'duckdb', 'clickhouse'] as const;
export type Engine = (typeof engines)[number];

/** One statement, without the semicolon that ends it. */
export interface Statement {
  /** The table that it is of; null: what all of them stand in. */
  table: TableName | null;
  sql: string;
  /** Whether it has to be run again after each new month. */
  afterEachMonth: boolean;
}

/** Which files, and as which tables. */
export interface WantedTables {
  staging: Config['staging'];
  tables: readonly TableName[];
  /** The profile of the files: `parquet-basic` has money as DOUBLE. */
  format: 'parquet' | 'parquet-basic';
}

/** Database or schema that the tables are made in, whatever the engine calls it. */
const SCHEMA = 'billing';

/** The column that the folders' names tell: `month=2026-10`. */
const MONTH = 'month';

/**
 * The oldest month that there can be: Cost Explorer keeps 38 months at most, and the first version of this package
 * is of November 2026.
 */
const OLDEST = '2023-01';

/** A table on its way into an engine's SQL. */
interface EngineTable {
  name: TableName;
  /** The quoted name with its schema. */
  quoted: string;
  columns: readonly Column[];
  isBasic: boolean;
  kind: Config['staging']['kind'];
  /** The folder of its files as the engine addresses it, with a slash at its end. */
  location: string;
}

/** How an engine is told of a table. */
interface Dialect {
  quote: (name: string) => string;
  makeSchema: string;
  /** The statement that makes a table. */
  make: (table: EngineTable) => string;
  /** The statement that is run again after each new month. */
  renew?: (table: EngineTable) => string;
  /** Scheme of its addresses on S3, and what stands before a folder's path; without it, folders are not read. */
  s3: string;
  folder?: string;
  /** Characters of an address that it takes for something else, however they are quoted. */
  unreadable?: RegExp;
}

/** A column type in an engine's words; `double` is money in the profile `basic`. */
type Types = Readonly<Record<Column['type'] | 'double', string>>;

const precision = `${DECIMAL.precision}, ${DECIMAL.scale}`;

const backticks = (name: string): string => `\`${name.replaceAll('`', '``')}\``;
const quotes = (name: string): string => `"${name.replaceAll('"', '""')}"`;
/** A text as the SQL standard quotes it, and as Hive and ClickHouse do. */
const doubled = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const escaped = (text: string): string => `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
/** A variable's mark too: Spark looks for variables before it reads the statement. */
const inSpark = (text: string): string => escaped(text).replaceAll('$', '\\u0024');

const typeOf = ({ type }: Column, { isBasic }: EngineTable, types: Types): string =>
  types[isBasic && type === 'decimal' ? 'double' : type];

const lines = (all: readonly string[]): string => all.map((line) => `  ${line}`).join(',\n');

/** Each column with its type, a line each, and what stands after them. */
function declared(
  table: EngineTable,
  quote: Dialect['quote'],
  types: Types,
  ...last: string[]
): string {
  const own = table.columns.map(
    (column) => `${quote(column.name)} ${typeOf(column, table, types)}`,
  );
  return lines([...own, ...last]);
}

/** Hive's DDL, as Athena reads it. */
const athenaTypes: Types = {
  string: 'string',
  decimal: `decimal(${precision})`,
  double: 'double',
  date: 'date',
  timestamp: 'timestamp',
  boolean: 'boolean',
};

/** Athena User Guide, CREATE TABLE and "Partition projection": nothing has to be done for a new month. */
const athena: Dialect = {
  quote: backticks,
  makeSchema: `CREATE DATABASE IF NOT EXISTS ${SCHEMA}`,
  make: (table) => `CREATE EXTERNAL TABLE ${table.quoted} (
${declared(table, backticks, athenaTypes)}
)
PARTITIONED BY (${backticks(MONTH)} string)
STORED AS PARQUET
LOCATION ${escaped(table.location)}
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.${MONTH}.type' = 'date',
  'projection.${MONTH}.format' = 'yyyy-MM',
  'projection.${MONTH}.range' = '${OLDEST},NOW',
  'projection.${MONTH}.interval' = '1',
  'projection.${MONTH}.interval.unit' = 'MONTHS'
)`,
  s3: 's3',
};

const trinoTypes: Types = {
  string: 'varchar',
  decimal: `decimal(${precision})`,
  double: 'double',
  date: 'date',
  // The only precision that the connector takes, unless it is set otherwise.
  timestamp: 'timestamp(3)',
  boolean: 'boolean',
};

/** Trino documentation, Hive connector; the catalog is the session's. A query or fragment ends its addresses. */
const trino: Dialect = {
  quote: quotes,
  makeSchema: `CREATE SCHEMA IF NOT EXISTS ${SCHEMA}`,
  make: (table) => `CREATE TABLE ${table.quoted} (
${declared(table, quotes, trinoTypes, `${quotes(MONTH)} varchar`)}
)
WITH (
  external_location = ${doubled(table.location)},
  format = 'PARQUET',
  partitioned_by = ARRAY[${doubled(MONTH)}]
)`,
  renew: ({ name }) =>
    `CALL system.sync_partition_metadata(schema_name => ${doubled(SCHEMA)}, table_name => ${doubled(name)}, mode => 'FULL')`,
  s3: 's3',
  unreadable: /[?#]/,
};

const sparkTypes: Types = {
  string: 'STRING',
  decimal: `DECIMAL(${precision})`,
  double: 'DOUBLE',
  date: 'DATE',
  timestamp: 'TIMESTAMP',
  boolean: 'BOOLEAN',
};

const spark: Dialect = {
  quote: backticks,
  makeSchema: `CREATE DATABASE IF NOT EXISTS ${SCHEMA}`,
  make: (table) => `CREATE TABLE ${table.quoted} (
${declared(table, backticks, sparkTypes, `${backticks(MONTH)} STRING`)}
)
USING PARQUET
PARTITIONED BY (${backticks(MONTH)})
LOCATION ${inSpark(table.location)}`,
  renew: ({ quoted }) => `MSCK REPAIR TABLE ${quoted} SYNC PARTITIONS`,
  // Apache Hadoop's own connector; Amazon EMR and Databricks know it too.
  s3: 's3a',
  folder: 'file://',
};

/** The types are the files' own. */
const duckdb: Dialect = {
  quote: quotes,
  makeSchema: `CREATE SCHEMA IF NOT EXISTS ${SCHEMA}`,
  make: (table) => `CREATE OR REPLACE VIEW ${table.quoted} AS
SELECT
${lines([...table.columns.map(({ name }) => name), MONTH].map(quotes))}
FROM read_parquet(
  ${doubled(`${table.location.replaceAll(/[*?[]/g, '[$&]')}*/*.parquet`)},
  hive_partitioning = true,
  hive_types = {${doubled(MONTH)}: VARCHAR}
)`,
  s3: 's3',
  folder: '',
  // A backslash divides folders in its patterns; on S3 a question mark begins parameters.
  unreadable: /\\|^s3:[^?]*\?/,
};

const clickhouseTypes: Types = {
  string: 'String',
  decimal: `Decimal(${precision})`,
  double: 'Float64',
  date: 'Date32',
  timestamp: "DateTime64(3, 'UTC')",
  boolean: 'Bool',
};

/** The month comes out of the path, as in every version; by it ClickHouse leaves other months' files alone. */
const clickhouse: Dialect = {
  quote: backticks,
  makeSchema: `CREATE DATABASE IF NOT EXISTS ${SCHEMA}`,
  make(table) {
    const { quoted, columns, kind, location } = table;
    const structure = columns.map((column) => {
      const type = typeOf(column, table, clickhouseTypes);
      const own = column.nullable === true ? `Nullable(${type})` : type;
      return `${backticks(column.name)} ${own}`;
    });
    // On S3 it reads the address as a URL.
    const path = kind === 's3' ? encodeURI(location).replaceAll('#', '%23') : location;
    return `CREATE OR REPLACE VIEW ${quoted} AS
SELECT
${lines(columns.map(({ name }) => backticks(name)))},
  extract(_path, '${MONTH}=([0-9]{4}-[0-9]{2})/[^/]*$') AS ${backticks(MONTH)}
FROM ${kind === 's3' ? 's3' : 'file'}(
  ${escaped(`${path}*/*.parquet`)},
  'Parquet',
  ${escaped(structure.join(', '))}
)`;
  },
  s3: 's3',
  folder: '',
  // Its patterns have no escape.
  unreadable: /[*?{}]/,
};

const dialects: Readonly<Record<Engine, Dialect>> = { athena, trino, spark, duckdb, clickhouse };

/**
 * The statements by which an engine has the files as tables, in the order in which they are run.
 * @throws {UsageError} where the engine cannot read what lies there.
 */
export function engineStatements(engine: Engine, wanted: WantedTables): Statement[] {
  const { quote, makeSchema, make, renew } = dialects[engine];
  const { staging, format } = wanted;
  const address = addressOf(engine, staging);
  const all: Statement[] = [{ table: null, sql: makeSchema, afterEachMonth: false }];
  for (const name of wanted.tables) {
    const table: EngineTable = {
      name,
      quoted: `${SCHEMA}.${quote(name)}`,
      columns: tables[name],
      isBasic: format === 'parquet-basic',
      kind: staging.kind,
      location: `${address}/${exportPrefix(format, name)}`,
    };
    all.push({ table: name, sql: make(table), afterEachMonth: false });
    if (renew !== undefined) all.push({ table: name, sql: renew(table), afterEachMonth: true });
  }
  return all;
}

/**
 * The staging area as an engine addresses it, without a slash at its end.
 * @throws {UsageError} where the engine reads no folders, or takes a character of the path for something else.
 */
function addressOf(engine: Engine, staging: Config['staging']): string {
  const { s3, folder, unreadable } = dialects[engine];
  let address: string;
  if (staging.kind === 's3')
    address = [`${s3}://${staging.bucket}`, staging.prefix].filter((part) => part !== '').join('/');
  else if (folder !== undefined) address = folder + resolve(staging.folder).replace(/\/$/, '');
  else
    throw new UsageError(`${engine} reads no folder of this machine`, {
      where: staging.folder,
      next: 'name a staging area on S3 with --staging s3://bucket/prefix',
    });
  const wrong = unreadable?.exec(address)?.[0].at(-1);
  if (wrong !== undefined || printable(address) !== address) {
    const what = wrong === undefined ? 'what no line can show' : `"${wrong}"`;
    throw new UsageError(`${engine} does not take ${what} in a path as it is`, {
      where: printable(address),
      next: 'stage under a path without it',
    });
  }
  return address;
}
