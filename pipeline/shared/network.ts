import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ConfigurationError } from './errors.js';
import { keepSecret } from './printable.js';

/**
 * What the environment says of the way to AWS and Vault: the proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY,
 * and the certificate authorities of AWS_CA_BUNDLE, as boto3 and the AWS CLI read them.
 */

export type Environment = Readonly<Record<string, string | undefined>>;

/** A proxy, and the variable that names it. */
export interface Proxy {
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

/** Whether the environment names a proxy for any address. */
export function hasProxy(env: Environment): boolean {
  return ['http_proxy', 'https_proxy'].some((name) => variableFor(name, env) !== undefined);
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
