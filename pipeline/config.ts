import { readFile } from 'node:fs/promises';
import type { ListedOrganization } from '../extract/listed-organizations.js';
import { parseDatabaseUrl } from '../load/database.js';
import type { DatabaseLocation } from '../load/database.js';
import { PipelineError, UsageError } from './errors.js';
import { tagsOf } from './organization-tags.js';
import type { OrganizationView, Scope } from './scope.js';
import { nameOf, settingsSchema, sources } from './settings.js';
import type { SettingValues } from './settings.js';
import { parseStagingLocation } from './staging/open.js';
import type { StagingLocation, StagingOptions } from './staging/open.js';

/** What the chosen stages need, validated as one object. */
export interface Config {
  /** Present when the run has to log in to Vault. */
  vault: VaultConfig | undefined;
  /** Those of the configuration file; with an `awsSecretPath`, those of the secret come on top. */
  organizations: readonly ListedOrganization[];
  staging: StagingLocation;
  stagingOptions: StagingOptions;
  /** `suivi`: read the connection from the secret of that path. */
  database: { kind: 'url'; location: DatabaseLocation } | { kind: 'suivi'; path: string };
  parquet: SettingValues['parquet'];
  /** What extract asks for; billing view and list of accounts are each organization's own. */
  scope: Omit<Scope, keyof OrganizationView>;
  awsTotal: boolean;
  /** Units of 10^-18 of the currency. */
  tolerance: SettingValues['tolerance'];
  /** Tasks at once. */
  concurrency: number;
  waitSeconds: number;
  timeoutMs: number;
  /** Days after a month's end in which its figures are provisional. */
  provisionalDays: number;
  /** Most requests to Cost Explorer in one run; `undefined`: no limit. */
  maxRequests: number | undefined;
  /** Also of the organizations of the configuration file. */
  tags: Readonly<Record<string, string>>;
}

export interface VaultConfig {
  address: string;
  roleId: string;
  secretId: string;
  loginPath: string;
  awsSecretPath: string | undefined;
  namespace: string | undefined;
  caCertFile: string | undefined;
  skipVerify: boolean;
}

/** What the run will do, as far as it decides which settings are needed. */
export interface Needs {
  /** The organizations and how they are reached. */
  organizations: boolean;
  database: boolean;
}

export type Flags = Readonly<Record<string, unknown>>;

/** The file that is read when `--config` names none and it is there. */
const CONFIG_FILE = 'pipeline.config.yaml';

/**
 * Reads the configuration file as plain data.
 * @param named the file that the user named; without it {@link CONFIG_FILE}, when there is one.
 * @throws {UsageError} when a named file is missing, or a file cannot be read as a YAML mapping.
 */
export async function readConfigFile(named: string | undefined): Promise<Record<string, unknown>> {
  const file = named ?? CONFIG_FILE;
  let content: string;
  try {
    content = await readFile(file, 'utf8');
  } catch (cause) {
    if (named === undefined && cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')
      return {};
    throw new UsageError('the configuration file cannot be read', {
      where: file,
      next: 'name a readable file with --config',
      cause,
    });
  }
  const { parse } = await import('yaml');
  let data: unknown;
  try {
    data = parse(content);
  } catch (cause) {
    // The parser's message quotes the line at fault, which may hold a secret: only the place is repeated.
    const line = /at line (\d+)/.exec(cause instanceof Error ? cause.message : '')?.[1];
    throw new UsageError(
      `the configuration file is not YAML${line === undefined ? '' : ` (line ${line})`}`,
      { where: file },
    );
  }
  if (data === null || data === undefined) return {};
  if (typeof data !== 'object' || Array.isArray(data))
    throw new UsageError('the configuration file is not a mapping of settings', { where: file });
  return data as Record<string, unknown>;
}

/**
 * Settles every setting, flag over environment over file over default, and validates them together.
 * @throws {UsageError} naming every setting that is wrong or missing, without repeating its value.
 */
export function resolveConfig(
  flags: Flags,
  env: NodeJS.ProcessEnv,
  file: Record<string, unknown>,
  needs: Needs,
): Config {
  const merged = structuredClone(file);
  for (const { path, flag, env: variable } of sources) {
    const fromFlag = flag === undefined ? undefined : flags[flag];
    // An empty variable counts as unset, as the AWS and Vault command lines take it.
    const fromEnv = variable === undefined || env[variable] === '' ? undefined : env[variable];
    const value = fromFlag ?? fromEnv;
    if (value !== undefined) setAt(merged, path.split('.'), value);
  }
  const faults: string[] = [];
  const parsed = settingsSchema.safeParse(merged);
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      faults.push(`${nameOf(issue.path.join('.'))}: ${issue.message}`);
    throw faultsError(faults);
  }
  const settings = parsed.data;
  const attempt = <T>(path: string, make: () => T): T | undefined => {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      faults.push(
        `${nameOf(path)}: ${error.message}${error.next === undefined ? '' : `; ${error.next}`}`,
      );
      return undefined;
    }
  };
  const staging = attempt('staging', () => parseStagingLocation(settings.staging));
  const database = attempt('database', () => databaseOf(settings, flags));
  if (settings.s3.kmsKeyId !== undefined && settings.s3.sse !== 'aws:kms') {
    faults.push(`${nameOf('s3.kmsKeyId')}: goes with --s3-sse aws:kms only`);
  }
  const { tags, faults: ofTags } = tagsOf(settings);
  faults.push(...ofTags);
  const suivi = needs.database && database?.kind === 'suivi';
  // Vault is left alone where the configuration file tells every organization.
  const secret =
    needs.organizations &&
    (settings.organizations.length === 0 || settings.vault.awsSecretPath !== undefined);
  const vault = secret || suivi ? vaultOf(settings, secret, faults) : undefined;
  if (faults.length > 0 || staging === undefined || database === undefined)
    throw faultsError(faults);
  const timeoutMs = settings.timeout * 1000;
  return {
    vault,
    organizations: settings.organizations,
    staging,
    stagingOptions: { sse: settings.s3.sse, kmsKeyId: settings.s3.kmsKeyId, timeoutMs },
    database,
    parquet: settings.parquet,
    scope: {
      detail: settings.detail,
      metrics: settings.metrics,
      byRecordType: settings.byRecordType,
    },
    awsTotal: settings.awsTotal,
    tolerance: settings.tolerance,
    concurrency: settings.concurrency,
    waitSeconds: settings.wait,
    timeoutMs,
    provisionalDays: settings.provisionalDays,
    maxRequests: settings.maxRequests,
    tags,
  };
}

function databaseOf(settings: SettingValues, flags: Flags): Config['database'] {
  if (settings.database === undefined && settings.vault.suiviSecretPath !== undefined) {
    return { kind: 'suivi', path: settings.vault.suiviSecretPath };
  }
  const location = parseDatabaseUrl(settings.database ?? 'sqlite:billing.sqlite');
  if (flags['database'] !== undefined && location.kind === 'mysql' && location.password !== '') {
    throw new UsageError('a password on the command line shows in the process list', {
      next: 'put the address into PIPELINE_DATABASE or the configuration file',
    });
  }
  return { kind: 'url', location };
}

function vaultOf(
  { vault }: SettingValues,
  organizations: boolean,
  faults: string[],
): VaultConfig | undefined {
  // The script had full URLs in the paths: one of them then also tells the address.
  const address =
    vault.address ??
    [vault.loginPath, vault.awsSecretPath, vault.suiviSecretPath]
      .map(originOf)
      .find((origin) => origin !== undefined);
  const needed = {
    'vault.address': address,
    'vault.roleId': vault.roleId,
    'vault.secretId': vault.secretId,
    ...(organizations ? { 'vault.awsSecretPath': vault.awsSecretPath } : {}),
  };
  for (const [path, value] of Object.entries(needed)) {
    if (value === undefined)
      faults.push(`${nameOf(path)}: is needed to log in to Vault and not set`);
  }
  if (organizations && vault.awsSecretPath === undefined) {
    faults.push(
      `${nameOf('organizations')}: is empty; list the organizations there, and Vault is not needed for them`,
    );
  }
  if (address === undefined || vault.roleId === undefined || vault.secretId === undefined)
    return undefined;
  return {
    address,
    roleId: vault.roleId,
    secretId: vault.secretId,
    loginPath: vault.loginPath,
    awsSecretPath: vault.awsSecretPath,
    namespace: vault.namespace,
    caCertFile: vault.caCert,
    skipVerify: vault.skipVerify,
  };
}

function originOf(path: string | undefined): string | undefined {
  return path !== undefined && /^https?:\/\//.test(path) && URL.canParse(path)
    ? new URL(path).origin
    : undefined;
}

function setAt(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [head, ...rest] = path;
  if (head === undefined) return;
  if (rest.length === 0) {
    target[head] = value;
    return;
  }
  const inner = (target[head] ??= {});
  // Anything but a mapping stays as it is, for the validation to find.
  if (typeof inner === 'object') setAt(inner as Record<string, unknown>, rest, value);
}

function faultsError(faults: readonly string[]): UsageError {
  const list = faults.map((fault) => `\n  - ${fault}`).join('');
  return new UsageError(
    `${faults.length === 1 ? 'a setting is' : `${faults.length} settings are`} wrong:${list}`,
  );
}
