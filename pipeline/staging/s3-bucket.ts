import { randomUUID } from 'node:crypto';
import type { S3ClientConfig, ServerSideEncryption } from '@aws-sdk/client-s3';
import { HeadObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { TransientError } from '../shared/errors.js';
import { sdkAgents } from '../shared/network.js';
import { keepSecret } from '../shared/printable.js';
import { boundAnswers, graceAfter, longestCall, pause, until, within } from '../shared/waits.js';
import { failureOf, s3Error } from './s3-errors.js';

/** How the files of a bucket are written, and how long a silent connection is waited for. */
export interface S3Settings {
  /** Server-side encryption asked for with every file; without it, as the bucket says. */
  sse?: 'AES256' | 'aws:kms' | undefined;
  /** Id, alias or ARN of the key for `aws:kms`; without it, the account's own key for S3. */
  kmsKeyId?: string | undefined;
  /** Milliseconds in which a connection must be made, and after which one that moves no byte is given up. Default 60,000. */
  timeoutMs?: number | undefined;
  /** Stops what is asked of S3; what writes or removes may still end within `GRACE`. */
  signal?: AbortSignal | undefined;
}

export type Verb = 'list' | 'read' | 'write' | 'remove';

/** One prefix of one bucket, and the way to ask S3 about it. */
export interface Bucket {
  readonly name: string;
  /** `s3://bucket/prefix`. */
  readonly location: string;
  readonly settings: S3Settings;
  /** The name of a staging key in the bucket. */
  nameOf(key: string): string;
  /** The staging key of a name in the bucket; `undefined` for a name outside the prefix. */
  keyOf(name: string): string | undefined;
  /**
   * Sends a request. `verb` and `key` go into the error: "no right to `verb` the file", and where.
   * @param bytes that the request sends, which may take their time.
   * @throws {ConfigurationError} when S3 refuses, {@link TransientError} when it stays unreachable or busy.
   * @throws {InterruptedError} when the settings' signal is given.
   */
  ask<T>(
    verb: Verb,
    key: string,
    request: (client: S3Client) => Promise<T>,
    bytes?: number,
  ): Promise<T>;
  /** The signal that ends what S3 is asked to do. */
  stop(verb: Verb): AbortSignal | undefined;
}

/** Where S3 is asked first when no region is set: it answers with the bucket's own. */
const FIRST_REGION = 'us-east-1';

const TIMEOUT = 60_000;

/**
 * Opens a bucket with the SDK's own credentials, region and endpoint settings. Nothing is contacted
 * before the first request. A bucket of another region is found through the region that S3 answers with.
 */
export function openBucket(name: string, prefix: string, settings: S3Settings): Bucket {
  const location = `s3://${name}${prefix === '' ? '' : `/${prefix}`}`;
  const start = prefix === '' ? '' : `${prefix}/`;
  let client: Promise<S3Client> | undefined;
  const { signal, timeoutMs = TIMEOUT } = settings;
  const late = signal === undefined ? undefined : graceAfter(signal);
  const send = async <T>(request: (client: S3Client) => Promise<T>): Promise<T> => {
    const current = await (client ??= makeClient(settings));
    try {
      return await request(current);
    } catch (cause) {
      const region = elsewhere(cause);
      if (region === undefined || region === (await current.config.region())) throw cause;
      const next = newClient(settings, region);
      client = Promise.resolve(next);
      return await request(next);
    }
  };
  const stop = (verb: Verb): AbortSignal | undefined =>
    verb === 'list' || verb === 'read' ? signal : late;
  return {
    name,
    location,
    settings,
    nameOf: (key) => start + key,
    keyOf: (found) => (found.startsWith(start) ? found.slice(start.length) : undefined),
    stop,
    async ask(verb, key, request, bytes = 0) {
      const where = `${location}/${key}`;
      const limit = longestCall(timeoutMs, bytes);
      try {
        return await within(
          limit,
          until(stop(verb), send(request)),
          () =>
            new TransientError(`S3 did not ${verb} the file within ${Math.round(limit / 1000)} s`, {
              where,
              next: 'check the network and run the same command again; --timeout SECONDS allows more',
            }),
        );
      } catch (cause) {
        // Only what was signed has been answered.
        if (failureOf(cause)?.status !== undefined) await keepCredentials(client);
        throw s3Error(cause, where, verb);
      }
    },
  };
}

/** Has what the requests were signed with cut out of the server's words. */
async function keepCredentials(client: Promise<S3Client> | undefined): Promise<void> {
  try {
    const found = await (await client)?.config.credentials();
    keepSecret(found?.accessKeyId, found?.secretAccessKey, found?.sessionToken);
  } catch {
    // Without credentials there is nothing to cut out.
  }
}

async function makeClient(settings: S3Settings): Promise<S3Client> {
  const client = newClient(settings);
  try {
    await client.config.region();
    return client;
  } catch (cause) {
    if (!(cause instanceof Error) || !cause.message.includes('Region is missing')) throw cause;
    return newClient(settings, FIRST_REGION);
  }
}

function newClient(settings: S3Settings, region?: string): S3Client {
  const client = new S3Client({
    ...configuration(settings),
    ...(region === undefined ? {} : { region }),
  });
  return boundAnswers(client, settings.timeoutMs ?? TIMEOUT);
}

function configuration({ timeoutMs = TIMEOUT }: S3Settings): S3ClientConfig {
  // Servers of one's own seldom have a DNS name for each bucket, and many refuse the SDK's newer checksums.
  const ownServer = process.env['AWS_ENDPOINT_URL_S3'] ?? process.env['AWS_ENDPOINT_URL'];
  const agents = sdkAgents(timeoutMs);
  const requestHandler = { connectionTimeout: timeoutMs, socketTimeout: timeoutMs, ...agents };
  return {
    forcePathStyle: ownServer !== undefined && ownServer !== '',
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler,
    ...(Object.keys(agents).length === 0 ? {} : { credentials: credentialsBy(requestHandler) }),
  };
}

/** The SDK's default credentials; left to itself it would ask for a profile's login past the proxy. */
function credentialsBy(
  requestHandler: NonNullable<S3ClientConfig['requestHandler']>,
): NonNullable<S3ClientConfig['credentials']> {
  return async (properties?: object) => {
    const { fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
    return fromNodeProviderChain({ clientConfig: { requestHandler } })(properties);
  };
}

/** The region that an answer to a request in the wrong region names. */
function elsewhere(cause: unknown): string | undefined {
  const failure = failureOf(cause);
  return failure?.status === 301 || failure?.status === 307 || failure?.status === 400
    ? failure.region
    : undefined;
}

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
