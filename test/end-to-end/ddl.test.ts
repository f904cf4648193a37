import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import { expectedConsumption, expectedCustomers } from '../../fixtures/demo/truth.js';
import type { Engine, Statement } from '../../pipeline/export/engine-tables.js';
import { engines } from '../../pipeline/export/engine-tables.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Column, TableName } from '../../pipeline/staging/tables.js';
import { columnOf, tableNames, tables } from '../../pipeline/staging/tables.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { month, world } from '../support/world.js';

const former = parseMonth('2026-09');
const S3 = 's3://bucket/prefix';

const statementsOf = (text: string): Statement[] =>
  (JSON.parse(text) as { statements: Statement[] }).statements;

/** Runs statements in one DuckDB, whose clock is far from UTC, and returns the last one's rows. */
async function inDuckDb(...statements: string[]): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await connection.run("SET TimeZone = 'Asia/Tokyo'");
    for (const sql of statements.slice(0, -1)) await connection.run(sql);
    return (await connection.runAndReadAll(statements.at(-1) ?? '')).getRowObjectsJson();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

const duckTypes: Record<Column['type'], string> = {
  string: 'VARCHAR',
  decimal: 'DECIMAL(38,18)',
  date: 'DATE',
  timestamp: 'TIMESTAMP WITH TIME ZONE',
  boolean: 'BOOLEAN',
};

test("DuckDB's statements run as printed, on any path, and give the exact sums of every month", async (t) => {
  const organizations = [
    { name: 'oab', accounts: 7 },
    { name: 'internal', accounts: 3 },
  ];
  const data = demoData({ months: [former, month], organizations });
  const { folder, run } = await world(t, { data });
  const staging = `a*b?[c]'d" $x; --`;
  const place = ['--staging', staging];
  const flags = [...place, '--parquet', 'basic', '--by', 'record-type', '--invoices'];
  t.is((await run('run', '--from', former, '--to', month, ...flags)).code, 0);
  // What a pattern would take it for, with other figures.
  await cp(join(folder, staging), join(folder, `aXbYc'd" $x; --`), { recursive: true });

  const printed = (await run('ddl', '--engine', 'duckdb', ...place)).stdout;
  const statements = statementsOf(
    (await run('ddl', '--engine', 'duckdb', ...place, '--json')).stdout,
  ).map(({ sql }) => sql);
  t.is(printed.trim(), statements.map((sql) => `${sql};`).join('\n\n'));
  t.is(statements.length, 1 + tableNames.length);
  for (const table of tableNames) {
    const described = await inDuckDb(...statements, `DESCRIBE billing.${table}`);
    t.deepEqual(
      described.map((column) => [column['column_name'], column['column_type']]),
      [...tables[table].map(({ name, type }) => [name, duckTypes[type]]), ['month', 'VARCHAR']],
      table,
    );
  }
  const expected = [former, month].flatMap((of) =>
    ['internal', 'oab'].map((organization) => {
      const rows = expectedConsumption(data, organization, of);
      const sum = rows.reduce((total, { Amount }) => total + Amount, 0n);
      return [of, organization, String(rows.length), formatAmount(sum)];
    }),
  );
  const amount = columnOf('consumption', 'Amount').name;
  const query = `SELECT month, Organization, count(*) AS n, sum(${amount}) AS amount
    FROM billing.consumption GROUP BY ALL ORDER BY ALL`;
  const sums = (await inDuckDb(...statements, query)).map((row) => [
    ...[row['month'], row['Organization'], row['n']],
    String(row['amount']).replace(/\.?0+$/, ''),
  ]);
  t.deepEqual(sums, expected);
  const joined = await inDuckDb(
    ...statements,
    `SELECT DISTINCT Reference, epoch_ms(Created) AS ms FROM billing.customers
     WHERE month = '${month}' AND Organization = 'oab' ORDER BY Reference`,
  );
  t.deepEqual(
    joined.map(({ Reference, ms }) => [Reference, ms === null ? null : Number(ms)]),
    expectedCustomers(data, 'oab', month).map(({ Reference, Created }) => [
      Reference,
      Created === null ? null : Date.parse(Created),
    ]),
  );

  const basic = (await run('ddl', '--engine', 'duckdb', ...place, '--basic', '--json')).stdout;
  const doubles = await inDuckDb(...statementsOf(basic).map(({ sql }) => sql), query);
  t.deepEqual(
    doubles.map(({ amount: sum }) => Number(sum).toFixed(6)),
    expected.map(([, , , sum]) => Number(sum).toFixed(6)),
  );
});

/** Each engine's quoted name and type of a column, as a line or an entry of its statement has it. */
const lineOf: Record<Engine, (column: Column) => string> = {
  athena: ({ name, type }) => `\`${name}\` ${hive[type]}`,
  trino: ({ name, type }) =>
    `"${name}" ${{ ...hive, string: 'varchar', timestamp: 'timestamp(3)' }[type]}`,
  spark: ({ name, type }) => `\`${name}\` ${hive[type].toUpperCase()}`,
  duckdb: ({ name }) => `"${name}"`,
  clickhouse: ({ name }) => `\`${name}\``,
};
const hive: Record<Column['type'], string> = {
  string: 'string',
  decimal: 'decimal(38, 18)',
  date: 'date',
  timestamp: 'timestamp',
  boolean: 'boolean',
};

test('every engine is told every column of every table, in order, and where the files lie', async (t) => {
  const cwd = await temporaryFolder(t);
  const named = tableNames.flatMap((table) => ['--table', table]);
  for (const engine of engines) {
    const flags = ['ddl', '--engine', engine, ...named, '--staging', S3];
    const [text, json, basic] = await Promise.all([
      pipeline(flags, { cwd }),
      pipeline([...flags, '--json'], { cwd }),
      pipeline([...flags, '--basic'], { cwd }),
    ]);
    const statements = statementsOf(json.stdout);
    t.is(
      text.stdout.trim(),
      statements
        .map(({ sql, afterEachMonth }) =>
          afterEachMonth ? `-- Again after each new month:\n${sql};` : `${sql};`,
        )
        .join('\n\n'),
    );
    t.notRegex(basic.stdout, /decimal/i, engine);
    for (const table of tableNames) {
      const [made, ...again] = statements.filter((statement) => statement.table === table);
      const sql = made?.sql ?? '';
      t.regex(sql, new RegExp(`^CREATE [A-Z ]+ billing\\.["\`]${table}["\`] `), engine);
      t.true(
        sql.includes(`${engine === 'spark' ? 's3a' : 's3'}://bucket/prefix/parquet/${table}/`),
      );
      const lines = sql.split('\n').map((line) => line.trim().replace(/,$/, ''));
      const from = lines.indexOf(lineOf[engine](tables[table][0]!));
      t.deepEqual(
        lines.slice(from, from + tables[table].length),
        tables[table].map(lineOf[engine]),
        `${engine} ${table}`,
      );
      if (engine === 'clickhouse') t.deepEqual(structureOf(sql), clickhouseColumns(table));
      t.deepEqual(
        again.map(({ afterEachMonth }) => afterEachMonth),
        ['trino', 'spark'].includes(engine) ? [true] : [],
      );
      t.true(tables[table].every(({ name }) => name !== 'month'));
    }
  }
});

/** The columns that a statement of ClickHouse declares in the text behind the format. */
function structureOf(sql: string): string[] {
  const [, text = ''] = /'Parquet',\n\s*'(.*)'\n\)$/.exec(sql) ?? [];
  return text.replaceAll("\\'", "'").split(/, (?=`)/);
}

function clickhouseColumns(table: TableName): string[] {
  const types: Record<Column['type'], string> = {
    string: 'String',
    decimal: 'Decimal(38, 18)',
    date: 'Date32',
    timestamp: "DateTime64(3, 'UTC')",
    boolean: 'Bool',
  };
  return tables[table].map(({ name, type, nullable }) => {
    const own = types[type];
    return `\`${name}\` ${nullable === true ? `Nullable(${own})` : own}`;
  });
}

test('a place is quoted as the engine reads it, and one that it cannot read is refused', async (t) => {
  const cwd = await temporaryFolder(t);
  const ddl = (engine: Engine, staging: string) =>
    pipeline(['ddl', '--engine', engine, '--table', 'customers', '--staging', staging], { cwd });
  const hostile = `s3://bucket/it's \${x}%41`;
  const quoted: Record<Engine, string> = {
    athena: `LOCATION 's3://bucket/it\\'s \${x}%41/parquet/customers/'`,
    trino: `external_location = 's3://bucket/it''s \${x}%41/parquet/customers/'`,
    spark: `LOCATION 's3a://bucket/it\\'s \\u0024{x}%41/parquet/customers/'`,
    duckdb: `'s3://bucket/it''s \${x}%41/parquet/customers/*/*.parquet'`,
    clickhouse: `'s3://bucket/it\\'s%20%C3%A9%2541%23/parquet/customers/*/*.parquet'`,
  };
  for (const engine of engines.filter((one) => one !== 'clickhouse'))
    t.true((await ddl(engine, hostile)).stdout.includes(quoted[engine]), engine);
  const inUrl = (await ddl('clickhouse', `s3://bucket/it's é%41#`)).stdout;
  t.true(inUrl.includes(quoted.clickhouse), inUrl);
  t.true((await ddl('duckdb', 's3://bucket')).stdout.includes(`'s3://bucket/parquet/customers/`));
  t.true((await ddl('spark', 'a b')).stdout.includes(`'file://${cwd}/a b/parquet/customers/'`));
  t.true((await ddl('spark', '/')).stdout.includes(`'file:///parquet/customers/'`));

  const refused: [Engine, string, RegExp][] = [
    ['athena', 'folder', /athena reads no folder of this machine \[folder\]; name .*S3/],
    ['trino', 'folder', /trino reads no folder/],
    ['trino', 's3://bucket/a#b', /trino does not take "#" in a path as it is/],
    ['duckdb', 'a\\b', /duckdb does not take "\\" /],
    ['duckdb', 's3://bucket/a?b', /duckdb does not take "\?" /],
    ['clickhouse', 's3://bucket/a{b', /clickhouse does not take "\{" /],
    ['clickhouse', 'a*b', /clickhouse does not take "\*" .*a\*b\]; stage under a path/],
    ['spark', 'a\u202eb', /spark does not take what no line can show .*a\\u202eb/],
  ];
  for (const [engine, staging, message] of refused) {
    const { code, stdout, stderr } = await ddl(engine, staging);
    t.deepEqual([code, stdout], [2, ''], `${engine} ${staging}`);
    t.regex(stderr, message);
  }
  t.deepEqual(await readdir(cwd), []);
});

test('without a table those with files are taken; where there are none, it is said how to make them', async (t) => {
  const { run } = await world(t);
  const none = await run('ddl', '--engine', 'spark');
  t.is(none.code, 1);
  t.regex(none.stderr, /no Parquet file is staged yet .*run --stage transform.*name the tables/);
  t.is((await run('run', '--month', month, '--stage', 'extract,transform')).code, 0);
  const some = statementsOf((await run('ddl', '--engine', 'spark', '--json')).stdout);
  const there = [...new Set(some.map(({ table }) => table))];
  t.true(there.includes('consumption') && there.includes('customers'));
  t.true(there.length < 1 + tableNames.length, 'what was not asked for has no files');
  const basic = await run('ddl', '--engine', 'spark', '--basic');
  t.regex(basic.stderr, /no basic Parquet file .*--stage transform --parquet basic/);
  const wrong = await run('ddl', '--engine', 'spark', '--table', 'customer');
  t.regex(wrong.stderr, /there is no table customer; did you mean customers\? choose among /);
  t.is(wrong.code, 2);
});
