const MIB = 1024 * 1024;

/** Parts that S3 allows in one upload (Amazon S3 user guide, multipart upload limits). */
export const MOST_PARTS = 10_000;

/**
 * Bytes of the `number`-th part (from 1): 8 MiB, doubled after every 1,000 parts. Files up to 8 GiB
 * have equal parts, which some servers ask for; 10,000 parts hold 8 TiB.
 */
export function partSize(number: number): number {
  return 8 * MIB * 2 ** Math.floor((number - 1) / 1000);
}

export interface Part {
  number: number;
  bytes: Uint8Array;
  /** Whether the content ends with this part, which may be shorter than the others, or empty. */
  last: boolean;
}

/** Cuts content into parts of `sizeOf(number)` bytes, holding one part in memory; the last one carries the rest. */
export async function* parts(
  content: Uint8Array | AsyncIterable<Uint8Array>,
  sizeOf: (number: number) => number = partSize,
): AsyncGenerator<Part> {
  let number = 1;
  let held: Uint8Array[] = [];
  let length = 0;
  for await (let chunk of content instanceof Uint8Array ? [content] : content) {
    for (let room = sizeOf(number) - length; chunk.length >= room; room = sizeOf(number)) {
      held.push(chunk.subarray(0, room));
      yield { number, bytes: joined(held), last: false };
      chunk = chunk.subarray(room);
      held = [];
      length = 0;
      number += 1;
    }
    if (chunk.length > 0) held.push(chunk);
    length += chunk.length;
  }
  yield { number, bytes: joined(held), last: true };
}

function joined(held: readonly Uint8Array[]): Uint8Array {
  return held.length === 1 && held[0] !== undefined ? held[0] : Buffer.concat(held);
}
