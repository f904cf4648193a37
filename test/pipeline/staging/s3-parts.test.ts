import test from 'ava';
import fc from 'fast-check';
import type { S3PartsPart } from '../../../pipeline/staging/s3-transfer.js';
import { MOST_PARTS, partSize, parts } from '../../../pipeline/staging/s3-transfer.js';
import { noise, same } from './contract.js';

const MIB = 1024 * 1024;

test('parts keep to the limits of S3 and hold terabytes', (t) => {
  let total = 0;
  for (let number = 1; number <= MOST_PARTS; number += 1) {
    const size = partSize(number);
    t.true(size >= 5 * MIB && size <= 5 * 1024 * MIB && size >= partSize(Math.max(number - 1, 1)));
    total += size;
  }
  t.true(total > 5 * 1024 ** 4);
  t.is(partSize(1000), 8 * MIB);
});

test('parts are the content, cut where they should be, whatever the pieces', async (t) => {
  const sizeOf = (number: number): number => 3 + number;
  const lengths = fc.array(fc.nat(20), { maxLength: 12 });
  const property = fc.asyncProperty(lengths, async (pieces) => {
    const content = pieces.map((length, index) => noise(length, `${index}`));
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for (const piece of content) yield await Promise.resolve(piece);
    };
    const cut: S3PartsPart[] = [];
    for await (const part of parts(source(), sizeOf)) cut.push(part);
    t.true(same(Buffer.concat(cut.map(({ bytes }) => bytes)), Buffer.concat(content)));
    for (const [index, { number, bytes, last }] of cut.entries()) {
      t.is(number, index + 1);
      t.is(last, index === cut.length - 1);
      t.true(last ? bytes.length < sizeOf(number) : bytes.length === sizeOf(number));
    }
  });
  await fc.assert(property);
});
