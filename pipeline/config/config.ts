import { PipelineError, UsageError, describeError } from '../shared/errors.js';
import { authorities, proxyFaults } from '../shared/network.js';
import { nearest } from '../shared/nearest.js';
import { keepSecret } from '../shared/printable.js';
import type { OrganizationView, WantedScope } from '../shared/scope.js';
import { parseOrganizationName } from '../staging/layout.js';
import type { StagingOptions } from '../staging/open.js';
import type { DatabaseLocation } from './database-address.js';
import * as formats from './formats.js';
import type { Hook } from './hooks.js';
import { hooksOf } from './hooks.js';
import { fileFields } from './organization-fields.js';
import type { Setting, SettingValues } from './settings.js';
import type { QueueLocation } from './queue-address.js';
import { nameOf, settings } from './settings.js';
import { vaultEndpoint, vaultPath } from './vault-address.js';

/** What the chosen stages need, validated as one object; most settings are in it as they were declared. */
export interface Config extends Omit<SettingValues, keyof Interpreted> {
  /** Present when the run has to log in to Vault. */
  vault: VaultConfig | undefined;
  stagingOptions: StagingOptions;
  /** `secret`: the connection stands in the secret of that path in Vault. */
  database: { kind: 'url'; location: DatabaseLocation } | { kind: 'secret'; path: string };
  /** The Redis of several machines; `undefined`: this process does the work. */
  queue: { location: QueueLocation; password: string | undefined; keepDays: number } | undefined;
  /** What extract asks for, as far as it is set, see {@link scopeOf}. */
  scope: Pick<SettingValues, 'detail' | 'metrics' | 'by' | 'invoices'>;
  waitSeconds: number;
  timeoutMs: number;
  /** Who is told of the run; empty where {@link Needs} does not ask for them. */
  hooks: readonly Hook[];
  /** Also of the organizations of the configuration file. */
  tags: Readonly<Record<string, string>>;
}

type Interpreted = Pick<
  SettingValues,
  | 'vault'
  | 's3'
  | 'database'
  | 'queue'
  | 'detail'
  | 'metrics'
  | 'by'
  | 'invoices'
  | 'timeout'
  | 'wait'
  | 'notify'
  | 'tags'
>;

/** The settings of Vault, with what a login needs. */
type VaultConfig = SettingValues['vault'] & Record<'address' | 'roleId' | 'secretId', string>;

/** What the run will do, as far as it decides which settings are needed. */
export interface Needs {
  /** The organizations and how they are reached. */
  organizations: boolean;
  database: boolean;
  /** Who is told of the run, with the secrets of the environment. */
  hooks?: boolean;
}

export type Flags = Readonly<Record<string, unknown>>;

/**
 * Settles every setting, flag over environment over file over default, and validates them together.
 * @throws {UsageError} naming every setting that is wrong or missing, without repeating its value.
 */
export function resolveConfig(
  flags: Flags,
  env: NodeJS.ProcessEnv,
  file: Readonly<Record<string, unknown>>,
  needs: Needs,
): Config {
  const faults = environmentFaults(env);
  const { values, wrong } = readSettings(flags, env, file, faults);
  const { vault, s3, queue, detail, metrics, by, invoices, timeout, wait, notify, ...others } =
    values;
  if (s3.kmsKeyId !== undefined && s3.sse !== 'aws:kms' && !wrong.has('s3'))
    faults.push(`${nameOf('s3.kmsKeyId')}: goes with --s3-sse aws:kms only`);
  const config: Omit<Config, 'vault'> = {
    ...others,
    stagingOptions: { sse: s3.sse, kmsKeyId: s3.kmsKeyId, timeoutMs: timeout * 1000 },
    database: databaseOf(values, flags, faults),
    queue: queueOf(queue),
    scope: { detail, metrics, by, invoices },
    waitSeconds: wait,
    timeoutMs: timeout * 1000,
    hooks:
      needs.hooks === true
        ? hooksOf(notify, env, (path, message) =>
            faults.push(`${nameOf(`notify.${path}`)}: ${message}`),
          )
        : [],
    tags: tagsOf(values, faults),
  };
  if (typeof detail === 'object')
    for (const name of Object.keys(detail))
      attempt('detail', faults, () => parseOrganizationName(name));
  // Vault is left alone where the configuration file tells every organization.
  const asksOrganizations =
    needs.organizations && (others.organizations.length === 0 || vault.awsSecretPath !== undefined);
  const asksDatabase =
    needs.database && config.database.kind === 'secret' && !wrong.has('database');
  // What is missing of it cannot be told before what decides it is right.
  const isDecided = !wrong.has('vault') && !wrong.has('organizations');
  const login =
    isDecided && (asksOrganizations || asksDatabase)
      ? vaultOf(vault, asksOrganizations, faults)
      : undefined;
  if (faults.length > 0) throw faultsError(faults);
  return { ...config, vault: login };
}

/** Who is told of a run whose settings are wrong: the hooks of which nothing is. */
export function hooksAnyway(
  env: NodeJS.ProcessEnv,
  file: Readonly<Record<string, unknown>>,
): readonly Hook[] {
  const entries = formats.hooks.safeParse(valueAt(file, 'notify') ?? []).data ?? [];
  return hooksOf(entries, env, () => undefined);
}

/**
 * @returns the values, of a setting that is wrong its default, and those settings' first levels.
 */
function readSettings(
  flags: Flags,
  env: NodeJS.ProcessEnv,
  file: Readonly<Record<string, unknown>>,
  faults: string[],
): { values: SettingValues; wrong: ReadonlySet<string> } {
  const values = { vault: {}, s3: {}, report: {}, queue: {} };
  const wrong = new Set<string>();
  for (const [path, setting] of declared) {
    const { value } = sourceOf(path, setting, { flags, env, file });
    const schema = setting.schema(formats).optional();
    const parsed = schema.safeParse(value);
    setAt(values, path, parsed.success ? parsed.data : schema.parse(setting.default));
    if (parsed.success) continue;
    wrong.add(path.replace(/\..*/, ''));
    for (const issue of parsed.error.issues)
      faults.push(`${nameOf([path, ...issue.path].join('.'))}: ${messageOf(path, issue)}`);
  }
  faults.push(...strayKeys(file));
  return { values: values as SettingValues, wrong };
}

/** Where settings are told. */
interface Places {
  flags: Flags;
  env: NodeJS.ProcessEnv;
  file: Readonly<Record<string, unknown>>;
}

/** What is told of a setting, flag over environment over file over default, and by which of them. */
function sourceOf(
  path: string,
  { flag, env: variable, default: value }: Setting,
  { flags, env, file }: Places,
): { value: unknown; by: 'flag' | 'environment' | 'file' | 'default' } {
  if (flag !== undefined && flags[flag] !== undefined) return { value: flags[flag], by: 'flag' };
  const told = variable === undefined ? undefined : notEmpty(env[variable]);
  if (told !== undefined) return { value: told, by: 'environment' };
  const written = valueAt(file, path);
  return written === undefined ? { value, by: 'default' } : { value: written, by: 'file' };
}

/** Variables of others that are read too: by the SDK, and where connections are made. */
const foreign = /^(AWS_(?!EC2_METADATA_DISABLED|SDK_JS)\w+|HTTPS?_PROXY|NO_PROXY|ALL_PROXY)$/i;

/**
 * Which settings somebody has set, by the place that decides each, and which variables of others count beside
 * them. No value is told, since some are secret.
 */
export function settingSources(places: Places): {
  settings: Readonly<Record<'flags' | 'environment' | 'file', string[]>>;
  /** Variables that look like ours and are none. */
  unread: { variable: string; meant: string | undefined }[];
} {
  const settings = { flags: [] as string[], environment: [] as string[], file: [] as string[] };
  const names: string[] = [];
  for (const [path, setting] of declared) {
    const { flag = '', env = '' } = setting;
    if (env !== '') names.push(env);
    const { by } = sourceOf(path, setting, places);
    if (by === 'flag') settings.flags.push(`--${flag}`);
    if (by === 'environment') settings.environment.push(env);
    if (by === 'file') settings.file.push(path);
  }
  const variables = Object.keys(places.env).filter((name) => notEmpty(places.env[name]));
  const ofHooks = hookVariables(valueAt(places.file, 'notify'));
  names.push(...ofHooks);
  const others = variables.filter((name) => foreign.test(name) || ofHooks.includes(name));
  settings.environment.push(...others.sort());
  const unread = variables.filter((name) => name.startsWith('PIPELINE_') && !names.includes(name));
  return {
    settings,
    unread: unread.map((variable) => ({ variable, meant: nearest(variable, names) })),
  };
}

/** The variables that a list of hooks names, right or wrong as it is. */
function hookVariables(notify: unknown): string[] {
  const entries: readonly unknown[] = Array.isArray(notify) ? notify : [];
  return entries
    .filter(isMapping)
    .flatMap((entry) => Object.entries(entry))
    .flatMap(([key, value]) => (key.endsWith('From') && typeof value === 'string' ? [value] : []));
}

const declared: readonly (readonly [string, Setting])[] = Object.entries(settings);

/** Not set, whoever left it so: a key without a value, a variable that a script found nothing for. */
function notEmpty(value: unknown): unknown {
  return value === null || (typeof value === 'string' && value.trim() === '') ? undefined : value;
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(file: unknown, path: string): unknown {
  const value = path
    .split('.')
    .reduce<unknown>(
      (at, key) => (isMapping(at) && Object.hasOwn(at, key) ? at[key] : undefined),
      file,
    );
  return notEmpty(value);
}

function setAt(values: Record<string, object>, path: string, value: unknown): void {
  const [key = '', group = ''] = path.split('.').reverse();
  Object.assign(values[group] ?? values, { [key]: value });
}

/**
 * What the file has beside the settings. Of a setting that is there and empty nothing is said; what stands in
 * the list of organizations or in "tags" is left to their validation: an empty role there could as well be
 * meant as another payer's.
 */
function strayKeys(file: Readonly<Record<string, unknown>>, group = ''): string[] {
  const prefix = group === '' ? '' : `${group}.`;
  const faults: string[] = [];
  const unknown: string[] = [];
  for (const [key, value] of Object.entries(file)) {
    const path = prefix + key;
    const isGroup = declared.some(([own]) => own.startsWith(`${path}.`));
    // A dot is no level in the file itself.
    if (key.includes('.') || !(isGroup || declared.some(([own]) => own === path)))
      unknown.push(key);
    else if (isGroup && isMapping(value)) faults.push(...strayKeys(value, path));
    else if (isGroup && notEmpty(value) !== undefined)
      faults.push(`${nameOf(path)}: is no mapping of settings`);
  }
  const known = declared
    .filter(([own]) => own.startsWith(prefix))
    .map(([own]) => own.slice(prefix.length).replace(/\..*/, ''));
  if (unknown.length > 0) faults.push(`${nameOf(group)}: ${noSuchKeys(unknown, known)}`);
  return faults;
}

function messageOf(path: string, issue: { code: string; message: string; keys?: unknown }): string {
  if (issue.code !== 'unrecognized_keys') return issue.message;
  // The lists of mappings.
  const known: Readonly<Record<string, readonly string[]>> = {
    customers: Object.keys(formats.customerGroup.shape),
    organizations: fileFields.map(([key]) => key),
    notify: Object.keys(formats.hookEntry.shape),
  };
  return noSuchKeys(Array.isArray(issue.keys) ? issue.keys : [], known[path] ?? []);
}

/** A key that looks like none may be a value without its colon, and so is not repeated. */
function noSuchKeys(keys: readonly unknown[], known: readonly string[]): string {
  const told = keys.map((key) => {
    if (typeof key !== 'string' || !/^[A-Za-z][A-Za-z_-]*$/.test(key)) return 'a text';
    const meant = nearest(key, known);
    return meant === undefined ? `"${key}"` : `"${key}" (did you mean "${meant}"?)`;
  });
  return `has no such key as ${told.join(', ')}; it may have ${[...new Set(known)].join(', ')}`;
}

/** What is wrong with the variables that the SDK reads itself, and that its own errors do not name. */
function environmentFaults(env: NodeJS.ProcessEnv): string[] {
  const faults = proxyFaults(env);
  for (const service of ['', '_STS', '_ORGANIZATIONS', '_COST_EXPLORER', '_S3']) {
    const variable = `AWS_ENDPOINT_URL${service}`;
    const value = notEmpty(env[variable]);
    if (value !== undefined && !formats.httpUrl.safeParse(value).success)
      faults.push(`${variable}: is no http:// or https:// address`);
  }
  const attempts = formats
    .wholeNumber(1, 100)
    .optional()
    .safeParse(notEmpty(env['AWS_MAX_ATTEMPTS']));
  if (!attempts.success)
    faults.push(`AWS_MAX_ATTEMPTS: ${attempts.error.issues[0]?.message ?? ''}`);
  try {
    authorities(env);
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    faults.push(describeError(error));
  }
  return faults;
}

function databaseOf(
  { database, vault }: SettingValues,
  flags: Flags,
  faults: string[],
): Config['database'] {
  if (database === undefined && vault.suiviSecretPath !== undefined)
    return { kind: 'secret', path: vault.suiviSecretPath };
  const location = database ?? { kind: 'sqlite', file: 'billing.sqlite' };
  if (location.kind === 'mysql') {
    keepSecret(location.password);
    if (flags['database'] !== undefined && location.password !== '')
      faults.push(
        `${nameOf('database')}: a password on the command line shows in the process list; put the address into PIPELINE_DATABASE or the configuration file`,
      );
  }
  return { kind: 'url', location };
}

function queueOf({ address, password, keepDays }: SettingValues['queue']): Config['queue'] {
  if (address === undefined) return undefined;
  keepSecret(password);
  return { location: address, password, keepDays };
}

function vaultOf(
  vault: SettingValues['vault'],
  organizations: boolean,
  faults: string[],
): VaultConfig | undefined {
  const { loginPath, awsSecretPath, suiviSecretPath, roleId, secretId } = vault;
  // The script had full URLs in the paths: one of them then also tells the address.
  const address =
    vault.address ??
    [loginPath, awsSecretPath, suiviSecretPath]
      .map(originOf)
      .find((origin) => origin !== undefined);
  const needed = { address, roleId, secretId, ...(organizations ? { awsSecretPath } : {}) };
  for (const [key, value] of Object.entries(needed)) {
    if (value === undefined)
      faults.push(`${nameOf(`vault.${key}`)}: is needed to log in to Vault and not set`);
  }
  if (organizations && awsSecretPath === undefined) {
    faults.push(
      `${nameOf('organizations')}: is empty; list the organizations there, and Vault is not needed for them`,
    );
  }
  if (address !== undefined) {
    // Wrong ones would fail where the reader no longer sees which setting they come from.
    const endpoint = attempt('vault.address', faults, () => vaultEndpoint(address));
    for (const [key, path] of Object.entries({ loginPath, awsSecretPath, suiviSecretPath })) {
      if (path !== undefined && endpoint !== undefined)
        attempt(`vault.${key}`, faults, () => vaultPath(path, endpoint));
    }
  }
  if (address === undefined || roleId === undefined || secretId === undefined) return undefined;
  return { ...vault, address, roleId, secretId };
}

function originOf(path: string | undefined): string | undefined {
  return path !== undefined && /^https?:\/\//.test(path) && URL.canParse(path)
    ? new URL(path).origin
    : undefined;
}

/** Each organization's Tag, from "tags" and from the list of organizations, whose names are checked on the way. */
function tagsOf({ tags, organizations }: SettingValues, faults: string[]): Record<string, string> {
  const all = new Map(Object.entries(tags));
  for (const name of Object.keys(tags)) attempt('tags', faults, () => parseOrganizationName(name));
  const seen = new Set<string>();
  for (const { name, tag } of organizations) {
    attempt('organizations', faults, () => parseOrganizationName(name));
    if (seen.has(name)) faults.push(`${nameOf('organizations')}: names ${name} twice`);
    seen.add(name);
    if (tag === undefined) continue;
    if (Object.hasOwn(tags, name)) {
      const places = `${nameOf('organizations')}, and ${nameOf('tags')}`;
      faults.push(`${places}: both give ${name} a tag; give it in one of them`);
    }
    all.set(name, tag);
  }
  return Object.fromEntries(all);
}

/** The Tag of an organization, which may have the name of what every object inherits. */
export function tagOf(tags: Readonly<Record<string, string>>, organization: string): string {
  return (Object.hasOwn(tags, organization) ? tags[organization] : undefined) ?? 'aws';
}

/** What is asked for of an organization, but for its own part; what nobody has set is left open. */
export function scopeOf(
  { detail, metrics, by, invoices }: Config['scope'],
  organization: string,
): Omit<WantedScope, keyof OrganizationView> {
  if (typeof detail !== 'object') return { detail, metrics, by, invoices };
  const own = Object.hasOwn(detail, organization) ? detail[organization] : undefined;
  return { detail: own, metrics, by, invoices };
}

/** What a reader makes of a setting's value; its refusal is a fault of the setting. */
function attempt<T>(path: string, faults: string[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    faults.push(`${nameOf(path)}: ${describeError(error)}`);
    return undefined;
  }
}

function faultsError(faults: readonly string[]): UsageError {
  const list = faults.map((fault) => `\n  - ${fault}`).join('');
  return new UsageError(
    `${faults.length === 1 ? 'a setting is' : `${faults.length} settings are`} wrong:${list}`,
  );
}
