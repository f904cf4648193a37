import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Log } from '../shared/log.js';
import { printable } from '../shared/printable.js';
import { within } from '../shared/waits.js';
import type { QueueConfig } from './queue-connection.js';
import {
  QUEUE_PREFIX,
  clientOptions,
  connectRedis,
  queueError,
  queuePackages,
} from './queue-connection.js';

/**
 * What Redis holds: two queues, since fetching and loading are bounded by different things, and for each run what
 * it has spent. A job of `months` extracts and transforms, one of `loads` loads; where a run does both, the load
 * waits for the other.
 */
export const MONTHS = 'months';
export const LOADS = 'loads';

/** Milliseconds that closing may take. */
const CLOSE = 2_000;

/** The queues, over connections that outlast a Redis that is away for a while. */
export interface OpenQueue {
  bullmq: Awaited<ReturnType<typeof queuePackages>>['bullmq'];
  client: Redis;
  months: Queue;
  loads: Queue;
  /** Machine and process of every connected worker; `undefined` where Redis does not let the user see them. */
  workers(): Promise<string[] | undefined>;
  /** What every part of BullMQ is opened with. */
  options: { connection: Redis; prefix: string };
  close(): Promise<void>;
}

export interface QueueOptions {
  timeoutMs: number;
  log: Log;
  /** Is told why, once each time that the connection is lost. */
  onAway?: (why: string) => void;
  /** For a short look: a Redis that goes away meanwhile is a failure, and not waited for. */
  isBrief?: boolean;
}

/**
 * Connects to Redis.
 * @throws {PipelineError} when the packages are not installed, or Redis cannot be reached or used.
 */
export async function openQueue(
  config: QueueConfig,
  { timeoutMs, log, onAway, isBrief = false }: QueueOptions,
): Promise<OpenQueue> {
  const { bullmq, ioredis } = await queuePackages();
  // What keeps it from working at all is told at once; what happens later is waited for.
  (await connectRedis(config, timeoutMs)).disconnect();
  const client = new ioredis.Redis({
    ...clientOptions(config, timeoutMs),
    lazyConnect: false,
    ...(isBrief
      ? { commandTimeout: timeoutMs }
      : {
          maxRetriesPerRequest: null,
          retryStrategy: (times: number) => Math.min(100 * times, 2000),
        }),
  });
  let away: number | undefined;
  const lose = (error?: unknown): void => {
    if (away !== undefined) return;
    away = performance.now();
    const { message, where } = queueError(error ?? new Error('Connection is closed'), config);
    log.warn({ where }, `${message}; trying again`);
    onAway?.(message);
  };
  client.on('error', lose).on('close', lose);
  client.on('ready', () => {
    if (away !== undefined) log.warn(`Redis is back after ${seconds(performance.now() - away)} s`);
    away = undefined;
  });
  const options = { connection: client, prefix: QUEUE_PREFIX };
  const open = (name: string): Queue =>
    new bullmq.Queue(name, options).on('error', (error) => {
      log.debug({ err: error }, `queue ${name}`);
    });
  const [months, loads] = [open(MONTHS), open(LOADS)];
  return {
    bullmq,
    client,
    months,
    loads,
    options,
    async workers() {
      try {
        const found = await months.getWorkers();
        // Redis lists the clients of all its databases.
        const own = found.filter(({ db }) => db === String(config.location.database));
        return own.map(({ rawname = '' }) => printable(rawname.replace(/^.*:w:/, ''))).sort();
      } catch {
        return undefined;
      }
    },
    async close() {
      client
        .off('close', lose)
        .off('error', lose)
        .on('error', () => undefined);
      // A Redis that is away is not waited for.
      const closing = Promise.allSettled([months.close(), loads.close()]);
      await within(CLOSE, closing, () => new Error('Redis is away')).catch(() => undefined);
      client.disconnect();
    },
  };
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds / 1000);
}

/** Seconds that a run's figures outlive the last change to them. */
const KEPT = 30 * 86_400;

const keyOf = (run: string): string => `${QUEUE_PREFIX}:run:${run}`;

/** What a run may ask Cost Explorer, and has asked, counted over all workers and whatever becomes of them. */
export interface RunCount {
  begin(run: string, limit: number | undefined): Promise<void>;
  /**
   * Counts one more request, unless that would exceed the run's limit. `lost`: Redis has forgotten the run.
   */
  take(run: string): Promise<'taken' | 'refused' | 'lost'>;
  giveBack(run: string): Promise<void>;
  /** One more answer that AWS charges for. */
  pay(run: string, job: string): Promise<void>;
  /** How many there were for each job. */
  paid(run: string): Promise<ReadonlyMap<string, number>>;
}

/** Takes one where there is room; one step for Redis, so that no two workers take the last. */
const TAKE = `
local limit = redis.call('HGET', KEYS[1], 'limit')
if not limit then return -1 end
if tonumber(redis.call('HGET', KEYS[1], 'spent') or '0') >= tonumber(limit) then return 0 end
redis.call('HINCRBY', KEYS[1], 'spent', 1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1`;

export function runCount(client: Redis): RunCount {
  const add = async (run: string, field: string, by: number): Promise<void> => {
    await client.multi().hincrby(keyOf(run), field, by).expire(keyOf(run), KEPT).exec();
  };
  return {
    async begin(run, limit) {
      const fields = { begun: new Date().toISOString(), ...(limit === undefined ? {} : { limit }) };
      await client.multi().hset(keyOf(run), fields).expire(keyOf(run), KEPT).exec();
    },
    async take(run) {
      const answer = await client.eval(TAKE, 1, keyOf(run), KEPT);
      return answer === 1 ? 'taken' : answer === 0 ? 'refused' : 'lost';
    },
    giveBack: (run) => add(run, 'spent', -1),
    pay: (run, job) => add(run, `paid ${job}`, 1),
    async paid(run) {
      const fields = Object.entries(await client.hgetall(keyOf(run)));
      return new Map(
        fields
          .filter(([field]) => field.startsWith('paid '))
          .map(([field, count]) => [field.slice('paid '.length), Number(count)]),
      );
    },
  };
}

/** Jobs of an organization that another job of it keeps from fetching, the oldest month first. */
export function waitingRoom(client: Redis) {
  const room = (organization: string): string => `${QUEUE_PREFIX}:waiting:${organization}`;
  return {
    async enter(organization: string, job: string, priority: number): Promise<void> {
      await client
        .multi()
        .zadd(room(organization), priority, job)
        .expire(room(organization), 3600)
        .exec();
    },
    /** @returns the next one's id. */
    async leave(organization: string): Promise<string | undefined> {
      return (await client.zpopmin(room(organization)))[0];
    },
  };
}
