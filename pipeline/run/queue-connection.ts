import type { Redis, RedisOptions } from 'ioredis';
import type { Config } from '../config/config.js';
import { queuePlace } from '../config/queue-address.js';
import type { ErrorClass } from '../shared/errors.js';
import { ConfigurationError, PipelineError, TransientError } from '../shared/errors.js';
import { printable, said } from '../shared/printable.js';
import { within } from '../shared/waits.js';

/** Where the queue is, and the password for it. */
export type QueueConfig = NonNullable<Config['queue']>;

/** What every key of ours in Redis begins with, before a `:`. */
export const QUEUE_PREFIX = 'pipeline';

/**
 * The packages that make the queue. They are optional, and load with the commands that use it alone.
 * @throws {ConfigurationError} when they are not installed.
 */
export async function queuePackages() {
  try {
    const [bullmq, ioredis] = await Promise.all([import('bullmq'), import('ioredis')]);
    return { bullmq, ioredis };
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
    throw new ConfigurationError('the packages of the queue are not installed', {
      where: 'bullmq, ioredis',
      next: 'install them beside the pipeline: npm i bullmq ioredis',
      cause,
    });
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
}

/**
 * Options of a client that connects when asked, once, and gives up at the first failure. Whoever has to outlast a
 * Redis that is away overrides `retryStrategy` and `maxRetriesPerRequest`; BullMQ must be given a client, since
 * as an ES module it finds none itself.
 */
export function clientOptions({ location, password }: QueueConfig, timeoutMs: number) {
  const { host, port, user, database, tls } = location;
  return {
    host,
    port,
    db: database,
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    // Node's own rules: chain and name are checked, NODE_EXTRA_CA_CERTS adds an authority.
    ...(tls ? { tls: {} } : {}),
    lazyConnect: true,
    connectTimeout: timeoutMs,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  } satisfies RedisOptions;
}

/**
 * Connects, for short work: the client gives up at the first failure, and at silence.
 * @returns a client; whoever asked disconnects it.
 * @throws {PipelineError} what keeps it from connecting.
 */
export async function connectRedis(queue: QueueConfig, timeoutMs: number): Promise<Redis> {
  const { ioredis } = await queuePackages();
  const client = new ioredis.Redis({
    ...clientOptions(queue, timeoutMs),
    commandTimeout: timeoutMs,
    // It would ask INFO, and write a warning of its own where that is refused.
    enableReadyCheck: false,
  });
  let first: unknown;
  client.on('error', (error) => {
    first ??= error;
  });
  try {
    await client.connect();
    // The client itself goes on in database 0 where there is none of that number.
    await client.select(queue.location.database);
    return client;
  } catch (error) {
    client.disconnect();
    // What it throws says only that there is no connection; why, its event says.
    throw queueError(first ?? error, queue);
  }
}

const again = 'then run the same command again';

/** What the codes of Node's sockets and the first words of Redis's refusals mean, and what to do. */
const meanings: readonly (readonly [
  kind: ErrorClass,
  byCodes: Readonly<Record<string, readonly [message: string, next: string]>>,
])[] = [
  [
    ConfigurationError,
    {
      'ENOTFOUND': ["the queue's host is unknown", 'correct the host in --queue'],
      'NOAUTH': [
        'Redis asks for a password',
        'put it into PIPELINE_QUEUE_PASSWORD; a user other than "default" stands in the address, redis://USER@HOST',
      ],
      'WRONGPASS': [
        'Redis refuses user or password',
        'correct PIPELINE_QUEUE_PASSWORD, and the user in the address where there is one',
      ],
      'NOPERM': [
        'the user has no right to what the queue needs',
        `let an administrator grant it in Redis: ACL SETUSER … ~${QUEUE_PREFIX}:* &* +@all -@dangerous +info +config|get`,
      ],
      'ERR_INDEX': [
        'Redis has no database of that number',
        'correct the number at the end of --queue; Redis has 16, from 0, unless its setting "databases" says otherwise',
      ],
      'READONLY': ['Redis is a replica and takes no writes', 'name the primary in --queue'],
      'MOVED CROSSSLOT CLUSTERDOWN': [
        'Redis is a cluster',
        'name a Redis that is none: a queue lives on one primary',
      ],
      'PROTOCOL': [
        'what answers there is no Redis',
        'correct host and port in --queue; where the server takes TLS alone, write rediss://',
      ],
      'SELF_SIGNED_CERT_IN_CHAIN DEPTH_ZERO_SELF_SIGNED_CERT UNABLE_TO_VERIFY_LEAF_SIGNATURE UNABLE_TO_GET_ISSUER_CERT_LOCALLY ERR_TLS_CERT_ALTNAME_INVALID CERT_HAS_EXPIRED':
        [
          'no trusted TLS connection to Redis',
          "check the server's certificate and the host name or address that it must name; an authority of your own goes into the file that NODE_EXTRA_CA_CERTS names",
        ],
      'ERR_SSL_WRONG_VERSION_NUMBER ERR_SSL_PACKET_LENGTH_TOO_LONG': [
        'the server does not speak TLS',
        'write redis:// in --queue, or switch TLS on in Redis (tls-port)',
      ],
    },
  ],
  [
    TransientError,
    {
      'ECONNREFUSED EHOSTUNREACH ENETUNREACH EAI_AGAIN': [
        'Redis cannot be reached',
        `check that it runs and that host and port are right, ${again}`,
      ],
      'ETIMEDOUT': [
        'Redis gave no answer in time',
        `check that it runs, that host and port are right, and whether it takes TLS (rediss://) or not, ${again}`,
      ],
      'ECONNRESET EPIPE CLOSED': [
        'the connection to Redis broke',
        `see whether it runs, and whether it takes TLS alone (rediss://), ${again}`,
      ],
      'LOADING BUSY MASTERDOWN': [
        'Redis is not ready',
        `wait until it has loaded its data, ${again}`,
      ],
      'OOM': ["Redis's memory is full", `give it more (maxmemory), ${again}`],
      'MISCONF': [
        'Redis cannot write its data to disk and takes no writes',
        `make room there and see its log, ${again}`,
      ],
    },
  ],
];

/** What a failure of Redis or of the way to it means; an error of ours is returned as it is. */
export function queueError(error: unknown, { location }: QueueConfig): PipelineError {
  if (error instanceof PipelineError) return error;
  const details = { where: queuePlace(location), cause: error };
  const code = codeOf(error);
  for (const [Kind, byCodes] of meanings)
    for (const [codes, [message, next]] of Object.entries(byCodes))
      if (codes.split(' ').includes(code)) return new Kind(message, { ...details, next });
  const text = error instanceof Error ? error.message : String(error);
  return new TransientError(`Redis failed: ${said(printable(text))}`, {
    ...details,
    next: `see Redis's own log, ${again}`,
  });
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  const { message } = error;
  if (/^ERR DB index is out of range/.test(message)) return 'ERR_INDEX';
  if (/^Command timed out|^connect ETIMEDOUT/.test(message)) return 'ETIMEDOUT';
  if (/^Connection is closed|^Reached the max retries/.test(message)) return 'CLOSED';
  if (/RESP type|^Protocol error/.test(message)) return 'PROTOCOL';
  return /^[A-Z]+/.exec(message)?.[0] ?? '';
}

/** Milliseconds that Redis may be away before a run is no longer followed. */
export const MOST_AWAY = 5 * 60_000;

export function awayError({ location }: QueueConfig): TransientError {
  return new TransientError('Redis is away for too long to follow the run', {
    where: queuePlace(location),
    next: 'workers go on when it is back; "pipeline status --queue" shows what became of the run, and the same run once more does what is left',
  });
}

/** Milliseconds that Redis has for what is asked of it at the end. */
const BRIEF = 3_000;

/** What comes of a last look at Redis, which may be away; `undefined`: nothing in time. */
export async function briefly<T>(work: Promise<T>): Promise<T | undefined> {
  return within(BRIEF, work, () => new Error('no answer')).catch(() => undefined);
}
