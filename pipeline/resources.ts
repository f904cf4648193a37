import { once } from './once.js';
import type { Config } from './config.js';
import { ConfigurationError } from './errors.js';
import type { Log } from './log.js';
import type { Month } from './month.js';
import type { Stage } from './selection.js';
import {
  manifestPrefix,
  parseExtractionKey,
  parseTransformManifestKey,
  rawPrefix,
} from './staging/layout.js';
import { openStaging } from './staging/open.js';
import type { Staging } from './staging/staging.js';
import type { OrganizationSource } from '../extract/organization-source.js';
import type { OrganizationEntry } from '../extract/organizations.js';
import type { Database } from '../load/database.js';
import type { VaultSession } from '../extract/vault.js';

/** What the tasks of a run share; each is opened when first asked for, and closed with the run. */
export interface Resources {
  staging: Staging;
  /** The organizations that the stages can work on for the month, by name. */
  organizations(month: Month, stages: readonly Stage[]): Promise<readonly string[]>;
  source(organization: string): Promise<OrganizationSource>;
  database(): Promise<Database>;
  close(): Promise<void>;
}

/** Prepares what the run's tasks share; nothing is contacted before it is asked for. */
export async function openResources(
  config: Config,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<Resources> {
  const staging = await openStaging(config.staging, config.stagingOptions);
  const vault = once(async (): Promise<VaultSession> => {
    if (config.vault === undefined)
      throw new ConfigurationError('Vault is not configured', {
        next: 'set VAULT_ADDR and its like',
      });
    const { openVault } = await import('../extract/vault.js');
    return openVault({ ...config.vault, timeoutMs: config.timeoutMs }, log, signal);
  });
  const entries = once(async (): Promise<OrganizationEntry[]> => {
    const path = config.vault?.awsSecretPath ?? '';
    const { parseOrganizations } = await import('../extract/organizations.js');
    return parseOrganizations(await (await vault()).read(path), path);
  });
  const sources = new Map<string, Promise<OrganizationSource>>();
  const database = once(() => openConfigured(config, vault, log));

  const openSource = async (organization: string): Promise<OrganizationSource> => {
    const entry = (await entries()).find(({ name }) => name === organization);
    if (entry === undefined)
      throw new ConfigurationError(`no organization ${organization} in the secret`);
    if ('fault' in entry) throw entry.fault;
    const { openOrganization } = await import('../extract/organization-source.js');
    return openOrganization(entry.access, { log, timeoutMs: config.timeoutMs });
  };

  return {
    staging,
    async organizations(month, stages) {
      if (stages.includes('extract')) return (await entries()).map(({ name }) => name);
      return stagedOrganizations(
        staging,
        month,
        stages.includes('transform') ? 'raw' : 'manifests',
      );
    },
    source(organization) {
      const opened = sources.get(organization) ?? openSource(organization);
      sources.set(organization, opened);
      return opened;
    },
    database,
    async close() {
      const opened = await Promise.allSettled(sources.values());
      for (const source of opened) if (source.status === 'fulfilled') source.value.close();
      await database.ifOpened((open) => open.close());
      await vault.ifOpened((open) => open.close());
    },
  };
}

async function openConfigured(
  config: Config,
  vault: () => Promise<VaultSession>,
  log: Log,
): Promise<Database> {
  const { openDatabase } = await import('../load/database.js');
  if (config.database.kind === 'url') return openDatabase(config.database.location, log);
  const { parseSuiviSecret } = await import('../load/suivi.js');
  const secret = await (await vault()).read(config.database.path);
  return openDatabase(parseSuiviSecret(secret, config.database.path), log);
}

export async function stagedOrganizations(
  staging: Staging,
  month: Month,
  below: 'raw' | 'manifests',
): Promise<string[]> {
  const names = new Set<string>();
  const prefix = below === 'raw' ? rawPrefix(month) : manifestPrefix(month);
  for await (const { key } of staging.list(prefix)) {
    const slice = below === 'raw' ? parseExtractionKey(key) : parseTransformManifestKey(key);
    if (slice !== undefined) names.add(slice.organization);
  }
  return [...names].sort();
}
