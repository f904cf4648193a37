import { randomUUID } from 'node:crypto';
import { Readable, addAbortSignal } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import {
  ConfigurationError,
  DataError,
  TransientError,
  throwIfInterrupted,
} from '../shared/errors.js';
import { EndlessAnswerError, pause } from '../shared/waits.js';
import { checkKey, checkPrefix, isKey } from './layout.js';
import type { Bucket, S3Settings } from './s3-bucket.js';
import { openBucket } from './s3-bucket.js';
import type { Failure } from './s3-errors.js';
import { failureOf, s3Error } from './s3-errors.js';
import type { StagedFile, Staging, WriteOptions } from './staging.js';

/**
 * A staging area below a prefix of a bucket. Credentials, region and endpoint are the SDK's own
 * settings: environment, shared files, the machine's role.
 */
export function s3Staging(name: string, prefix: string, settings: S3Settings = {}): Staging {
  const bucket = openBucket(name, prefix, settings);
  return {
    location: bucket.location,

    list: (keyPrefix) => listBucket(bucket, keyPrefix),

    async read(key) {
      checkKey(key);
      const first = await getObject(bucket, key);
      return first === undefined ? undefined : bytesOf(bucket, key, first);
    },

    async write(key, content, options = {}) {
      checkKey(key);
      return upload(bucket, key, content, options);
    },

    async remove(key) {
      checkKey(key);
      await bucket.ask('remove', key, (client) =>
        client.send(new DeleteObjectCommand(bucket.place(key))).catch((cause: unknown) => {
          if (failureOf(cause)?.name !== 'NoSuchKey') throw cause;
        }),
      );
    },
  };
}

/** Pages of one listing, each of up to 1,000 files: far more than a staging area holds. */
const MOST_PAGES = 10_000;

/**
 * Every file below a prefix, page by page to the last continuation token. Names that are no keys,
 * such as the empty `folder/` objects that consoles make, are no files of the staging area.
 * @throws {DataError} when a token does not lead on, or there is always another one.
 * @throws {ConfigurationError} when the names come out of order, as a directory bucket lists them.
 */
export async function* listBucket(bucket: Bucket, prefix: string): AsyncGenerator<StagedFile> {
  checkPrefix(prefix);
  const where = `${bucket.location}/${prefix}`;
  const { Bucket, Key: Prefix } = bucket.place(prefix);
  const seen = new Set<string>();
  let previous: string | undefined;
  for (let token: string | undefined; ;) {
    const page = await bucket.ask('list', prefix, (client) =>
      client.send(
        new ListObjectsV2Command({
          Bucket,
          Prefix,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
      ),
    );
    if (page.IsTruncated === undefined) {
      // A proxy's own page, read as an empty listing, would have every month fetched again.
      throw new ConfigurationError('the answer is not a listing of S3', {
        where,
        next: 'check AWS_ENDPOINT_URL_S3 and the proxies on the way',
      });
    }
    token = page.IsTruncated ? page.NextContinuationToken : undefined;
    if (page.IsTruncated) {
      const fault = (message: string): DataError =>
        new DataError(message, { where, next: 'check the server behind AWS_ENDPOINT_URL_S3' });
      if (token === undefined || seen.has(token))
        throw fault('the continuation token of the listing leads nowhere');
      if (seen.add(token).size >= MOST_PAGES)
        throw fault(`the listing has no end after ${MOST_PAGES} pages`);
    }
    for (const { Key: name, Size: size } of page.Contents ?? []) {
      if (name === undefined || size === undefined) continue;
      if (previous !== undefined && Buffer.from(previous).compare(Buffer.from(name)) >= 0) {
        throw new ConfigurationError('the bucket lists its files out of order', {
          where,
          next: 'take a general purpose bucket: a directory bucket cannot hold a staging area',
        });
      }
      previous = name;
      const key = bucket.keyOf(name);
      if (key !== undefined && isKey(key)) yield { key, size };
    }
    if (token === undefined) return;
  }
}

/** An answer of GetObject. */
interface StoredObject {
  body: Readable;
  length: number;
  etag: string | undefined;
}

/**
 * Asks for a file; `undefined` when there is none.
 * @param etag of the only version that will do.
 */
async function getObject(
  bucket: Bucket,
  key: string,
  etag?: string,
): Promise<StoredObject | undefined> {
  const where = `${bucket.location}/${key}`;
  const answer = await bucket.ask('read', key, (client) =>
    client
      .send(
        new GetObjectCommand({
          ...bucket.place(key),
          ...(etag === undefined ? {} : { IfMatch: etag }),
        }),
      )
      .catch((cause: unknown) => {
        const failure = failureOf(cause);
        if (failure?.name === 'NoSuchKey') return undefined;
        if (failure?.status === 412) throw replaced(where);
        throw cause;
      }),
  );
  if (answer === undefined) return undefined;
  const { Body: body, ContentLength: length, ETag } = answer;
  if (body instanceof Readable && length !== undefined) return { body, length, etag: ETag };
  if (body instanceof Readable) body.destroy();
  throw new ConfigurationError('the server does not say how long the file is', {
    where,
    next: 'take a server or a proxy that answers GetObject as S3 does',
  });
}

function replaced(where: string): TransientError {
  return new TransientError('the file was replaced while it was read', {
    where,
    next: 'run the same command again',
  });
}

/** Broken connections in a row, none of which brought a byte more, after which a download is given up. */
const FRUITLESS = 3;

/**
 * A file's bytes to the last one. Where the connection breaks in between, the same version of the file is
 * asked for again, and what has been handed out of it is passed over.
 */
async function* bytesOf(
  bucket: Bucket,
  key: string,
  first: StoredObject,
): AsyncGenerator<Uint8Array> {
  const where = `${bucket.location}/${key}`;
  const signal = bucket.stop('read');
  let { body } = first;
  let given = 0;
  for (let fruitless = 0; ;) {
    const before = given;
    let position = 0;
    let failure: unknown;
    try {
      for await (const chunk of stoppable(body, signal)) {
        const more = chunk.subarray(Math.max(given - position, 0));
        position += chunk.length;
        given = Math.max(given, position);
        if (more.length > 0) yield more;
      }
    } catch (cause) {
      failure = cause;
    }
    throwIfInterrupted(signal);
    if (given === first.length) return;
    // What came too slowly would do so again.
    if (failure instanceof EndlessAnswerError) throw s3Error(failure, where, 'read');
    fruitless = given > before ? 0 : fruitless + 1;
    if (fruitless === FRUITLESS || given > first.length) {
      throw new TransientError(
        `the connection broke at byte ${given} of ${first.length}, again and again`,
        { where, next: 'check the network and run the same command again', cause: failure },
      );
    }
    await pause(100 * 2 ** fruitless, signal);
    const again = await getObject(bucket, key, first.etag);
    if (again === undefined) throw replaced(where);
    body = again.body;
  }
}

/** A body whose reading ends with the signal. */
function stoppable(body: Readable, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  return signal === undefined ? body : addAbortSignal(signal, body);
}

/** Bytes of a part; a shorter file is one request. S3's 10,000 parts hold 78 GiB. */
const PART = 8 * 1024 * 1024;
/** Parts under way at once. */
const PARTS = 4;

/** Times that a write which S3 refuses because of another one at the same moment is tried. */
const TRIES = 5;

/** Name of the metadata by which a writer knows its own file again. */
const WRITE_ID = 'write-id';

/**
 * Writes a file in one request, or in parts when it is longer than one of them. It becomes visible
 * with the last request; an upload that fails is taken back. A conflict is tried again, and where the answer
 * to an earlier try was lost on the way, the file itself tells whether that try had written it.
 * @returns false when `ifAbsent` and the file was there already.
 */
async function upload(
  bucket: Bucket,
  key: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  { ifAbsent = false }: WriteOptions,
): Promise<boolean> {
  const { sse, kmsKeyId } = bucket.settings;
  const mark = randomUUID();
  const params = {
    ...bucket.place(key),
    Metadata: { [WRITE_ID]: mark },
    ...(sse === undefined ? {} : { ServerSideEncryption: sse }),
    ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
    // Goes with the request that makes the file visible: PutObject, or CompleteMultipartUpload.
    ...(ifAbsent ? { IfNoneMatch: '*' } : {}),
  };
  for (let tries = 1; ; tries += 1) {
    let refusal: Failure | undefined;
    const client = await uploadClient(bucket, key, (failure) => (refusal = failure));
    // Without a buffer of its own, the stream reads nothing ahead.
    const Body =
      content instanceof Uint8Array ? content : Readable.from(content, { highWaterMark: 0 });
    try {
      const options = { client, params: { ...params, Body }, partSize: PART, queueSize: PARTS };
      await new Upload(options).done();
      return true;
    } catch (cause) {
      if (refusal === undefined) throw cause;
      const { status, name, attempts } = refusal;
      const isEnded = name === 'NoSuchUpload' && attempts > 1;
      if (status !== 412 && status !== 409 && !isEnded) throw cause;
      if (status !== 409 && attempts > 1 && (await isOurs(bucket, key, mark))) return true;
      if (status === 412) return false;
      // What came in a stream is gone.
      if (isEnded || tries === TRIES || !(content instanceof Uint8Array)) {
        throw new TransientError('somebody else is writing the same file', {
          where: `${bucket.location}/${key}`,
          next: 'run the same command again',
        });
      }
      await pause(50 * 2 ** tries * Math.random(), bucket.stop('write'));
    }
  }
}

/**
 * A client for `Upload`, whose requests are bounded in time and whose failures are worded as all others.
 * @param onRefusal is told what the request that makes the file visible failed with.
 */
async function uploadClient(
  bucket: Bucket,
  key: string,
  onRefusal: (failure: Failure | undefined) => void,
): Promise<S3Client> {
  const send = async (command: Parameters<S3Client['send']>[0]): Promise<unknown> => {
    if (command instanceof AbortMultipartUploadCommand) {
      // What stopped the upload says more; what S3 keeps is invisible, and a lifecycle rule ends it.
      return bucket.ask('remove', key, (client) => client.send(command)).catch(() => undefined);
    }
    const { Body: body } = command.input as { Body?: unknown };
    const shows =
      command instanceof PutObjectCommand || command instanceof CompleteMultipartUploadCommand;
    const request = async (client: S3Client): Promise<unknown> => {
      const answer = await client.send(command).catch((cause: unknown) => {
        if (shows) onRefusal(failureOf(cause));
        throw cause;
      });
      // A proxy's own page has the status of a success, and nothing was written.
      if (shows && !('ETag' in answer && answer.ETag !== undefined))
        throw new ConfigurationError('the answer is not one of S3 to a file that is written', {
          where: `${bucket.location}/${key}`,
          next: 'check AWS_ENDPOINT_URL_S3 and the proxies on the way',
        });
      return answer;
    };
    return bucket.ask('write', key, request, body instanceof Uint8Array ? body.length : 0);
  };
  return Object.create(await bucket.client(), { send: { value: send } }) as S3Client;
}

async function isOurs(bucket: Bucket, key: string, mark: string): Promise<boolean> {
  const found = await bucket.ask('read', key, (client) =>
    client.send(new HeadObjectCommand(bucket.place(key))).catch((cause: unknown) => {
      if (failureOf(cause)?.status === 404) return undefined;
      throw cause;
    }),
  );
  return found?.Metadata?.[WRITE_ID] === mark;
}
