import type { IncomingMessage } from 'node:http';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import {
  DataError,
  InterruptedError,
  PipelineError,
  TransientError,
} from '../pipeline/shared/errors.js';
import { codeOf } from '../pipeline/shared/files.js';
import { agentFor } from '../pipeline/shared/agents.js';
import { PROXY_LOGIN, authorities, proxyLogin } from '../pipeline/shared/network.js';
import { keepSecret } from '../pipeline/shared/printable.js';
import { EndlessAnswerError, pause, readAnswer, until } from '../pipeline/shared/waits.js';

interface FetchOptions {
  /** The document as errors name it; the address is secret. */
  where: string;
  /** Time without a sign of life, in milliseconds. */
  timeoutMs: number;
  signal: AbortSignal;
}

/** Tries of one document, and the pause before the second, in milliseconds; each further one waits twice as long. */
const TRIES = 3;
const PAUSE = 500;
/** Times that an address may lead on to another one. */
const REDIRECTIONS = 3;

/**
 * Fetches a document from the presigned address that AWS gave for it: whoever has the address has the document, so
 * that it is in no error and no log. Certificates are checked, and the way is that of all requests to AWS: proxies,
 * AWS_CA_BUNDLE, time limits.
 * @throws {TransientError} when it cannot be had now. @throws {DataError} when the address is none, or what is
 * there is no PDF. @throws {ConfigurationError} of a proxy.
 */
export async function fetchDocument(address: string, options: FetchOptions): Promise<Buffer> {
  keepAddressSecret(address);
  for (let tries = 1; ; tries += 1) {
    try {
      const document = await fetchOnce(address, options);
      checkPdf(document, options.where);
      return document;
    } catch (error) {
      if (!(error instanceof UnreachedError) || tries === TRIES) throw error;
      await pause(PAUSE * 2 ** (tries - 1), options.signal);
    }
  }
}

/** What a further try may mend. */
class UnreachedError extends TransientError {
  override readonly name = 'TransientError';
}

const next = 'run the same command again: what is saved is kept';

function keepAddressSecret(address: string): void {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const parts = [...(url?.searchParams.values() ?? [])].filter((part) => part.length >= 16);
  keepSecret(address, url?.search.slice(1), ...parts);
}

async function fetchOnce(address: string, options: FetchOptions): Promise<Buffer> {
  let target = parseAddress(address, undefined, options.where);
  for (let hop = 0; ; hop += 1) {
    const answer = await send(target, options);
    const status = answer.statusCode ?? 0;
    const { location } = answer.headers;
    if ([301, 302, 303, 307, 308].includes(status) && location !== undefined) {
      answer.destroy();
      if (hop === REDIRECTIONS)
        throw new DataError('the address leads on and on', { where: options.where, next });
      keepAddressSecret(location);
      target = parseAddress(location, target, options.where);
      continue;
    }
    if (status === 200) return await read(answer, options);
    answer.destroy();
    throw refusal(status, target, options.where);
  }
}

/** @throws {DataError} unless it is https; this machine's own addresses, of a stand-in, may be plain http. */
function parseAddress(address: string, from: URL | undefined, where: string): URL {
  const url = URL.canParse(address, from?.href) ? new URL(address, from?.href) : undefined;
  const isPlain = url?.protocol === 'http:' && from?.protocol !== 'https:';
  if (url?.protocol === 'https:' || (isPlain && ['127.0.0.1', '[::1]'].includes(url.hostname)))
    return url;
  throw new DataError('the address that AWS gave of the document is none of https', {
    where,
    next: 'check any AWS_ENDPOINT_URL; if it stays so, report it to AWS support',
  });
}

async function send(
  url: URL,
  { timeoutMs, signal, where }: FetchOptions,
): Promise<IncomingMessage> {
  const ca = authorities();
  const agent = agentFor(url, { timeoutMs, signal, ca });
  const isSecure = url.protocol === 'https:';
  const limit = AbortSignal.timeout(timeoutMs);
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = (isSecure ? requestHttps : requestHttp)(url, {
      agent,
      // Ends a body that is under way too; the limit counts to the answer's head alone.
      signal,
      ...(isSecure && ca !== undefined ? { ca } : {}),
    });
    const giveUp = (): void => {
      outgoing.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }));
    };
    limit.addEventListener('abort', giveUp, { once: true });
    outgoing.on('error', (error) => {
      reject((agent !== false && limit.aborted && agent.waiting) || error);
    });
    outgoing.on('response', (answer) => {
      limit.removeEventListener('abort', giveUp);
      resolve(answer);
    });
    outgoing.end();
  });
  try {
    return await answered;
  } catch (cause) {
    throw explained(cause, url, where, signal);
  }
}

async function read(
  answer: IncomingMessage,
  { timeoutMs, signal, where }: FetchOptions,
): Promise<Buffer> {
  try {
    return await until(signal, readAnswer(answer, timeoutMs));
  } catch (cause) {
    throw explained(cause, undefined, where, signal);
  }
}

/** Only the code of a failure is told: its text may repeat the address. */
function explained(
  cause: unknown,
  url: URL | undefined,
  where: string,
  signal: AbortSignal,
): unknown {
  if (signal.aborted) return new InterruptedError();
  if (cause instanceof PipelineError || !(cause instanceof Error)) return cause;
  if (cause instanceof EndlessAnswerError) return new DataError(cause.reason, { where });
  const code = codeOf(cause) ?? cause.name;
  const from = url === undefined ? 'it broke off' : `${url.host} could not be reached`;
  const message = `the document could not be fetched: ${from} (${code})`;
  if (!/CERT|TLS|SSL|SELF_SIGNED|VERIFY/.test(code))
    return new UnreachedError(message, { where, next });
  return new TransientError(message, {
    where,
    next: "let AWS_CA_BUNDLE or NODE_EXTRA_CA_CERTS name the authority of the network's proxy, then run the same command again",
  });
}

function refusal(status: number, { host }: URL, where: string): PipelineError {
  if (status === PROXY_LOGIN) return proxyLogin(where);
  const message = `the document could not be fetched: ${host} answered ${status}`;
  if (status >= 500 || status === 429) return new UnreachedError(message, { where, next });
  // The address runs out after a while; the next run gets another one.
  return new TransientError(message, { where, next });
}

/** How far from its end a PDF may say that it ends, in bytes (ISO 32000-1, Annex H, note 18). */
const TRAILER = 1024;

/** @throws {DataError} when it does not begin and end as a PDF does. */
function checkPdf(document: Buffer, where: string): void {
  const isPdf =
    document.subarray(0, 5).toString('latin1') === '%PDF-' &&
    document.subarray(-TRAILER).includes('%%EOF');
  if (isPdf) return;
  throw new DataError(
    `what AWS gave as the document is no whole PDF: ${document.length} bytes were looked at, and nothing was saved`,
    { where, next },
  );
}
