import type { ClientRequest } from 'node:http';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIPv6 } from 'node:net';
import type { Duplex } from 'node:stream';
import { checkServerIdentity } from 'node:tls';
import type { AgentConnectOpts } from 'agent-base';
import { Agent } from 'agent-base';
import { ConfigurationError, InterruptedError, TransientError } from './errors.js';
import type { Environment, Proxy } from './network.js';
import { PROXY_LOGIN, authorities, hasProxy, proxyFor, proxyLogin } from './network.js';

/** The agents by which requests take the way that the environment says. */

interface RouteOptions {
  /** Longest wait for the proxy's answer, in milliseconds. */
  timeoutMs: number;
  /** Ends a wait for the proxy. */
  signal?: AbortSignal | undefined;
  ca?: Buffer | undefined;
}

/**
 * What the SDK's request handler takes to reach AWS as the environment says; nothing where it says nothing,
 * so that a run without proxy pays for none.
 * @throws {ConfigurationError} see {@link authorities}.
 */
export function sdkAgents(
  timeoutMs: number,
  env: Environment = process.env,
): { httpAgent?: HttpAgent; httpsAgent?: HttpAgent | { ca: Buffer } } {
  const ca = authorities(env);
  const proxied = hasProxy(env);
  if (!proxied) return ca === undefined ? {} : { httpsAgent: { ca } };
  return {
    httpAgent: new RoutingAgent({ timeoutMs }, false),
    httpsAgent: new RoutingAgent({ timeoutMs, ca }, true),
  };
}

/** The agent for one request to an address, or `false` for none, as `http.request` takes it. */
export function agentFor(url: URL, options: RouteOptions): RoutingAgent | false {
  return proxyFor(url) === undefined ? false : new RoutingAgent(options, false);
}

/** As many connections at once as the SDK's own agent makes. */
const CONNECTIONS = 50;

/** Sends each request directly or through its proxy. */
class RoutingAgent extends Agent {
  readonly #direct: { http: HttpAgent; https: HttpsAgent };
  readonly #route: RouteOptions;
  /** What a request that is given up now failed by, while it waits for its proxy. */
  waiting: TransientError | undefined;

  /** @param keepAlive a plain request is written anew for its proxy, each on a connection of its own. */
  constructor(route: RouteOptions, keepAlive: boolean) {
    const ca = route.ca === undefined ? {} : { ca: route.ca };
    super({ keepAlive, maxSockets: CONNECTIONS, ...ca });
    this.#route = route;
    const direct = { keepAlive: true, maxSockets: CONNECTIONS };
    this.#direct = { http: new HttpAgent(direct), https: new HttpsAgent({ ...direct, ...ca }) };
  }

  override async connect(
    request: ClientRequest,
    options: AgentConnectOpts,
  ): Promise<Duplex | HttpAgent> {
    const { secureEndpoint } = options;
    const host = options.host ?? 'localhost';
    const scheme = secureEndpoint ? 'https' : 'http';
    const url = new URL(`${scheme}://${isIPv6(host) ? `[${host}]` : host}:${options.port}`);
    const proxy = proxyFor(url);
    if (proxy === undefined) return this.#direct[scheme];
    this.waiting = unreached(proxy, url, 'ETIMEDOUT');
    const connection = await reachThrough(proxy, url, request, options, this.#route);
    this.waiting = undefined;
    return connection;
  }

  override destroy(): void {
    super.destroy();
    this.#direct.http.destroy();
    this.#direct.https.destroy();
  }
}

/** A connection to `url` through a proxy: a tunnel for https, the proxy's own connection for http. */
async function reachThrough(
  proxy: Proxy,
  url: URL,
  request: ClientRequest,
  options: AgentConnectOpts,
  { timeoutMs, signal, ca }: RouteOptions,
): Promise<Duplex> {
  const limit = new AbortController();
  const timer = setTimeout(
    () => {
      limit.abort();
    },
    // Before whoever asked gives up, and names who waits behind the proxy.
    timeoutMs * 0.8,
  );
  const signals = signal === undefined ? [limit.signal] : [limit.signal, signal];
  const settings = {
    // Ends the connection to the proxy while that is all there is; nobody else knows of it yet.
    signal: AbortSignal.any(signals),
    ...(ca === undefined ? {} : { ca }),
  };
  let status = 200;
  try {
    if (!options.secureEndpoint) {
      const { HttpProxyAgent } = await import('http-proxy-agent');
      const agent = new HttpProxyAgent(proxy.url, settings);
      // Its type names members that Node's own requests have and their types do not tell.
      return await agent.connect(request as Parameters<typeof agent.connect>[0], options);
    }
    const { HttpsProxyAgent } = await import('https-proxy-agent');
    const tunnel = new HttpsProxyAgent(proxy.url, settings);
    tunnel.on('proxyConnect', ({ statusCode }: { statusCode: number }) => {
      status = statusCode;
    });
    const socket = await tunnel.connect(request, {
      ...options,
      // Without it Node would hold the certificate of an IP address against the proxy's own name.
      checkServerIdentity: (_, certificate) =>
        checkServerIdentity(url.hostname.replace(/^\[(.*)\]$/, '$1'), certificate),
    });
    if (status === 200) return socket;
    socket.destroy();
    throw refused(proxy, url, status);
  } catch (cause) {
    if (cause instanceof ConfigurationError || cause instanceof TransientError) throw cause;
    if (signal?.aborted === true) throw new InterruptedError();
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer';
    throw unreached(proxy, url, limit.signal.aborted ? 'ETIMEDOUT' : code);
  } finally {
    clearTimeout(timer);
  }
}

const placeOf = ({ url, variable }: Proxy): string => `${variable}, ${url.host}`;

/** What a proxy's refusal means. A plain request's comes as the answer of the service itself, see `PROXY_LOGIN`. */
function refused(proxy: Proxy, url: URL, status: number): ConfigurationError | TransientError {
  const where = placeOf(proxy);
  if (status === PROXY_LOGIN) return proxyLogin(where);
  if (status >= 500)
    return again(`the proxy does not reach ${url.host} (${status})`, {
      where,
      next: 'check that host and the proxy, then run the same command again',
    });
  return new ConfigurationError(
    `the proxy does not let requests to ${url.host} through (${status})`,
    {
      where,
      next: `allow the host there, or name it in NO_PROXY`,
    },
  );
}

function unreached(proxy: Proxy, url: URL, code: string): TransientError {
  return again(`the proxy on the way to ${url.host} could not be reached (${code})`, {
    where: placeOf(proxy),
    next: `check ${proxy.variable} and the proxy, or name the host in NO_PROXY; then run the same command again`,
  });
}

/** The SDK tries again what carries this mark, as it does for trouble with AWS itself. */
function again(message: string, details: { where: string; next: string }): TransientError {
  return Object.assign(new TransientError(message, details), { $retryable: { throttling: false } });
}
