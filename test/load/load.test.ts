import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import anyTest from 'ava';
import type { ExecutionContext, TestFn } from 'ava';
import fc from 'fast-check';
import type { Database } from '../../load/database.js';
import { newestLoads } from '../../load/history.js';
import { DataError, InterruptedError } from '../../pipeline/shared/errors.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { billingPeriod, parseMonth } from '../../pipeline/shared/month.js';
import type { Slice, TableName } from '../../pipeline/staging/layout.js';
import { exportKey, transformManifestKey } from '../../pipeline/staging/layout.js';
import type { TransformManifest } from '../../pipeline/staging/manifest.js';
import { serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { readAll, sha256Of } from '../../pipeline/staging/staging.js';
import type { Value } from '../../pipeline/staging/tables.js';
import { tables } from '../../pipeline/staging/tables.js';
import { query } from '../support/duckdb.js';
import { loadSlice, openFor, temporaryFolder, temporaryStaging } from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer, startServer } from '../support/mariadb.js';
import type { Row, SliceContent } from '../support/staged-slice.js';
import { completeRow, october, stageSlice } from '../support/staged-slice.js';
import { anyCharacter } from '../support/texts.js';

const test = anyTest as TestFn<{ bulk: TestServer; inserts: TestServer }>;
type Context = ExecutionContext<{ bulk: TestServer; inserts: TestServer }>;

test.before(async (t) => {
  t.context.bulk = await openServer();
  // This one also has a small packet, so that a slice needs several statements.
  t.context.inserts = await startServer(['--local-infile=0', '--max-allowed-packet=16K']);
});
test.after.always(async (t) => {
  await t.context.bulk.stop();
  await t.context.inserts.stop();
});

const kinds: Record<string, (t: Context) => Promise<string>> = {
  'MariaDB by LOAD DATA': (t) => t.context.bulk.createDatabase(),
  'MariaDB by INSERT': (t) => t.context.inserts.createDatabase(),
  'SQLite': async (t) => `sqlite:${join(await temporaryFolder(t), 'billing.sqlite')}`,
};

const units = fc.bigInt({ min: -(10n ** 33n), max: 10n ** 33n });
const hostile = [
  'tab\there',
  'line\nfeed',
  'return\r\n',
  'back\\slash',
  '\\N',
  '\\',
  'NULL',
  'null',
  '',
  ' spaces ',
  '\'single\' "double" `back`',
  '\uFEFFmark',
  '😀 é ß 漢字',
  '? \\? ?? :name $1',
  "'; DROP TABLE customers; --",
  '=cmd|calc',
  '\u001a\b\u0085\u2028',
  // Every control character but NUL, which no answer may hold.
  ...Array.from(controls()),
  controls(),
  'x'.repeat(255),
  '😀'.repeat(127),
];

function controls(): string {
  const codes = Array.from({ length: 0xa0 }, (_, code) => code).slice(1);
  return String.fromCodePoint(...codes.filter((code) => code < 0x20 || code >= 0x7f));
}

/** Rows of a table in the database, in order, as exact texts. */
async function stored(database: Database, table: TableName, slice = october): Promise<unknown[][]> {
  const rows = (await database
    .knex(table)
    .where({ BillingPeriod: billingPeriod(slice.month), Organization: slice.organization })
    .orderBy('Line')) as Record<string, unknown>[];
  return rows.map((row) => [...tables[table].map(({ name }) => row[name]), row['Line']]);
}

/** The rows as the database should hold them. */
function expected(database: Database, table: TableName, rows: Row[], slice = october): unknown[][] {
  const text = (value: Value, type: string): unknown => {
    if (value === null) return null;
    if (type === 'boolean') return value === true ? 1 : 0;
    if (type === 'timestamp') {
      const iso = new Date(Number(value)).toISOString();
      return database.dialect === 'mysql' ? iso.replace('T', ' ').replace('Z', '') : iso;
    }
    if (type !== 'decimal') return value;
    const plain = formatAmount(value as bigint);
    if (database.dialect === 'sqlite') return plain;
    const [whole = '', fraction = ''] = plain.split('.');
    return `${whole}.${fraction.padEnd(18, '0')}`;
  };
  return rows.map((row, index) => [
    ...completeRow(table, slice, row).map((value, column) =>
      text(value, tables[table][column]!.type),
    ),
    index + 1,
  ]);
}

async function holds(t: Context, database: Database, content: SliceContent, slice = october) {
  for (const table of ['customers', 'consumption'] as const) {
    t.deepEqual(
      await stored(database, table, slice),
      expected(database, table, content[table], slice),
    );
  }
}

const few = (amount: bigint, count = 3): SliceContent => ({
  customers: [{}],
  consumption: Array.from({ length: count }, (_, index) => ({
    Amount: amount + BigInt(index),
    Service: `Service ${index}`,
  })),
});

for (const [kind, makeDatabase] of Object.entries(kinds)) {
  test(`${kind}: every value arrives as it was, to the last digit`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    const amounts = fc.sample(units, 1500);
    const content: SliceContent = {
      customers: [
        ...hostile.map((TenantName): Row => ({ TenantName, Email: TenantName })),
        { Created: null, Reference: '000000000000' },
        { Created: Date.UTC(1970, 0, 1) },
        { Created: Date.UTC(2999, 11, 31, 23, 59, 59, 1) },
      ],
      consumption: [
        { Amount: 10n ** 38n - 1n - 10n ** 37n, Quantity: -(10n ** 38n) + 1n },
        { Amount: -1n, UnitPrice: 1n, DiscountedAmount: 0n },
        { Amount: 0n, Currency: 'EUR' },
        { Amount: -(10n ** 18n), Currency: 'EUR', Estimated: true },
        ...hostile.map((Service): Row => ({ Service })),
        ...amounts.map((Amount, index): Row => ({
          Amount,
          Quantity: index % 3 === 0 ? null : (amounts.at(-index - 1) ?? null),
        })),
      ],
    };
    const manifest = await stageSlice(staging, october, content, { rowGroupSize: 700 });
    const outcome = await loadSlice(staging, database);
    t.deepEqual(outcome, {
      state: 'done',
      extraction: manifest.extraction,
      provisional: true,
      customers: content.customers.length,
      unlisted: manifest.customers.unlisted,
      rows: content.consumption.length,
      totals: manifest.consumption.totals,
    });
    await holds(t, database, content);
  });

  test(`${kind}: values that all rows of a row group share arrive as they were`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    const twice = (row: Row): Row[] => [row, row];
    const content: SliceContent = {
      customers: [
        ...hostile.flatMap((TenantName) => twice({ TenantName, Contact: TenantName })),
        ...twice({ Created: null }),
      ],
      consumption: [
        ...hostile.flatMap((Service) => twice({ Service, Amount: -1n, Quantity: 10n ** 37n })),
        ...twice({ Estimated: true, Currency: 'EUR', Amount: 5n * 10n ** 17n }),
        { Amount: 1n, Estimated: true },
        { Amount: 2n, Estimated: false },
      ],
    };
    await stageSlice(staging, october, content, { rowGroupSize: 2 });
    await loadSlice(staging, database);
    await holds(t, database, content);
  });

  test(`${kind}: a NUL is kept`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stageSlice(staging, october, { customers: [{ TenantName: 'a\0b' }], consumption: [] });
    await loadSlice(staging, database);
    const hex: unknown = await database
      .knex('customers')
      .select(database.knex.raw('HEX(TenantName) AS hex'));
    t.deepEqual(hex, [{ hex: '610062' }]);
  });

  test(`${kind}: loading twice changes nothing, --force does it again`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    const content = few(-5n);
    await stageSlice(staging, october, content);
    t.is((await loadSlice(staging, database)).state, 'done');
    t.is((await loadSlice(staging, database)).state, 'unchanged');
    await holds(t, database, content);
    t.is((await loadSlice(staging, database, { force: true, runId: 'run-2' })).state, 'done');
    const twice = await loadSlice(staging, database, { force: true, runId: 'run-2' });
    t.is(twice.state, 'unchanged', 'a run that is given the slice twice forces it once');
    await holds(t, database, content);
    const history = (await database.knex('pipeline_loads').orderBy('Id')) as Record<
      string,
      unknown
    >[];
    t.deepEqual(
      history.map(({ Run }) => Run),
      ['run-1', 'run-2'],
    );
    const { Source, Version, Amount, ...rest } = history[0]!;
    t.regex(String(Source), /^[0-9a-f]{64}$/);
    t.regex(String(Version), /^\d+\.\d+\.\d+/);
    t.is(String(Amount).replace(/0+$/, ''), '-0.000000000000000012');
    const instant =
      database.dialect === 'mysql' ? '2026-11-01 02:03:04.567' : '2026-11-01T02:03:04.567Z';
    t.deepEqual(rest, {
      Id: 1,
      Run: 'run-1',
      Month: '2026-10',
      Organization: 'oab',
      Extraction: '20261101T020304Z',
      CustomerRows: 1,
      ConsumptionRows: 3,
      Currency: 'USD',
      Totals: '{"USD":"-0.000000000000000012"}',
      Difference: null,
      Differences: null,
      Detail: 'service',
      BillingViewArn: null,
      CostViewArn: null,
      // It was fetched on November 1.
      Provisional: 1,
      Started: instant,
      Finished: instant,
      ...(database.dialect === 'sqlite' ? { AmountNumber: -1.2e-17, DifferenceNumber: null } : {}),
    });
  });

  test(`${kind}: a row that somebody deleted comes back with the next load`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stageSlice(staging, october, few(7n));
    await loadSlice(staging, database);
    await database.knex('consumption').where({ Line: 2 }).delete();
    t.is((await loadSlice(staging, database)).state, 'done');
    await holds(t, database, few(7n));
  });

  test(`${kind}: what vanished goes, other months and organizations stay`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    const others: Slice[] = [
      { month: parseMonth('2026-09'), organization: 'oab' },
      { month: parseMonth('2026-11'), organization: 'oab' },
      { month: october.month, organization: 'OAB' },
      { month: october.month, organization: 'oab2' },
    ];
    for (const [index, slice] of [october, ...others].entries()) {
      await stageSlice(staging, slice, few(BigInt(index), 5));
      await loadSlice(staging, database, { slice });
    }
    const extraction = '20261102T000000Z';
    await stageSlice(staging, october, few(100n, 2), { extraction });
    t.like(await loadSlice(staging, database), { state: 'done', extraction, rows: 2 });
    await holds(t, database, few(100n, 2));
    for (const [index, slice] of others.entries()) {
      await holds(t, database, few(BigInt(index + 1), 5), slice);
    }
    await stageSlice(staging, october, { customers: [], consumption: [] });
    const emptied = await loadSlice(staging, database, { acceptEmpty: true });
    t.like(emptied, { state: 'done', rows: 0, totals: {} });
    await holds(t, database, { customers: [], consumption: [] });
    t.is((await loadSlice(staging, database)).state, 'unchanged');
  });

  test(`${kind}: a reader sees the old rows or the new ones`, async (t) => {
    const staging = await temporaryStaging(t);
    const url = await makeDatabase(t);
    const database = await openFor(t, url);
    const reader = await openFor(t, url);
    await stageSlice(staging, october, few(1n, 10_000));
    await loadSlice(staging, database);
    await stageSlice(staging, october, few(1n, 25_000));
    const count = async (): Promise<number> => {
      const [row] = await reader.knex('consumption').count({ rows: '*' });
      return Number(row?.['rows']);
    };
    const seen = new Set<number>();
    const reads: Promise<unknown>[] = [];
    const onProgress = (): void => {
      reads.push(count().then((rows) => seen.add(rows)));
    };
    await loadSlice(staging, database, { onProgress });
    await Promise.all(reads);
    t.true(seen.has(10_000));
    seen.add(await count());
    t.deepEqual([...seen].sort(), [10_000, 25_000]);
  });

  test(`${kind}: of two loads of a slice at once, one waits for the other`, async (t) => {
    const staging = await temporaryStaging(t);
    const url = await makeDatabase(t);
    const databases = [await openFor(t, url), await openFor(t, url)];
    await stageSlice(staging, october, few(3n, 12_000));
    const outcomes = await Promise.all(databases.map((database) => loadSlice(staging, database)));
    t.deepEqual(outcomes.map(({ state }) => state).sort(), ['done', 'unchanged']);
    const forced = databases.map((database) => loadSlice(staging, database, { force: true }));
    t.deepEqual(
      (await Promise.all(forced)).map(({ state }) => state),
      ['done', 'done'],
    );
    t.is((await stored(databases[0]!, 'consumption')).length, 12_000);
  });

  test(`${kind}: all organizations of a new month load at once`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    const slices = ['oab', 'internal', 'spp_ecm', 'spp_pm', 'x', 'y'].map((organization) => ({
      month: october.month,
      organization,
    }));
    for (const slice of slices) await stageSlice(staging, slice, few(9n, 300));
    for (const force of [false, true]) {
      await Promise.all(slices.map((slice) => loadSlice(staging, database, { slice, force })));
      for (const slice of slices) await holds(t, database, few(9n, 300), slice);
    }
  });

  test(`${kind}: interrupted, it leaves the old rows`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stageSlice(staging, october, few(1n));
    await loadSlice(staging, database);
    await stageSlice(staging, october, few(2n, 25_000));
    const controller = new AbortController();
    const onProgress = (text: string): void => {
      if (text.startsWith('consumption 10000')) controller.abort();
    };
    const load = loadSlice(staging, database, { signal: controller.signal, onProgress });
    await t.throwsAsync(load, { instanceOf: InterruptedError });
    await holds(t, database, few(1n));
    t.is((await loadSlice(staging, database)).state, 'done');
    t.is((await stored(database, 'consumption')).length, 25_000);
  });

  test(`${kind}: a count or sum that differs from the manifest's changes nothing`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stageSlice(staging, october, few(1n));
    await loadSlice(staging, database);
    const manifest = await stageSlice(staging, october, few(2n));
    const lies: Record<string, TransformManifest> = {
      'the Parquet file holds 3 rows, its manifest says 4': {
        ...manifest,
        consumption: { ...manifest.consumption, rows: 4 },
      },
      'consumption .* with sum .*0.000000000000000008.* found .*0.000000000000000009': {
        ...manifest,
        consumption: { ...manifest.consumption, totals: { USD: '0.000000000000000008' } },
      },
      'the Parquet file holds 1 rows, its manifest says 2': {
        ...manifest,
        customers: { ...manifest.customers, rows: 2 },
      },
    };
    for (const [message, lie] of Object.entries(lies)) {
      await staging.write(transformManifestKey(october), serializeManifest(lie));
      await t.throwsAsync(loadSlice(staging, database), {
        instanceOf: DataError,
        message: new RegExp(message),
      });
      await holds(t, database, few(1n));
    }
    t.is(((await database.knex('pipeline_loads')) as unknown[]).length, 1);
  });

  test(`${kind}: rows that a trigger adds or alters are found before the commit`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stageSlice(staging, october, few(1n));
    await database.knex.raw(
      database.dialect === 'mysql'
        ? 'CREATE TRIGGER alter_amount BEFORE INSERT ON consumption FOR EACH ROW SET NEW.Amount = NEW.Amount + 0.000000000000000001'
        : "CREATE TRIGGER alter_amount AFTER INSERT ON consumption BEGIN UPDATE consumption SET Amount = Amount || '1' WHERE rowid = NEW.rowid; END",
    );
    await t.throwsAsync(loadSlice(staging, database), {
      instanceOf: DataError,
      message: /^consumption in the database(: expected 3 rows with sum| holds the amount)/,
    });
    await holds(t, database, { customers: [], consumption: [] });
  });

  test(`${kind}: a text too long for its column is refused, not cut`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stageSlice(staging, october, {
      customers: [{ Reference: '1234567890123' }],
      consumption: [],
    });
    await t.throwsAsync(loadSlice(staging, database), {
      instanceOf: DataError,
      message: /Reference/,
    });
    await holds(t, database, { customers: [], consumption: [] });
  });

  test(`${kind}: staged files that are not the manifest's are refused`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await t.throwsAsync(loadSlice(staging, database), {
      instanceOf: DataError,
      message: /not transformed yet/,
    });
    await stageSlice(staging, october, few(1n));
    await loadSlice(staging, database);
    await stageSlice(staging, october, few(2n, 500));
    const key = exportKey('parquet', 'consumption', october);
    const bytes = await readAll((await staging.read(key))!);
    const changed = Uint8Array.from(bytes);
    changed[100]! ^= 1;
    for (const [content, message] of [
      [changed, /is not the one of the manifest/],
      [bytes.slice(0, -9), /is not the one of the manifest/],
      [randomBytes(50), /is not the one of the manifest/],
    ] as const) {
      await staging.write(key, content);
      await t.throwsAsync(loadSlice(staging, database), { instanceOf: DataError, message });
      await holds(t, database, few(1n));
    }
    await staging.remove(key);
    await t.throwsAsync(loadSlice(staging, database), {
      instanceOf: DataError,
      message: /missing/,
    });
    await holds(t, database, few(1n));
  });
}

test('files that a transform replaces in mid load are not taken for the old ones', async (t) => {
  const staging = await temporaryStaging(t);
  const database = await openFor(t, await t.context.bulk.createDatabase());
  await stageSlice(staging, october, few(1n));
  const consumption = join(staging.location, exportKey('parquet', 'consumption', october));
  const onProgress = (text: string): void => {
    if (text.startsWith('customers')) appendFileSync(consumption, 'x');
  };
  await t.throwsAsync(loadSlice(staging, database, { onProgress }), {
    instanceOf: DataError,
    message: /is not the one of the manifest/,
  });
  await holds(t, database, { customers: [], consumption: [] });
});

test('files are read once: what a transform replaces afterwards is for the next load', async (t) => {
  const staging = await temporaryStaging(t);
  const database = await openFor(t, await t.context.bulk.createDatabase());
  await stageSlice(staging, october, few(1n));
  const read: string[] = [];
  const watched: Staging = {
    ...staging,
    read: (key) => {
      read.push(key);
      return staging.read(key);
    },
  };
  const files = (['customers', 'consumption'] as const).map((table) =>
    exportKey('parquet', table, october),
  );
  const onProgress = (text: string): void => {
    if (!text.startsWith('consumption 3')) return;
    for (const key of files) appendFileSync(join(staging.location, key), 'x');
  };
  t.is((await loadSlice(watched, database, { onProgress })).state, 'done');
  await holds(t, database, few(1n));
  t.deepEqual(read, [transformManifestKey(october), ...files]);
  await stageSlice(staging, october, few(2n));
  t.is((await loadSlice(staging, database)).state, 'done');
  await holds(t, database, few(2n));
});

test('both ways into MariaDB give the same rows', async (t) => {
  const staging = await temporaryStaging(t);
  const text = fc
    .string({ unit: anyCharacter, maxLength: 200 })
    .map((value) => value.replaceAll('\0', ''));
  const rows = fc.sample(
    fc.record({
      Service: text,
      Tag: fc.string({ unit: anyCharacter, maxLength: 30 }),
      Amount: units,
    }),
    2000,
  );
  await stageSlice(staging, october, { customers: [{}], consumption: rows });
  const found: unknown[] = [];
  for (const server of [t.context.bulk, t.context.inserts]) {
    const database = await openFor(t, await server.createDatabase());
    await loadSlice(staging, database);
    found.push(await stored(database, 'consumption'));
    t.deepEqual(found.at(-1), expected(database, 'consumption', rows));
  }
  t.deepEqual(found[0], found[1]);
});

for (const [kind, makeDatabase] of Object.entries(kinds)) {
  const gone: Record<string, [SliceContent, { unlisted?: number }, RegExp]> = {
    'no rows': [
      { customers: [{}], consumption: [] },
      {},
      /^oab's 2026-10 is loaded with 3 rows of consumption, and extraction 20261102T000000Z has none of them: nothing was changed$/,
    ],
    'no rows and no accounts': [
      { customers: [], consumption: [] },
      {},
      /loaded with 3 rows of consumption and 1 listed accounts, and \S+ \S+ has none of them: nothing/,
    ],
    'accounts that are listed no more': [
      { ...few(5n), customers: [{ Status: 'unlisted' }] },
      { unlisted: 1 },
      /loaded with 1 listed accounts, and \S+ \S+ has none of them: nothing/,
    ],
  };
  for (const [what, [content, { unlisted = 0 }, says]] of Object.entries(gone)) {
    test(`${kind}: a loaded month that has ${what} is refused, unless that is accepted`, async (t) => {
      const staging = await temporaryStaging(t);
      const database = await openFor(t, await makeDatabase(t));
      await stageSlice(staging, october, few(5n));
      await loadSlice(staging, database);
      const extraction = '20261102T000000Z';
      const manifest = await stageSlice(staging, october, content, { extraction });
      const customers = { ...manifest.customers, unlisted };
      await staging.write(
        transformManifestKey(october),
        serializeManifest({ ...manifest, customers }),
      );
      for (const force of [false, true]) {
        const error = await t.throwsAsync(loadSlice(staging, database, { force }), {
          instanceOf: DataError,
          message: says,
        });
        t.regex(error instanceof DataError ? (error.next ?? '') : '', /--accept-empty$/);
        await holds(t, database, few(5n));
        t.is((await newestLoads(database.knex))[0]?.extraction, '20261101T020304Z');
      }
      t.is((await loadSlice(staging, database, { acceptEmpty: true })).state, 'done');
      await holds(t, database, content);
      t.is((await loadSlice(staging, database)).state, 'unchanged');
      // What is empty already loses nothing.
      t.is((await loadSlice(staging, database, { force: true })).state, 'done');
    });
  }

  test(`${kind}: a month that was empty from the start is loaded, and so is another one`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stageSlice(staging, october, few(5n));
    await loadSlice(staging, database);
    for (const slice of [
      { ...october, month: parseMonth('2026-09') },
      { ...october, organization: 'spp' },
    ]) {
      await stageSlice(staging, slice, { customers: [], consumption: [] });
      t.is((await loadSlice(staging, database, { slice })).state, 'done');
    }
    await holds(t, database, few(5n));
  });
}

test('a file of millions of rows in some kilobytes is refused before a row of it is sent', async (t) => {
  const staging = await temporaryStaging(t);
  const url = `sqlite:${join(await temporaryFolder(t), 'billing.sqlite')}`;
  const database = await openFor(t, url);
  await stageSlice(staging, october, few(5n));
  await loadSlice(staging, database);
  const manifest = await stageSlice(staging, october, few(6n), { extraction: '20261102T000000Z' });
  const key = exportKey('parquet', 'consumption', october);
  const folder = await temporaryFolder(t);
  const path = join(folder, 'bomb.parquet');
  await query(`COPY (SELECT t.* FROM read_parquet('${staging.location}/${key}', hive_partitioning = false) t, range(1000000))
    TO '${path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 3000000)`);
  const bytes = await readFile(path);
  t.true(bytes.length < 200_000);
  await staging.write(key, bytes);
  const file = { key, bytes: bytes.length, sha256: sha256Of(bytes) };
  const { consumption } = manifest;
  await staging.write(
    transformManifestKey(october),
    serializeManifest({ ...manifest, consumption: { ...consumption, files: [file] } }),
  );
  const seen: string[] = [];
  await t.throwsAsync(loadSlice(staging, database, { onProgress: (text) => seen.push(text) }), {
    instanceOf: DataError,
    message: 'the Parquet file holds 3000000 rows, its manifest says 3',
  });
  t.deepEqual(
    seen.filter((text) => text.startsWith('consumption')),
    [],
  );
  await holds(t, database, few(5n));
});
