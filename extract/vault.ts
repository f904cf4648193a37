import nodeVault from 'node-vault';
import { z } from 'zod';
import { vaultEndpoint, vaultPath } from '../pipeline/config/vault-address.js';
import type { ErrorDetails } from '../pipeline/shared/errors.js';
import {
  ConfigurationError,
  PipelineError,
  TransientError,
  throwIfInterrupted,
} from '../pipeline/shared/errors.js';
import { readInput } from '../pipeline/shared/files.js';
import type { Log } from '../pipeline/shared/log.js';
import { PROXY_LOGIN, proxyLogin } from '../pipeline/shared/network.js';
import { keepSecret, said } from '../pipeline/shared/printable.js';
import { graceAfter, pause } from '../pipeline/shared/waits.js';
import { vaultTransport } from './vault-transport.js';

/** How to log in to Vault with AppRole. */
export interface VaultSettings {
  /** VAULT_ADDR: `https://vault.example.com:8200`. */
  address: string;
  roleId: string;
  secretId: string;
  /** A path such as `auth/approle/login`, or its full URL. */
  loginPath: string;
  namespace?: string | undefined;
  /** File with the certificates to trust instead of the system's, in PEM. */
  caCertFile?: string | undefined;
  /** Accept any certificate. */
  skipVerify: boolean;
  /** Time for one request, in milliseconds; 30 seconds if not given. */
  timeoutMs?: number | undefined;
}

/** A login that lasts until it is closed. */
export interface VaultSession {
  /**
   * The keys and values of a secret, of KV version 1 or 2.
   * @param path in Vault's API (`secret/data/aws` in version 2), or its full URL.
   * @throws {PipelineError} when Vault refuses, has no such secret, or cannot be reached.
   */
  read(path: string): Promise<Record<string, unknown>>;
  /** Revokes the token; where that fails, the log says so, and the token lives on to its own end. */
  close(): Promise<void>;
}

const TIMEOUT = 30_000;
/** Statuses that pass by themselves: replication lag, and rate limits (Vault HTTP API, status codes). */
const passing = new Set([412, 429, 473]);
/** Pauses before each further try, in milliseconds. */
const PAUSES = [250, 500, 1000];

const login = z.object({
  // It goes back in a header, which carries visible ASCII alone.
  auth: z.object({
    client_token: z.string().regex(/^[\x21-\x7e]+$/),
    token_type: z.string().optional(),
  }),
});
const keys = z.record(z.string(), z.unknown());
const secret = z.object({ data: keys });
/** KV version 2; a version 1 secret may itself have a key `data`, so that the metadata have to be there too. */
const versioned = z.object({
  data: keys.nullable(),
  metadata: z.looseObject({ version: z.int() }),
});

/**
 * Logs in to Vault.
 * @throws {ConfigurationError} for a wrong address, certificate, path, role id or secret id.
 * @throws {TransientError} when Vault is sealed, failing or out of reach.
 */
export async function openVault(
  settings: VaultSettings,
  log: Log,
  signal?: AbortSignal,
): Promise<VaultSession> {
  keepSecret(settings.roleId, settings.secretId);
  const endpoint = vaultEndpoint(settings.address);
  const loginPath = vaultPath(settings.loginPath, endpoint);
  if (settings.skipVerify) {
    log.warn({ where: endpoint }, "VAULT_SKIP_VERIFY is on: Vault's certificate is not checked");
  }
  const { ca } = await readCa(settings.caCertFile, signal);
  const connect = (abort: AbortSignal | undefined): nodeVault.client => {
    const client = nodeVault({
      endpoint,
      'apiVersion': 'v1',
      'debug': () => undefined,
      'request-promise': {
        defaults: () =>
          vaultTransport({
            ca,
            skipVerify: settings.skipVerify,
            timeoutMs: settings.timeoutMs ?? TIMEOUT,
            signal: abort,
          }),
      },
    });
    // Set here because node-vault fills what is left out from VAULT_TOKEN, VAULT_NAMESPACE and VAULT_PREFIX.
    return Object.assign(client, {
      token: '',
      namespace: settings.namespace ?? '',
      pathPrefix: '',
    });
  };
  const client = connect(signal);
  const { auth } = await ask(
    'login',
    `${endpoint}/v1/${loginPath}`,
    login,
    () => client.write(loginPath, { role_id: settings.roleId, secret_id: settings.secretId }),
    signal,
  );
  keepSecret(auth.client_token);
  client.token = auth.client_token;
  log.debug({ where: endpoint }, 'logged in to Vault');

  return {
    async read(path) {
      const secretPath = vaultPath(path, endpoint);
      const where = `${endpoint}/v1/${secretPath}`;
      const { data } = await ask('read', where, secret, () => client.read(secretPath), signal);
      const v2 = versioned.safeParse(data).data;
      if (v2 === undefined) return data;
      if (v2.data !== null) return v2.data;
      throw new ConfigurationError('the newest version of the secret is deleted', {
        where,
        next: 'restore it in Vault, or write a new version',
      });
    },

    async close() {
      // Batch tokens cannot be revoked; they end by themselves (Vault documentation, Tokens).
      if (auth.token_type === 'batch') return;
      try {
        // Also a run that was stopped gives its token back, if that takes no time.
        const last = connect(signal === undefined ? undefined : graceAfter(signal));
        last.token = auth.client_token;
        await last.tokenRevokeSelf();
      } catch (cause) {
        const error = vaultError(cause, 'read', endpoint);
        log.warn(
          { where: endpoint },
          `the Vault token was not revoked and lives on to its own end: ${error instanceof Error ? error.message : 'unknown'}`,
        );
      }
    },
  };
}

/** Sends a request, again while Vault says that the trouble passes, and reads the answer. */
async function ask<T>(
  step: VaultStep,
  where: string,
  schema: z.ZodType<T>,
  send: () => Promise<unknown>,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (let tried = 0; ; tried++) {
    try {
      const answer = schema.safeParse(await send());
      if (answer.success) return answer.data;
      throw new TransientError(`not an answer of Vault to a ${step}`, {
        where,
        next: 'check that VAULT_ADDR is the address of a Vault server',
      });
    } catch (cause) {
      const rest = PAUSES[tried];
      if (rest === undefined || !passing.has(vaultStatus(cause) ?? 0)) {
        throw vaultError(cause, step, where);
      }
      await pause(rest, signal);
    }
  }
}

async function readCa(
  file: string | undefined,
  signal: AbortSignal | undefined,
): Promise<{ ca: Uint8Array | undefined }> {
  if (file === undefined) return { ca: undefined };
  try {
    return { ca: await readInput(file, signal) };
  } catch (cause) {
    throwIfInterrupted(signal);
    throw new ConfigurationError('the file with the CA certificates cannot be read', {
      where: file,
      next: 'let VAULT_CACERT name a readable file in PEM',
      cause,
    });
  }
}

/** What was asked of Vault. */
export type VaultStep = 'login' | 'read';

const refused = z.object({ response: z.object({ statusCode: z.number(), body: z.unknown() }) });
const faults = z.object({ errors: z.array(z.string()) });

/** The HTTP status that Vault refused with; `undefined` when no answer came. */
export function vaultStatus(cause: unknown): number | undefined {
  return refused.safeParse(cause).data?.response.statusCode;
}

/**
 * What a failed request to Vault means for people. Vault's own words are repeated without the secrets that
 * something on the way may have put into them; the request is not.
 */
export function vaultError(cause: unknown, step: VaultStep, where: string): unknown {
  if (cause instanceof PipelineError || !(cause instanceof Error)) return cause;
  const answer = refused.safeParse(cause).data?.response;
  if (answer === undefined) return unanswered(cause, where);
  const text = said(faults.safeParse(answer.body).data?.errors.join(', ') ?? '');
  const words = text === '' ? '' : `: ${text}`;
  if (answer.statusCode === PROXY_LOGIN) return proxyLogin(where);
  return refusal(answer.statusCode, step, words, answer.body, { where });
}

function refusal(
  status: number,
  step: VaultStep,
  words: string,
  body: unknown,
  details: ErrorDetails,
): PipelineError {
  switch (status) {
    case 400:
      if (typeof body === 'string' && body.includes('HTTPS server')) {
        return new ConfigurationError('Vault speaks https at this address', {
          ...details,
          next: 'write VAULT_ADDR with https://',
        });
      }
      return new ConfigurationError(
        step === 'login'
          ? `Vault did not accept the role id or the secret id${words}`
          : `Vault did not accept the request${words}`,
        {
          ...details,
          next:
            step === 'login'
              ? 'check VAULT_ROLE_ID and VAULT_SECRET_ID: a secret id expires and may be used up'
              : 'check the path of the secret',
        },
      );
    case 403:
      return new ConfigurationError(`Vault denies access${words}`, {
        ...details,
        next:
          step === 'login'
            ? 'check VAULT_LOGIN_PATH, VAULT_NAMESPACE and the addresses that the role may log in from'
            : "allow the role's policy to read this path, and check the path and VAULT_NAMESPACE",
      });
    case 404:
      return new ConfigurationError(`Vault has nothing at this path${words}`, {
        ...details,
        next:
          step === 'login'
            ? 'check VAULT_LOGIN_PATH and VAULT_NAMESPACE'
            : 'check the path and VAULT_NAMESPACE; in KV version 2 it has "data/" after the mount, as in secret/data/aws',
      });
    case 429:
      return new TransientError(`Vault limits the rate of requests, or is a standby${words}`, {
        ...details,
        next: 'run the same command again later; let VAULT_ADDR name the active node',
      });
    case 412:
    case 473:
      return new TransientError(`this node of Vault lags behind the active one${words}`, {
        ...details,
        next: 'run the same command again',
      });
    case 501:
      return new ConfigurationError('Vault is not initialized', {
        ...details,
        next: 'check VAULT_ADDR, or initialize Vault',
      });
    case 503:
      return new TransientError(`Vault is sealed or under maintenance${words}`, {
        ...details,
        next: 'have it unsealed, then run the same command again',
      });
    default:
      return status >= 500
        ? new TransientError(`Vault failed with status ${status}${words}`, {
            ...details,
            next: 'run the same command again; if it stays so, look into the log of Vault',
          })
        : new ConfigurationError(`Vault answered with status ${status}${words}`, {
            ...details,
            next: 'check that VAULT_ADDR is the address of a Vault server',
          });
  }
}

function unanswered(cause: Error, where: string): unknown {
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (code === 'ENOTFOUND') {
    return new ConfigurationError('no host has the name in the address of Vault (ENOTFOUND)', {
      where,
      next: 'check VAULT_ADDR',
    });
  }
  if (/^ERR_TLS|^ERR_SSL|^EPROTO$|CERT|SELF_SIGNED|VERIFY|CRL/.test(code)) {
    return new ConfigurationError(`no trusted TLS connection to Vault (${code})`, {
      where,
      next: 'let VAULT_CACERT name the file of the CA that signed its certificate, and VAULT_ADDR the host that the certificate is for',
    });
  }
  if (/^(E[A-Z]+|HPE_\w+)$/.test(code)) {
    return new TransientError(
      code === 'ETIMEDOUT'
        ? 'Vault gave no answer in time'
        : `Vault could not be reached (${code})`,
      { where, next: 'check VAULT_ADDR and that Vault runs, then run the same command again' },
    );
  }
  if (code === 'ERR_INVALID_CHAR' || code === 'ERR_INVALID_URL') {
    return new ConfigurationError(
      'a setting of Vault holds a character that no request can carry',
      {
        where,
        next: 'check VAULT_ADDR, VAULT_NAMESPACE, VAULT_LOGIN_PATH and the paths of the secrets',
      },
    );
  }
  if (code.startsWith('ERR_OSSL')) {
    return new ConfigurationError(`the file of VAULT_CACERT holds no certificates (${code})`, {
      where,
      next: 'let VAULT_CACERT name a readable file in PEM',
    });
  }
  return cause;
}
