import type { OrganizationEntry } from '../extract/organizations.js';
import type { VaultSession } from '../extract/vault.js';
import type { DatabaseLocation } from '../load/database.js';
import type { Config } from './config.js';
import { ConfigurationError } from './errors.js';
import type { Log } from './log.js';
import { once } from './once.js';

/** What comes from Vault, each read when first asked for. */
export interface Secrets {
  /** @throws {PipelineError} when there is no way to log in. */
  login(): Promise<VaultSession>;
  /** The organizations of the AWS secret, by name. */
  organizations(): Promise<OrganizationEntry[]>;
  /** Where the database lies; Vault is asked only when the suivi secret says it. */
  database(): Promise<DatabaseLocation>;
  /** Gives the login back, if there was one. */
  close(): Promise<void>;
}

/** Prepares the secrets; nothing is contacted before the first call. */
export function openSecrets(
  config: Config,
  { log, signal }: { log: Log; signal: AbortSignal },
): Secrets {
  const login = once(async (): Promise<VaultSession> => {
    if (config.vault === undefined)
      throw new ConfigurationError('Vault is not configured', {
        next: 'set VAULT_ADDR and its like',
      });
    const { openVault } = await import('../extract/vault.js');
    return openVault({ ...config.vault, timeoutMs: config.timeoutMs }, log, signal);
  });
  return {
    login,
    organizations: once(async () => {
      const path = config.vault?.awsSecretPath ?? '';
      const { parseOrganizations } = await import('../extract/organizations.js');
      return parseOrganizations(await (await login()).read(path), path);
    }),
    database: once(async () => {
      if (config.database.kind === 'url') return config.database.location;
      const { parseSuiviSecret } = await import('../load/suivi.js');
      const secret = await (await login()).read(config.database.path);
      return parseSuiviSecret(secret, config.database.path);
    }),
    close: () => login.ifOpened((session) => session.close()),
  };
}
