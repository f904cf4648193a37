import type { CompletedPart } from '@aws-sdk/client-s3';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { DataError } from '../errors.js';
import type { Attempt, FileHeaders } from './s3-attempt.js';
import { refusal, written } from './s3-attempt.js';
import type { Bucket } from './s3-bucket.js';
import { MOST_PARTS } from './s3-parts.js';

/** Bytes on their way to S3 at once, unless a single part is larger. */
const IN_FLIGHT = 32 * 1024 * 1024;

/** A file on its way to S3 in parts; nothing of it is visible before it is complete. */
export interface Multipart {
  /** Sends a part; resolves as soon as there is room for another one. */
  add(number: number, bytes: Uint8Array): Promise<void>;
  /** Makes the file visible once every part has arrived. */
  complete(ifAbsent: boolean): Promise<Attempt>;
  /** Takes the parts back. Never throws: what S3 keeps is invisible, and a lifecycle rule ends it. */
  abort(): Promise<void>;
}

export async function beginMultipart(
  bucket: Bucket,
  key: string,
  headers: FileHeaders,
): Promise<Multipart> {
  const { Bucket, Key } = headers;
  const begun = await bucket.ask('write', key, (client) =>
    client.send(new CreateMultipartUploadCommand(headers)),
  );
  const target = { Bucket, Key, UploadId: begun.UploadId };
  const sent: CompletedPart[] = [];
  const underway = new Map<Promise<void>, number>();
  let failure: { cause: unknown } | undefined;
  const throwFailure = (): void => {
    if (failure !== undefined) throw failure.cause;
  };

  const send = async (number: number, bytes: Uint8Array): Promise<void> => {
    try {
      const { ETag } = await bucket.ask(
        'write',
        key,
        (client) =>
          client.send(
            new UploadPartCommand({
              ...target,
              PartNumber: number,
              Body: bytes,
              ContentLength: bytes.length,
            }),
          ),
        bytes.length,
      );
      sent.push({ PartNumber: number, ETag });
    } catch (cause) {
      failure ??= { cause };
    }
  };

  return {
    async add(number, bytes) {
      if (number > MOST_PARTS) {
        throw new DataError('the file is too long for S3', {
          where: `${bucket.location}/${key}`,
        });
      }
      while (underway.size > 0 && sum(underway.values()) + bytes.length > IN_FLIGHT) {
        await Promise.race(underway.keys());
      }
      throwFailure();
      const sending = send(number, bytes).finally(() => underway.delete(sending));
      underway.set(sending, bytes.length);
    },

    async complete(ifAbsent) {
      await Promise.all(underway.keys());
      throwFailure();
      const Parts = sent.toSorted((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
      return bucket.ask('write', key, (client) =>
        client
          .send(
            new CompleteMultipartUploadCommand({
              ...target,
              MultipartUpload: { Parts },
              ...(ifAbsent ? { IfNoneMatch: '*' } : {}),
            }),
          )
          .then(() => written, refusal),
      );
    },

    async abort() {
      await Promise.all(underway.keys());
      await bucket
        .ask('remove', key, (client) => client.send(new AbortMultipartUploadCommand(target)))
        .catch(() => undefined);
    },
  };
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
