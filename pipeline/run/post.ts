import type { IncomingMessage } from 'node:http';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { addressParts } from '../config/hooks.js';
import { ConfigurationError, PipelineError, TransientError } from '../shared/errors.js';
import { codeOf } from '../shared/files.js';
import { agentFor } from '../shared/agents.js';
import { PROXY_LOGIN, proxyLogin } from '../shared/network.js';
import { said } from '../shared/printable.js';
import { pause } from '../shared/waits.js';

/** What is posted. */
interface Post {
  body: string;
  /** The headers of a try, which may tell its time. */
  headers: () => Readonly<Record<string, string>>;
  /** Time for all of it, in milliseconds. */
  timeoutMs: number;
  /** Ends it, and carries the error that it ends by. */
  signal: AbortSignal;
}

/** Tries of one post, and the pause before the second in milliseconds, unless the answer asks for another one. */
const TRIES = 2;
const PAUSE = 1_000;

/**
 * Posts a text, and believes no answer but one of 200 to 299. A server that is away or overloaded for a moment is tried
 * a second time: better told twice than not at all. Certificates are checked, whatever NODE_TLS_REJECT_UNAUTHORIZED
 * says; the way is the one of the environment's proxies, but for plain http, which is to stay on this machine; an answer
 * that leads elsewhere is not followed, since the text is for this address alone. Nothing of the address is told, also
 * where the answer repeats it: part of it may be secret.
 * @throws {TransientError} when the server cannot be reached, or cannot take it now, and the signal's own reason.
 * @throws {ConfigurationError} when it refuses, or its certificate is not to be trusted.
 */
export async function post(url: URL, sent: Post): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await postOnce(url, sent);
      return;
    } catch (error) {
      const isAway = error instanceof AwayError && error.pauseMs < sent.timeoutMs;
      if (!isAway || tries === TRIES) throw error;
      await pause(error.pauseMs, sent.signal);
    }
  }
}

/** What a second try may mend. */
class AwayError extends TransientError {
  override readonly name = 'TransientError';
  constructor(
    message: string,
    readonly pauseMs = PAUSE,
  ) {
    super(message);
  }
}

async function postOnce(url: URL, sent: Post): Promise<void> {
  const answer = await send(url, sent);
  const status = answer.statusCode ?? 0;
  // What an answer of success says is of no use, however long it goes on.
  if (status >= 200 && status < 300) {
    answer.destroy();
    return;
  }
  const words = await firstWords(answer, sent.signal);
  throw refusal(status, answer.headers['retry-after'], said(withoutAddress(words, url)));
}

async function send(
  url: URL,
  { body, headers, timeoutMs, signal }: Post,
): Promise<IncomingMessage> {
  const isSecure = url.protocol === 'https:';
  // A proxy elsewhere would read what is sent in plain, and take itself for this machine.
  const agent = isSecure && agentFor(url, { timeoutMs, signal });
  try {
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = (isSecure ? requestHttps : requestHttp)(url, {
        method: 'POST',
        headers: headers(),
        agent,
        signal,
        ...(isSecure ? { rejectUnauthorized: true } : {}),
      });
      outgoing.on('error', (error) => {
        reject((agent !== false && signal.aborted && agent.waiting) || error);
      });
      outgoing.on('response', resolve);
      // Also of an upgrade that nobody asked for, of which Node tells no error.
      outgoing.on('close', () => {
        reject(new AwayError('it gave no answer'));
      });
      outgoing.end(body);
    });
  } catch (cause) {
    throw explained(cause, signal);
  }
}

/** Only the code of a failure is told: its text may repeat the address. */
function explained(cause: unknown, signal: AbortSignal): unknown {
  if (cause instanceof PipelineError) return cause;
  if (signal.aborted && signal.reason instanceof PipelineError) return signal.reason;
  const code = cause instanceof Error ? (codeOf(cause) ?? cause.name) : 'no answer';
  if (/CERT|TLS|SSL|SELF_SIGNED|VERIFY/.test(code))
    return new ConfigurationError(`its certificate was not accepted (${code})`, {
      next: 'let NODE_EXTRA_CA_CERTS name its authority',
    });
  return new AwayError(`it gave no answer (${code})`);
}

/** Answers of a server that may take the same text a moment later (Standard Webhooks 1.0.0, "Delivery success and failure"). */
const isPassing = (status: number): boolean => status >= 500 || status === 429;

function refusal(status: number, retryAfter: string | undefined, words: string): PipelineError {
  if (status === PROXY_LOGIN) return proxyLogin('HTTP_PROXY');
  const message = `it answered ${status}${words === '' ? '' : `: ${words}`}`;
  if (isPassing(status)) {
    const seconds = /^\d{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) : undefined;
    return new AwayError(message, seconds === undefined ? undefined : seconds * 1000);
  }
  if (status >= 300 && status < 400)
    return new ConfigurationError(
      `it leads to another address (${status}), which is not followed`,
      {
        next: 'put that address into "notify"',
      },
    );
  return new ConfigurationError(message, { next: 'check its address in "notify"' });
}

/** Bytes that are read of a refusal, and milliseconds in which they have to come. */
const WORDS = { bytes: 2048, withinMs: 1_000 };

/** What a refusal says in plain text or JSON, as far as it comes at once. */
async function firstWords(answer: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const end = (): void => {
    answer.destroy();
  };
  const timer = setTimeout(end, WORDS.withinMs);
  signal.addEventListener('abort', end, { once: true });
  try {
    if (!/^(text\/plain|application\/json)\b/.test(answer.headers['content-type'] ?? '')) return '';
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= WORDS.bytes) break;
    }
  } catch {
    // What has come has to do.
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
    answer.destroy();
  }
  return Buffer.concat(chunks).subarray(0, WORDS.bytes).toString('utf8');
}

/** Shorter parts of an address are found in any text. */
const SHORTEST_PART = 4;

function withoutAddress(words: string, url: URL): string {
  return addressParts(url)
    .filter((part) => part.length >= SHORTEST_PART)
    .sort((a, b) => b.length - a.length)
    .reduce((rest, part) => rest.replaceAll(part, '***'), words);
}
