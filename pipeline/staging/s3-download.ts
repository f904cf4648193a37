import { addAbortSignal, Readable } from 'node:stream';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { ConfigurationError, throwIfInterrupted, TransientError } from '../errors.js';
import { EndlessAnswerError, pause } from '../waits.js';
import { readAll } from './bytes.js';
import type { Bucket } from './s3-bucket.js';
import { failureOf, s3Error } from './s3-errors.js';
import type { ByteRange } from './staging.js';

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
