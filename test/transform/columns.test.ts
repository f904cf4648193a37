import { readFile } from 'node:fs/promises';
import test from 'ava';
import fc from 'fast-check';
import type { Staging } from '../../pipeline/staging/staging.js';
import { openWriter } from '../../pipeline/staging/staging.js';
import type { Column, Value } from '../../pipeline/staging/tables.js';
import { addColumn, coded, constant, valueAt } from '../../pipeline/staging/batch.js';
import { noSums } from '../../pipeline/shared/sums.js';
import type { ColumnValues, RowBatch } from '../../pipeline/staging/batch.js';
import { openCsv } from '../../transform/csv.js';
import { createDecimals } from '../../pipeline/staging/decimals.js';
import { openParquet } from '../../transform/parquet.js';
import type { OpenExport } from '../../transform/table-export.js';
import { literal, query } from '../support/duckdb.js';
import { temporaryStaging } from '../support/staging.js';

const types: Record<Column['type'], fc.Arbitrary<Exclude<Value, null>>> = {
  string: fc.oneof(fc.constantFrom('', 'a', 'é', '🎉', '\uFFFD', 'a,"b"'), fc.string()),
  decimal: fc.oneof(
    fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n }),
    fc.constantFrom(0n, 1n),
  ),
  date: fc.constantFrom('2026-10-28', '1969-12-31', '2024-02-29'),
  timestamp: fc.oneof(fc.constantFrom(0, -1), fc.integer({ min: -(2 ** 40), max: 2 ** 41 })),
  boolean: fc.boolean(),
};

const tableColumns: readonly Column[] = (
  ['string', 'decimal', 'date', 'timestamp', 'boolean'] as const
).flatMap((type) => [
  { name: type, type, description: '' },
  { name: `maybe_${type}`, type, nullable: true, description: '' },
]);

/** The same values in one of the forms that a batch's column may have. */
function inForm(values: readonly Value[], { type }: Column, form: number): ColumnValues {
  if (form === 0) return values;
  if (type === 'decimal' && form === 1) {
    const decimals = createDecimals(1);
    for (const value of values) decimals.addUnits(value as bigint | null);
    return decimals.take();
  }
  if (values.length > 0 && values.every((value) => value === values[0]))
    return constant(values[0]!);
  // A value may stand in the list twice, and the list may hold values that no row has.
  const distinct = form === 2 ? [...values, ...values] : [...new Set(values)];
  return coded(
    distinct,
    Uint32Array.from(values, (value, row) =>
      form === 2 ? row + (row % 2) * values.length : distinct.indexOf(value),
    ),
  );
}

const batches = fc.array(
  fc
    .array(
      fc.tuple(
        ...tableColumns.map(({ type, nullable }) =>
          nullable === true ? fc.option(types[type], { nil: null }) : types[type],
        ),
      ),
      { maxLength: 40 },
    )
    .chain((rows) =>
      fc.tuple(
        fc.constant(rows),
        fc.array(fc.nat({ max: 3 }), {
          minLength: tableColumns.length,
          maxLength: tableColumns.length,
        }),
        fc.boolean(),
      ),
    )
    // Every row like the first one, for columns that are constant.
    .map(([rows, forms, alike]) => ({ rows: alike ? rows.map(() => rows[0]!) : rows, forms })),
  { minLength: 1, maxLength: 5 },
);

async function write(
  staging: Staging,
  key: string,
  open: OpenExport,
  given: readonly RowBatch[],
): Promise<string> {
  const out = openWriter(staging, key);
  const rows = open(out, tableColumns);
  for (const batch of given) await rows.write(batch);
  await rows.finish();
  await out.close();
  return `${staging.location}/${key}`;
}

test('columns in any form give the files that their values one by one give', async (t) => {
  const staging = await temporaryStaging(t);
  await fc.assert(
    fc.asyncProperty(batches, async (drawn) => {
      const inForms = (formed: boolean): RowBatch[] =>
        drawn.map(({ rows, forms }) => ({
          length: rows.length,
          columns: tableColumns.map((column, index) =>
            inForm(
              rows.map((row) => row[index]!),
              column,
              formed ? forms[index]! : 0,
            ),
          ),
        }));
      const [plain, formed] = [inForms(false), inForms(true)];
      for (const [format, open] of [
        ['parquet', openParquet],
        ['csv', openCsv],
      ] as const) {
        const a = await readFile(await write(staging, `plain.${format}`, open, plain));
        const b = await readFile(await write(staging, `formed.${format}`, open, formed));
        t.true(a.equals(b), format);
      }
      const read = await query(
        `SELECT string, maybe_string, decimal::VARCHAR AS decimal, maybe_decimal::VARCHAR AS maybe_decimal,
                date::VARCHAR AS date, maybe_date::VARCHAR AS maybe_date,
                epoch_ms(timestamp) AS timestamp, epoch_ms(maybe_timestamp) AS maybe_timestamp,
                boolean, maybe_boolean
         FROM read_parquet(${literal(`${staging.location}/formed.parquet`)})`,
      );
      const expected = drawn.flatMap(({ rows }) => rows);
      t.is(read.length, expected.length);
      for (const [index, row] of read.entries()) {
        for (const [at, { name, type }] of tableColumns.entries()) {
          const value: Value = expected[index]![at] ?? null;
          const found = row[name];
          if (value === null) t.is(found, null);
          else if (type === 'decimal')
            t.is(BigInt(String(found).replace('.', '')), value as bigint);
          else if (type === 'timestamp') t.is(Number(found), value as number);
          else t.is(found, value);
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('sums are the same in any form, whatever the currencies', (t) => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.option(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), { nil: null }),
          fc.constantFrom('USD', 'EUR'),
        ),
      ),
      fc.nat({ max: 3 }),
      fc.nat({ max: 3 }),
      (rows, form, currencyForm) => {
        const amounts = rows.map(([amount]) => amount);
        const currencies = rows.map(([, currency]) => currency);
        const expected = new Map<string, bigint>();
        for (const [amount, currency] of rows)
          expected.set(currency, (expected.get(currency) ?? 0n) + (amount ?? 0n));
        const column = tableColumns[3]!;
        const sums = noSums();
        const formed = inForm(amounts, column, form);
        addColumn(
          sums,
          'Amount',
          formed,
          inForm(currencies, tableColumns[0]!, currencyForm),
          rows.length,
        );
        for (const currency of ['USD', 'EUR'])
          t.is(sums.totals.get(currency) ?? 0n, expected.get(currency) ?? 0n);
        t.deepEqual(
          rows.map((_, row) => valueAt(formed, row)),
          amounts,
        );
      },
    ),
  );
});

for (const type of ['string', 'decimal', 'date', 'timestamp', 'boolean'] as const) {
  test(`a column without null refuses one, in words that name it: ${type}`, async (t) => {
    const staging = await temporaryStaging(t);
    const columns: readonly Column[] = [{ name: 'Name', type, description: '' }];
    for (const values of [constant(null), [null]]) {
      const out = openWriter(staging, 'x.parquet');
      const rows = openParquet(out, columns);
      await rows.write({ length: 1, columns: [values] });
      await t.throwsAsync(rows.finish(), { message: /Name/ });
      await out.abort();
    }
  });
}
