import type { IncomingMessage } from 'node:http';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { ConfigurationError, InterruptedError } from '../pipeline/shared/errors.js';
import { agentFor } from '../pipeline/shared/agents.js';

/** How Vault is talked to. */
interface TransportSettings {
  /** Certificates to trust instead of the system's, in PEM. */
  ca?: Uint8Array | undefined;
  skipVerify: boolean;
  /** Time for one whole request, in milliseconds. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** The request as node-vault hands it over. */
interface VaultRequest {
  method: string;
  uri: string;
  headers: Record<string, string>;
  json?: unknown;
}

interface VaultResponse {
  statusCode: number;
  body: unknown;
  request: { path: string };
}

/**
 * What node-vault sends its requests with, in place of its own axios: certificates are checked unless
 * the settings say otherwise, whatever VAULT_SKIP_VERIFY or NODE_TLS_REJECT_UNAUTHORIZED hold; every
 * request has a time limit, and goes through the proxy of the environment as every other one; and a
 * failure carries no request, whose headers and body are secret.
 */
export function vaultTransport(
  settings: TransportSettings,
): (request: VaultRequest) => Promise<VaultResponse> {
  return async (request) => {
    const url = new URL(request.uri);
    const first = await send(url, request, settings);
    const target = redirection(url, first);
    const { status, body } = target === undefined ? first : await send(target, request, settings);
    return { statusCode: status, body, request: { path: url.pathname } };
  };
}

interface Answer {
  status: number;
  location: string | undefined;
  body: unknown;
}

/** Where a standby node sends the request on to, once, and never from https to http (Vault, client redirection). */
function redirection(url: URL, { status, location }: Answer): URL | undefined {
  if ((status !== 307 && status !== 308) || location === undefined) return undefined;
  const target = new URL(location, url);
  return target.protocol === 'https:' || target.protocol === url.protocol ? target : undefined;
}

function send(
  url: URL,
  { method, headers, json }: VaultRequest,
  settings: TransportSettings,
): Promise<Answer> {
  const limit = AbortSignal.timeout(settings.timeoutMs);
  const signals = settings.signal === undefined ? [limit] : [limit, settings.signal];
  const agent = agentFor(url, { timeoutMs: settings.timeoutMs, signal: settings.signal });
  const payload = typeof json === 'object' && json !== null ? JSON.stringify(json) : undefined;
  return new Promise<Answer>((resolve, reject) => {
    const fail = (error: Error): void => {
      if (settings.signal?.aborted === true) reject(new InterruptedError());
      else if (limit.aborted && !(error instanceof ConfigurationError))
        reject((agent !== false && agent.waiting) || timedOut());
      else reject(error);
    };
    const secure = url.protocol === 'https:';
    const outgoing = (secure ? requestHttps : requestHttp)(
      url,
      {
        method,
        headers: {
          ...headers,
          ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
        },
        agent,
        signal: AbortSignal.any(signals),
        ...(secure
          ? {
              rejectUnauthorized: !settings.skipVerify,
              ...(settings.ca === undefined ? {} : { ca: Buffer.from(settings.ca) }),
            }
          : {}),
      },
      (incoming) => {
        collect(incoming, url).then(resolve, fail);
      },
    );
    outgoing.on('error', fail);
    outgoing.end(payload);
  });
}

function timedOut(): Error {
  return Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' });
}

/** Longest answer, in bytes: Vault's own storage takes no secret of a quarter of it (limits and maximums). */
const LONGEST = 4 * 1024 * 1024;

async function collect(incoming: IncomingMessage, url: URL): Promise<Answer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > LONGEST) {
      throw new ConfigurationError('the answer is longer than any of Vault (4 MiB)', {
        where: `${url.origin}${url.pathname}`,
        next: 'check that VAULT_ADDR is the address of a Vault server',
      });
    }
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return {
    status: incoming.statusCode ?? 0,
    location: incoming.headers.location,
    body: jsonOr(text),
  };
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
