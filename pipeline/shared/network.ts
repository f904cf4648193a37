import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ClientRequest } from 'node:http';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIPv6 } from 'node:net';
import type { Duplex } from 'node:stream';
import { checkServerIdentity } from 'node:tls';
import type { AgentConnectOpts } from 'agent-base';
import { Agent } from 'agent-base';
import { ConfigurationError, InterruptedError, TransientError } from './errors.js';
import { keepSecret } from './printable.js';

/**
 * What the environment says of the way to AWS and Vault: the proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY,
 * and the certificate authorities of AWS_CA_BUNDLE, as boto3 and the AWS CLI read them; and the agents by which
 * requests take that way.
 */

type Environment = Readonly<Record<string, string | undefined>>;

/** A proxy, and the variable that names it. */
interface Proxy {
  url: URL;
  variable: string;
}

/**
 * The proxy for requests to an address, by the rules of boto3 and the AWS CLI (botocore `get_environ_proxies`,
 * Python `urllib.request.getproxies_environment` and `proxy_bypass_environment`): `<scheme>_proxy`, the lower
 * case before the upper case and an empty lower case for none; NO_PROXY lists host names, each with all below
 * it, with or without a port, or is `*`; addresses of this machine are no exception.
 * @returns `undefined` when the address is reached directly.
 * @throws {ConfigurationError} naming the variable, without its value, when it holds no proxy's address.
 */
export function proxyFor(url: URL, env: Environment = process.env): Proxy | undefined {
  const scheme = url.protocol.slice(0, -1);
  const found = variableFor(`${scheme}_proxy`, env);
  if (found === undefined || bypasses(url, variableFor('no_proxy', env)?.value ?? ''))
    return undefined;
  return { url: parseProxy(found.value, found.variable), variable: found.variable };
}

/** The proxies' variables that are set, each with what is wrong with it. */
export function proxyFaults(env: Environment): string[] {
  return ['http_proxy', 'https_proxy'].flatMap((name) => {
    const found = variableFor(name, env);
    if (found === undefined) return [];
    try {
      parseProxy(found.value, found.variable);
      return [];
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      return [`${found.variable}: is no proxy's address; ${error.next ?? ''}`];
    }
  });
}

function variableFor(
  name: string,
  env: Environment,
): { variable: string; value: string } | undefined {
  const lower = env[name];
  const variable = lower === undefined ? name.toUpperCase() : name;
  const value = (lower ?? env[variable] ?? '').trim();
  return value === '' ? undefined : { variable, value };
}

function bypasses(url: URL, noProxy: string): boolean {
  if (noProxy === '*') return true;
  const host = url.host.toLowerCase();
  const name = url.hostname.toLowerCase();
  return noProxy
    .split(',')
    .map((entry) => entry.trim().toLowerCase().replace(/^\.+/, ''))
    .filter((entry) => entry !== '')
    .some((entry) =>
      [host, name, name.replace(/^\[(.*)\]$/, '$1')].some(
        (candidate) => candidate === entry || candidate.endsWith(`.${entry}`),
      ),
    );
}

function parseProxy(value: string, variable: string): URL {
  const text = value.includes('://') ? value : `http://${value.replace(/^\/\//, '')}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isProxy =
    url !== undefined &&
    /^https?:$/.test(url.protocol) &&
    url.hostname !== '' &&
    `${url.pathname}${url.search}${url.hash}` === '/' &&
    isDecodable(url.username + url.password);
  if (!isProxy) {
    // The value is not repeated, and no error of the parser kept: it may hold a password.
    throw new ConfigurationError('the address of the proxy cannot be read', {
      where: variable,
      next: 'write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters percent-encoded',
    });
  }
  if (url.password !== '') {
    const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
    const login = Buffer.from(`${user}:${password}`).toString('base64');
    keepSecret(url.password, password, login);
  }
  return url;
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

/**
 * The certificates of AWS_CA_BUNDLE, which take the place of Node's own for AWS and S3, as they do in boto3.
 * @throws {ConfigurationError} when the file cannot be read or holds no certificate.
 */
export function authorities(env: Environment = process.env): Buffer | undefined {
  const file = env['AWS_CA_BUNDLE'];
  if (file === undefined || file.trim() === '') return undefined;
  try {
    const ca = readFileSync(file);
    // Fails where the first of them is none.
    new X509Certificate(ca);
    return ca;
  } catch (cause) {
    throw new ConfigurationError('the file of AWS_CA_BUNDLE holds no certificates', {
      where: file,
      next: 'let AWS_CA_BUNDLE name a readable file of certificates in PEM',
      cause,
    });
  }
}

/** The status with which a proxy asks who is there (RFC 9110, 15.5.8); no service of ours has it. */
export const PROXY_LOGIN = 407;

/** The error for that status. */
export function proxyLogin(where: string): ConfigurationError {
  return new ConfigurationError(`the proxy asks for a login (${PROXY_LOGIN})`, {
    where,
    next: 'put user and password into HTTPS_PROXY and HTTP_PROXY, as http://USER:PASSWORD@HOST:PORT',
  });
}

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
  const proxied = ['http_proxy', 'https_proxy'].some((name) => variableFor(name, env));
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
