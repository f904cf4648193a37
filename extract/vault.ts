import Module, { createRequire } from 'node:module';
import type nodeVault from 'node-vault';
import { z } from 'zod';
import { vaultEndpoint, vaultPath } from '../pipeline/config/vault-address.js';
import type { ErrorClass } from '../pipeline/shared/errors.js';
import {
  ConfigurationError,
  PipelineError,
  TransientError,
  throwIfInterrupted,
} from '../pipeline/shared/errors.js';
import { codeOf, readInput } from '../pipeline/shared/files.js';
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
  caCert?: string | undefined;
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

/**
 * node-vault, without the axios that it loads at once and that nothing calls, as it sends with our own transport: a
 * twentieth of a month's CPU. Whoever else in the process asks for axios, such as an agent that Node loads before us,
 * gets the real one.
 */
function loadNodeVault(): typeof nodeVault {
  const require = createRequire(import.meta.url);
  const axios = createRequire(require.resolve('node-vault')).resolve('axios');
  if (require.cache[axios] !== undefined) return require('node-vault') as typeof nodeVault;
  require.cache[axios] = Object.assign(new Module(axios), { loaded: true });
  try {
    return require('node-vault') as typeof nodeVault;
  } finally {
    Reflect.deleteProperty(require.cache, axios);
  }
}

const clientOf = loadNodeVault();

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
/** What stands in place of an answer that was put into a wrapping token (Vault, response wrapping). */
const wrapped = z.object({ wrap_info: z.object({ token: z.string() }) });

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
  const { ca } = await readCa(settings.caCert, signal);
  const connect = (abort: AbortSignal | undefined): nodeVault.client => {
    const client = clientOf({
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
        if (isUnknownToken(cause)) return;
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
      const sent = await send();
      const answer = schema.safeParse(sent);
      if (answer.success) return answer.data;
      const inside = wrapped.safeParse(sent).data?.wrap_info;
      if (inside !== undefined) {
        keepSecret(inside.token);
        throw new ConfigurationError(`Vault wrapped its answer to the ${step} in a token`, {
          where,
          next: 'have it answered unwrapped: no proxy or agent on the way may add X-Vault-Wrap-TTL, and no control group may hold the path',
        });
      }
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

type VaultStep = 'login' | 'read';

const refused = z.object({ response: z.object({ statusCode: z.number(), body: z.unknown() }) });
const faults = z.object({ errors: z.array(z.string()) });

/** The HTTP status that Vault refused with; `undefined` when no answer came. */
function vaultStatus(cause: unknown): number | undefined {
  return refused.safeParse(cause).data?.response.statusCode;
}

/** Whether Vault does not know the token that came along: it is revoked, has run out, or has no uses left. */
function isUnknownToken(cause: unknown): boolean {
  const answer = refused.safeParse(cause).data?.response;
  const errors = faults.safeParse(answer?.body).data?.errors ?? [];
  return answer?.statusCode === 403 && errors.some((error) => error.includes('invalid token'));
}

/**
 * What a failed request to Vault means for people. Vault's own words are repeated without the secrets that
 * something on the way may have put into them; the request is not.
 */
function vaultError(cause: unknown, step: VaultStep, where: string): unknown {
  if (cause instanceof PipelineError || !(cause instanceof Error)) return cause;
  const answer = refused.safeParse(cause).data?.response;
  const code = answer === undefined ? (codeOf(cause) ?? '') : String(answer.statusCode);
  if (code === String(PROXY_LOGIN)) return proxyLogin(where);
  const key = answer === undefined ? code : `${code} ${step}`;
  const isTls = typeof answer?.body === 'string' && answer.body.includes('HTTPS server');
  const more = isTls ? ' https' : isUnknownToken(cause) ? ' token' : '';
  const meaning = meanings.find(([pattern]) => pattern.test(key + more));
  if (meaning === undefined) return cause;
  const [, kind, message, next] = meaning;
  const words = said(faults.safeParse(answer?.body).data?.errors.join(', ') ?? '');
  const text = message.replace('{code}', code);
  return new kind(
    text.replace(/:$/, () => (words === '' ? '' : `: ${words}`)),
    { where, next },
  );
}

const AGAIN = 'run the same command again';

/**
 * What Vault's statuses at a step (`403 read`) and Node's codes mean; the first row that fits counts. A
 * message that ends with a colon has Vault's own words behind it.
 */
const meanings: readonly [RegExp, kind: ErrorClass, message: string, next: string][] = [
  [
    /^400 .*https/,
    ConfigurationError,
    'Vault speaks https at this address',
    'write VAULT_ADDR with https://',
  ],
  [
    /^400 login/,
    ConfigurationError,
    'Vault did not accept the role id or the secret id:',
    'check VAULT_ROLE_ID and VAULT_SECRET_ID: a secret id expires and may be used up, and one that was handed over in a wrapping token has to be unwrapped first',
  ],
  [/^400/, ConfigurationError, 'Vault did not accept the request:', 'check the path of the secret'],
  [
    /^403 login/,
    ConfigurationError,
    'Vault denies access:',
    'check VAULT_LOGIN_PATH, VAULT_NAMESPACE and the addresses that the role may log in from',
  ],
  [
    /^403 .*token/,
    TransientError,
    'Vault no longer knows the token of this login:',
    `${AGAIN}; if it stays so, the token_num_uses or token_ttl of the role are too small`,
  ],
  [
    /^403/,
    ConfigurationError,
    'Vault denies access:',
    "allow the role's policy to read this path, and check the path and VAULT_NAMESPACE",
  ],
  [
    /^404 login/,
    ConfigurationError,
    'Vault has nothing at this path:',
    'check VAULT_LOGIN_PATH and VAULT_NAMESPACE',
  ],
  [
    /^404/,
    ConfigurationError,
    'Vault has nothing at this path:',
    'check the path and VAULT_NAMESPACE; in KV version 2 it has "data/" after the mount, as in secret/data/aws',
  ],
  [
    /^429/,
    TransientError,
    'Vault limits the rate of requests, or is a standby:',
    `${AGAIN} later; let VAULT_ADDR name the active node`,
  ],
  [/^(412|473)/, TransientError, 'this node of Vault lags behind the active one:', AGAIN],
  [/^501/, ConfigurationError, 'Vault is not initialized', 'check VAULT_ADDR, or initialize Vault'],
  [
    /^503/,
    TransientError,
    'Vault is sealed or under maintenance:',
    `have it unsealed, then ${AGAIN}`,
  ],
  [
    /^[5-9]\d\d/,
    TransientError,
    'Vault failed with status {code}:',
    `${AGAIN}; if it stays so, look into the log of Vault`,
  ],
  [
    /^\d/,
    ConfigurationError,
    'Vault answered with status {code}:',
    'check that VAULT_ADDR is the address of a Vault server',
  ],
  [
    /^ENOTFOUND$/,
    ConfigurationError,
    'no host has the name in the address of Vault ({code})',
    'check VAULT_ADDR',
  ],
  [
    /^ERR_TLS|^ERR_SSL|^EPROTO$|CERT|SELF_SIGNED|VERIFY|CRL/,
    ConfigurationError,
    'no trusted TLS connection to Vault ({code})',
    'let VAULT_CACERT name the file of the CA that signed its certificate, and VAULT_ADDR the host that the certificate is for',
  ],
  [
    /^ETIMEDOUT$/,
    TransientError,
    'Vault gave no answer in time',
    `check VAULT_ADDR and that Vault runs, then ${AGAIN}`,
  ],
  [
    /^(E[A-Z]+|HPE_\w+)$/,
    TransientError,
    'Vault could not be reached ({code})',
    `check VAULT_ADDR and that Vault runs, then ${AGAIN}`,
  ],
  [
    /^ERR_INVALID_(CHAR|URL)$/,
    ConfigurationError,
    'a setting of Vault holds a character that no request can carry',
    'check VAULT_ADDR, VAULT_NAMESPACE, VAULT_LOGIN_PATH and the paths of the secrets',
  ],
  [
    /^ERR_OSSL/,
    ConfigurationError,
    'the file of VAULT_CACERT holds no certificates ({code})',
    'let VAULT_CACERT name a readable file in PEM',
  ],
];
