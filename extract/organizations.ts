import type {
  ListedOrganization,
  OrganizationValues,
  SecretField,
} from '../pipeline/config/organization-fields.js';
import {
  GOV_CLOUD,
  isGovCloud,
  region as regionFormat,
  roleFields,
  secretFields,
} from '../pipeline/config/organization-fields.js';
import type { PipelineError } from '../pipeline/shared/errors.js';
import { ConfigurationError, UsageError } from '../pipeline/shared/errors.js';
import { printable } from '../pipeline/shared/printable.js';
import { parseOrganizationName } from '../pipeline/staging/layout.js';

/** How one organization is reached, complete; beside its role's, every declared value comes along by its name. */
export interface OrganizationAccess extends Omit<
  OrganizationValues,
  'roleArn' | 'roleSessionName' | 'externalId'
> {
  name: string;
  /** Where STS is asked; its partition also tells where the other services are. */
  region: string;
  credentials: CredentialOrigin;
  /** The role to assume with them; `undefined`: the credentials ask for themselves. */
  role: AccessRole | undefined;
  /**
   * Whether Organizations is asked for the accounts; without, those that have cost are the customers, with
   * the names that Cost Explorer tells: for whoever owns a view of some accounts alone.
   */
  listAccounts: boolean;
}

/** `keys`: of the Vault secret. `chain`: a profile of the shared AWS files, or the SDK's default chain. */
export type CredentialOrigin =
  | { kind: 'keys'; accessKeyId: string; secretAccessKey: string }
  | { kind: 'chain'; profile: string | undefined };

export interface AccessRole {
  arn: string;
  sessionName: string;
  externalId: string | undefined;
}

/** An organization of the secret or the configuration file: ready, or with what it lacks. */
export type OrganizationEntry =
  { name: string; access: OrganizationAccess } | { name: string; fault: PipelineError };

const REGION = 'aws_region_name';
/** The region of STS where the configuration file and the SDK's own settings tell none. */
const USUAL_REGION = 'us-east-1';
/** The session's name, as CloudTrail shows it, where the configuration file says no other. */
const SESSION_NAME = 'aws-billing-pipeline';

const parts = secretFields.map(([part]) => part);
/** Whatever stands for the name, line breaks too: a key that is passed over would be an organization left out. */
const groupKey = new RegExp(`^aws_(.*)_(?:${parts.join('|')})$`, 's');
const keyOf = (name: string, part: string): string => `aws_${name}_${part}`;

/**
 * The organizations that the AWS secret describes, sorted by name. Their names come from the keys
 * `aws_<name>_access_key_id` and its like. Without a role the keys are used directly. A name that lacks a key
 * it needs, or has one that is empty or malformed, comes back with a fault that names the key.
 * @param where the secret's place, for errors.
 * @throws {ConfigurationError} when no organization at all can be read, or `aws_region_name` is missing.
 */
export function parseOrganizations(
  secret: Readonly<Record<string, unknown>>,
  where: string,
): OrganizationEntry[] {
  const refuse = (message: string, next: string): ConfigurationError =>
    new ConfigurationError(message, { where, next });
  const { names, twins } = namesOf(secret);
  const misspelt = [...twins, ...misspeltKeys(Object.keys(secret), names)];
  for (const { name } of misspelt) names.add(name);
  if (names.size === 0) {
    const usual = parts.slice(0, 4).map((part) => keyOf('<name>', part));
    throw refuse('the secret describes no organization', `give it the keys ${usual.join(', ')}`);
  }
  const region = textOf(secret[REGION]);
  if (region === undefined)
    throw refuse(`the secret's key ${REGION} is missing or empty`, regionFormat.write);
  if (!regionFormat.pattern.test(region))
    throw refuse(`the secret's key ${REGION} names no AWS region`, regionFormat.write);
  if (isGovCloud(region))
    throw refuse(`the secret's key ${REGION} (${region}) ${GOV_CLOUD.message}`, GOV_CLOUD.next);
  return [...names].sort().map((name) => {
    const fault = (message: string, next: string): OrganizationEntry => ({
      name,
      fault: refuse(message, next),
    });
    const slips = misspelt.filter((slip) => slip.name === name);
    if (slips.length === 0) return readGroup(secret, name, region, fault);
    const list = slips.map(({ key }) => printable(key)).join(', ');
    const renamed = slips.flatMap(({ key, meant }) =>
      meant === undefined ? [] : [`${printable(key)} to ${meant}`],
    );
    const [keys, them] =
      slips.length === 1 ? [`key ${list} is`, 'it'] : [`keys ${list} are`, 'them'];
    return fault(
      `organization ${name}: the secret's ${keys} unknown`,
      renamed.length === 0
        ? `take ${them} out of the Vault secret; an organization has ${parts.map((part) => keyOf(name, part)).join(', ')}`
        : `rename ${renamed.join(', ')} in the Vault secret, or take ${them} out`,
    );
  });
}

/** A key that no organization has. */
interface MisspeltKey {
  key: string;
  /** The organization that it belongs to. */
  name: string;
  /** The nearest key that an organization has, if it is near enough. */
  meant: string | undefined;
}

/** How far a key may be from one that an organization has, to be taken for it where nothing else tells of one. */
const SLIP = 1;

/**
 * The keys that would be passed over: of an organization that other keys name, every one that is none of its own;
 * and those that are one's own but for case, `_` and a slip. To pass over a role's key would ask with the user's
 * own rights, perhaps another payer; to pass over all keys of an organization would leave it out. A key without an
 * organization's name, such as `aws_access_key_id`, is another program's.
 */
function misspeltKeys(keys: readonly string[], names: ReadonlySet<string>): MisspeltKey[] {
  const longestFirst = [...names].sort((a, b) => b.length - a.length);
  return keys.flatMap((key): MisspeltKey[] => {
    const [, rest] = /^aws_(.*)$/is.exec(key) ?? [];
    if (rest === undefined || key === REGION || groupKey.test(key)) return [];
    if (parts.some((part) => plain(part) === plain(rest))) return [];
    const begins = (name: string): boolean => rest.toLowerCase().startsWith(name.toLowerCase());
    const owner = longestFirst.find((name) => begins(`${name}_`));
    // Between a name and its part `_` may be missing, or another sign.
    const glued = longestFirst.find(
      (name) =>
        begins(name) && parts.some((part) => plain(rest.slice(name.length)) === plain(part)),
    );
    const nearestOf = (name: string) =>
      parts
        .map((part) => {
          const said = plain(rest.slice(name.length));
          const distance = distanceOf(said, plain(part));
          return {
            name,
            meant: keyOf(name, part),
            distance,
            isNear: distance <= said.length * 0.4,
          };
        })
        .sort((a, b) => a.distance - b.distance)
        .slice(0, 1);
    // A longer name that makes a better key of it is an organization of its own: `spp_ecm` beside `spp`.
    const splits = [...rest.matchAll(/_/g)].map(({ index }) => rest.slice(0, index));
    const [nearest] = [
      ...[owner ?? [], glued ?? []].flat().flatMap(nearestOf),
      ...splits.flatMap(nearestOf).filter(({ distance }) => distance <= SLIP),
    ].sort((a, b) => a.distance - b.distance);
    if (nearest === undefined) return [];
    return [{ key, name: nearest.name, meant: nearest.isNear ? nearest.meant : undefined }];
  });
}

/**
 * The names in the keys, each with those that differ from it in case alone and have no access key of their own:
 * their keys are slips for its own.
 */
function namesOf(secret: Readonly<Record<string, unknown>>): {
  names: Set<string>;
  twins: MisspeltKey[];
} {
  const groups = Object.keys(secret).flatMap((key) => {
    const name = groupKey.exec(key)?.[1];
    return name === undefined ? [] : [{ key, name }];
  });
  const hasKey = (name: string): boolean =>
    keyOf(name, 'access_key_id') in secret || keyOf(name, 'secret_access_key') in secret;
  const known = [...new Set(groups.map(({ name }) => name))];
  const twinOf = (name: string): string | undefined =>
    hasKey(name)
      ? undefined
      : known.find((one) => hasKey(one) && one.toLowerCase() === name.toLowerCase());
  const twins = groups.flatMap(({ key, name }): MisspeltKey[] => {
    const twin = twinOf(name);
    if (twin === undefined) return [];
    return [{ key, name: twin, meant: keyOf(twin, key.slice(keyOf(name, '').length)) }];
  });
  return { names: new Set(known.filter((name) => twinOf(name) === undefined)), twins };
}

/** A part of a key without what people write this way and that: `role_ARN` is `rolearn`. */
function plain(part: string): string {
  return part.replaceAll(/[^a-z0-9]/gi, '').toLowerCase();
}

/**
 * How many letters have to be taken out of a text or changed to make another one of it (Levenshtein); one that has
 * to be put in counts half, since people shorten: `secret_key`.
 */
function distanceOf(said: string, meant: string): number {
  let row = Array.from({ length: meant.length + 1 }, (_, index) => index / 2);
  for (let i = 0; i < said.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < meant.length; j++) {
      const changed = (row[j] ?? 0) + (said[i] === meant[j] ? 0 : 1);
      next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 0.5));
    }
    row = next;
  }
  return row[meant.length] ?? 0;
}

function readGroup(
  secret: Readonly<Record<string, unknown>>,
  name: string,
  region: string,
  fault: (message: string, next: string) => OrganizationEntry,
): OrganizationEntry {
  try {
    parseOrganizationName(name);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return fault(
      `of the secret's keys, ${error.message}`,
      `rename the keys aws_<name>_…: ${error.next ?? ''}`,
    );
  }
  const texts = new Map(parts.map((part) => [part, textOf(secret[keyOf(name, part)])]));
  const given = parts.filter((part) => keyOf(name, part) in secret);
  const ofRole = given.filter((part) => roleFields.includes(part));
  const needed = new Set<SecretField>([
    'access_key_id',
    'secret_access_key',
    ...(ofRole.length > 0 ? (['roleArn', 'roleSessionName'] as const) : []),
    ...given,
  ]);
  const missing = parts.filter((part) => needed.has(part) && texts.get(part) === undefined);
  if (missing.length > 0) {
    const keys = missing.map((part) => keyOf(name, part)).join(', ');
    const without = missing.includes('roleArn')
      ? `; without a role the keys are used directly: then leave out ${ofRole.map((part) => keyOf(name, part)).join(', ')}`
      : '';
    const [key, are] = missing.length === 1 ? ['key', 'is'] : ['keys', 'are'];
    return fault(
      `organization ${name}: the secret's ${key} ${keys} ${are} missing or empty`,
      `add them to the Vault secret${without}`,
    );
  }
  for (const [part, { pattern, write = '' }] of secretFields) {
    const value = texts.get(part);
    if (value !== undefined && pattern?.test(value) === false)
      return fault(
        `organization ${name}: the secret's key ${keyOf(name, part)} is malformed`,
        write,
      );
  }
  if (isGovCloud(texts.get('roleArn') ?? '')) {
    const key = keyOf(name, 'roleArn');
    return fault(
      `organization ${name}: the secret's key ${key} ${GOV_CLOUD.message}`,
      GOV_CLOUD.next,
    );
  }
  const { access_key_id, secret_access_key, ...values } = Object.fromEntries(
    secretFields.map(([part, { type }]) => {
      const value = texts.get(part);
      return [part, type === 'boolean' && value !== undefined ? value === 'true' : value];
    }),
  ) as OrganizationValues & { access_key_id: string; secret_access_key: string };
  const credentials = {
    kind: 'keys',
    accessKeyId: access_key_id,
    secretAccessKey: secret_access_key,
  } as const;
  return { name, access: accessOf({ name, region, credentials }, values) };
}

/** A key's text without the white space that pasting leaves around it; `undefined` when there is none. */
function textOf(value: unknown): string | undefined {
  const text =
    typeof value === 'boolean' ? String(value) : typeof value === 'string' ? value.trim() : '';
  return text === '' ? undefined : text;
}

/**
 * How the organizations of the configuration file are reached, sorted by name. A region that it does not tell
 * is AWS_REGION, else the profile's, else us-east-1. No credentials are asked for.
 */
export async function listedOrganizations(
  list: readonly ListedOrganization[],
): Promise<OrganizationEntry[]> {
  const entries = await Promise.all(list.map(entryOf));
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function entryOf({ name, ...listed }: ListedOrganization): Promise<OrganizationEntry> {
  const { profile = process.env['AWS_PROFILE'] || undefined, region: own, ...values } = listed;
  const region = own ?? ((await sdkRegion(profile)) || USUAL_REGION);
  const fault = (message: string, next: string): OrganizationEntry => ({
    name,
    fault: new ConfigurationError(`organization ${name}: ${message}`, { next }),
  });
  if (!regionFormat.pattern.test(region))
    return fault(
      "AWS_REGION or its profile's region names no AWS region",
      `give ${name} a "region" under "organizations" in the configuration file`,
    );
  const gov = [region, listed.roleArn].find((of) => of !== undefined && isGovCloud(of));
  if (gov !== undefined) return fault(`${gov} ${GOV_CLOUD.message}`, GOV_CLOUD.next);
  const credentials = { kind: 'chain', profile } as const;
  return { name, access: accessOf({ name, region, credentials }, values) };
}

function accessOf(
  way: Pick<OrganizationAccess, 'name' | 'region' | 'credentials'>,
  values: OrganizationValues,
): OrganizationAccess {
  const {
    roleArn: arn,
    roleSessionName: sessionName = SESSION_NAME,
    externalId,
    listAccounts = true,
    ...further
  } = values;
  const role = arn === undefined ? undefined : { arn, sessionName, externalId };
  return { ...way, ...further, role, listAccounts };
}

/** The region by the SDK's own rules: AWS_REGION, else the profile's; '' when neither tells one. */
async function sdkRegion(profile: string | undefined): Promise<string> {
  const { STSClient } = await import('@aws-sdk/client-sts');
  const client = new STSClient(profile === undefined ? {} : { profile });
  try {
    return await client.config.region();
  } catch {
    return '';
  } finally {
    client.destroy();
  }
}
