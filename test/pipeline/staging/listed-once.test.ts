import test from 'ava';
import fc from 'fast-check';
import { parseMonth } from '../../../pipeline/shared/month.js';
import {
  MANIFEST,
  SCOPE,
  choiceKey,
  exportKey,
  exportPrefix,
  extractionKey,
  extractionPrefix,
  manifestPrefix,
  rawPrefix,
  transformManifestKey,
} from '../../../pipeline/staging/layout.js';
import { listedOnce } from '../../../pipeline/staging/listed-once.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import { bytesAt, listed, textAt } from './contract.js';

/** An area in memory, which counts what it is asked. */
function areaOf(keys: readonly string[]) {
  const files = [...new Set(keys)].sort((a, b) => Buffer.from(a).compare(Buffer.from(b)));
  const asked: string[] = [];
  const no = (): never => {
    throw new Error('nobody writes here');
  };
  const staging: Staging = {
    location: 'memory:',
    async *list(prefix) {
      asked.push(`list ${prefix}`);
      for (const key of files)
        if (key.startsWith(prefix)) yield await Promise.resolve({ key, size: key.length });
    },
    read(key) {
      asked.push(`read ${key}`);
      return Promise.resolve(files.includes(key) ? one(Buffer.from(key)) : undefined);
    },
    write: no,
    remove: no,
  };
  return { staging, asked };
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

const months = ['2026-01', '2026-09', '2026-10'].map((text) => parseMonth(text));
const slice = fc.record({
  month: fc.constantFrom(...months),
  organization: fc.constantFrom('a', 'a-b', 'ab', 'b'),
});
const extraction = fc.constantFrom('20261101T000000Z', '20261102T000000Z');
const key = fc.oneof(
  fc
    .tuple(slice, extraction, fc.constantFrom(MANIFEST, SCOPE, 'accounts-00001.json', 'foreign'))
    .map(([of, name, file]) => extractionKey(of, name, file)),
  fc.tuple(slice, extraction).map(([of, name]) => choiceKey(of, '20261103T000000Z', name)),
  slice.map(transformManifestKey),
  fc
    .tuple(
      fc.constantFrom('parquet' as const, 'parquet-basic' as const, 'csv' as const),
      fc.constantFrom('customers' as const, 'consumption' as const),
      slice,
    )
    .map(([format, table, of]) => exportKey(format, table, of)),
  // What others put there, before, between and after the months.
  fc.constantFrom(
    'raw/a',
    'raw/month=2026-1',
    'raw/month=x/y',
    'raw/z',
    'csv/z',
    'manifests/z.json',
  ),
  fc.constantFrom('leases/month=2026-10/a/7.json', 'check/x.json', 'z'),
);
const prefix = fc.oneof(
  fc.constantFrom('', 'raw/', 'raw/month=', 'raw/month=2026-1', 'csv/', 'leases/', 'nothing/'),
  fc.constantFrom(rawPrefix(), manifestPrefix(), exportPrefix('parquet', 'consumption')),
  fc.constantFrom(...months).map((month) => rawPrefix(month)),
  fc.constantFrom(...months).map((month) => manifestPrefix(month)),
  fc.constantFrom(...months).map((month) => exportPrefix('csv', 'customers', month)),
  slice.map(({ month, organization }) => rawPrefix(month, organization)),
  fc.tuple(slice, extraction).map(([of, name]) => extractionPrefix(of, name)),
  key,
);

test('whatever is asked, and in whatever order, the files are those of the area itself', async (t) => {
  const property = fc.asyncProperty(
    fc.array(key, { maxLength: 30 }),
    fc.array(prefix, { minLength: 1, maxLength: 8 }),
    fc.array(key, { maxLength: 4 }),
    fc.constantFrom(1, 37),
    async (keys, prefixes, reads, looked) => {
      const { staging } = areaOf(keys);
      const once = listedOnce(staging, looked);
      for (const asked of prefixes)
        t.deepEqual(await listed(once, asked), await listed(staging, asked), asked);
      for (const asked of [...reads, ...reads, ...keys.slice(0, 3)]) {
        const [found, expected] = [await once.read(asked), await staging.read(asked)];
        t.is(found === undefined, expected === undefined, asked);
        if (found !== undefined) t.is(await textAt(once, asked), asked);
      }
    },
  );
  await fc.assert(property, { numRuns: 200 });
});

test('each folder of a month is listed once, many months as a whole, a manifest read once', async (t) => {
  const [month = parseMonth('2026-10')] = months;
  const of = { month, organization: 'a' };
  const manifest = extractionKey(of, '20261101T000000Z', MANIFEST);
  for (const [looked, lists] of [
    [1, 'list raw/month=2026-01/'],
    [37, 'list raw/'],
  ] as const) {
    const { staging, asked } = areaOf([manifest, transformManifestKey(of)]);
    const once = listedOnce(staging, looked);
    for (const organization of ['a', 'b', 'a']) {
      await listed(once, rawPrefix(month, organization));
      await bytesAt(once, manifest);
    }
    t.deepEqual(asked, [lists, `read ${manifest}`]);
  }
});
