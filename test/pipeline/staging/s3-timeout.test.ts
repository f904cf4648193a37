import test from 'ava';
import { TransientError } from '../../../pipeline/shared/errors.js';
import { bytesAt, listed, noise, same } from './contract.js';
import { startBuckets } from './s3-buckets.js';

// One after the other, in a process of their own: what else goes on must not look like a hanging server.

const MIB = 1024 * 1024;
/** Long enough that a busy machine's good answer never takes as long. */
const timeoutMs = 2000;
const { server, bucketFor } = await startBuckets(test);

test.serial('the source waits while parts are under way', async (t) => {
  const { open, strike, name } = bucketFor();
  strike({ operation: 'UploadPart', effect: { kind: 'hang' }, times: Infinity });
  let taken = 0;
  const source = async function* (): AsyncGenerator<Uint8Array> {
    for (; taken < 100; taken += 1) yield await Promise.resolve(noise(4 * MIB, `${taken}`));
  };
  const write = open({ timeoutMs }).write('long', source());
  await t.throwsAsync(write, { instanceOf: TransientError });
  // Four parts of 8 MiB on their way, and the piece that showed that the fourth is not the last one.
  t.is(taken, 8);
  t.is(server.buckets.get(name)?.objects.size, 0);
});

test.serial('a reader slower than the timeout loses nothing', async (t) => {
  const { staging, open, sent } = bucketFor();
  const content = noise(16 * MIB);
  await staging.write('file', content);
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await open({ timeoutMs }).read('file'))!) {
    // The connection is full, and then given up: nobody reads from it.
    if (chunks.length === 3) await sent('GetObject')[0]!.ended;
    chunks.push(chunk);
  }
  t.true(same(Buffer.concat(chunks), content));
  t.is(sent('GetObject').length, 2);
});

test.serial('a body that stops is given up, and the download goes on', async (t) => {
  const { staging, open, strike, sent } = bucketFor();
  await staging.write('file', noise(MIB));
  strike({ operation: 'GetObject', effect: { kind: 'hang' } });
  strike({ operation: 'GetObject', effect: { kind: 'stall', after: 1000 } });
  t.true(same(await bytesAt(open({ timeoutMs }), 'file'), noise(MIB)));
  t.is(sent('GetObject').length, 3);
});

test.serial('a request that is never answered is given up', async (t) => {
  const { open, strike } = bucketFor();
  strike({ effect: { kind: 'hang' }, times: Infinity });
  // Nothing answers, so that no good answer can come too late.
  const staging = open({ timeoutMs: 400 });
  const attempts = [
    () => staging.write('new', Buffer.from('x')),
    () => listed(staging, ''),
    () => staging.read('new'),
    () => staging.remove('new'),
  ];
  for (const attempt of attempts) {
    await t.throwsAsync(attempt(), {
      instanceOf: TransientError,
      message: 'S3 did not answer in time',
    });
  }
});
