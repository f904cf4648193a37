import type { OrganizationSource } from '../../extract/organization-source.js';
import type { OrganizationAccess, OrganizationEntry } from '../../extract/organizations.js';
import type { RequestCount } from '../../extract/session.js';
import type { VaultSession } from '../../extract/vault.js';
import type { Database, ReadingDatabase } from '../../load/database.js';
import type { Config } from '../config/config.js';
import type { Stage } from '../config/selection.js';
import type { DatabaseLocation } from '../config/database-address.js';
import { advice } from '../shared/commands.js';
import { ConfigurationError, UsageError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import { keepSecret } from '../shared/printable.js';
import type { OrganizationView } from '../shared/scope.js';
import {
  manifestPrefix,
  parseExtractionKey,
  parseTransformManifestKey,
  rawPrefix,
} from '../staging/layout.js';
import { openStaging } from '../staging/open.js';
import type { Staging } from '../staging/staging.js';

/** What the tasks of a run share; each is opened when first asked for, and closed with the run. */
export interface Resources {
  staging: Staging;
  secrets: Secrets;
  /** The organizations that the stages can work on for the month, by name. */
  organizations(month: Month, stages: readonly Stage[]): Promise<readonly string[]>;
  /**
   * How the organization is reached.
   * @throws {PipelineError} when the secret or the configuration file lacks something for it.
   */
  access(organization: string): Promise<OrganizationAccess>;
  source(organization: string): Promise<OrganizationSource>;
  database(): Promise<Database>;
  /**
   * The same database for reading alone: nothing is made or upgraded.
   * @throws {ConfigurationError} when it is an SQLite file that is not there.
   */
  reading(): Promise<ReadingDatabase>;
  close(): Promise<void>;
}

/**
 * Prepares what the run's tasks share; nothing is contacted before it is asked for.
 * @param requests who counts the requests to Cost Explorer, where this process alone does not.
 */
export async function openResources(
  config: Config,
  { log, signal, requests }: { log: Log; signal: AbortSignal; requests?: RequestCount },
): Promise<Resources> {
  const staging = await openStaging(config.staging, { ...config.stagingOptions, signal });
  const secrets = openSecrets(config, { log, signal });
  const budget = once(async () => {
    const { ownCount, requestBudget } = await import('../../extract/session.js');
    return requestBudget(requests ?? ownCount(config.maxRequests));
  });
  const sources = new Map<string, Promise<OrganizationSource>>();
  const database = once(async () => {
    const { openDatabase } = await import('../../load/database.js');
    const options = { log, signal, timeoutMs: config.timeoutMs };
    const opened = await openDatabase(await secrets.database(), options);
    if (opened.viewGrant !== undefined)
      log.warn(
        { database: opened.location },
        `the database has no views for dashboards, since this user may not make them; the load after this has them: ${opened.viewGrant}`,
      );
    return opened;
  });
  const reading = once(async () => {
    const { openForReading } = await import('../../load/database.js');
    const location = await secrets.database();
    const opened = await openForReading(location, { log, signal, timeoutMs: config.timeoutMs });
    if (opened !== undefined) return opened;
    throw new ConfigurationError('there is no such database', {
      where: location.kind === 'sqlite' ? `sqlite:${location.file}` : location.host,
      ...advice('name the database with --database, or run', {}, ' first'),
    });
  });

  const access = async (organization: string): Promise<OrganizationAccess> => {
    const entry = (await secrets.organizations()).find(({ name }) => name === organization);
    if (entry === undefined)
      throw new ConfigurationError(`there is no organization ${organization}`);
    if ('fault' in entry) throw entry.fault;
    return entry.access;
  };

  const openSource = async (organization: string): Promise<OrganizationSource> => {
    const { openOrganization } = await loadSources();
    const options = { log, timeoutMs: config.timeoutMs, budget: await budget() };
    return openOrganization(await access(organization), options);
  };

  return {
    staging,
    secrets,
    async organizations(month, stages) {
      if (stages.includes('extract')) {
        const coming = secrets.organizations();
        // The AWS clients load while Vault answers; its own first, so that it is asked before they take the processor.
        coming.catch(() => undefined);
        if (config.vault?.awsSecretPath !== undefined) await import('../../extract/vault.js');
        const [entries] = await Promise.all([coming, loadSources()]);
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
    access,
    source(organization) {
      const opened = sources.get(organization) ?? openSource(organization);
      sources.set(organization, opened);
      return opened;
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
  const { billingViewArn = null, costViewArn = null, listAccounts } = access;
  return { billingViewArn, costViewArn, listAccounts };
}

function loadSources() {
  return import('../../extract/organization-source.js');
}

/** The organizations that have anything staged below `raw/` or `manifests/` for the month, by name. */
export async function stagedOrganizations(
  staging: Staging,
  month: Month,
  below: 'raw' | 'manifests',
): Promise<string[]> {
  const names = new Set<string>();
  const prefix = below === 'raw' ? rawPrefix(month) : manifestPrefix(month);
  for await (const { key } of staging.list(prefix, { sizes: false })) {
    const slice = below === 'raw' ? parseExtractionKey(key) : parseTransformManifestKey(key);
    if (slice !== undefined) names.add(slice.organization);
  }
  return [...names].sort();
}

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
    const { openVault } = await import('../../extract/vault.js');
    return openVault({ ...config.vault, timeoutMs: config.timeoutMs }, log, signal);
  });
  const secretOrganizations = once(async () => {
    const path = config.vault?.awsSecretPath;
    if (path === undefined && config.organizations.length > 0) return [];
    const { parseOrganizations } = await import('../../extract/organizations.js');
    return parseOrganizations(await (await login()).read(path ?? ''), path ?? '');
  });
  const listedOrganizations = once(async () => {
    const { listedOrganizations: read } = await import('../../extract/organizations.js');
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
      const { parseDatabaseSecret } = await import('../config/database-address.js');
      const secret = await (await login()).read(config.database.path);
      const location = parseDatabaseSecret(secret, config.database.path);
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

/** A function that opens something at its first call and gives every later caller the same thing. */
export interface Once<T> {
  (): Promise<T>;
  /** Calls `use` if the thing was opened and opening it succeeded. */
  ifOpened(use: (opened: T) => Promise<void> | void): Promise<void>;
}

export function once<T>(open: () => Promise<T>): Once<T> {
  let opening: Promise<T> | undefined;
  const call = (): Promise<T> => (opening ??= open());
  return Object.assign(call, {
    async ifOpened(use: (opened: T) => Promise<void> | void) {
      const settled = (await Promise.allSettled(opening === undefined ? [] : [opening]))[0];
      if (settled?.status === 'fulfilled') await use(settled.value);
    },
  });
}
