import type { Knex } from 'knex';
import { z } from 'zod';
import { ConfigurationError } from '../pipeline/shared/errors.js';
import type { Month } from '../pipeline/shared/month.js';
import { billingPeriod } from '../pipeline/shared/month.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import type { Column } from '../pipeline/staging/tables.js';
import { DECIMAL, tableNames, tables } from '../pipeline/staging/tables.js';
import type { Dialect } from './driver.js';
import { LOADS } from './history.js';

/** The last column of every table: the row's number within its slice, from 1. */
export const LINE = 'Line';

const lineDescription = "The row's number within its month and organization, from 1";

/**
 * What the tables are joined by. Organization belongs to it: an account that changed payers within a month
 * has rows of that month in both.
 */
const joinKey = ['Reference', 'BillingPeriod', 'Organization'];

/** What tables are looked into by beside that. */
const indexes: Partial<Record<TableName, readonly (readonly string[])[]>> = {
  consumption: [['Service', 'BillingPeriod']],
  breakdowns: [['Dimension', 'BillingPeriod']],
};

/**
 * SQLite's companion of a decimal column: the exact text as a number, which compares, sorts and adds up as one
 * (to some 15 digits). It is computed when it is read, and takes no room.
 */
export function numberColumn(decimal: string): string {
  return `${decimal}Number`;
}

/** The names of a table's columns in the database, in order. */
export function columnNames(table: TableName): string[] {
  return [...tables[table].map(({ name }) => name), LINE];
}

/** SQLite's view for queries: each cost with its month and the account's name, and numbers in place of exact texts. */
export const COSTS = 'costs';

/** The view: the columns of consumption behind month and TenantName, as `pipeline export` has them. */
function costsView(): string {
  const columns = tables.consumption.map(({ name, type }) =>
    type === 'decimal' ? `c."${numberColumn(name)}" AS "${name}"` : `c."${name}" AS "${name}"`,
  );
  return `CREATE VIEW "${COSTS}" AS
    SELECT substr(c."BillingPeriod", 1, 7) AS "month", a."TenantName" AS "TenantName", ${columns.join(', ')}
    FROM "consumption" c LEFT JOIN "customers" a USING (${joinKey.map((name) => `"${name}"`).join(', ')})`;
}

interface Step extends Knex.Migration {
  name: string;
}

/**
 * The steps that make or upgrade the tables, each known by its name for ever. A column that is
 * declared later needs a step of its own that adds it where it is missing.
 */
export function migrations(dialect: Dialect): readonly Step[] {
  return [
    ...tableNames.map((table) => tableStep(`001_${table}`, table, dialect)),
    {
      name: `001_${LOADS}`,
      down,
      up: async (knex: Knex): Promise<void> => {
        const columns = ['Id', ...loadColumns.map(({ name }) => name)];
        await createTable(knex, LOADS, columns, dialect, (builder) => {
          builder.increments('Id');
          defineColumns(builder, loadColumns, dialect);
          defineNumbers(builder, loadColumns, dialect);
        });
        await addIndex(knex, LOADS, ['Month', 'Organization']);
      },
    },
    // MySQL has exact decimals, and a view there needs a right of its own and belongs to one user.
    ...(dialect === 'sqlite' ? [{ name: `001_${COSTS}`, down, up: createView }] : []),
  ];
}

async function createView(knex: Knex): Promise<void> {
  const [found] = made.parse(await knex('sqlite_master').where({ name: COSTS }).select('sql'));
  if (found === undefined) await knex.raw(costsView());
  else if (found.sql !== costsView()) throw foreignTable(COSTS);
}

/** SQLite keeps the statements by which tables and views were made, word for word. */
const made = z.array(z.object({ sql: z.string() }));

function tableStep(name: string, table: TableName, dialect: Dialect): Step {
  return {
    name,
    down,
    up: async (knex: Knex): Promise<void> => {
      await createTable(knex, table, columnNames(table), dialect, (builder) => {
        defineColumns(builder, tables[table], dialect);
        const line = builder.integer(LINE).notNullable();
        if (dialect === 'mysql') line.comment(lineDescription);
        // The key's order makes a slice one contiguous range of an InnoDB table.
        builder.primary(['BillingPeriod', 'Organization', LINE]);
        defineNumbers(builder, tables[table], dialect);
      });
      for (const columns of [joinKey, ...(indexes[table] ?? [])])
        await addIndex(knex, table, columns);
    },
  };
}

function down(): Promise<void> {
  return Promise.reject(new Error('the tables are never taken back'));
}

/**
 * MySQL commits each DDL statement by itself, so a step that was killed half-way is found half done
 * by the next process: every part of it looks whether it is there already.
 */
async function createTable(
  knex: Knex,
  table: string,
  columns: readonly string[],
  dialect: Dialect,
  define: (builder: Knex.CreateTableBuilder) => void,
): Promise<void> {
  if (await knex.schema.hasTable(table)) return checkColumns(knex, table, columns);
  await knex.schema.createTable(table, (builder) => {
    if (dialect === 'mysql') {
      builder.engine('InnoDB');
      builder.charset('utf8mb4');
      builder.collate('utf8mb4_bin');
    }
    define(builder);
  });
}

async function checkColumns(knex: Knex, table: string, columns: readonly string[]): Promise<void> {
  const found = Object.keys(await knex(table).columnInfo());
  const isOurs =
    found.every((name) => columns.includes(name)) && columns.every((name) => found.includes(name));
  if (!isOurs) throw foreignTable(table);
}

function foreignTable(table: string): ConfigurationError {
  return new ConfigurationError(
    `the database has a table ${table} already, and it is not this pipeline's`,
    { next: 'rename that table, or give the pipeline a database of its own' },
  );
}

async function addIndex(knex: Knex, table: string, columns: readonly string[]): Promise<void> {
  try {
    await knex.schema.alterTable(table, (builder) => {
      builder.index([...columns]);
    });
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const isThere =
      code === 'ER_DUP_KEYNAME' ||
      (code === 'SQLITE_ERROR' && /^.*index \S+ already exists/.test(String(message)));
    if (!isThere) throw error;
  }
}

/** A column of a database's table; one without a length is a text of any. */
type DatabaseColumn = Pick<Column, 'name' | 'length' | 'nullable'> & {
  type: Column['type'] | 'integer' | 'text';
  description?: string;
};

const loadColumns: readonly DatabaseColumn[] = [
  { name: 'Run', type: 'string', length: 64 },
  { name: 'Month', type: 'string', length: 7 },
  { name: 'Organization', type: 'string', length: 64 },
  { name: 'Extraction', type: 'string', length: 64 },
  { name: 'CustomerRows', type: 'integer' },
  { name: 'ConsumptionRows', type: 'integer' },
  { name: 'Amount', type: 'decimal', nullable: true },
  { name: 'Currency', type: 'string', length: 16, nullable: true },
  { name: 'Totals', type: 'text' },
  { name: 'Source', type: 'string', length: 64 },
  { name: 'Started', type: 'timestamp' },
  { name: 'Finished', type: 'timestamp' },
  { name: 'Version', type: 'string', length: 32 },
  { name: 'Difference', type: 'decimal', nullable: true },
  { name: 'Differences', type: 'text', nullable: true },
  { name: 'Detail', type: 'string', length: 16 },
  { name: 'BillingViewArn', type: 'string', length: 255, nullable: true },
  { name: 'CostViewArn', type: 'string', length: 255, nullable: true },
];

function defineColumns(
  builder: Knex.CreateTableBuilder,
  columns: readonly DatabaseColumn[],
  dialect: Dialect,
): void {
  for (const column of columns) {
    const defined = defineColumn(builder, column, dialect);
    if (dialect === 'mysql' && column.description !== undefined)
      defined.comment(column.description);
    if (column.nullable === true) defined.nullable();
    else defined.notNullable();
  }
}

function defineColumn(
  builder: Knex.TableBuilder,
  { name, type, length }: DatabaseColumn,
  dialect: Dialect,
): Knex.ColumnBuilder {
  if (type === 'string') return builder.string(name, length ?? 255);
  if (type === 'integer') return builder.integer(name);
  if (type === 'text') return builder.text(name);
  // SQLite has no exact decimal and no dates; in a column of those types it would make numbers of the texts.
  if (dialect === 'sqlite') return type === 'boolean' ? builder.integer(name) : builder.text(name);
  switch (type) {
    case 'decimal':
      return builder.decimal(name, DECIMAL.precision, DECIMAL.scale);
    case 'date':
      return builder.date(name);
    case 'timestamp':
      return builder.datetime(name, { precision: 3 });
    case 'boolean':
      return builder.boolean(name);
  }
}

/** Gives SQLite's decimals their companions: without them, `Amount > 100` compares texts, and is wrong. */
function defineNumbers(
  builder: Knex.CreateTableBuilder,
  columns: readonly DatabaseColumn[],
  dialect: Dialect,
): void {
  if (dialect !== 'sqlite') return;
  for (const { name, type } of columns)
    if (type === 'decimal')
      builder.specificType(
        numberColumn(name),
        `REAL GENERATED ALWAYS AS (CAST(\`${name}\` AS REAL)) VIRTUAL`,
      );
}

const MIGRATIONS = 'pipeline_migrations';

const names = z.array(z.string());

/**
 * Whether steps are still to be done.
 * @throws {ConfigurationError} when another version has made the tables: a newer one, or one whose steps are none now.
 */
export async function isOutdated(knex: Knex, dialect: Dialect): Promise<boolean> {
  if (!(await knex.schema.hasTable(MIGRATIONS))) return true;
  const done = names.parse(await knex(MIGRATIONS).pluck('name'));
  const known = migrations(dialect).map(({ name }) => name);
  const unknown = done.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new ConfigurationError(
      `the database's tables are another version's (step ${unknown} is unknown here)`,
      { next: 'use that version, or a database of its own' },
    );
  }
  return known.some((name) => !done.includes(name));
}

/**
 * Does the steps that are still to be done. The caller holds a lock that ends with its connection,
 * so that Knex's own lock, a row that outlives a killed process, is always stale here and freed.
 */
export async function migrate(knex: Knex, dialect: Dialect): Promise<void> {
  const steps = migrations(dialect);
  const settings: Knex.MigratorConfig = {
    tableName: MIGRATIONS,
    // MySQL commits at every DDL statement: a transaction around them would only pretend.
    disableTransactions: dialect === 'mysql',
    migrationSource: {
      getMigrations: () => Promise.resolve([...steps]),
      getMigrationName: (step: (typeof steps)[number]) => step.name,
      getMigration: (step: (typeof steps)[number]) => Promise.resolve(step),
    },
  };
  await knex.migrate.forceFreeMigrationsLock(settings);
  await knex.migrate.latest(settings);
}

const counted = z.tuple([z.object({ rows: z.coerce.number() })]);

/** The columns that tell a slice's rows from all others. */
export function sliceKey(slice: Slice): { BillingPeriod: string; Organization: string } {
  return { BillingPeriod: billingPeriod(slice.month), Organization: slice.organization };
}

/** Removes every row of the slice. */
export async function deleteSlice(knex: Knex, table: TableName, slice: Slice): Promise<void> {
  await knex(table).where(sliceKey(slice)).delete();
}

/** Accounts of the slice that the organization listed, not those that only Cost Explorer knew. */
export async function countListed(knex: Knex, slice: Slice): Promise<number> {
  const answer: unknown = await knex('customers')
    .where(sliceKey(slice))
    .whereNot({ Status: 'unlisted' })
    .count({ rows: '*' });
  return counted.parse(answer)[0].rows;
}

const dimensions = z.array(z.object({ Dimension: z.string(), rows: z.coerce.number() }));

/** Rows of the slice in the table of breakdowns, by dimension. */
export async function countDimensions(knex: Knex, slice: Slice): Promise<Map<string, number>> {
  const answer: unknown = await knex('breakdowns')
    .where(sliceKey(slice))
    // MySQL's collation takes keys for one that differ in spaces at their end only.
    .groupBy('Dimension', knex.raw('length(??)', ['Dimension']))
    .orderBy('Dimension')
    .select('Dimension')
    .count({ rows: '*' });
  return new Map(dimensions.parse(answer).map(({ Dimension, rows }) => [Dimension, rows]));
}

const countedOf = z.array(z.object({ Organization: z.string(), rows: z.coerce.number() }));

/** Rows of a month in a table, by organization; an organization without any is not among them. */
export async function countMonth(
  knex: Knex,
  table: TableName,
  month: Month,
): Promise<ReadonlyMap<string, number>> {
  const answer: unknown = await knex(table)
    .where({ BillingPeriod: billingPeriod(month) })
    .groupBy('Organization')
    .select('Organization')
    .count({ rows: '*' });
  return new Map(countedOf.parse(answer).map(({ Organization, rows }) => [Organization, rows]));
}

/** Rows of the slice in a table. */
export async function countSlice(knex: Knex, table: TableName, slice: Slice): Promise<number> {
  const answer: unknown = await knex(table).where(sliceKey(slice)).count({ rows: '*' });
  return counted.parse(answer)[0].rows;
}
