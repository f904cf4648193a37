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
export const joinKey = ['Reference', 'BillingPeriod', 'Organization'];

/**
 * What tables are looked into by beside that. Of consumption nothing: an index more takes a sixth of a load's time, and
 * whoever asks for a service of a month reads that month, a range of the primary key.
 */
const indexes: Partial<Record<TableName, readonly (readonly string[])[]>> = {
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

/** A step of making or upgrading what the database holds. */
export interface Step extends Knex.Migration {
  name: string;
}

/**
 * The steps that make or upgrade the tables, each known by its name for ever. A column that is
 * declared later needs a step of its own that adds it where it is missing.
 */
export function tableSteps(dialect: Dialect): readonly Step[] {
  return [
    ...tableNames.map((table) => tableStep(`001_${table}`, table, dialect)),
    {
      name: `001_${LOADS}`,
      down: never,
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
    {
      name: `002_${LOADS}_${PROVISIONAL.name}`,
      down: never,
      up: async (knex: Knex): Promise<void> => {
        if (await knex.schema.hasColumn(LOADS, PROVISIONAL.name)) return;
        await knex.schema.alterTable(LOADS, (builder) => {
          defineColumns(builder, [PROVISIONAL], dialect);
        });
      },
    },
    {
      name: '003_consumption_without_service_index',
      down: never,
      up: (knex: Knex) => dropIndex(knex, 'consumption', ['Service', 'BillingPeriod']),
    },
  ];
}

function tableStep(name: string, table: TableName, dialect: Dialect): Step {
  return {
    name,
    down: never,
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

/** The way back of every step. */
export function never(): Promise<void> {
  return Promise.reject(new Error('what a step made is never taken back'));
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
  const isThere =
    dialect === 'sqlite'
      ? (await sqliteStatements(knex, table)).length > 0
      : await knex.schema.hasTable(table);
  if (isThere) return checkColumns(knex, table, columns);
  await knex.schema.createTable(table, (builder) => {
    if (dialect === 'mysql') {
      builder.engine('InnoDB');
      builder.charset('utf8mb4');
      builder.collate('utf8mb4_bin');
    }
    define(builder);
  });
}

/** SQLite keeps the statements by which things were made, word for word; those of its own indexes it has not. */
const statements = z.array(z.string().nullable());

/**
 * The statement by which an SQLite file's table, view or index of a name was made; none where there is no such thing.
 * To SQLite names that differ in case are one.
 */
export async function sqliteStatements(knex: Knex, name: string): Promise<(string | null)[]> {
  const query = knex('sqlite_master').whereRaw('name = ? COLLATE NOCASE', [name]);
  return statements.parse(await query.pluck('sql'));
}

/** @throws {ConfigurationError} when a table or view has other columns. */
export async function checkColumns(
  knex: Knex,
  table: string,
  columns: readonly string[],
): Promise<void> {
  const found = Object.keys(await knex(table).columnInfo());
  const isOurs =
    found.every((name) => columns.includes(name)) && columns.every((name) => found.includes(name));
  if (!isOurs) throw foreignTable(table);
}

/** The database holds something else by that name. */
export function foreignTable(table: string): ConfigurationError {
  return new ConfigurationError(
    `the database has a table ${table} already, and it is not this pipeline's`,
    { next: 'rename that table, or give the pipeline a database of its own' },
  );
}

/** The name that Knex gives an index by itself. */
export function indexName(table: string, columns: readonly string[]): string {
  return [table, ...columns, 'index'].join('_').toLowerCase();
}

async function addIndex(knex: Knex, table: string, columns: readonly string[]): Promise<void> {
  const change = knex.schema.alterTable(table, (builder) => {
    builder.index([...columns], indexName(table, columns));
  });
  await unlessDone(change, 'ER_DUP_KEYNAME', /^.*index \S+ already exists/);
}

/** Removes an index that another version made, where it is there. */
async function dropIndex(knex: Knex, table: string, columns: readonly string[]): Promise<void> {
  const change = knex.schema.alterTable(table, (builder) => {
    builder.dropIndex([...columns], indexName(table, columns));
  });
  await unlessDone(change, 'ER_CANT_DROP_FIELD_OR_KEY', /no such index: \S+$/);
}

/** Makes a change that a step which was killed may have made already. */
async function unlessDone(
  change: PromiseLike<void>,
  mysqlCode: string,
  sqliteSays: RegExp,
): Promise<void> {
  try {
    await change;
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const isDone =
      code === mysqlCode || (code === 'SQLITE_ERROR' && sqliteSays.test(String(message)));
    if (!isDone) throw error;
  }
}

/** A column of a database's table; one without a length is a text of any. */
type DatabaseColumn = Pick<Column, 'name' | 'length' | 'nullable'> & {
  type: Column['type'] | 'integer' | 'text';
  description?: string;
};

/** Empty of loads by a version that did not keep it. */
const PROVISIONAL: DatabaseColumn = { name: 'Provisional', type: 'boolean', nullable: true };

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
  PROVISIONAL,
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
