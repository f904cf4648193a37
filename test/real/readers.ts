import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Engine, Statement } from '../../pipeline/export/engine-tables.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import type { TableName } from '../../pipeline/staging/tables.js';
import { tableNames, tables } from '../../pipeline/staging/tables.js';
import { codeBlocks } from '../docs/sections.js';
import { finished, root } from '../support/cli.js';
import { querySqlite } from '../support/sqlite.js';
import { everyDetail, succeeded } from './months.js';
import { pythonWith } from './python.js';
import type { Attempt, Trial } from './trial.js';
import { trial } from './trial.js';

/**
 * Readers of the exports, and engines that have them as tables by `pipeline ddl`, from PyPI (1.6 GB; Spark needs Java 17):
 * rows and exact sums of each table by month and organization, over a folder with every detail.
 */

/** Columns of money: their sums have to come out to the last digit. */
const amountsOf = (table: TableName): string[] =>
  tables[table].filter(({ money }) => money === true).map(({ name }) => name);

/** All engines take the same text. */
const queries = tableNames.map((table) => {
  const sums = amountsOf(table).map((name) => `, sum(${name})`);
  return `SELECT month, Organization, count(*)${sums.join('')} FROM billing.${table} GROUP BY month, Organization`;
});

type Answer = (string | null)[][][];

/** The same out of the database, which holds exact texts; a sum of nothing is null. */
function truth(database: string): Answer {
  return tableNames.map((table) => {
    const amounts = amountsOf(table);
    const groups = new Map<string, { rows: number; sums: (bigint | null)[] }>();
    const columns = ['substr(BillingPeriod, 1, 7) AS month', 'Organization', ...amounts];
    for (const row of querySqlite(database, `SELECT ${columns.join()} FROM ${table}`)) {
      const key = `${String(row['month'])} ${String(row['Organization'])}`;
      const group = groups.get(key) ?? { rows: 0, sums: amounts.map(() => null) };
      group.rows += 1;
      for (const [index, name] of amounts.entries())
        if (typeof row[name] === 'string')
          group.sums[index] = (group.sums[index] ?? 0n) + parseAmount(row[name]).units;
      groups.set(key, group);
    }
    return [...groups].sort().map(([key, { rows, sums }]) => {
      const texts = sums.map((sum) => (sum === null ? null : formatAmount(sum)));
      return [...key.split(' '), String(rows), ...texts];
    });
  });
}

/** Amounts as one writes them: readers print trailing zeros or none. */
const plain = (answer: Answer): Answer =>
  answer.map((rows) =>
    rows.map((row) =>
      row.map((value, index) =>
        index < 3 || value === null ? value : formatAmount(parseAmount(value).units),
      ),
    ),
  );

const answersOf = z.object({
  version: z.string(),
  answers: z.record(z.string(), z.array(z.array(z.array(z.string().nullable())))),
  opaque: z.array(z.string()),
  recipes: z.record(z.string(), z.record(z.string(), z.string())),
});

/** The recipes of docs/reading.md, those that read Parquet and those that read CSV, of one customer. */
async function recipesFor(customer: string) {
  const text = (await readFile(join(root, 'docs/reading.md'), 'utf8')).replaceAll(
    '000000000012',
    customer,
  );
  const blocks = (section: string) => codeBlocks(text, section, 'python');
  const both = ([parquet = '', csv = '', rest = '']: string[]) => ({
    'the recipes, by Parquet': parquet + rest,
    'the recipes, by CSV': csv + rest,
  });
  return {
    pandas: both(blocks('pandas')),
    polars: both(blocks('polars')),
    pyarrow: { 'the recipe': blocks('pyarrow').join('') },
  };
}

/** What they have to find, by the database: each row's numbers out of its exact texts. */
function recipeTruth(database: string, customer: string): Record<string, string> {
  const rows = querySqlite(database, 'SELECT Reference, BillingPeriod, Amount FROM consumption');
  const moved = new Map<string, bigint>();
  let [total, own, large] = [0n, 0, 0];
  for (const { Reference, BillingPeriod, Amount } of rows) {
    const account = String(Reference);
    const { units } = parseAmount(String(Amount));
    const isLast = BillingPeriod === '2026-10-28';
    total += units;
    moved.set(account, (moved.get(account) ?? 0n) + (isLast ? units : -units));
    if (account === customer) own += 1;
    if (isLast && units > parseAmount('100').units) large += 1;
  }
  const size = (of: bigint): bigint => (of < 0n ? -of : of);
  const [first] = [...moved].sort((a, b) => (size(a[1]) < size(b[1]) ? 1 : -1));
  const [mover, by] = first ?? ['', 0n];
  return {
    ...{ total: formatAmount(total), mover, moved: formatAmount(by) },
    ...{ own: String(own), large: String(large) },
  };
}

/** A path that engines could misread. */
const PLACE = `it's "here" $x %41`;

/** What a reader of readers.py says of a folder with every detail. */
async function ask(t: Attempt, reader: string, packages: readonly string[]) {
  const { python } = await pythonWith(t.cache, ...packages);
  const { run, folder, whole } = await everyDetail(t, PLACE);
  await succeeded(run('run', ...whole));
  const database = join(folder, PLACE, 'billing.sqlite');
  const [{ customer } = {}] = querySqlite(
    database,
    'SELECT max(Reference) AS customer FROM consumption',
  );
  const statements = async (
    engine: Engine,
    staging = join(PLACE, 'staging'),
  ): Promise<string[]> => {
    const words = ['ddl', '--engine', engine, '--staging', staging, '--json'];
    const named = tableNames.flatMap((table) => ['--table', table]);
    const { statements: all } = JSON.parse(await succeeded(run(...words, ...named))) as {
      statements: Statement[];
    };
    return all.map(({ sql }) => sql);
  };
  const s3 = 's3://bucket/prefix';
  const athena = await statements('athena', s3);
  const here = `file://${join(folder, PLACE, 'staging').replaceAll("'", "\\'")}`;
  const input = {
    tables: Object.fromEntries(tableNames.map((table) => [table, amountsOf(table)])),
    queries,
    recipes: await recipesFor(String(customer)),
    statements: {
      ...{ athena, trino: await statements('trino', s3) },
      // Hive knows no projection, and reads the folder: its partitions are looked for.
      hive: athena
        .map((sql) => sql.replace(s3, () => here))
        .concat(tableNames.map((table) => `MSCK REPAIR TABLE billing.${table}`)),
      spark: await statements('spark'),
      duckdb: await statements('duckdb'),
      clickhouse: await statements('clickhouse'),
    },
  };
  const child = spawn(python, [join(root, 'test/real/readers.py'), reader], {
    cwd: join(folder, PLACE),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.end(JSON.stringify(input));
  const { code, stdout, stderr } = await finished(child);
  assert.equal(code, 0, stderr.slice(-4000));
  const said = answersOf.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
  t.version(said.version);
  return { ...said, expected: truth(database), figures: recipeTruth(database, String(customer)) };
}

async function reads(t: Attempt, reader: string, ...packages: string[]): Promise<void> {
  const { answers, recipes, expected, figures } = await ask(t, reader, packages);
  const rows = expected.flat().reduce((sum, row) => sum + Number(row[2]), 0);
  assert.ok(rows > 1000 && expected.every((table) => table.length > 0));
  for (const [what, answer] of Object.entries(answers))
    await t.holds(`${what}: exact sums of ${rows} rows`, () => {
      assert.deepEqual(plain(answer), expected);
      return Promise.resolve();
    });
  for (const [what, found] of Object.entries(recipes))
    await t.holds(`${what}, of [Reading](reading.md)`, () => {
      for (const [name, text] of Object.entries(found)) {
        const isAmount = name === 'total' || name === 'moved';
        const value = isAmount ? formatAmount(parseAmount(text).units) : text;
        assert.equal(value, figures[name], name);
      }
      return Promise.resolve();
    });
}

/** Parses the statements of every engine, also of those that cannot be had here. */
async function parses(t: Attempt): Promise<void> {
  const { opaque } = await ask(t, 'sqlglot', ['sqlglot']);
  await t.holds('parses `pipeline ddl` of Trino, Athena, Spark, DuckDB and ClickHouse', () => {
    // What it takes for a text without meaning: only what finds new months may be that.
    const known = /^(MSCK REPAIR TABLE |CALL system\.sync_partition_metadata\()/;
    const unknown = opaque.filter((sql) => !known.test(sql));
    assert.deepEqual(unknown, []);
    return Promise.resolve();
  });
}

export const readerTrials: readonly Trial[] = [
  trial('pandas', (t) => reads(t, 'pandas', 'pandas', 'pyarrow')),
  trial('pyarrow', (t) => reads(t, 'pyarrow', 'pyarrow')),
  trial('polars', (t) => reads(t, 'polars', 'polars')),
  trial('Spark', (t) => reads(t, 'spark', 'pyspark')),
  trial('ClickHouse', (t) => reads(t, 'clickhouse', 'chdb')),
  trial('SQLGlot', parses),
];
