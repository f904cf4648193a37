import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Config } from '../config/config.js';
import { queuePlace } from '../config/queue-address.js';
import type { QueueConfig } from '../run/queue-connection.js';
import { QUEUE_PREFIX, connectRedis, queueError } from '../run/queue-connection.js';
import { ConfigurationError, TransientError } from '../shared/errors.js';
import { said } from '../shared/printable.js';
import type { Checklist } from './checklist.js';

/** Oldest Redis that BullMQ takes without a warning (its `recommendedMinimumVersion`, 6.2.0). */
const OLDEST = 6.2;

const MIB = 1024 * 1024;

/** Writes, reads and removes a key of its own inside Redis, by a script as BullMQ's are. */
const SCRIPT = `redis.call('SET', KEYS[1], ARGV[1], 'EX', 60)
local found = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return found`;

/** Looks at the queue: whether Redis answers, and whether it keeps what is put into it. */
export async function checkQueue(
  queue: QueueConfig,
  { staging, database, timeoutMs }: Pick<Config, 'staging' | 'database' | 'timeoutMs'>,
  list: Checklist,
): Promise<void> {
  const where = queuePlace(queue.location);
  const client = await list.step('queue', async () => ({
    found: await connectRedis(queue, timeoutMs),
    text: where,
  }));
  if (client === undefined) {
    for (const check of ['queue server', 'queue rights', 'queue eviction', 'queue persistence'])
      list.skip(check, 'there is no connection to Redis');
  } else {
    try {
      await checkServer(client, queue, list);
    } finally {
      client.disconnect();
    }
  }
  if (queue.location.tls) list.note('queue TLS', "rediss://: Redis's certificate is checked");
  else
    list.skip(
      'queue TLS',
      'the address is redis://: jobs and password cross the network in the clear; rediss:// asks for TLS',
    );
  if (staging.kind === 'folder')
    list.note('queue staging area', 'a folder: every worker must see the same one');
  if (database.kind === 'url' && database.location.kind === 'sqlite')
    list.note(
      'queue database',
      'an SQLite file: it takes workers of this machine alone; those of several machines need a server',
    );
}

async function checkServer(client: Redis, queue: QueueConfig, list: Checklist): Promise<void> {
  const where = queuePlace(queue.location);
  const facts = await list.step('queue server', async () => {
    const told = factsOf(await ask(queue, () => client.info()));
    return { found: told, text: serverOf(told, where) };
  });
  await list.step('queue rights', async () => {
    const key = `${QUEUE_PREFIX}:check:${randomUUID()}`;
    await ask(queue, () => client.eval(SCRIPT, 1, key, 'pipeline check'));
    return { found: true, text: `keys below ${QUEUE_PREFIX}: can be written, read and removed` };
  });
  if (facts === undefined) {
    for (const check of ['queue eviction', 'queue persistence'])
      list.skip(check, 'Redis does not tell, or is not the one to ask');
    return;
  }
  await list.step('queue eviction', () => judged(() => evictionOf(facts, where)));
  const snapshots = await snapshotsOf(client);
  await list.step('queue persistence', () => judged(() => persistenceOf(facts, snapshots, where)));
}

/** What the judgement says, as a step takes it; it throws where it is not content. */
async function judged(judge: () => string): Promise<{ found: true; text: string }> {
  return Promise.resolve().then(() => ({ found: true, text: judge() }));
}

/** @throws {PipelineError} what a command's failure means. */
async function ask<T>(queue: QueueConfig, command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (error) {
    throw queueError(error, queue);
  }
}

/** What Redis tells of itself: the lines of INFO, by name. */
type Facts = ReadonlyMap<string, string>;

function factsOf(info: string): Facts {
  const lines = info.split(/\r?\n/);
  return new Map(
    lines.flatMap((line) => {
      const [, name, value] = /^(\w+):(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Which server it is. @throws {ConfigurationError} when it is none that can hold a queue. */
function serverOf(facts: Facts, where: string): string {
  const version = facts.get('redis_version') ?? '';
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || Number(`${major}.${minor ?? ''}`) < OLDEST)
    throw new ConfigurationError(`Redis is too old: version ${said(version)}`, {
      where,
      next: `take version ${OLDEST} or a newer one`,
    });
  if (facts.get('redis_mode') === 'cluster')
    throw new ConfigurationError('Redis is a cluster', {
      where,
      next: 'name a Redis that is none: a queue lives on one primary',
    });
  if (facts.get('role') === 'slave')
    throw new ConfigurationError('Redis is a replica and takes no writes', {
      where,
      next: 'name the primary in --queue',
    });
  const valkey = facts.get('valkey_version');
  return valkey === undefined ? `Redis ${said(version)}` : `Valkey ${said(valkey)}`;
}

/** What Redis does when its memory is full. @throws {ConfigurationError} when it throws jobs away then, as a cache does. */
function evictionOf(facts: Facts, where: string): string {
  const policy = facts.get('maxmemory_policy') ?? 'unknown';
  if (policy !== 'noeviction')
    throw new ConfigurationError(
      `Redis throws keys away when its memory is full, jobs too: its maxmemory-policy is ${said(policy)}`,
      {
        where,
        next: 'set "maxmemory-policy noeviction" in redis.conf and by CONFIG SET, or take a Redis that is no cache',
      },
    );
  const most = Number(facts.get('maxmemory') ?? 0);
  const bound = most === 0 ? 'no bound on memory' : `at most ${Math.floor(most / MIB)} MiB`;
  return `maxmemory-policy noeviction, ${bound}`;
}

/**
 * What of Redis survives its process.
 * @param snapshots see {@link snapshotsOf}.
 * @throws {PipelineError} when it is nothing, or cannot be written.
 */
function persistenceOf(facts: Facts, snapshots: string | undefined, where: string): string {
  const hasLog = facts.get('aof_enabled') === '1';
  if (!hasLog && snapshots === '')
    throw new ConfigurationError('Redis keeps nothing on disk: its next start forgets every job', {
      where,
      next: 'set "appendonly yes" in redis.conf and by CONFIG SET',
    });
  const status = facts.get(hasLog ? 'aof_last_write_status' : 'rdb_last_bgsave_status') ?? 'ok';
  if (status !== 'ok')
    throw new TransientError('Redis could not write its data to disk the last time', {
      where,
      next: "see Redis's own log, make room on its disk, then run the same command again",
    });
  if (hasLog) return 'append-only file';
  const when =
    snapshots === undefined
      ? 'no append-only file, and Redis does not tell whether it takes snapshots'
      : `snapshots alone (save ${said(snapshots)})`;
  return `${when}: what came since the last one may be lost; "appendonly yes" keeps it`;
}

/** When Redis takes snapshots, as its setting `save` says, empty for never; `undefined` where it does not tell. */
async function snapshotsOf(client: Redis): Promise<string | undefined> {
  try {
    const [, value] = savePair.parse(await client.config('GET', 'save'));
    return value;
  } catch {
    // Whoever rents a Redis out does not let CONFIG be asked.
    return undefined;
  }
}

const savePair = z.tuple([z.literal('save'), z.string()]);
