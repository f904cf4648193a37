import { Readable, addAbortSignal } from 'node:stream';
import type { CompletedPart, GetObjectCommandOutput } from '@aws-sdk/client-s3';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import {
  ConfigurationError,
  DataError,
  TransientError,
  throwIfInterrupted,
} from '../shared/errors.js';
import { EndlessAnswerError, pause } from '../shared/waits.js';
import type { Attempt, Bucket, FileHeaders } from './s3-bucket.js';
import { fileHeaders, refusal, settled, written } from './s3-bucket.js';
import { failureOf, s3Error } from './s3-errors.js';
import type { ByteRange, WriteOptions } from './staging.js';
import { readAll } from './staging.js';

/** Broken connections in a row, without one byte in between, after which a download is given up. */
const FRUITLESS = 3;

interface Part {
  body: Readable;
  end: number;
  etag: string | undefined;
}

/**
 * The bytes of a file, or of its range, as a stream; `undefined` when there is no such file. Where the
 * connection breaks in between, it goes on from the next byte of the same version of the file.
 */
export async function download(
  bucket: Bucket,
  key: string,
  range: ByteRange | undefined,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const start = range?.start ?? 0;
  const empty = range !== undefined && range.end <= range.start;
  // HTTP has no empty range: the first byte tells whether the file is there.
  const first = await get(bucket, key, empty ? { start: 0, end: 1 } : range);
  if (first === 'absent') return undefined;
  if (empty) {
    if (typeof first !== 'string') await readAll(first.body);
    return nothing();
  }
  return first === 'past the end' ? nothing() : resumed(bucket, key, start, first);
}

async function* resumed(
  bucket: Bucket,
  key: string,
  start: number,
  first: Part,
): AsyncGenerator<Uint8Array> {
  let position = start;
  let part = first;
  for (let fruitless = 0; ;) {
    const before = position;
    let failure: unknown;
    try {
      for await (const chunk of stoppable(part.body, bucket.stop('read'))) {
        position += chunk.length;
        yield chunk;
      }
    } catch (cause) {
      failure = cause;
    }
    throwIfInterrupted(bucket.stop('read'));
    if (position === first.end) return;
    // What came too slowly would do so again.
    if (failure instanceof EndlessAnswerError)
      throw s3Error(failure, `${bucket.location}/${key}`, 'read');
    fruitless = position > before ? 0 : fruitless + 1;
    if (fruitless === FRUITLESS || position > first.end) {
      throw new TransientError(
        `the connection broke at byte ${position} of ${first.end}, again and again`,
        {
          where: `${bucket.location}/${key}`,
          next: 'check the network and run the same command again',
          cause: failure,
        },
      );
    }
    await pause(100 * 2 ** fruitless, bucket.stop('read'));
    const rest = await get(bucket, key, { start: position, end: first.end }, first.etag);
    if (typeof rest === 'string') throw changed(bucket, key);
    part = rest;
  }
}

async function get(
  bucket: Bucket,
  key: string,
  range: ByteRange | undefined,
  etag?: string,
): Promise<Part | 'absent' | 'past the end'> {
  const answer = await bucket.ask('read', key, (client) =>
    client
      .send(
        new GetObjectCommand({
          Bucket: bucket.name,
          Key: bucket.nameOf(key),
          ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` }),
          ...(etag === undefined ? {} : { IfMatch: etag }),
        }),
      )
      .catch((cause: unknown) => {
        const failure = failureOf(cause);
        if (failure?.name === 'NoSuchKey') return 'absent';
        if (failure?.status === 416) return 'past the end';
        if (failure?.status === 412) throw changed(bucket, key);
        throw cause;
      }),
  );
  return typeof answer === 'string' ? answer : partOf(bucket, key, answer, range);
}

function partOf(
  bucket: Bucket,
  key: string,
  answer: GetObjectCommandOutput,
  range: ByteRange | undefined,
): Part {
  const { Body: body, ContentLength: length, ContentRange: given, ETag: etag } = answer;
  const start = range?.start ?? 0;
  if (!(body instanceof Readable) || length === undefined) {
    if (body instanceof Readable) body.destroy();
    throw unfit(bucket, key, 'the server does not say how long the file is');
  }
  if (range !== undefined && given?.startsWith(`bytes ${start}-`) !== true) {
    body.destroy();
    throw unfit(bucket, key, 'the server ignores the range of bytes that was asked for');
  }
  return { body, end: start + length, etag };
}

function unfit(bucket: Bucket, key: string, message: string): ConfigurationError {
  return new ConfigurationError(message, {
    where: `${bucket.location}/${key}`,
    next: 'take a server or a proxy that answers GetObject as S3 does',
  });
}

function changed(bucket: Bucket, key: string): TransientError {
  return new TransientError('the file was replaced while it was read', {
    where: `${bucket.location}/${key}`,
    next: 'run the same command again',
  });
}

/** A body whose reading ends with the signal. */
function stoppable(body: Readable, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  return signal === undefined ? body : addAbortSignal(signal, body);
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

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

export interface S3PartsPart {
  number: number;
  bytes: Uint8Array;
  /** Whether the content ends with this part, which may be shorter than the others, or empty. */
  last: boolean;
}

/** Cuts content into parts of `sizeOf(number)` bytes, holding one part in memory; the last one carries the rest. */
export async function* parts(
  content: Uint8Array | AsyncIterable<Uint8Array>,
  sizeOf: (number: number) => number = partSize,
): AsyncGenerator<S3PartsPart> {
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
