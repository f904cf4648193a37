import { PutObjectCommand } from '@aws-sdk/client-s3';
import type { Attempt, FileHeaders } from './s3-attempt.js';
import { fileHeaders, refusal, settled, written } from './s3-attempt.js';
import type { Bucket } from './s3-bucket.js';
import type { Multipart } from './s3-multipart.js';
import { beginMultipart } from './s3-multipart.js';
import { parts } from './s3-parts.js';
import type { WriteOptions } from './staging.js';

/**
 * Writes a file in one request, or in parts when it is longer than one of them. It becomes visible
 * with the last request; an upload that fails is taken back.
 * @returns false when `ifAbsent` and the file was there already.
 */
export async function upload(
  bucket: Bucket,
  key: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  { ifAbsent = false }: WriteOptions,
): Promise<boolean> {
  const headers = fileHeaders(bucket, key);
  let multipart: Multipart | undefined;
  try {
    let placed = false;
    for await (const { number, bytes, last } of parts(content)) {
      if (last && multipart === undefined) {
        placed = await settled(bucket, key, headers, () =>
          putObject(bucket, key, headers, bytes, ifAbsent),
        );
      } else {
        const begun = (multipart ??= await beginMultipart(bucket, key, headers));
        if (bytes.length > 0) await begun.add(number, bytes);
        if (last) placed = await settled(bucket, key, headers, () => begun.complete(ifAbsent));
      }
    }
    if (!placed) await multipart?.abort();
    return placed;
  } catch (cause) {
    await multipart?.abort();
    throw cause;
  }
}

function putObject(
  bucket: Bucket,
  key: string,
  headers: FileHeaders,
  bytes: Uint8Array,
  ifAbsent: boolean,
): Promise<Attempt> {
  return bucket.ask(
    'write',
    key,
    (client) =>
      client
        .send(
          new PutObjectCommand({
            ...headers,
            Body: bytes,
            ContentLength: bytes.length,
            ...(ifAbsent ? { IfNoneMatch: '*' } : {}),
          }),
        )
        .then(() => written, refusal),
    bytes.length,
  );
}
