import nodeVault from 'node-vault';
import { z } from 'zod';
import { ConfigurationError, throwIfInterrupted, TransientError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { readInput } from '../pipeline/files.js';
import { keepSecret } from '../pipeline/printable.js';
import { graceAfter, pause } from '../pipeline/waits.js';
import type { VaultStep } from './vault-errors.js';
import { vaultError, vaultStatus } from './vault-errors.js';
import { vaultEndpoint, vaultPath } from './vault-path.js';
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
