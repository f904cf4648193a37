import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { S3Client } from '@aws-sdk/client-s3';
import { TransientError } from '../shared/errors.js';
import { sdkAgents } from '../shared/agents.js';
import { keepSecret } from '../shared/printable.js';
import { boundAnswers, graceAfter, longestCall, until, within } from '../shared/waits.js';
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

type Verb = 'list' | 'read' | 'write' | 'remove';

/** One prefix of one bucket, and the way to ask S3 about it. */
export interface Bucket {
  /** `s3://bucket/prefix`. */
  readonly location: string;
  readonly settings: S3Settings;
  /** What a request calls the file of a key. */
  place(key: string): { Bucket: string; Key: string };
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
  /** The client that requests are sent with, as far as it is known by now which region it has to be of. */
  client(): Promise<S3Client>;
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
  const currentClient = (): Promise<S3Client> => (client ??= makeClient(settings));
  const send = async <T>(request: (client: S3Client) => Promise<T>): Promise<T> => {
    const current = await currentClient();
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
    location,
    settings,
    place: (key) => ({ Bucket: name, Key: start + key }),
    keyOf: (found) => (found.startsWith(start) ? found.slice(start.length) : undefined),
    client: currentClient,
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
