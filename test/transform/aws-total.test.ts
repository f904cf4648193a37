import test from 'ava';
import { DataError } from '../../pipeline/shared/errors.js';
import { extractionManifestKey, extractionPrefix } from '../../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../../pipeline/staging/manifest.js';
import { readTransformManifest, serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { sha256Of } from '../../pipeline/staging/staging.js';
import { tables } from '../../pipeline/staging/tables.js';
import { noSums } from '../../pipeline/shared/sums.js';
import { addRows } from '../../pipeline/staging/batch.js';
import { checkWritten } from '../../transform/table-export.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { temporaryStaging } from '../support/load-fixture.js';
import { run, slice, snapshot } from '../support/transform.js';

/** Stages a month of 3.5 USD with an ungrouped total. */
async function stage(
  staging: Staging,
  total: object,
  said: ExtractionManifest['awsTotal'],
): Promise<void> {
  const manifest = await makeExtraction(staging, slice, {
    costs: [
      costAnswer([group('S3', '012345678901', '4'), group('Credit', '012345678901', '-0.5')]),
    ],
  });
  const bytes = Buffer.from(JSON.stringify(total));
  const file = 'total-00001.json';
  await staging.write(extractionPrefix(slice, manifest.extraction) + file, bytes);
  manifest.pages.push({ file, bytes: bytes.length, sha256: sha256Of(bytes), rows: 0 });
  await staging.write(
    extractionManifestKey(slice, manifest.extraction),
    serializeManifest({
      ...manifest,
      queries: [...manifest.queries, { name: 'total', groupBy: [] }],
      awsTotal: said,
    }),
  );
}

const TimePeriod = { Start: '2026-10-01', End: '2026-11-01' };
const answer = (Amount: string, Unit = 'USD'): object => ({
  ResultsByTime: [{ TimePeriod, Total: { UnblendedCost: { Amount, Unit } }, Groups: [] }],
});

test("the manifest carries AWS's total and the exact difference", async (t) => {
  for (const [total, awsTotal, difference] of [
    [answer('3.5'), { USD: '3.5' }, { USD: '0' }],
    [answer('3.4999999999'), { USD: '3.4999999999' }, { USD: '-0.0000000001' }],
    [answer('1', 'EUR'), { EUR: '1' }, { EUR: '1', USD: '-3.5' }],
    [{ ResultsByTime: [{ TimePeriod, Total: {} }] }, {}, { USD: '-3.5' }],
  ] as const) {
    const staging = await temporaryStaging(t);
    await stage(staging, total, awsTotal);
    await run(staging);
    const found = await readTransformManifest(staging, slice);
    t.like(found?.manifest, { awsTotal, difference });
  }
});

test('a month without an ungrouped total has no difference', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, {});
  await run(staging);
  t.like((await readTransformManifest(staging, slice))?.manifest, {
    awsTotal: null,
    difference: null,
  });
});

test("a staged total that is not the manifest's is refused, and nothing is written", async (t) => {
  for (const said of [{ USD: '3.6' }, null]) {
    const staging = await temporaryStaging(t);
    await stage(staging, answer('3.5'), said);
    const before = await snapshot(staging);
    const error = await t.throwsAsync(run(staging), { instanceOf: DataError });
    t.regex(
      error.message,
      /AWS's total as staged is \{"totals":\{"USD":"3.5"\}.*, its manifest says/,
    );
    t.deepEqual(await snapshot(staging), before);
  }
});

test('a row or a sum that got lost between rows and file is found', (t) => {
  const sums = noSums();
  const values = tables.consumption.map(({ name }) =>
    name === 'Amount' ? 15n * 10n ** 17n : name === 'Currency' ? 'USD' : '',
  );
  addRows(sums, tables.consumption, 2, (column) => [values[column]!, values[column]!]);
  const made = { rows: 2, totals: new Map([['USD', 3n * 10n ** 18n]]), columns: new Map() };
  t.notThrows(() => {
    checkWritten('file', sums, made);
  });
  for (const wrong of [
    { ...made, rows: 3 },
    { ...made, totals: new Map([['USD', 3n * 10n ** 18n + 1n]]) },
    { ...made, totals: new Map([['EUR', 3n * 10n ** 18n]]) },
    { ...made, columns: new Map([['AmortizedCost', new Map([['USD', 1n]])]]) },
  ]) {
    const error = t.throws(
      () => {
        checkWritten('file', sums, wrong);
      },
      { instanceOf: DataError },
    );
    t.regex(error.message, /^2 rows with sum \{"USD":"3"\} were written of/);
  }
});

test('a staged total that is not the answer is refused, naming its file', async (t) => {
  const total = { UnblendedCost: { Amount: '3.5', Unit: 'USD' } };
  const january = { Start: '2025-01-01', End: '2025-02-01' };
  const cost = group('Tax', '012345678901', '1');
  for (const [results, says] of [
    [[{ TimePeriod, Total: {}, Groups: [cost] }], /an ungrouped total has groups/],
    [[{ TimePeriod: january, Total: total }], /it tells the cost of 2025-01-01 to 2025-02-01/],
    [[{ Total: total }], /ResultsByTime\[0\]\.TimePeriod: /],
    [
      [{ TimePeriod, Total: { UnblendedCost: { Amount: 'x', Unit: 'USD' } } }],
      /the total has a wrong UnblendedCost: "x" is not a decimal number/,
    ],
    [
      [{ TimePeriod, Total: { UnblendedCost: { Amount: '1', Unit: 'constructor' } } }],
      /the total has "constructor" for a currency of its UnblendedCost/,
    ],
  ] as const) {
    const staging = await temporaryStaging(t);
    await stage(staging, { ResultsByTime: results }, { USD: '3.5' });
    const error = await t.throwsAsync(run(staging), { instanceOf: DataError, message: says });
    t.regex(error instanceof DataError ? (error.where ?? '') : '', /\/total-00001\.json$/);
  }
});
