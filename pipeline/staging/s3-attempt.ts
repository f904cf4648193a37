import { randomUUID } from 'node:crypto';
import type { ServerSideEncryption } from '@aws-sdk/client-s3';
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import { TransientError } from '../errors.js';
import { pause } from '../waits.js';
import type { Bucket } from './s3-bucket.js';
import { failureOf } from './s3-errors.js';

/** Name of the metadata by which a writer knows its own file again. */
const WRITE_ID = 'write-id';

/** Times that a write which S3 refuses because of another one at the same moment is tried. */
const TRIES = 5;

/** What each request that begins a file carries: its name, its encryption and the writer's mark. */
export interface FileHeaders {
  Bucket: string;
  Key: string;
  Metadata: Record<string, string>;
  ServerSideEncryption?: ServerSideEncryption;
  SSEKMSKeyId?: string;
}

export function fileHeaders(bucket: Bucket, key: string): FileHeaders {
  const { sse, kmsKeyId } = bucket.settings;
  return {
    Bucket: bucket.name,
    Key: bucket.nameOf(key),
    Metadata: { [WRITE_ID]: randomUUID() },
    ...(sse === undefined ? {} : { ServerSideEncryption: sse }),
    ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
  };
}

/** How S3 took the request that makes a file visible. */
export interface Attempt {
  placed: 'written' | 'exists' | 'conflict' | 'gone';
  /** Whether the SDK had sent the request before without hearing the answer. */
  repeated: boolean;
}

export const written: Attempt = { placed: 'written', repeated: false };

/** Reads a refusal that a conditional write has to expect; any other failure is thrown on. */
export function refusal(cause: unknown): Attempt {
  const failure = failureOf(cause);
  const repeated = (failure?.attempts ?? 1) > 1;
  if (failure?.status === 412) return { placed: 'exists', repeated };
  if (failure?.status === 409) return { placed: 'conflict', repeated };
  if (failure?.name === 'NoSuchUpload' && repeated) return { placed: 'gone', repeated };
  throw cause;
}

/**
 * Brings a write to its end: a conflict is tried again, and where the answer to an earlier try was
 * lost on the way, the file itself tells whether that try had written it.
 */
export async function settled(
  bucket: Bucket,
  key: string,
  headers: FileHeaders,
  attempt: () => Promise<Attempt>,
): Promise<boolean> {
  for (let tries = 1; tries <= TRIES; tries += 1) {
    const { placed, repeated } = await attempt();
    if (placed === 'written') return true;
    if (repeated && placed !== 'conflict' && (await isOurs(bucket, key, headers))) return true;
    if (placed === 'exists') return false;
    if (placed === 'gone') break;
    await pause(50 * 2 ** tries * Math.random(), bucket.stop('write'));
  }
  throw new TransientError('somebody else is writing the same file', {
    where: `${bucket.location}/${key}`,
    next: 'run the same command again',
  });
}

async function isOurs(bucket: Bucket, key: string, headers: FileHeaders): Promise<boolean> {
  const { Bucket, Key, Metadata } = headers;
  const found = await bucket.ask('read', key, (client) =>
    client.send(new HeadObjectCommand({ Bucket, Key })).catch((cause: unknown) => {
      if (failureOf(cause)?.status === 404) return undefined;
      throw cause;
    }),
  );
  return found?.Metadata?.[WRITE_ID] === Metadata[WRITE_ID];
}
