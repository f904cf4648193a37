import { requestBudget } from '../extract/budget.js';
import type { Config } from './config.js';
import { ConfigurationError } from './errors.js';
import type { Log } from './log.js';
import type { Month } from './month.js';
import { once } from './once.js';
import { openSecrets } from './secrets.js';
import type { OrganizationView } from './scope.js';
import type { Stage } from './selection.js';
import {
  manifestPrefix,
  parseExtractionKey,
  parseTransformManifestKey,
  rawPrefix,
} from './staging/layout.js';
import { openStaging } from './staging/open.js';
import type { Staging } from './staging/staging.js';
import type { OrganizationAccess } from '../extract/organizations.js';
import type { OrganizationSource } from '../extract/organization-source.js';
import type { Database } from '../load/database.js';
import type { ReadingDatabase } from '../load/reading.js';

/** What the tasks of a run share; each is opened when first asked for, and closed with the run. */
export interface Resources {
  staging: Staging;
  /** The organizations that the stages can work on for the month, by name. */
  organizations(month: Month, stages: readonly Stage[]): Promise<readonly string[]>;
  /** @throws {PipelineError} when the secret or the configuration file lacks something for the organization. */
  admit(organization: string): Promise<void>;
  source(organization: string): Promise<OrganizationSource>;
  /** The billing view that the organization's cost is asked of, and whether its accounts are listed. */
  view(organization: string): Promise<OrganizationView>;
  database(): Promise<Database>;
  /**
   * The same database for reading alone: nothing is made or upgraded.
   * @throws {ConfigurationError} when it is an SQLite file that is not there.
   */
  reading(): Promise<ReadingDatabase>;
  close(): Promise<void>;
}

/** Prepares what the run's tasks share; nothing is contacted before it is asked for. */
export async function openResources(
  config: Config,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<Resources> {
  const staging = await openStaging(config.staging, { ...config.stagingOptions, signal });
  const secrets = openSecrets(config, { log, signal });
  const budget = requestBudget(config.maxRequests);
  const sources = new Map<string, Promise<OrganizationSource>>();
  const database = once(async () => {
    const { openDatabase } = await import('../load/database.js');
    return openDatabase(await secrets.database(), { log, signal, timeoutMs: config.timeoutMs });
  });
  const reading = once(async () => {
    const { openForReading } = await import('../load/reading.js');
    const location = await secrets.database();
    const opened = await openForReading(location, { log, signal, timeoutMs: config.timeoutMs });
    if (opened !== undefined) return opened;
    throw new ConfigurationError('there is no such database', {
      where: location.kind === 'sqlite' ? `sqlite:${location.file}` : location.host,
      next: 'name the database with --database, or run "pipeline run" first',
    });
  });

  const accessTo = async (organization: string): Promise<OrganizationAccess> => {
    const entry = (await secrets.organizations()).find(({ name }) => name === organization);
    if (entry === undefined)
      throw new ConfigurationError(`there is no organization ${organization}`);
    if ('fault' in entry) throw entry.fault;
    return entry.access;
  };

  const openSource = async (organization: string): Promise<OrganizationSource> => {
    const access = await accessTo(organization);
    const { openOrganization } = await loadSources();
    return openOrganization(access, { log, timeoutMs: config.timeoutMs, budget });
  };

  return {
    staging,
    async organizations(month, stages) {
      if (stages.includes('extract')) {
        // The AWS clients load while Vault answers.
        const [entries] = await Promise.all([secrets.organizations(), loadSources()]);
        // Given back beside the work, where the database's address is not asked of Vault too.
        if (config.database.kind === 'url' || !stages.includes('load')) void secrets.close();
        return entries.map(({ name }) => name);
      }
      return stagedOrganizations(
        staging,
        month,
        stages.includes('transform') ? 'raw' : 'manifests',
      );
    },
    async admit(organization) {
      await accessTo(organization);
    },
    source(organization) {
      const opened = sources.get(organization) ?? openSource(organization);
      sources.set(organization, opened);
      return opened;
    },
    async view(organization) {
      const entry = (await secrets.organizations()).find(({ name }) => name === organization);
      return entry === undefined || 'fault' in entry
        ? { billingViewArn: null, listAccounts: true }
        : viewOf(entry);
    },
    database,
    reading,
    async close() {
      const opened = await Promise.allSettled(sources.values());
      for (const source of opened) if (source.status === 'fulfilled') source.value.close();
      await database.ifOpened((open) => open.close());
      await reading.ifOpened((open) => open.close());
      await secrets.close();
    },
  };
}

/** The organization's own part of what is asked for. */
export function viewOf({ access }: { access: OrganizationAccess }): OrganizationView {
  const { billingViewArn = null, listAccounts } = access;
  return { billingViewArn, listAccounts };
}

function loadSources() {
  return import('../extract/organization-source.js');
}

/** The organizations that have anything staged below `raw/` or `manifests/` for the month, by name. */
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
