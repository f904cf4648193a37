import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { Engine, Statement } from '../../pipeline/export/engine-tables.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import type { TableName } from '../../pipeline/staging/tables.js';
import { tableNames, tables } from '../../pipeline/staging/tables.js';
import { finished, pipeline, root } from '../support/cli.js';
import { querySqlite } from '../support/sqlite.js';

/**
 * `npm run test:engines`: what `pipeline ddl` prints, run on the engines that PyPI has. Needs Python 3, its venv, Java 17
 * and 1.5 GB; `ENGINES_VENV` names a folder that keeps the packages for the next time.
 */

const packages = ['pyspark==4.3.0', 'chdb==4.4.0', 'sqlglot==30.30.0'];

const answersOf = z.object({
  sqlglot: z.string(),
  opaque: z.array(z.string()),
  clickhouse: z.string(),
  spark: z.string(),
  clickhouseAnswers: z.array(z.array(z.array(z.string().nullable()))),
  sparkAnswers: z.array(z.array(z.array(z.string().nullable()))),
  hiveAnswers: z.array(z.array(z.array(z.string().nullable()))),
});

const execute = promisify(execFile);

/** A table's columns of money that are never null: their sums have to come out to the last digit. */
const amountsOf = (table: TableName): string[] =>
  tables[table]
    .filter(({ money, nullable }) => money === true && nullable !== true)
    .map(({ name }) => name);

/** Rows and exact sums of each table by month and organization; all engines take the same text. */
const queries = tableNames.map((table) => {
  const sums = amountsOf(table).map((name) => `, sum(${name})`);
  return `SELECT month, Organization, count(*)${sums.join('')} FROM billing.${table} GROUP BY month, Organization ORDER BY month, Organization`;
});

/** The same out of the database, which holds exact texts. */
function truth(database: string): string[][][] {
  return tableNames.map((table) => {
    const amounts = amountsOf(table);
    const groups = new Map<string, { rows: number; sums: bigint[] }>();
    const columns = ['substr(BillingPeriod, 1, 7) AS month', 'Organization', ...amounts];
    for (const row of querySqlite(database, `SELECT ${columns.join()} FROM ${table}`)) {
      const key = `${String(row['month'])} ${String(row['Organization'])}`;
      const group = groups.get(key) ?? { rows: 0, sums: amounts.map(() => 0n) };
      group.rows += 1;
      for (const [index, name] of amounts.entries())
        group.sums[index] = (group.sums[index] ?? 0n) + parseAmount(String(row[name])).units;
      groups.set(key, group);
    }
    return [...groups.keys()].sort().map((key) => {
      const { rows = 0, sums = [] } = groups.get(key) ?? {};
      return [...key.split(' '), String(rows), ...sums.map(formatAmount)];
    });
  });
}

/** Amounts as one writes them: engines print trailing zeros or none. */
const plain = (answers: readonly (readonly (readonly (string | null)[])[])[]): string[][][] =>
  answers.map((rows) =>
    rows.map((row) =>
      row.map((value, index) =>
        index < 3 ? String(value) : formatAmount(parseAmount(String(value)).units),
      ),
    ),
  );

const folder = await mkdtemp(join(tmpdir(), 'billing-engines-'));
try {
  const venv = process.env['ENGINES_VENV'] ?? join(folder, 'venv');
  await execute('python3', ['-m', 'venv', venv]);
  await execute(join(venv, 'bin/pip'), ['install', '--quiet', ...packages]);

  // A path that each of these engines could misread.
  const demo = `it's [a] "demo" $x %41`;
  const made = await pipeline(['demo', '--folder', demo], { cwd: folder });
  if (made.code !== 0) throw new Error(made.stderr);
  const statements = async (engine: Engine, staging: string): Promise<string[]> => {
    const words = ['ddl', '--engine', engine, '--staging', staging, '--json'];
    const named = tableNames.flatMap((table) => ['--table', table]);
    const { code, stdout, stderr } = await pipeline([...words, ...named], { cwd: folder });
    if (code !== 0) throw new Error(stderr);
    const { statements: all } = JSON.parse(stdout) as { statements: Statement[] };
    return all.map(({ sql }) => sql);
  };
  const place = join(demo, 'staging');
  const s3 = 's3://bucket/prefix';
  const athena = await statements('athena', s3);
  // Hive knows no projection, and reads the folder: its partitions are looked for.
  const hive = athena
    .map((sql) => sql.replace(s3, () => `file://${folder}/${place.replaceAll("'", "\\'")}`))
    .concat(tableNames.map((table) => `MSCK REPAIR TABLE billing.${table}`));
  const input = {
    ...{ athena, hive, trino: await statements('trino', s3) },
    spark: await statements('spark', place),
    duckdb: await statements('duckdb', place),
    clickhouse: await statements('clickhouse', place),
    queries,
  };
  const child = spawn(join(venv, 'bin/python'), [join(root, 'test/engines/engines.py')], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(input));
  const { code, stdout } = await finished(child);
  if (code !== 0) throw new Error(`the engines failed with ${String(code)}`);
  const answers = answersOf.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));

  const expected = truth(join(folder, demo, 'billing.sqlite'));
  const rows = expected.flat().reduce((sum, row) => sum + Number(row[2]), 0);
  const differ = Object.entries({
    [`Spark ${answers.spark}`]: answers.sparkAnswers,
    [`Athena's DDL in the Hive of Spark ${answers.spark}`]: answers.hiveAnswers,
    [`ClickHouse ${answers.clickhouse}`]: answers.clickhouseAnswers,
  }).filter(([engine, found]) => {
    const isSame = JSON.stringify(plain(found)) === JSON.stringify(expected);
    const what = `${rows} rows in ${expected.flat().length} sums`;
    console.log(`${engine}: ${isSame ? `${what}, all exact` : `${what} differ`}`);
    if (!isSame) console.log(JSON.stringify(plain(found)), JSON.stringify(expected));
    return !isSame;
  });
  console.log(
    `SQLGlot ${answers.sqlglot} parses every statement but for ${answers.opaque.length}:`,
  );
  for (const sql of answers.opaque) console.log(`  ${sql.split('\n')[0] ?? ''}`);
  if (differ.length > 0 || rows < 10_000) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
