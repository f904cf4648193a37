import { readFile } from 'node:fs/promises';
import test from 'ava';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import type { Sums } from '../../pipeline/shared/sums.js';
import { noSums } from '../../pipeline/shared/sums.js';
import type { RowBatch } from '../../pipeline/staging/batch.js';
import { DataError } from '../../pipeline/shared/errors.js';
import { exportKey } from '../../pipeline/staging/layout.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { openWriter } from '../../pipeline/staging/staging.js';
import type { Column, Value } from '../../pipeline/staging/tables.js';
import { consumption, customers } from '../../pipeline/staging/tables.js';
import { openCsv } from '../../transform/csv.js';
import { openExports } from '../../transform/exports.js';
import { openParquetBasic } from '../../transform/parquet-basic.js';
import { openParquet } from '../../transform/parquet.js';
import type { OpenExport } from '../../transform/table-export.js';
import { literal, query } from '../support/duckdb.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { completeRow } from '../support/staged-slice.js';
import { temporaryStaging } from '../support/staging.js';
import { pathOf, run, slice, snapshot } from '../support/transform.js';

/** Units of 10^-18 in plain notation, by the shortest way there is: not the product's own code. */
function plain(units: bigint): string {
  const digits = String(units < 0n ? -units : units).padStart(19, '0');
  const text = `${digits.slice(0, -18)}.${digits.slice(-18)}`.replace(/\.?0+$/, '');
  return units < 0n ? `-${text}` : text;
}

const largest = 10n ** 38n - 1n;
const amounts = fc.oneof(
  fc.bigInt({ min: -largest, max: largest }),
  fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }),
  fc.bigInt({ min: -1000n, max: 1000n }),
  fc.constantFrom(largest, -largest, 0n, 1n, -1n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, 10n ** 37n),
);
const notations = fc.constantFrom(
  (units: bigint) => plain(units),
  (units: bigint) => `${units}e-18`,
  (units: bigint) => `${units}0E-19`,
);
const accountId = (index: number): string => String(index).padStart(12, '0');

test('amounts in any notation come out of Parquet and CSV to the last digit', async (t) => {
  const staging = await temporaryStaging(t);
  let extraction = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(amounts, notations), { minLength: 1, maxLength: 300 }),
      async (drawn) => {
        const groups = drawn.map(([units, write], index) =>
          // A currency each, since a sum of amounts as large would not fit.
          group('Tax', accountId(index), write(units), `C${index}`),
        );
        await makeExtraction(staging, slice, {
          costs: [costAnswer(groups)],
          extraction: `20261101T00${String(++extraction).padStart(4, '0')}Z`,
        });
        await run(staging);
        const expected = drawn.map(([units], index) => ({
          Reference: accountId(index),
          Amount: plain(units),
        }));
        const parquet = await query(
          `SELECT Reference, Amount::VARCHAR AS Amount
           FROM read_parquet(${literal(pathOf(staging, 'parquet', 'consumption'))})`,
        );
        t.deepEqual(
          parquet.map(({ Amount, ...row }) => ({
            ...row,
            Amount: plain(BigInt(String(Amount).replace('.', ''))),
          })),
          expected,
        );
        t.deepEqual(
          await query(
            `SELECT Reference, Amount
             FROM read_csv(${literal(pathOf(staging, 'csv', 'consumption'))}, all_varchar = true)`,
          ),
          expected,
        );
      },
    ),
    { numRuns: 10 },
  );
});

const hostile = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...Array.from(',;|"\'=+-@\t\r\n \\aA0é🎉＝＋－＠\u2028\u0085\uFEFF%')),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
  ),
  maxLength: 40,
});

const hex = (text: string): string => Buffer.from(text).toString('hex').toUpperCase();

/** Names as bytes, since DuckDB's client drops a byte order mark that a text begins with. */
async function hexNames(table: string): Promise<unknown[]> {
  const rows = await query(`SELECT hex(encode(coalesce(TenantName, ''))) AS name FROM ${table}`);
  return rows.map(({ name }) => name);
}

/** The text without the apostrophes that keep it from running as a formula in CSV; see `csv-cells.test.ts`. */
function plainName(text: unknown): string {
  return String(text).replaceAll("'", '');
}

test('names of any characters come out of Parquet and CSV, and none runs as a formula', async (t) => {
  const staging = await temporaryStaging(t);
  const always = [
    '=cmd|’/c calc’!A1',
    '+1',
    '-1',
    '@x',
    '\t=1',
    '\r=1',
    '\n=1',
    'a\nb',
    'a\r',
    '"',
    'N/A',
  ];
  let extraction = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(hostile, { maxLength: 100 }), async (drawn) => {
      const names = [...always, ...drawn];
      await makeExtraction(staging, slice, {
        accounts: [
          { Accounts: names.map((name, index) => ({ Id: accountId(index), Name: name })) },
        ],
        extraction: `20261101T00${String(++extraction).padStart(4, '0')}Z`,
      });
      await run(staging, { parquet: 'basic' });
      for (const format of ['parquet', 'parquet-basic'] as const) {
        t.deepEqual(
          await hexNames(`read_parquet(${literal(pathOf(staging, format, 'customers'))})`),
          names.map(hex),
        );
      }
      const text = await readFile(pathOf(staging, 'csv', 'customers'), 'utf8');
      const records: string[][] = parse(text, { record_delimiter: '\r\n' });
      const cells = records.slice(1).map((record) => record[1] ?? '');
      t.deepEqual(cells.map(plainName), names.map(plainName));
      t.true(cells.every((cell) => !/^[=+\-@\t\r\n＝＋－＠]/.test(cell)));
      t.deepEqual(
        await hexNames(
          `read_csv(${literal(pathOf(staging, 'csv', 'customers'))},
                    header = true, delim = ',', quote = '"', escape = '"', all_varchar = true)`,
        ),
        cells.map(hex),
      );
    }),
    { numRuns: 10 },
  );
});

async function write(
  staging: Staging,
  key: string,
  open: OpenExport,
  columns: readonly Column[],
  batches: readonly RowBatch[],
): Promise<string> {
  const out = openWriter(staging, key);
  const rows = open(out, columns);
  for (const batch of batches) await rows.write(batch);
  await rows.finish();
  await out.close();
  return `${staging.location}/${key}`;
}

const money: readonly Column[] = [
  { name: 'Id', type: 'string', description: '' },
  { name: 'Amount', type: 'decimal', description: '' },
  { name: 'Maybe', type: 'decimal', nullable: true, description: '' },
];

/** Three row groups: all positive, all negative, both; written in batches that fit none of them. */
function threeRowGroups(): RowBatch<readonly Value[]>[] {
  const batches: RowBatch<readonly Value[]>[] = [];
  const rows = Array.from({ length: 220_001 }, (_, row) => BigInt(row + 1) * 10n ** 19n);
  for (let start = 0; start < rows.length; start += 30_011) {
    const part = rows.slice(start, start + 30_011).map((units, index) => {
      const row = start + index;
      return row < 100_000 || (row >= 200_000 && row % 2 === 0) ? units : -units;
    });
    batches.push({
      length: part.length,
      columns: [
        part.map((_, index) => `row ${start + index}`),
        part,
        part.map((units, index) => ((start + index) % 3 === 0 ? units : null)),
      ],
    });
  }
  return batches;
}

test('statistics of every row group are right, so that readers may skip by them', async (t) => {
  const staging = await temporaryStaging(t);
  const batches = threeRowGroups();
  const file = literal(await write(staging, 'three.parquet', openParquet, money, batches));
  t.deepEqual(
    await query(
      `SELECT row_group_id::INT AS g, row_group_num_rows::INT AS n, stats_min_value AS low, stats_max_value AS high,
              stats_null_count::INT AS nulls, compression
       FROM parquet_metadata(${file}) WHERE path_in_schema = 'Amount' ORDER BY g`,
    ),
    [
      ['10', '1000000', 100_000],
      ['-2000000', '-1000010', 100_000],
      ['-2200000', '2200010', 20_001],
    ].map(([low, high, n], g) => ({
      g,
      n,
      low: `${low}.${'0'.repeat(18)}`,
      high: `${high}.${'0'.repeat(18)}`,
      nulls: 0,
      compression: 'ZSTD',
    })),
  );
  const all = batches.flatMap(({ columns }) => columns[1] as bigint[]);
  const count = async (where: string) =>
    (await query(`SELECT count(*)::INT AS n FROM read_parquet(${file}) WHERE ${where}`))[0]!.n;
  t.is(await count('Amount < 0'), all.filter((units) => units < 0n).length);
  t.is(await count('Amount > 0'), all.filter((units) => units > 0n).length);
  t.is(await count('Amount = -1000010'), 1);
  t.is(await count('Amount BETWEEN -1000020 AND 5'), 2);
  t.is(await count('Maybe IS NULL'), 146_667);
  t.is(await count(`Id = 'row 220000'`), 1);
  t.deepEqual(
    await query(
      `SELECT sum(Amount)::VARCHAR AS s, sum(Maybe)::VARCHAR AS m FROM read_parquet(${file})`,
    ),
    [
      {
        s: plain(all.reduce((sum, units) => sum + units)) + '.' + '0'.repeat(18),
        m:
          plain(all.filter((_, row) => row % 3 === 0).reduce((sum, units) => sum + units)) +
          '.' +
          '0'.repeat(18),
      },
    ],
  );
});

test('the Parquet schema says each type as every reader knows it', async (t) => {
  const staging = await temporaryStaging(t);
  const file = literal(await write(staging, 'a.parquet', openParquet, customers, []));
  const schema = await query(
    `SELECT name, type, repetition_type AS repetition, converted_type AS converted, logical_type AS logical
     FROM parquet_schema(${file}) WHERE name IN ('Reference', 'Created', 'BillingPeriod')`,
  );
  t.deepEqual(schema, [
    {
      name: 'Reference',
      type: 'BYTE_ARRAY',
      repetition: 'REQUIRED',
      converted: 'UTF8',
      logical: 'StringType()',
    },
    {
      name: 'Created',
      type: 'INT64',
      repetition: 'OPTIONAL',
      converted: 'TIMESTAMP_MILLIS',
      logical:
        'TimestampType(isAdjustedToUTC=1, unit=TimeUnit(MILLIS=MilliSeconds(), MICROS=<null>, NANOS=<null>))',
    },
    {
      name: 'BillingPeriod',
      type: 'INT32',
      repetition: 'REQUIRED',
      converted: 'DATE',
      logical: 'DateType()',
    },
  ]);
  const amount = literal(await write(staging, 'b.parquet', openParquet, consumption, []));
  t.deepEqual(
    await query(
      `SELECT type, type_length AS length, repetition_type AS repetition, converted_type AS converted,
              scale::INT AS scale, precision::INT AS precision, logical_type AS logical
       FROM parquet_schema(${amount}) WHERE name = 'Amount'`,
    ),
    [
      {
        type: 'FIXED_LEN_BYTE_ARRAY',
        length: '16',
        repetition: 'REQUIRED',
        converted: 'DECIMAL',
        scale: 18,
        precision: 38,
        logical: 'DecimalType(scale=18, precision=38)',
      },
    ],
  );
  t.deepEqual(await query(`SELECT created_by AS writer FROM parquet_file_metadata(${amount})`), [
    { writer: 'aws-billing-pipeline' },
  ]);
  t.deepEqual(await query(`SELECT * FROM parquet_kv_metadata(${amount})`), []);
});

test('the basic profile has plain types, nulls and all rows over several row groups', async (t) => {
  const staging = await temporaryStaging(t);
  const columns: readonly Column[] = [
    { name: 'Reference', type: 'string', description: '' },
    ...money,
    { name: 'Day', type: 'date', description: '' },
    { name: 'Time', type: 'timestamp', nullable: true, description: '' },
    { name: 'Flag', type: 'boolean', description: '' },
  ];
  const length = 45_003;
  const rows = Array.from({ length }, (_, row) => row);
  const time = Date.parse('2021-03-04T05:06:07.890Z');
  const batch: RowBatch = {
    length,
    columns: [
      rows.map(accountId),
      rows.map((row) => `row ${row}`),
      rows.map((row) => BigInt(row - 20_000) * 10n ** 17n),
      rows.map((row) => (row % 7 === 0 ? null : 5n * 10n ** 17n)),
      rows.map(() => '2026-10-28'),
      // One before 1970, which the library keeps but gives no statistics of.
      rows.map((row) => (row === 7 ? -1 : row % 2 === 0 ? null : time + row)),
      rows.map((row) => row % 5 === 0),
    ],
  };
  const path = await write(staging, 'basic.parquet', openParquetBasic, columns, [batch]);
  // After the magic comes the first page's header, whose first field is its type: 0, a page of version 1.
  t.is((await readFile(path)).subarray(0, 6).toString('latin1'), 'PAR1\x15\x00');
  const file = literal(path);
  t.deepEqual(
    (await query(`DESCRIBE SELECT * FROM read_parquet(${file})`)).map((c) => c.column_type),
    ['VARCHAR', 'VARCHAR', 'DOUBLE', 'DOUBLE', 'DATE', 'TIMESTAMP', 'BOOLEAN'],
  );
  t.deepEqual(
    await query(
      `SELECT row_group_num_rows::INT AS n FROM parquet_metadata(${file}) WHERE path_in_schema = 'Id'`,
    ),
    [{ n: 20_000 }, { n: 20_000 }, { n: 5_003 }],
  );
  const bounds = await query(
    `SELECT path_in_schema || ' ' || stats_min_value || ' ' || stats_max_value AS said
     FROM parquet_metadata(${file}) WHERE stats_min_value IS NOT NULL AND row_group_id > 0
     ORDER BY row_group_id, column_id`,
  );
  t.deepEqual(
    bounds.map(({ said }) => said),
    [
      'Reference 000000020000 000000039999',
      'Amount 0.0 1999.9',
      'Maybe 0.5 0.5',
      'Day 2026-10-28 2026-10-28',
      'Flag false true',
      'Reference 000000040000 000000045002',
      'Amount 2000.0 2500.2',
      'Maybe 0.5 0.5',
      'Day 2026-10-28 2026-10-28',
      'Flag false true',
    ],
  );
  t.deepEqual(
    await query(
      `SELECT count(*) FILTER (Amount < 0)::INT AS credits, count(*) FILTER (Reference >= '000000040000')::INT AS late
       FROM read_parquet(${file})`,
    ),
    [{ credits: 20_000, late: 5_003 }],
  );
  t.deepEqual(
    await query(
      `SELECT count(*)::INT AS n, count(DISTINCT Id)::INT AS ids, min(Amount) AS low, max(Amount) AS high,
              count(Maybe)::INT AS maybe, sum(Maybe) AS half, min(Day)::VARCHAR AS day, count(Time)::INT AS times,
              max(Time)::VARCHAR AS latest, count(*) FILTER (Flag)::INT AS flags
       FROM read_parquet(${file})`,
    ),
    [
      {
        n: length,
        ids: length,
        low: -2000,
        high: 2500.2,
        maybe: 38_574,
        half: 19_287,
        day: '2026-10-28',
        times: 22_501,
        latest: '2021-03-04 05:06:52.891',
        flags: 9_001,
      },
    ],
  );
});

test('a CSV file longer than its buffers holds every row', async (t) => {
  const staging = await temporaryStaging(t);
  const batches = threeRowGroups();
  const path = await write(staging, 'three.csv', openCsv, money, batches);
  const records: string[][] = parse(await readFile(path, 'utf8'), { record_delimiter: '\r\n' });
  const expected = batches.flatMap(({ columns: [ids, all, maybe] }) =>
    (ids ?? []).map((id, row) => {
      const units = maybe![row];
      return [id, plain(all![row] as bigint), typeof units === 'bigint' ? plain(units) : 'N/A'];
    }),
  );
  t.deepEqual(records[0], ['Id', 'Amount', 'Maybe']);
  t.is(records.length, 220_002);
  // Compared as one text: a deep comparison of so many rows takes long.
  t.true(JSON.stringify(records.slice(1)) === JSON.stringify(expected));
});

/** Rows that DuckDB guesses a CSV file's form by. */
const SAMPLE = 20_480;

test("DuckDB's plain read takes a CSV file whose first quoted cell comes after its sample", async (t) => {
  const staging = await temporaryStaging(t);
  const columns = money.map((column) => ({ ...column, nullable: false }));
  const late = [
    'Left, Ltd',
    'say "x"',
    'two\nlines',
    'two\r\nlines',
    'a;b',
    ' blank ',
    "it's",
    'é',
  ];
  const ids = Array.from({ length: 2 * SAMPLE }, (_, row) => `row ${row}`);
  for (const [index, text] of late.entries()) ids[SAMPLE + 1000 * (index + 1)] = text;
  const batch: RowBatch = {
    length: ids.length,
    columns: [ids, ids.map((_, row) => BigInt(row) * 10n ** 18n), ids.map(() => 10n ** 18n)],
  };
  const path = await write(staging, 'late.csv', openCsv, columns, [batch]);
  const quotes = (await readFile(path, 'utf8'))
    .split('\r\n')
    .findIndex((line, row) => row > 0 && line.includes('"'));
  t.true(quotes > SAMPLE, 'nothing is quoted but the header and what comes after the sample');
  const rows = await query(`SELECT Id, Amount::INT AS row FROM read_csv(${literal(path)})`);
  t.is(rows.length, ids.length);
  t.deepEqual(
    rows.filter(({ Id }) => !String(Id).startsWith('row ')),
    late.map((Id, index) => ({ Id, row: SAMPLE + 1000 * (index + 1) })),
  );
});

test('the exports of a slice lie where the layout says', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, {});
  await run(staging, { parquet: 'basic' });
  const keys: string[] = [];
  for await (const { key } of staging.list('')) if (!key.startsWith('raw/')) keys.push(key);
  t.deepEqual(keys, [
    exportKey('csv', 'consumption', slice),
    exportKey('csv', 'customers', slice),
    'manifests/month=2026-10/oab.json',
    exportKey('parquet-basic', 'consumption', slice),
    exportKey('parquet-basic', 'customers', slice),
    exportKey('parquet', 'consumption', slice),
    exportKey('parquet', 'customers', slice),
  ]);
});

test('files that hold other rows than were made are refused, and none becomes visible', async (t) => {
  const formats = ['parquet', 'csv', 'parquet-basic'] as const;
  const row = completeRow('consumption', slice, { Amount: 15n * 10n ** 17n });
  const made: Sums = {
    rows: 2,
    totals: new Map([['USD', 3n * 10n ** 18n]]),
    columns: new Map(),
  };
  const wrong: Partial<Sums>[] = [
    { rows: 1 },
    { rows: 3 },
    { totals: new Map([['USD', 3n * 10n ** 18n - 1n]]) },
    { totals: new Map([['EUR', 3n * 10n ** 18n]]) },
    { columns: new Map([['AmortizedCost', new Map([['USD', 1n]])]]) },
  ];
  for (const format of formats) {
    for (const change of [undefined, ...wrong]) {
      const staging = await temporaryStaging(t);
      const exports = await openExports(staging, slice, ['consumption'], [format]);
      await exports.write('consumption', {
        length: 2,
        columns: row.map((value) => [value, value]),
      });
      const close = exports.close({
        customers: noSums(),
        consumption: { ...made, ...change },
        breakdowns: noSums(),
      });
      if (change === undefined) {
        t.deepEqual(
          (await close).consumption.map(({ key }) => key),
          [exportKey(format, 'consumption', slice)],
        );
        continue;
      }
      const error = await t.throwsAsync(close, { instanceOf: DataError, message: /were written/ });
      t.is(error.where, pathOf(staging, format, 'consumption'));
      await exports.abort();
      t.deepEqual(await snapshot(staging), new Map());
    }
  }
});
