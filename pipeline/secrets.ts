import type { OrganizationEntry } from '../extract/organizations.js';
import type { VaultSession } from '../extract/vault.js';
import type { DatabaseLocation } from '../load/database.js';
import type { Config } from './config.js';
import { ConfigurationError, UsageError } from './errors.js';
import type { Log } from './log.js';
import { once } from './once.js';
import { keepSecret } from './printable.js';

/** What comes from Vault, and the organizations that the configuration file adds; each read when first asked for. */
export interface Secrets {
  /** @throws {PipelineError} when there is no way to log in. */
  login(): Promise<VaultSession>;
  /** The organizations of the AWS secret, by name; none without a path to it. */
  secretOrganizations(): Promise<OrganizationEntry[]>;
  /** The organizations of the configuration file, by name. */
  listedOrganizations(): Promise<OrganizationEntry[]>;
  /**
   * The organizations of both, by name.
   * @throws {UsageError} when one is in both. @throws {PipelineError} when Vault cannot be asked.
   */
  organizations(): Promise<OrganizationEntry[]>;
  /** Where the database lies; Vault is asked only when the suivi secret says it. */
  database(): Promise<DatabaseLocation>;
  /** Gives the login back, if there was one; what was read by then can still be asked for. */
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
  const secretOrganizations = once(async () => {
    const path = config.vault?.awsSecretPath;
    if (path === undefined && config.organizations.length > 0) return [];
    const { parseOrganizations } = await import('../extract/organizations.js');
    return parseOrganizations(await (await login()).read(path ?? ''), path ?? '');
  });
  const listedOrganizations = once(async () => {
    const { listedOrganizations: read } = await import('../extract/listed-organizations.js');
    return read(config.organizations);
  });
  return {
    login,
    secretOrganizations,
    listedOrganizations,
    organizations: once(async () => {
      const secret = await secretOrganizations();
      const listed = await listedOrganizations();
      refuseTwice(secret, listed, config.vault?.awsSecretPath);
      return [...secret, ...listed].sort((a, b) => (a.name < b.name ? -1 : 1));
    }),
    database: once(async () => {
      if (config.database.kind === 'url') return config.database.location;
      const { parseSuiviSecret } = await import('../load/suivi.js');
      const secret = await (await login()).read(config.database.path);
      const location = parseSuiviSecret(secret, config.database.path);
      if (location.kind === 'mysql') keepSecret(location.password);
      return location;
    }),
    close: once(() => login.ifOpened((session) => session.close())),
  };
}

/** One name for two payers would mix their cost; and which of two ways to one payer is meant? */
function refuseTwice(
  secret: readonly OrganizationEntry[],
  listed: readonly OrganizationEntry[],
  path: string | undefined,
): void {
  const twice = listed.filter(({ name }) => secret.some((entry) => entry.name === name));
  if (twice.length === 0) return;
  const names = twice.map(({ name }) => name).join(', ');
  throw new UsageError(
    `organization ${names} is given twice: in the Vault secret ${path ?? ''} and under "organizations" in the configuration file`,
    { next: 'remove or rename one of the two' },
  );
}
