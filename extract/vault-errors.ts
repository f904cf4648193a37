import { z } from 'zod';
import type { ErrorDetails } from '../pipeline/errors.js';
import { ConfigurationError, PipelineError, TransientError } from '../pipeline/errors.js';
import { PROXY_LOGIN, proxyLogin } from '../pipeline/proxy.js';
import { said } from '../pipeline/printable.js';

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
