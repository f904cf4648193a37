import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { UsageError } from '../../../pipeline/shared/errors.js';
import { openStaging, parseStagingLocation } from '../../../pipeline/staging/open.js';

test('a folder is taken as it is written', (t) => {
  for (const folder of [
    'staging',
    './staging',
    '/var/staging',
    'C:staging',
    'a:b',
    '~',
    's3:/x',
    'é ü',
  ]) {
    t.deepEqual(parseStagingLocation(folder), { kind: 'folder', folder });
  }
});

test('a bucket and a prefix come apart, the prefix without slashes at its ends', (t) => {
  const bucket = 'billing-data.eu';
  for (const [text, prefix] of [
    ['s3://billing-data.eu', ''],
    ['s3://billing-data.eu/', ''],
    ['S3://billing-data.eu/a', 'a'],
    ['s3://billing-data.eu/a/b/', 'a/b'],
    ['s3://billing-data.eu//a//b//', 'a/b'],
    ['s3://billing-data.eu/a b/é', 'a b/é'],
  ] as const) {
    t.deepEqual(parseStagingLocation(text), { kind: 's3', bucket, prefix });
  }
});

test('what neither is says how to write it', (t) => {
  for (const text of [
    '',
    's3://',
    's3:///prefix',
    's3://A-Bucket/x',
    's3://ab/x',
    's3://-ab/x',
    's3://under_score/x',
    's3://user:password@bucket/x',
    `s3://${'x'.repeat(64)}/x`,
    'gs://bucket/x',
    'https://bucket.s3.amazonaws.com/x',
    'file:///tmp/x',
  ]) {
    const error = t.throws(() => parseStagingLocation(text), { instanceOf: UsageError }, text);
    t.regex(error.next ?? '', /s3:\/\/bucket\/prefix/);
  }
});

test('a prefix that no key can have is refused before anything is contacted', (t) => {
  for (const text of [
    's3://bucket/../x',
    's3://bucket/a/./b',
    's3://bucket/a\\b',
    's3://bucket/a\nb',
  ]) {
    t.throws(() => parseStagingLocation(text), { instanceOf: UsageError }, text);
  }
});

test('a location that was opened reads as itself again', async (t) => {
  const letters = fc.constantFrom(...'abz09'.split(''));
  const bucket = fc.string({ unit: letters, minLength: 3, maxLength: 20 });
  const segment = fc.string({ unit: fc.constantFrom(...'ab=-_é 9'.split('')), minLength: 1 });
  const property = fc.asyncProperty(
    bucket,
    fc.array(segment, { maxLength: 4 }),
    async (name, path) => {
      const location = { kind: 's3' as const, bucket: name, prefix: path.join('/') };
      const staging = await openStaging(location);
      t.deepEqual(parseStagingLocation(staging.location), location);
    },
  );
  await fc.assert(property, { numRuns: 30 });
  const staging = await openStaging({ kind: 'folder', folder: 'some/where' });
  t.is(staging.location, resolve('some/where'));
});

test('opening makes and contacts nothing', async (t) => {
  const parent = await mkdtemp(join(tmpdir(), 'open-'));
  t.teardown(() => rm(parent, { recursive: true, force: true }));
  await openStaging({ kind: 'folder', folder: join(parent, 'staging') });
  t.deepEqual(await readdir(parent), []);
});
