import test from 'ava';
import { conflict, slowDown } from '../../../fixtures/cloud/s3-wire.js';
import { ConfigurationError, DataError, TransientError } from '../../../pipeline/shared/errors.js';
import { s3Staging } from '../../../pipeline/staging/s3.js';
import { openWriter, readAll } from '../../../pipeline/staging/staging.js';
import {
  breaking,
  bytesAt,
  keysOf,
  listed,
  noise,
  pieces,
  same,
  stagingContract,
  textAt,
} from './contract.js';
import { startBuckets, statuses } from './s3-buckets.js';

const MIB = 1024 * 1024;
const { server, bucketFor } = await startBuckets(test);

// Two keys a page: every listing of the contract goes over pages.
stagingContract(test, () => Promise.resolve(bucketFor({ pageSize: 2 }).staging));

for (const pageSize of [1, 2, 3, 7, 1000]) {
  test(`a listing follows every token: ${pageSize} keys a page`, async (t) => {
    const { staging, sent } = bucketFor({ pageSize });
    const keys = Array.from({ length: 7 }, (_, index) => `raw/${index}`);
    await Promise.all(keys.map((key) => staging.write(key, Buffer.from(key))));
    await staging.write('other', Buffer.from('x'));
    t.deepEqual(await keysOf(staging, 'raw/'), keys);
    t.is(sent('ListObjectsV2').length, Math.ceil(7 / pageSize));
  });
}

test('a listing reads no page ahead, and none after the last key that is wanted', async (t) => {
  const { staging, sent } = bucketFor({ pageSize: 1 });
  for (const key of ['a', 'b', 'c']) await staging.write(key, Buffer.from(key));
  for await (const { key } of staging.list('')) if (key === 'b') break;
  t.is(sent('ListObjectsV2').length, 2);
});

test('a token that leads nowhere stops the listing', async (t) => {
  const { staging, strike, sent } = bucketFor({ pageSize: 1 });
  for (const key of ['a', 'b', 'c']) await staging.write(key, Buffer.from(key));
  strike({ operation: 'ListObjectsV2', effect: { kind: 'repeat-token' }, times: Infinity });
  const error = await t.throwsAsync(listed(staging, ''), {
    instanceOf: DataError,
    message: /token of the listing leads nowhere/,
  });
  t.true(error.where?.startsWith('s3://'));
  t.true(sent('ListObjectsV2').length <= 3);
});

test('a truncated page without a token stops the listing', async (t) => {
  const { staging, strike } = bucketFor();
  const body =
    '<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>area/a</Key><Size>1</Size></Contents></ListBucketResult>';
  strike({ operation: 'ListObjectsV2', effect: { kind: 'answer', status: 200, body } });
  await t.throwsAsync(listed(staging, ''), { instanceOf: DataError });
});

test('a bucket that lists out of order is refused', async (t) => {
  const { staging, strike } = bucketFor();
  for (const key of ['a', 'b']) await staging.write(key, Buffer.from(key));
  strike({ operation: 'ListObjectsV2', effect: { kind: 'out-of-order' } });
  await t.throwsAsync(listed(staging, ''), {
    instanceOf: ConfigurationError,
    message: /out of order/,
  });
});

test("a console's folder objects and other areas of the bucket are no files", async (t) => {
  const { staging, name } = bucketFor();
  await staging.write('raw/file', Buffer.from('x'));
  const all = s3Staging(name, '');
  await all.write('area2/file', Buffer.from('y'));
  await all.write('above', Buffer.from('z'));
  const bucket = server.buckets.get(name)!;
  const object = bucket.objects.get('above')!;
  for (const key of ['area/', 'area/raw/', 'area/raw//odd']) bucket.objects.set(key, object);
  t.deepEqual(await keysOf(staging, ''), ['raw/file']);
  t.deepEqual(await keysOf(all, 'area/'), ['area/raw/file']);
  t.deepEqual(await keysOf(all, ''), ['above', 'area/raw/file', 'area2/file']);
  t.is(all.location, `s3://${name}`);
  t.is(staging.location, `s3://${name}/area`);
});

test('a short file is one request, a long one goes up in parts', async (t) => {
  const { staging, sent, uploads } = bucketFor();
  await staging.write('short', noise(8 * MIB - 1));
  t.deepEqual(
    sent().map(({ operation }) => operation),
    ['PutObject'],
  );
  const content = noise(33 * MIB);
  await staging.write('long', pieces(content, 1_234_567));
  t.is(sent('UploadPart').length, 5);
  t.is(sent('CompleteMultipartUpload').length, 1);
  t.is(uploads(), 0);
  t.true(same(await bytesAt(staging, 'long'), content));
  await staging.write('even', noise(16 * MIB));
  t.is(sent('UploadPart').length, 7);
});

test('an upload that fails, or whose source fails, is taken back', async (t) => {
  const { staging, strike, uploads, sent } = bucketFor();
  const failure = new Error('the source broke');
  t.is(await t.throwsAsync(staging.write('a', breaking(noise(20 * MIB), failure))), failure);
  t.is(uploads(), 0);

  const refused = { kind: 'refuse', status: 403, code: 'AccessDenied' } as const;
  for (const operation of ['UploadPart', 'CompleteMultipartUpload'] as const) {
    strike({ operation, effect: refused });
    await t.throwsAsync(staging.write('a', noise(20 * MIB)), { instanceOf: ConfigurationError });
    t.is(uploads(), 0);
  }
  const writer = openWriter(staging, 'a');
  for await (const piece of pieces(noise(20 * MIB), MIB)) await writer.write(piece);
  while (uploads() === 0) await new Promise((resolve) => setImmediate(resolve));
  t.is(uploads(), 1);
  await writer.abort();
  t.is(uploads(), 0);
  t.is(sent('AbortMultipartUpload').length, 4);
  t.is(await staging.read('a'), undefined);
});

test('503 is tried again; a bucket that goes on answering it is given up', async (t) => {
  const { staging, strike, sent } = bucketFor();
  strike({ effect: slowDown, operation: 'PutObject', times: 2 });
  await staging.write('file', Buffer.from('x'));
  t.deepEqual(statuses(sent('PutObject')), [503, 503, 200]);
  const content = noise(17 * MIB);
  strike({ effect: slowDown, operation: 'UploadPart', times: 2, skip: 1 });
  strike({ effect: slowDown, operation: 'CompleteMultipartUpload' });
  await staging.write('long', content);
  t.true(same(await bytesAt(staging, 'long'), content));

  strike({ effect: slowDown, operation: 'GetObject', times: Infinity });
  const error = await t.throwsAsync(bytesAt(staging, 'file'), {
    instanceOf: TransientError,
    message: 'S3 goes on answering SlowDown (503)',
  });
  t.true(error.where?.endsWith('/area/file'));
  t.regex(error.next ?? '', /run the same command again/);
});

test('a refusal inside an answer that began with 200 is a failure', async (t) => {
  const { staging, strike, uploads } = bucketFor();
  const effect = { kind: 'refuse', status: 200, code: 'InternalError' } as const;
  strike({ operation: 'CompleteMultipartUpload', effect, times: 3 });
  await t.throwsAsync(staging.write('long', noise(9 * MIB)), { instanceOf: TransientError });
  t.is(await staging.read('long'), undefined);
  t.is(uploads(), 0);
});

test('a download cut in mid body is asked for again, and no byte comes twice', async (t) => {
  const { staging, strike, sent } = bucketFor();
  const content = noise(3 * MIB);
  await staging.write('file', content);
  strike({ operation: 'GetObject', effect: { kind: 'cut', after: 1_000_000 }, times: 2 });
  t.true(same(await bytesAt(staging, 'file'), content));
  t.deepEqual(statuses(sent('GetObject')), [200, 200, 200]);
});

test('a download that gets nowhere throws, and never looks like the end of the file', async (t) => {
  const { staging, strike, sent } = bucketFor();
  await staging.write('file', noise(MIB));
  strike({ operation: 'GetObject', effect: { kind: 'cut', after: 1000 } });
  strike({ operation: 'GetObject', effect: { kind: 'cut', after: 0 }, times: Infinity });
  const error = await t.throwsAsync(bytesAt(staging, 'file'), {
    instanceOf: TransientError,
    message: /the connection broke at byte 1000 of 1048576/,
  });
  t.true(error.where?.endsWith('/file'));
  t.is(sent('GetObject').length, 4);
});

test('a file that is replaced or removed while a broken download goes on is not mixed', async (t) => {
  const { staging, strike } = bucketFor();
  for (const change of [
    () => staging.write('file', noise(MIB, 'other')),
    () => staging.remove('file'),
  ]) {
    await staging.write('file', noise(MIB));
    strike({ operation: 'GetObject', effect: { kind: 'cut', after: 1000 } });
    const reader = await staging.read('file');
    await change();
    await t.throwsAsync(readAll(reader!), {
      instanceOf: TransientError,
      message: /replaced while it was read/,
    });
  }
});

test('a connection cut before the answer is tried again', async (t) => {
  const { staging, strike, sent } = bucketFor();
  strike({ effect: { kind: 'drop' }, operation: 'PutObject', times: 2 });
  await staging.write('file', Buffer.from('x'));
  t.is(sent('PutObject').length, 3);
  strike({ effect: { kind: 'drop' }, operation: 'GetObject', times: Infinity });
  await t.throwsAsync(bytesAt(staging, 'file'), {
    instanceOf: TransientError,
    message: 'S3 cannot be reached (ECONNRESET)',
  });
});

test('a conditional write whose first answer was lost knows its own file again', async (t) => {
  const { staging, strike, sent } = bucketFor();
  strike({ operation: 'PutObject', effect: { kind: 'lose-answer' } });
  t.true(await staging.write('lease', Buffer.from('mine'), { ifAbsent: true }));
  t.deepEqual(statuses(sent('PutObject')), [0, 412]);

  strike({ operation: 'CompleteMultipartUpload', effect: { kind: 'lose-answer' } });
  t.true(await staging.write('long', noise(9 * MIB), { ifAbsent: true }));
  strike({ operation: 'CompleteMultipartUpload', effect: { kind: 'lose-answer' } });
  t.true(await staging.write('long', noise(10 * MIB)));

  strike({ operation: 'PutObject', effect: slowDown });
  t.false(await staging.write('lease', Buffer.from('other'), { ifAbsent: true }));
  t.is(await textAt(staging, 'lease'), 'mine');
});

test('409 on a conditional write is tried again, and in the end given up', async (t) => {
  const { staging, strike, sent, uploads } = bucketFor();
  strike({ operation: 'PutObject', effect: conflict, times: 2 });
  t.true(await staging.write('lease', Buffer.from('x'), { ifAbsent: true }));
  t.deepEqual(statuses(sent('PutObject')), [409, 409, 200]);
  strike({ operation: 'CompleteMultipartUpload', effect: conflict });
  t.true(await staging.write('long', noise(9 * MIB), { ifAbsent: true }));
  t.is(sent('CreateMultipartUpload').length, 2);
  strike({ operation: 'CompleteMultipartUpload', effect: conflict });
  await t.throwsAsync(staging.write('stream', pieces(noise(9 * MIB), MIB), { ifAbsent: true }), {
    instanceOf: TransientError,
    message: 'somebody else is writing the same file',
  });

  strike({ operation: 'PutObject', effect: conflict, times: Infinity });
  strike({ operation: 'CompleteMultipartUpload', effect: conflict, times: Infinity });
  for (const content of [Buffer.from('x'), noise(9 * MIB)]) {
    await t.throwsAsync(staging.write('other', content, { ifAbsent: true }), {
      instanceOf: TransientError,
      message: 'somebody else is writing the same file',
    });
  }
  t.is(uploads(), 0);
});

test('an upload that somebody else ended is said', async (t) => {
  const { staging, name } = bucketFor();
  const bucket = server.buckets.get(name)!;
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield noise(9 * MIB);
    while (bucket.uploads.size === 0) await new Promise((resolve) => setImmediate(resolve));
    bucket.uploads.clear();
    yield noise(9 * MIB);
  };
  await t.throwsAsync(staging.write('long', source()), {
    instanceOf: TransientError,
    message: /the upload was ended/,
  });
});

test('encryption goes with every file, short and long; without a wish the bucket decides', async (t) => {
  const kms = { sse: 'aws:kms', kmsKeyId: 'alias/billing' } as const;
  for (const [options, expected] of [
    [kms, ['aws:kms', 'alias/billing']],
    [{ sse: 'aws:kms' }, ['aws:kms', undefined]],
    [{ sse: 'AES256' }, ['AES256', undefined]],
    [{}, ['AES256', undefined]],
  ] as const) {
    const { staging, name } = bucketFor({}, options);
    await staging.write('short', Buffer.from('x'));
    await staging.write('long', noise(9 * MIB));
    for (const key of ['area/short', 'area/long']) {
      const { headers } = server.buckets.get(name)!.objects.get(key)!;
      t.is(headers['x-amz-server-side-encryption'], expected[0]);
      t.is(headers['x-amz-server-side-encryption-aws-kms-key-id'], expected[1]);
    }
  }
});

test('a bucket of another region is found, once', async (t) => {
  const { staging, sent } = bucketFor({ region: 'eu-west-3' });
  await staging.write('file', Buffer.from('x'));
  await staging.write('long', noise(9 * MIB));
  t.is(await textAt(staging, 'file'), 'x');
  t.deepEqual(statuses(sent()), [301, 200, 200, 200, 200, 200, 200]);
});

test('a bucket that does not exist is said by every operation', async (t) => {
  const staging = s3Staging('no-such-bucket', 'area');
  const attempts = [
    () => staging.read('a'),
    () => staging.write('a', Buffer.from('x')),
    () => staging.write('a', noise(9 * MIB)),
    () => staging.remove('a'),
    () => listed(staging, ''),
  ];
  for (const attempt of attempts) {
    const error = await t.throwsAsync(attempt(), {
      instanceOf: ConfigurationError,
      message: 'the bucket does not exist',
    });
    t.true(error.where?.startsWith('s3://no-such-bucket/area/'));
    t.is(error.next, 'create it, or correct --staging');
  }
});

const refusals = [
  [403, 'AccessDenied', /^no right to read the file/, /s3:GetObject/],
  [400, 'ExpiredToken', /credentials have expired/, /renew/],
  [403, 'InvalidAccessKeyId', /does not accept the AWS credentials/, /AWS_ACCESS_KEY_ID/],
  [403, 'SignatureDoesNotMatch', /does not accept the AWS credentials/, /AWS_SECRET_ACCESS_KEY/],
  [301, 'PermanentRedirect', /lies in another region/, /AWS_REGION/],
  [400, 'AuthorizationHeaderMalformed', /lies in another region/, /AWS_REGION/],
  [400, 'KMS.DisabledException', /the KMS key cannot be used/, /--s3-kms-key,/],
  [501, 'NotImplemented', /S3 refuses to read the file: NotImplemented \(501\)/, /server behind/],
  [400, 'InvalidRequest', /S3 refuses to read the file: InvalidRequest \(400\)/, /--staging/],
] as const;

for (const [status, code, message, next] of refusals) {
  test(`${code} says what next`, async (t) => {
    const { staging, strike, sent } = bucketFor();
    strike({ effect: { kind: 'refuse', status, code }, times: Infinity });
    const error = await t.throwsAsync(staging.read('file'), {
      instanceOf: ConfigurationError,
      message,
    });
    t.regex(error.next ?? '', next);
    t.is(sent().length, 1);
  });
}

test('a server that answers a page of its own is no S3', async (t) => {
  const { staging, strike } = bucketFor();
  for (const body of ['<html><p>Welcome<br></html>', '<html><p>Welcome</p></html>', 'ok', '']) {
    strike({ operation: 'ListObjectsV2', effect: { kind: 'answer', status: 200, body } });
    await t.throwsAsync(
      listed(staging, ''),
      { instanceOf: ConfigurationError, message: /^the answer is not / },
      body,
    );
  }
});

test('a page of its own is no file that is written, long or short', async (t) => {
  const { staging, strike } = bucketFor();
  for (const body of ['<html><p>Welcome</p></html>', 'ok', '']) {
    for (const operation of ['PutObject', 'CompleteMultipartUpload'] as const)
      strike({ operation, effect: { kind: 'answer', status: 200, body }, times: Infinity });
    for (const content of [Buffer.from('x'), noise(9 * MIB)])
      await t.throwsAsync(staging.write('file', content), { instanceOf: ConfigurationError }, body);
  }
});

test('no error shows a secret', async (t) => {
  const { staging, strike } = bucketFor();
  strike({ effect: { kind: 'refuse', status: 403, code: 'SignatureDoesNotMatch' } });
  const error = await t.throwsAsync(staging.read('file'));
  t.false(JSON.stringify(error).includes(server.environment['AWS_SECRET_ACCESS_KEY']!));
});
