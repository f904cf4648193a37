import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import Libsql from 'libsql';
import { openDatabase } from '../../load/database.js';
import { tableSteps } from '../../load/schema.js';
import { viewSteps } from '../../load/views.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import {
  ConfigurationError,
  InterruptedError,
  TransientError,
} from '../../pipeline/shared/errors.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import type { TableName } from '../../pipeline/staging/layout.js';
import { tables } from '../../pipeline/staging/tables.js';
import {
  loadSlice,
  openFor,
  silent,
  temporaryFolder,
  temporaryStaging,
} from '../support/load-fixture.js';
import { openInChild } from '../support/open-in-child.js';
import type { SliceContent } from '../support/staged-slice.js';
import { executeSqlite, querySqlite } from '../support/sqlite.js';
import { october, stageSlice } from '../support/staged-slice.js';

const rows = (count: number): SliceContent => ({
  customers: [{}],
  consumption: Array.from({ length: count }, (_, index) => ({ Amount: BigInt(index) })),
});

test('closed, a database is one plain file', async (t) => {
  const folder = await temporaryFolder(t);
  const staging = await temporaryStaging(t);
  const database = await openDatabase(parseDatabaseUrl(`sqlite:${folder}/a.sqlite`), {
    log: silent,
  });
  await stageSlice(staging, october, rows(3));
  await loadSlice(staging, database);
  await database.close();
  t.deepEqual(await readdir(folder), ['a.sqlite']);
});

test('several processes may make the tables at once', async (t) => {
  const url = `sqlite:${await temporaryFolder(t)}/a.sqlite`;
  await Promise.all([1, 2, 3].map(() => openInChild(url)));
  const database = await openFor(t, url);
  const steps = [...tableSteps('sqlite'), ...viewSteps('sqlite')].map(({ name }) => name);
  t.deepEqual(await database.knex('pipeline_migrations').orderBy('id').pluck('name'), steps);
});

test('the view for queries has every row once, with its month, its name and numbers', async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const staging = await temporaryStaging(t);
  const database = await openFor(t, `sqlite:${file}`);
  // 9 and 10 are the wrong way round as texts; an account without a row of customers keeps its cost.
  const [nine, ten] = [9n * 10n ** 18n, 10n ** 19n];
  const [known, unknown] = ['000000000012', '000000000099'];
  await stageSlice(staging, october, {
    customers: [{ Reference: known, TenantName: 'Acme' }],
    consumption: [
      { Reference: known, Amount: nine, Quantity: ten },
      { Reference: known, Amount: ten },
      { Reference: unknown, Amount: -nine },
    ],
  });
  await loadSlice(staging, database);
  t.deepEqual(
    querySqlite(
      file,
      'SELECT month, Reference, TenantName, Amount, Quantity FROM costs ORDER BY Amount',
    ),
    [
      { month: '2026-10', Reference: unknown, TenantName: null, Amount: -9, Quantity: null },
      { month: '2026-10', Reference: known, TenantName: 'Acme', Amount: 9, Quantity: 10 },
      { month: '2026-10', Reference: known, TenantName: 'Acme', Amount: 10, Quantity: null },
    ],
  );
  const columns = querySqlite(file, "SELECT name FROM pragma_table_info('costs')");
  t.deepEqual(
    columns.map(({ name }) => name),
    ['month', 'TenantName', ...tables.consumption.map(({ name }) => name)],
  );
});

test('a view or table of that name that is not ours is left alone', async (t) => {
  for (const made of ['TABLE costs (a)', 'VIEW costs AS SELECT 1 AS a']) {
    const file = join(await temporaryFolder(t), 'a.sqlite');
    executeSqlite(file, `CREATE ${made}`);
    const opened = openDatabase(parseDatabaseUrl(`sqlite:${file}`), { log: silent });
    await t.throwsAsync(opened, {
      instanceOf: ConfigurationError,
      message: /has a table costs already/,
    });
  }
});

test('a load waits for another writer of the file, and can be interrupted meanwhile', async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const database = await openFor(t, `sqlite:${file}`);
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(3));
  const writer = new Libsql(file);
  t.teardown(() => void writer.close());
  for (const outcome of ['interrupted', 'done']) {
    writer.exec('BEGIN IMMEDIATE');
    const controller = new AbortController();
    let waiting = (): void => undefined;
    const waits = new Promise<void>((resolve) => (waiting = resolve));
    const log = { ...silent, debug: waiting, info: waiting, warn: waiting, error: waiting };
    const load = loadSlice(staging, database, { signal: controller.signal, log });
    const settled = load.catch((error: unknown) => error);
    await waits;
    if (outcome === 'interrupted') {
      controller.abort();
      t.true((await settled) instanceof InterruptedError);
    }
    writer.exec('COMMIT');
    if (outcome === 'done') t.like(await settled, { state: 'done', rows: 3 });
  }
});

test('a reader is never locked out, even when a load outgrows its memory', async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const database = await openFor(t, `sqlite:${file}`);
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(5));
  await loadSlice(staging, database);
  await stageSlice(staging, october, rows(12_000));
  await database.knex.raw('PRAGMA cache_size = 10');
  const reader = new Libsql(file);
  t.teardown(() => void reader.close());
  const seen: unknown[] = [];
  const onProgress = (): void => {
    seen.push(...reader.prepare('SELECT COUNT(*) AS n FROM consumption').all());
  };
  await loadSlice(staging, database, { onProgress });
  t.true(seen.length >= 3);
  t.deepEqual(new Set(seen.map((row) => (row as { n: number }).n)), new Set([5]));
});

test('a full disk leaves the old rows', async (t) => {
  const database = await openFor(t, `sqlite:${await temporaryFolder(t)}/a.sqlite`);
  const staging = await temporaryStaging(t);
  await stageSlice(staging, october, rows(5));
  await loadSlice(staging, database);
  await stageSlice(staging, october, rows(5000));
  await database.knex.raw('PRAGMA max_page_count = 100');
  await t.throwsAsync(loadSlice(staging, database), {
    instanceOf: TransientError,
    message: /disk is full/,
  });
  t.deepEqual(await database.knex('consumption').count({ n: '*' }), [{ n: 5 }]);
  await database.knex.raw('PRAGMA max_page_count = 1000000');
  t.like(await loadSlice(staging, database), { state: 'done', rows: 5000 });
});

const decimals = (Object.keys(tables) as TableName[]).map((table): [string, string[]] => [
  table,
  tables[table].filter(({ type }) => type === 'decimal').map(({ name }) => name),
]);

test('every decimal column has a companion that is a number, the text itself stays exact', async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const database = await openFor(t, `sqlite:${file}`);
  const staging = await temporaryStaging(t);
  // As texts, 9 is the largest of these and 1E… compares as 1.
  const amounts = fc.sample(
    fc.oneof(
      fc.bigInt({ min: -(10n ** 33n), max: 10n ** 33n }),
      fc.bigInt({ min: -(10n ** 21n), max: 10n ** 21n }),
      fc.constantFrom(9n * 10n ** 18n, 100n * 10n ** 18n, 1n, -1n, 0n, 10n ** 20n + 1n),
    ),
    { numRuns: 400, seed: 3 },
  );
  await stageSlice(staging, october, {
    customers: [{}],
    consumption: amounts.map((amount) => ({
      Amount: amount,
      Quantity: amount,
      UnitPrice: amount % 2n === 0n ? amount : null,
    })),
  });
  await loadSlice(staging, database);
  for (const [table, columns] of [
    ...decimals,
    ['pipeline_loads', ['Amount', 'Difference']],
  ] as const) {
    const found = (await database.knex(table).first('*')) as Record<string, unknown> | undefined;
    if (table === 'breakdowns' || table === 'invoices') {
      t.is(found, undefined);
      await database.knex(table).select(columns.map((column) => `${column}Number`));
      continue;
    }
    for (const column of columns) {
      const text = found?.[column];
      t.true(text === null || typeof text === 'string', column);
      t.is(found?.[`${column}Number`], text === null ? null : Number(text), `${table} ${column}`);
    }
  }
  const rows = (await database.knex('consumption').orderBy('Line')) as Record<string, unknown>[];
  t.deepEqual(
    rows.map((row) => [row['Amount'], row['AmountNumber'], row['QuantityNumber']]),
    amounts.map((amount) => {
      const text = formatAmount(amount);
      return [text, Number(text), Number(text)];
    }),
  );
  const hundred = 100n * 10n ** 18n;
  const larger = amounts.filter((amount) => amount > hundred + 10n ** 6n);
  t.true(larger.length > 50);
  t.deepEqual(
    await database.knex('consumption').where('AmountNumber', '>', 100).count({ n: '*' }),
    [{ n: larger.length }],
  );
  const largest = amounts.reduce((a, b) => (a > b ? a : b));
  t.deepEqual(
    await database.knex('consumption').orderBy('AmountNumber', 'desc').limit(1).pluck('Amount'),
    [formatAmount(largest)],
  );
});

test('what is no database file is refused and left as it is', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'text'), 'This is no database.\n'.repeat(100));
  await mkdir(join(folder, 'folder'));
  for (const [file, message] of [
    ['text', /not an SQLite database/],
    ['folder', /cannot be opened/],
    ['absent/a.sqlite', /cannot be opened/],
  ] as const) {
    const error = await t.throwsAsync(
      openDatabase(parseDatabaseUrl(`sqlite:${join(folder, file)}`), { log: silent }),
      { instanceOf: ConfigurationError, message },
    );
    t.is(error.where, `sqlite:${join(folder, file)}`);
  }
  t.deepEqual(await readdir(folder), ['folder', 'text']);
});

test("another program's tables and settings are left alone", async (t) => {
  const file = join(await temporaryFolder(t), 'a.sqlite');
  const other = new Libsql(file);
  other.exec('CREATE TABLE customers (a); PRAGMA user_version = 42');
  other.close();
  const open = (): Promise<unknown> => openFor(t, `sqlite:${file}`);
  await t.throwsAsync(open(), { instanceOf: ConfigurationError, message: /not this pipeline's/ });
  const again = new Libsql(file);
  t.teardown(() => void again.close());
  t.deepEqual(again.prepare('SELECT name FROM sqlite_master').all(), [{ name: 'customers' }]);
  again.exec('DROP TABLE customers');
  await open();
  t.deepEqual(again.prepare('PRAGMA user_version').all(), [{ user_version: 42 }]);
});
