import { setMaxListeners } from 'node:events';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { reasonOf } from './errors.js';

/** Every wait ends: by what it waits for, by a signal, or by a bound in time and bytes. */

/** What is under way when a run is stopped may still end within this time, in milliseconds. */
export const GRACE = 3_000;

/** Times the limit for silence that a whole answer may take, and a whole call with all its tries. */
const ANSWER = 5;
const CALL = 20;

/** Bytes a millisecond below which no transfer counts as one: 16 KiB a second. */
const SLOWEST = 16;

/** Longest answer of a service that is read into memory, in bytes: far more than any page of AWS. */
const LONGEST_ANSWER = 32 * 1024 * 1024;

/**
 * Waits so many milliseconds.
 * @throws {PipelineError} the signal's reason, as soon as it is given.
 */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  if (signal === undefined) return sleep(milliseconds);
  await until(signal, sleep(milliseconds, undefined, { signal }));
}

/**
 * What `work` comes to, unless the signal is given before: `work` is then left to itself, so that it should
 * know the signal too.
 * @throws {PipelineError} the signal's reason, see `reasonOf`; what `work` throws.
 */
export async function until<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work;
  // As many may wait for one signal as there are tasks.
  setMaxListeners(0, signal);
  let stop: () => void = () => undefined;
  const stopped = new Promise<never>((_resolve, reject) => {
    stop = () => {
      reject(reasonOf(signal));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  work.catch(() => undefined);
  try {
    return await Promise.race([stopped, work]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * What `work` comes to, if it comes in time.
 * @param late makes the error that is thrown after so many milliseconds.
 */
export async function within<T>(
  milliseconds: number,
  work: Promise<T>,
  late: () => Error,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(late());
    }, milliseconds);
  });
  work.catch(() => undefined);
  try {
    return await Promise.race([passed, work]);
  } finally {
    clearTimeout(timer);
  }
}

/** A signal that is given {@link GRACE} after another one, with the same reason. */
export function graceAfter(signal: AbortSignal): AbortSignal {
  const late = new AbortController();
  const begin = (): void => {
    setTimeout(() => {
      late.abort(signal.reason);
    }, GRACE).unref();
  };
  setMaxListeners(0, signal);
  if (signal.aborted) begin();
  else signal.addEventListener('abort', begin, { once: true });
  return late.signal;
}

/**
 * Milliseconds that one call with all its tries may take, where silence may last `timeoutMs`.
 * @param bytes that the call sends.
 */
export function longestCall(timeoutMs: number, bytes = 0): number {
  return CALL * timeoutMs + bytes / SLOWEST;
}

/** An answer that took too long as a whole, or was too long. */
export class EndlessAnswerError extends Error {
  override readonly name = 'EndlessAnswerError';
  /** @param reason which of the bounds; the SDK adds hints of its own to `message`. */
  constructor(readonly reason: string) {
    super(reason);
  }
}

/** A request's answer inside the SDK, before it is read. */
interface RawAnswer {
  response: unknown;
}

interface Middlewares {
  add(
    middleware: (
      next: (args: never) => Promise<RawAnswer>,
      context: { commandName?: string },
    ) => (args: never) => Promise<RawAnswer>,
    options: { step: 'deserialize'; priority: 'low'; name: string },
  ): void;
}

/**
 * Bounds each answer that a client of the AWS SDK reads: silence by `timeoutMs`, the whole by five times as
 * much and the time that its length takes at the slowest rate, and its bytes by 32 MiB unless it is a file.
 * The SDK's own limits may end with the answer's head. Silence is the SDK's own TimeoutError, which it tries
 * again; what goes past the other two is an {@link EndlessAnswerError}, as it would be the next time.
 * @returns the client.
 */
export function boundAnswers<C extends { middlewareStack: unknown }>(
  client: C,
  timeoutMs: number,
): C {
  // Closest to the connection: what comes out here is the answer's body as it arrives.
  (client.middlewareStack as Middlewares).add(
    (next, { commandName }) =>
      async (args) => {
        const result = await next(args);
        const response = result.response as { headers?: Record<string, string>; body?: unknown };
        if (response.body instanceof Readable) {
          const told = Number(response.headers?.['content-length'] ?? NaN);
          const isFile = commandName === 'GetObjectCommand' && !Number.isNaN(told);
          response.body = boundedBody(response.body, {
            silenceMs: timeoutMs,
            wholeMs: ANSWER * timeoutMs + (isFile ? told / SLOWEST : 0),
            mostBytes: isFile ? Infinity : LONGEST_ANSWER,
          });
        }
        return result;
      },
    { step: 'deserialize', priority: 'low', name: 'boundAnswers' },
  );
  return client;
}

/** How long nothing may come of an answer, how long and how much in all. */
interface Bounds {
  silenceMs: number;
  wholeMs: number;
  mostBytes: number;
}

function boundedBody(body: Readable, bounds: Bounds): Readable {
  return Readable.from(boundedChunks(body, bounds), { objectMode: false });
}

/**
 * Reads an answer that no SDK reads, within the same bounds as {@link boundAnswers} has.
 * @throws {Error} named TimeoutError after silence. @throws {EndlessAnswerError} on too much time or too many bytes.
 */
export async function readAnswer(body: Readable, timeoutMs: number): Promise<Buffer> {
  const bounds = {
    silenceMs: timeoutMs,
    wholeMs: ANSWER * timeoutMs + LONGEST_ANSWER / SLOWEST,
    mostBytes: LONGEST_ANSWER,
  };
  const chunks: Uint8Array[] = [];
  for await (const chunk of boundedChunks(body, bounds)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Only the time counts in which a chunk is waited for: whoever reads may take its time. */
async function* boundedChunks(
  body: Readable,
  { silenceMs, wholeMs, mostBytes }: Bounds,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let waited = 0;
  let bytes = 0;
  try {
    for (;;) {
      const began = performance.now();
      const left = wholeMs - waited;
      const chunk = await within(Math.min(silenceMs, left), iterator.next(), () =>
        left <= silenceMs
          ? new EndlessAnswerError(`the answer did not end within ${seconds(wholeMs)}`)
          : Object.assign(new Error('the answer stopped'), { name: 'TimeoutError' }),
      );
      waited += performance.now() - began;
      if (chunk.done === true) return;
      bytes += chunk.value.length;
      if (bytes > mostBytes)
        throw new EndlessAnswerError(`the answer is longer than ${mostBytes / 1024 / 1024} MiB`);
      yield chunk.value;
    }
  } finally {
    body.destroy();
  }
}

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}
