import { UsageError } from '../shared/errors.js';

/** A Redis database, in which a queue is. */
export interface QueueLocation {
  host: string;
  port: number;
  /** `undefined`: Redis's own user `default`. */
  user: string | undefined;
  /** Number of the database inside that server. */
  database: number;
  /** Whether it is talked to by TLS, its certificate checked. */
  tls: boolean;
}

const FORM =
  'write it as redis://HOST:PORT/0, or rediss://HOST:PORT/0 for TLS; a user goes before the host, USER@HOST';

/**
 * Reads `redis://[user@]host[:port][/database]`, or `rediss://…` for TLS; port 6379 and database 0 where they are
 * left out.
 * @throws {UsageError} on anything else, a password too: an address is shown and logged. Its text repeats nothing
 * of the address, since any part of a mistyped one may be the password.
 */
export function parseQueueUrl(text: string): QueueLocation {
  if (!/^rediss?:\/\//.test(text) || !URL.canParse(text))
    throw new UsageError("the queue's address has an unknown form", { next: FORM });
  const url = new URL(text);
  if (url.password !== '')
    throw new UsageError("the queue's address holds a password", {
      next: 'leave it out there and put it into PIPELINE_QUEUE_PASSWORD',
    });
  if (url.hostname === '')
    throw new UsageError("the queue's address names no host", { next: FORM });
  if (url.search !== '' || url.hash !== '')
    throw new UsageError("the queue's address has options, and there are none", { next: FORM });
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (database === undefined)
    throw new UsageError("the database in the queue's address is no number", { next: FORM });
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 6379 : Number(url.port),
    user: url.username === '' ? undefined : decodeUser(url.username),
    database: Number(database),
    tls: url.protocol === 'rediss:',
  };
}

function decodeUser(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new UsageError("the user in the queue's address is not percent-encoded correctly", {
      next: 'write "%" itself as "%25"',
    });
  }
}

/** The address as people know it again, without the user. */
export function queuePlace(location: QueueLocation): string {
  return queueAddress({ ...location, user: undefined });
}

/** The address as a command takes it. */
export function queueAddress({ host, port, user, database, tls }: QueueLocation): string {
  const name = host.includes(':') ? `[${host}]` : host;
  const who = user === undefined ? '' : `${encodeURIComponent(user)}@`;
  return `${tls ? 'rediss' : 'redis'}://${who}${name}:${port}/${database}`;
}
