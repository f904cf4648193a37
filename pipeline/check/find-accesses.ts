import type { OrganizationAccess, OrganizationEntry } from '../../extract/organizations.js';
import type { Checklist } from './check-lines.js';
import type { Config } from '../config.js';
import { ConfigurationError, describeError } from '../errors.js';
import type { Secrets } from '../secrets.js';

/**
 * Looks where the organizations are told, Vault and the configuration file.
 * @param chosen `undefined`: all.
 * @returns the chosen ones that lack nothing.
 */
export async function findAccesses(
  config: Config,
  chosen: readonly string[] | undefined,
  secrets: Secrets,
  list: Checklist,
): Promise<OrganizationAccess[]> {
  const accesses: OrganizationAccess[] = [];
  const inVault = await canReadSecret(config, secrets, list);
  if (inVault) {
    await list.step('AWS secret', async () => {
      const entries = await secrets.secretOrganizations();
      const all = await secrets.organizations();
      return look(entries, chosen, all, accesses);
    });
  }
  if (config.organizations.length > 0) {
    await list.step('organizations', async () => {
      const entries = await secrets.listedOrganizations();
      // Of a name that is not listed, the line of the secret has told whether it is there.
      const all = config.vault?.awsSecretPath === undefined ? entries : undefined;
      return look(entries, chosen, all, accesses);
    });
  }
  return accesses;
}

/** Logs in to Vault, where it has anything to tell. */
async function canReadSecret(
  { vault, organizations }: Config,
  secrets: Secrets,
  list: Checklist,
): Promise<boolean> {
  if (vault === undefined) {
    if (organizations.length === 0) list.skip('Vault login', 'its settings are incomplete');
    return false;
  }
  const session = await list.step('Vault login', async () => ({
    found: await secrets.login(),
    text: vault.address,
  }));
  const needed = vault.awsSecretPath !== undefined || organizations.length === 0;
  if (session !== undefined && vault.awsSecretPath !== undefined) return true;
  if (needed) list.skip('AWS secret', 'there is no login to Vault, or no path');
  return false;
}

/**
 * Adds the chosen ones of one place's organizations to `accesses`.
 * @param all the organizations of every place; `undefined`: they are not all known.
 * @throws {ConfigurationError} naming every fault, and every chosen one that is not there.
 */
function look(
  entries: readonly OrganizationEntry[],
  chosen: readonly string[] | undefined,
  all: readonly OrganizationEntry[] | undefined,
  accesses: OrganizationAccess[],
): { found: true; text: string } {
  const names = (of: readonly OrganizationEntry[]): string => of.map(({ name }) => name).join(', ');
  const faults: string[] = [];
  if (all !== undefined) {
    for (const name of chosen ?? []) {
      if (!all.some((entry) => entry.name === name))
        faults.push(`there is no organization ${name}; choose among ${names(all)}`);
    }
  }
  for (const entry of entries) {
    if (chosen?.includes(entry.name) === false) continue;
    if ('fault' in entry) faults.push(describeError(entry.fault));
    else accesses.push(entry.access);
  }
  if (faults.length > 0) throw new ConfigurationError(faults.join('; '));
  const count = `${entries.length} organization${entries.length === 1 ? '' : 's'}`;
  return { found: true, text: `${count}: ${names(entries)}` };
}
