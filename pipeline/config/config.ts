import type { ListedOrganization } from '../../extract/organizations.js';
import { PipelineError, UsageError, describeError } from '../shared/errors.js';
import { readInput } from '../shared/files.js';
import { authorities, proxyFaults } from '../shared/network.js';
import { keepSecret } from '../shared/printable.js';
import type { OrganizationView, Scope } from '../shared/scope.js';
import { parseOrganizationName } from '../staging/layout.js';
import type { StagingLocation, StagingOptions } from '../staging/open.js';
import { parseStagingLocation } from '../staging/open.js';
import type { DatabaseLocation } from './database-address.js';
import { parseDatabaseUrl } from './database-address.js';
import type { SettingValues } from './settings.js';
import { httpUrl, nameOf, settingsSchema, sources, wholeNumber } from './settings.js';
import { vaultEndpoint, vaultPath } from './vault-address.js';

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
    content = (await readInput(file)).toString('utf8');
  } catch (cause) {
    if (named === undefined && cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')
      return {};
    const why = cause instanceof PipelineError ? `: ${cause.message}` : '';
    throw new UsageError(`the configuration file cannot be read${why}`, {
      where: file,
      next: 'name a readable file with --config',
      cause,
    });
  }
  const data = await readYaml(content, file);
  if (data === null || data === undefined) return {};
  if (typeof data !== 'object' || Array.isArray(data))
    throw new UsageError('the configuration file is not a mapping of settings', { where: file });
  return data as Record<string, unknown>;
}

/**
 * Reads YAML so that a value stays as it is written: `0x10`, `1e3` and `TRUE` come as texts, and what they
 * may mean is the settings' own question, the same for a flag, a variable and the file.
 *
 * The parser's messages and warnings quote the text at fault, which may be a secret (`secretId: !hunter7` is
 * a tag to it, `&hunter7` an anchor, `*hunter7` an alias): only the line is repeated.
 */
async function readYaml(content: string, file: string): Promise<unknown> {
  const { isCollection, isScalar, LineCounter, parseDocument, visit } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, logLevel: 'silent' });
  const fault = (what: string, offset: number | undefined): UsageError =>
    new UsageError(
      `the configuration file ${what}${offset === undefined ? '' : ` (line ${lines.linePos(offset).line})`}`,
      { where: file, next: 'put a value that begins with one of ! & * % @ ` into quotes' },
    );
  const [wrong] = document.errors;
  if (wrong !== undefined) throw fault('is not YAML', wrong.pos[0]);
  const [doubtful] = document.warnings;
  if (doubtful !== undefined) throw fault('holds a YAML tag or directive', doubtful.pos[0]);
  visit(document, {
    Node(key, node) {
      const place = node.range?.[0];
      if (node.tag !== undefined && node.tag !== 'tag:yaml.org,2002:str')
        throw fault('holds a YAML tag', place);
      if (key === 'key' && isCollection(node)) throw fault('has a key that is no text', place);
      if (!isScalar(node)) return;
      if (node.value === null && node.anchor !== undefined)
        throw fault('holds a YAML anchor without a value', place);
      if (typeof node.value !== 'string' && node.value !== null && node.source !== undefined)
        node.value = node.source;
    },
  });
  try {
    return document.toJS();
  } catch {
    throw fault('holds a YAML alias that cannot be followed', undefined);
  }
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
  const merged = withoutEmpty(file);
  for (const { path, flag, env: variable } of sources) {
    const fromFlag = flag === undefined ? undefined : flags[flag];
    // An empty variable counts as unset, as the AWS and Vault command lines take it.
    const ofEnv = variable === undefined ? undefined : env[variable];
    const fromEnv = isEmpty(ofEnv) ? undefined : ofEnv;
    const value = fromFlag ?? fromEnv;
    if (value !== undefined) setAt(merged, path.split('.'), value);
  }
  const faults = environmentFaults(env);
  const parsed = settingsSchema.safeParse(merged);
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      faults.push(`${nameOf(issue.path.join('.'))}: ${messageOf(issue)}`);
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

/** Not set, whoever left it so: a key without a value, a variable that a script found nothing for. */
function isEmpty(value: unknown): boolean {
  return (
    value === null || value === undefined || (typeof value === 'string' && value.trim() === '')
  );
}

/**
 * The file's settings without those that are empty. What stands in the list of organizations or in "tags" is
 * left for the validation to refuse: an empty role there could as well be meant as another payer's.
 */
function withoutEmpty(file: Record<string, unknown>, prefix = ''): Record<string, unknown> {
  const isGroup = (path: string): boolean =>
    sources.some((source) => source.path.startsWith(`${path}.`));
  const isKnown = (path: string): boolean =>
    isGroup(path) || sources.some((source) => source.path === path);
  const set = Object.entries(file).filter(
    ([key, value]) => !(isEmpty(value) && isKnown(prefix + key)),
  );
  return Object.fromEntries(
    set.map(([key, value]) => {
      const path = prefix + key;
      if (!isGroup(path) || typeof value !== 'object' || value === null || Array.isArray(value))
        return [key, structuredClone(value)];
      return [key, withoutEmpty(value as Record<string, unknown>, `${path}.`)];
    }),
  );
}

/** What is wrong with the variables that the SDK reads itself, and that its own errors do not name. */
function environmentFaults(env: NodeJS.ProcessEnv): string[] {
  const faults = proxyFaults(env);
  for (const service of ['', '_STS', '_ORGANIZATIONS', '_COST_EXPLORER', '_S3']) {
    const variable = `AWS_ENDPOINT_URL${service}`;
    const value = env[variable];
    if (!isEmpty(value) && !httpUrl.safeParse(value).success)
      faults.push(`${variable}: is no http:// or https:// address`);
  }
  const attempts = env['AWS_MAX_ATTEMPTS'];
  const read = wholeNumber(1, 100).safeParse(attempts);
  if (!isEmpty(attempts) && !read.success)
    faults.push(`AWS_MAX_ATTEMPTS: ${read.error.issues[0]?.message ?? ''}`);
  try {
    authorities(env);
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    faults.push(describeError(error));
  }
  return faults;
}

/** A key that looks like none may be a value without its colon, and so is not repeated. */
function messageOf(issue: { code: string; message: string; keys?: unknown }): string {
  if (issue.code !== 'unrecognized_keys') return issue.message;
  const keys = (Array.isArray(issue.keys) ? issue.keys : []).map((key) =>
    typeof key === 'string' && /^[A-Za-z][A-Za-z_-]*$/.test(key) ? `"${key}"` : 'a text',
  );
  return `has no such key as ${keys.join(', ')}`;
}

function databaseOf(settings: SettingValues, flags: Flags): Config['database'] {
  if (settings.database === undefined && settings.vault.suiviSecretPath !== undefined) {
    return { kind: 'suivi', path: settings.vault.suiviSecretPath };
  }
  const location = parseDatabaseUrl(settings.database ?? 'sqlite:billing.sqlite');
  if (location.kind === 'mysql') keepSecret(location.password);
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
  if (address !== undefined) {
    // Wrong ones would fail where the reader no longer sees which setting they come from.
    const attempt = <T>(path: string, read: () => T): T | undefined => {
      try {
        return read();
      } catch (error) {
        if (!(error instanceof PipelineError)) throw error;
        faults.push(`${nameOf(path)}: ${describeError(error)}`);
        return undefined;
      }
    };
    const endpoint = attempt('vault.address', () => vaultEndpoint(address));
    for (const path of ['loginPath', 'awsSecretPath', 'suiviSecretPath'] as const) {
      const text = vault[path];
      if (text !== undefined && endpoint !== undefined)
        attempt(`vault.${path}`, () => vaultPath(text, endpoint));
    }
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

/**
 * Each organization's Tag, from "tags" and from the list of organizations, and what is wrong with the
 * names in the two, each fault with its place.
 */
export function tagsOf({ tags, organizations }: Pick<SettingValues, 'tags' | 'organizations'>): {
  tags: Record<string, string>;
  faults: string[];
} {
  const all = new Map(Object.entries(tags));
  const faults = Object.keys(tags).flatMap((name) => faultOf(name, 'tags'));
  const seen = new Set<string>();
  for (const { name, tag } of organizations) {
    faults.push(...faultOf(name, 'organizations'));
    if (seen.has(name)) faults.push(`${nameOf('organizations')}: names ${name} twice`);
    seen.add(name);
    if (tag === undefined) continue;
    if (Object.hasOwn(tags, name)) {
      const places = `${nameOf('organizations')}, and ${nameOf('tags')}`;
      faults.push(`${places}: both give ${name} a tag; give it in one of them`);
    }
    all.set(name, tag);
  }
  return { tags: Object.fromEntries(all), faults };
}

/** The Tag of an organization, which may have the name of what every object inherits. */
export function tagOf(tags: Readonly<Record<string, string>>, organization: string): string {
  return (Object.hasOwn(tags, organization) ? tags[organization] : undefined) ?? 'aws';
}

function faultOf(name: string, path: 'tags' | 'organizations'): string[] {
  try {
    parseOrganizationName(name);
    return [];
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return [`${nameOf(path)}: ${describeError(error)}`];
  }
}
