import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import test from 'ava';
import fc from 'fast-check';
import { parquetMetadata } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import { readParquet } from '../../load/read-parquet.js';
import { DataError } from '../../pipeline/shared/errors.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { furtherMetrics } from '../../pipeline/shared/scope.js';
import { valueAt } from '../../pipeline/staging/batch.js';
import type { TableName } from '../../pipeline/staging/layout.js';
import type { Value } from '../../pipeline/staging/tables.js';
import { tables } from '../../pipeline/staging/tables.js';
import { temporaryFolder } from '../support/load-fixture.js';
import { completeRow, october, parquetFile } from '../support/staged-slice.js';

const origin = { where: 'here', next: 'make it anew' };

async function readBack(table: TableName, bytes: Uint8Array, said: number) {
  const rows: Value[][] = [];
  let batches = 0;
  const file = new Uint8Array(bytes).buffer;
  for await (const { length, columns } of readParquet(file, tables[table], said, origin)) {
    batches++;
    for (let row = 0; row < length; row++) rows.push(columns.map((values) => valueAt(values, row)));
  }
  return { rows, batches };
}

test('decimals of every size come back exactly, a row group a batch', async (t) => {
  const limit = 10n ** 38n - 1n;
  const units = fc.bigInt({ min: -limit, max: limit });
  const few = fc.sample(fc.tuple(units, fc.option(units)), 500);
  const edges = [
    0n,
    1n,
    -1n,
    limit,
    -limit,
    2n ** 63n,
    -(2n ** 63n),
    2n ** 64n,
    -(2n ** 64n) - 1n,
    2n ** 64n - 1n,
  ];
  const rows = [...few, ...edges.map((edge) => [edge, edge] as const)].map(([Amount, Quantity]) =>
    completeRow('consumption', october, { Amount, Quantity }),
  );
  const { rows: found, batches } = await readBack(
    'consumption',
    parquetFile('consumption', rows, 100),
    rows.length,
  );
  t.deepEqual(found, rows);
  t.is(batches, 6);
});

test('a file of another writer, DuckDB, with zstd and optional columns is read exactly', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'consumption.parquet');
  const amounts = fc.sample(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), 300);
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  const values = amounts.map(
    (amount, index) => `(${index}, '${formatAmount(amount)}'::DECIMAL(38,18))`,
  );
  await connection.run(`COPY (
    SELECT lpad(n::VARCHAR, 12, '0') AS Reference, 'N/A' AS Region, 'Service ' || n % 7 AS Service,
      'N/A' AS Category, 'N/A' AS SubCategory, NULL::DECIMAL(38,18) AS Quantity, 'N/A' AS Unit,
      NULL::DECIMAL(38,18) AS UnitPrice, Amount, NULL::DECIMAL(38,18) AS DiscountedAmount,
      'aws' AS Tag, DATE '2026-10-28' AS BillingPeriod, 'oab' AS Organization, 'USD' AS Currency,
      n % 2 = 0 AS Estimated,
      ${[...furtherMetrics, 'CostAmount'].map((name) => `NULL::DECIMAL(38,18) AS ${name}`).join(', ')}
    FROM (VALUES ${values.join(',')}) AS t(n, Amount) ORDER BY n
  ) TO '${path}' (FORMAT parquet, COMPRESSION zstd)`);
  connection.closeSync();
  instance.closeSync();
  const { rows } = await readBack(
    'consumption',
    new Uint8Array(await readFile(path)),
    amounts.length,
  );
  t.deepEqual(
    rows,
    amounts.map((Amount, index) =>
      completeRow('consumption', october, {
        Reference: String(index).padStart(12, '0'),
        Service: `Service ${index % 7}`,
        Amount,
        Estimated: index % 2 === 0,
      }),
    ),
  );
});

test('what is not a table of the standard profile is refused', async (t) => {
  const good = parquetFile('consumption', [completeRow('consumption', october, { Amount: 5n })]);
  const customers = parquetFile('customers', [completeRow('customers', october, {})]);
  const long = parquetFile('consumption', [
    completeRow('consumption', october, { Service: '😀'.repeat(513) }),
  ]);
  const cases: [Uint8Array, RegExp][] = [
    [customers, /not of this version's standard profile: its column Region differs/],
    [new Uint8Array(200), /cannot be read/],
    [good.slice(0, good.length >> 1), /cannot be read/],
    [good.slice(4), /cannot be read/],
    [long, /more than 512 characters in column Service/],
  ];
  for (const [bytes, message] of cases) {
    await t.throwsAsync(readBack('consumption', bytes, 1), {
      instanceOf: DataError,
      message,
    });
  }
  const kept = parquetFile('consumption', [
    completeRow('consumption', october, { Service: '😀'.repeat(512) }),
  ]);
  t.is((await readBack('consumption', kept, 1)).rows.length, 1);
});

test('a file of other rows than its manifest says is refused before any is handed out', async (t) => {
  const rows = Array.from({ length: 5 }, () => completeRow('consumption', october, {}));
  const bytes = parquetFile('consumption', rows, 2);
  for (const said of [0, 2, 4, 6]) {
    await t.throwsAsync(readBack('consumption', bytes, said), {
      instanceOf: DataError,
      message: `the Parquet file holds 5 rows, its manifest says ${said}`,
    });
  }
  t.is((await readBack('consumption', bytes, 5)).rows.length, 5);
  t.is((await readBack('consumption', parquetFile('consumption', []), 0)).batches, 0);
});

test('a column of other values than its row group has rows is refused before it is read', async (t) => {
  const bytes = parquetFile('consumption', [completeRow('consumption', october, {})]);
  const footer = parquetMetadata(new Uint8Array(bytes).buffer);
  const column = footer.row_groups[0]!.columns[0]!.meta_data!;
  column.num_values = 3_000_000_000n;
  const writer = new ByteWriter();
  writer.appendBytes(bytes.slice(0, footerStart(bytes)));
  writeMetadata(writer, footer);
  writer.appendBytes(new TextEncoder().encode('PAR1'));
  await t.throwsAsync(readBack('consumption', writer.getBytes(), 1), {
    instanceOf: DataError,
    message: 'the Parquet file holds 3000000000 values of column Reference for 1 rows',
  });
});

/** Where the footer begins: its length stands before the last four bytes. */
function footerStart(bytes: Uint8Array): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(bytes.length - 8, true);
  return bytes.length - 8 - length;
}
test('a column of more or fewer values than the file has rows is refused', async (t) => {
  const amounts = fc.sample(fc.bigInt({ min: 0n, max: 10n ** 20n }), 6);
  // Texts that repeat and texts that differ, which are packed differently; and flags, which are bits.
  const row = (Amount: bigint, index: number): Value[] =>
    completeRow('consumption', october, {
      Amount,
      Reference: String(index).padStart(12, '0'),
      Estimated: index % 2 === 0,
    });
  for (const [held, claimed, message] of [
    [6, 5, /holds too many values in column Reference/],
    [6, 1, /holds too many values in column Reference/],
    [2, 3, /holds too few values in column Reference|cannot be read/],
  ] as const) {
    const bytes = parquetFile('consumption', amounts.slice(0, held).map(row), 1000, claimed);
    await t.throwsAsync(readBack('consumption', bytes, claimed), {
      instanceOf: DataError,
      message,
    });
  }
  const same = parquetFile('consumption', amounts.map(row), 1000, 6);
  t.is((await readBack('consumption', same, 6)).rows.length, 6);
});

test('nothing in a column that is never null is refused, whatever its type', async (t) => {
  for (const name of ['Reference', 'Amount', 'BillingPeriod', 'Estimated']) {
    const rows = [
      completeRow('consumption', october, { Amount: 1n }),
      completeRow('consumption', october, { [name]: null }),
    ];
    const bytes = parquetFile('consumption', rows, 1000, undefined, true);
    await t.throwsAsync(readBack('consumption', bytes, 2), {
      instanceOf: DataError,
      message: `the Parquet file holds a wrong value in column ${name}`,
    });
  }
  const nothing = { Quantity: null, UnitPrice: null, DiscountedAmount: null };
  const good = [completeRow('consumption', october, nothing)];
  const bytes = parquetFile('consumption', good, 1000, undefined, true);
  t.deepEqual((await readBack('consumption', bytes, 1)).rows, good);
});
