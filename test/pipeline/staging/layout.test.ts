import test from 'ava';
import fc from 'fast-check';
import { DataError, UsageError } from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import {
  checkKey,
  checkPrefix,
  exportKey,
  extractionManifestKey,
  extractionName,
  extractionPrefix,
  isKey,
  manifestPrefix,
  pageFile,
  parseExtractionKey,
  parseOrganizationName,
  parsePageFile,
  parseTransformManifestKey,
  rawPrefix,
  transformManifestKey,
} from '../../../pipeline/staging/layout.js';

const slice = { month: parseMonth('2026-10'), organization: 'oab' };
const extraction = '20261101T020304Z';

const months = fc
  .tuple(fc.integer({ min: 1000, max: 9999 }), fc.integer({ min: 1, max: 12 }))
  .map(([year, month]) => parseMonth(`${year}-${String(month).padStart(2, '0')}`));
const letters = 'abcXYZ0189';
const organizations = fc
  .tuple(
    fc.constantFrom(...letters.split('')),
    fc.string({ unit: fc.constantFrom(...`${letters}_-`.split('')), maxLength: 63 }),
  )
  .map(([first, rest]) => first + rest);
const instants = fc.date({
  min: new Date('2000-01-01T00:00:00Z'),
  max: new Date('2999-12-31T00:00:00Z'),
  noInvalidDate: true,
});
const slices = fc.record({ month: months, organization: organizations });

test('the keys are those of the staged layout', (t) => {
  t.is(rawPrefix(slice.month), 'raw/month=2026-10/');
  t.is(rawPrefix(slice.month, 'oab'), 'raw/month=2026-10/oab/');
  t.is(extractionPrefix(slice, extraction), 'raw/month=2026-10/oab/20261101T020304Z/');
  t.is(
    extractionManifestKey(slice, extraction),
    'raw/month=2026-10/oab/20261101T020304Z/manifest.json',
  );
  t.is(pageFile('accounts', 1), 'accounts-00001.json');
  t.is(pageFile('cost-and-usage', 123_456), 'cost-and-usage-123456.json');
  t.is(exportKey('parquet', 'customers', slice), 'parquet/customers/month=2026-10/oab.parquet');
  t.is(exportKey('csv', 'consumption', slice), 'csv/consumption/month=2026-10/oab.csv');
  t.is(
    exportKey('parquet-basic', 'consumption', slice),
    'parquet-basic/consumption/month=2026-10/oab.parquet',
  );
  t.is(transformManifestKey(slice), 'manifests/month=2026-10/oab.json');
  t.is(manifestPrefix(), 'manifests/');
  t.is(manifestPrefix(slice.month), 'manifests/month=2026-10/');
});

test('an extraction is named by its UTC second, and names sort by time', (t) => {
  t.is(extractionName(new Date('2026-11-01T03:03:04.999+01:00')), extraction);
  const property = fc.property(instants, instants, (a, b) => {
    const [earlier, later] = a < b ? [a, b] : [b, a];
    return extractionName(earlier) <= extractionName(later);
  });
  t.notThrows(() => {
    fc.assert(property);
  });
});

test('every key that is built is a key, and is taken apart into what it was built of', (t) => {
  const property = fc.property(
    slices,
    instants,
    fc.constantFrom('accounts' as const, 'cost-and-usage' as const),
    fc.integer({ min: 1, max: 1_000_000 }),
    (some, start, operation, page) => {
      const name = extractionName(start);
      const file = pageFile(operation, page);
      const key = extractionPrefix(some, name) + file;
      t.true(isKey(key));
      t.deepEqual(parseExtractionKey(key), { ...some, extraction: name, file });
      t.deepEqual(parsePageFile(file), { operation, page });
      t.true(isKey(transformManifestKey(some)));
      t.deepEqual(parseTransformManifestKey(transformManifestKey(some)), some);
      t.true(isKey(exportKey('parquet', 'customers', some)));
      t.is(parseOrganizationName(some.organization), some.organization);
    },
  );
  fc.assert(property);
});

test('a folder of one organization holds nothing of another', (t) => {
  const property = fc.property(slices, organizations, instants, (some, other, start) => {
    fc.pre(some.organization !== other);
    const theirs = extractionPrefix({ ...some, organization: other }, extractionName(start));
    return !theirs.startsWith(rawPrefix(some.month, some.organization));
  });
  t.notThrows(() => {
    fc.assert(property);
  });
});

test('what no stage writes is not taken apart', (t) => {
  for (const key of [
    'raw/month=2026-10/oab/manifest.json',
    'raw/month=2026-10/oab/20261101T020304Z/deeper/manifest.json',
    'raw/month=2026-10/oab/notes/manifest.json',
    'raw/month=2026-13/oab/20261101T020304Z/manifest.json',
    'raw/month=2026-10/oab copy/20261101T020304Z/manifest.json',
    'parquet/customers/month=2026-10/oab.parquet',
    'manifests/month=2026-10/oab.json',
  ]) {
    t.is(parseExtractionKey(key), undefined, key);
  }
  for (const file of [
    'manifest.json',
    'accounts-1.json',
    'accounts-00001.json.gz',
    'other-00001.json',
  ]) {
    t.is(parsePageFile(file), undefined, file);
  }
  for (const key of [
    'manifests/month=2026-10/oab.txt',
    'manifests/oab.json',
    'manifests/month=2026-00/oab.json',
    'manifests/month=2026-10/.oab.json',
    'raw/month=2026-10/oab',
  ]) {
    t.is(parseTransformManifestKey(key), undefined, key);
  }
});

test("an organization's name is what a key and a file name can hold", (t) => {
  for (const name of ['oab', 'spp_ecm', 'A-1', '7', 'x'.repeat(64)]) {
    t.is(parseOrganizationName(name), name);
  }
  for (const name of ['', '.', '..', '-a', '_a', 'a/b', 'a b', 'é', 'a.b', 'x'.repeat(65), 'a\n']) {
    t.throws(() => parseOrganizationName(name), { instanceOf: UsageError }, JSON.stringify(name));
  }
});

test('no text that passes for a key leads out of the area', (t) => {
  const part = fc.constantFrom('a', '.', '..', '', '\\', '\0', '\ud800', '.tmp', 'é', ' ', '...');
  const property = fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
    const key = parts.join('/');
    const isGood =
      parts[0] !== '.tmp' && parts.every((one) => ['a', '.tmp', 'é', ' ', '...'].includes(one));
    t.is(isKey(key), isGood);
    if (isGood) {
      t.notThrows(() => {
        checkKey(key);
      });
      t.notThrows(() => {
        checkPrefix(`${key}/`);
      });
    } else {
      t.throws(
        () => {
          checkKey(key);
        },
        { instanceOf: DataError },
      );
      t.throws(
        () => {
          checkPrefix(`${key}/`);
        },
        { instanceOf: DataError },
      );
    }
  });
  fc.assert(property);
});

test('a prefix may end anywhere within a key', (t) => {
  const key = 'raw/month=2026-10/oab/20261101T020304Z/manifest.json';
  for (let length = 0; length <= key.length; length += 1) {
    t.notThrows(() => {
      checkPrefix(key.slice(0, length));
    });
  }
});
