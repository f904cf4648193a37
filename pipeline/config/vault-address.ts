import { ConfigurationError } from '../shared/errors.js';

/**
 * A path in Vault's API without its leading `v1/`, from what people write: a path with or without a
 * leading `/` or `v1/`, or a full URL at the same Vault.
 * @throws {ConfigurationError} when the URL belongs to another server than `address`, or nothing is left.
 */
export function vaultPath(text: string, address: string): string {
  const path = /^https?:\/\//i.test(text.trim()) ? pathInUrl(text.trim(), address) : text.trim();
  const bare = path
    .replace(/^\/+/, '')
    .replace(/^v1(\/+|$)/, '')
    .replace(/\/+$/, '');
  if (bare === '') {
    throw new ConfigurationError('the path in Vault is empty', {
      where: address,
      next: 'name it, for example secret/data/aws',
    });
  }
  return bare;
}

function pathInUrl(text: string, address: string): string {
  const url = parseUrl(text);
  const home = parseUrl(address);
  if (url.origin !== home.origin) {
    throw new ConfigurationError(
      `the path names another server than Vault's address ${home.origin}`,
      {
        where: url.origin + url.pathname,
        next: 'name both on the same server, or give the path alone',
      },
    );
  }
  const base = home.pathname.replace(/\/+$/, '');
  const path = url.pathname.startsWith(`${base}/`) ? url.pathname.slice(base.length) : url.pathname;
  return path + url.search;
}

function parseUrl(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw new ConfigurationError('not an http or https address of Vault', {
      next: 'write it as https://vault.example.com:8200',
    });
  }
}

/**
 * Vault's address as requests use it: scheme, host, port and any path before `/v1`.
 * @throws {ConfigurationError} when it is no http or https URL, or holds a user or password.
 */
export function vaultEndpoint(address: string): string {
  const url = parseUrl(address.trim());
  if (!/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new ConfigurationError('not an http or https address of Vault', {
      where: url.host,
      next: 'write VAULT_ADDR as https://vault.example.com:8200',
    });
  }
  return url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
}
