import * as formats from '../pipeline/config/formats.js';
import type { PipelineError } from '../pipeline/shared/errors.js';
import { ConfigurationError, UsageError } from '../pipeline/shared/errors.js';
import { parseOrganizationName } from '../pipeline/staging/layout.js';

/** How one organization is reached, complete. */
export interface OrganizationAccess {
  name: string;
  /** Where STS is asked; its partition also tells where the other services are. */
  region: string;
  credentials: CredentialOrigin;
  /** The role to assume with them; `undefined`: the credentials ask for themselves. */
  role: AccessRole | undefined;
  /** The billing view whose cost is asked for; `undefined`: the account's own, the primary one. */
  billingViewArn: string | undefined;
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
const parts = [
  'access_key_id',
  'secret_access_key',
  'roleArn',
  'roleSessionName',
  'externalId',
  'billingViewArn',
  'listAccounts',
] as const;
type Part = (typeof parts)[number];

/** Together, or not at all: one of them alone is more likely a slip than a wish to do without the role. */
const ofRole = ['roleArn', 'roleSessionName', 'externalId'] as const;

/** Whatever stands for the name, line breaks too: a key that is passed over would be an organization left out. */
const groupKey = new RegExp(`^aws_(.*)_(?:${parts.join('|')})$`, 's');
const keyOf = (name: string, part: Part): string => `aws_${name}_${part}`;

/**
 * The organizations that the AWS secret describes, sorted by name. Their names come from the keys
 * `aws_<name>_access_key_id`, `_secret_access_key`, `_roleArn`, `_roleSessionName`, `_externalId`,
 * `_billingViewArn` and `_listAccounts`. Without a role the keys are used directly. A name that lacks a key it needs, or has
 * one that is empty or malformed, comes back with a fault that names the key.
 * @param where the secret's place, for errors.
 * @throws {ConfigurationError} when no organization at all can be read, or `aws_region_name` is missing.
 */
export function parseOrganizations(
  secret: Readonly<Record<string, unknown>>,
  where: string,
): OrganizationEntry[] {
  const names = new Set(Object.keys(secret).flatMap((key) => groupKey.exec(key)?.[1] ?? []));
  if (names.size === 0) {
    const usual = parts.slice(0, 4).map((part) => keyOf('<name>', part));
    throw new ConfigurationError('the secret describes no organization', {
      where,
      next: `give it the keys ${usual.join(', ')}`,
    });
  }
  const region = textOf(secret[REGION]);
  if (region === undefined || !formats.region.pattern.test(region)) {
    throw new ConfigurationError(
      region === undefined
        ? `the secret's key ${REGION} is missing or empty`
        : `the secret's key ${REGION} names no AWS region`,
      { where, next: formats.region.write },
    );
  }
  if (formats.isGovCloud(region)) {
    const { message, next } = formats.GOV_CLOUD;
    throw new ConfigurationError(`the secret's key ${REGION} (${region}) ${message}`, {
      where,
      next,
    });
  }
  return [...names].sort().map((name) => readGroup(secret, name, region, where));
}

function readGroup(
  secret: Readonly<Record<string, unknown>>,
  name: string,
  region: string,
  where: string,
): OrganizationEntry {
  const fault = (message: string, next: string): OrganizationEntry => ({
    name,
    fault: new ConfigurationError(message, { where, next }),
  });
  try {
    parseOrganizationName(name);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return fault(
      `of the secret's keys, ${error.message}`,
      `rename the keys aws_<name>_…: ${error.next ?? ''}`,
    );
  }
  const given = parts.filter((part) => keyOf(name, part) in secret);
  const values = new Map<Part, string>();
  for (const part of given) {
    const text = textOf(secret[keyOf(name, part)]);
    if (text !== undefined) values.set(part, text);
  }
  const roleParts = ofRole.filter((part) => given.includes(part));
  const needed = new Set<Part>([
    'access_key_id',
    'secret_access_key',
    ...(roleParts.length > 0 ? (['roleArn', 'roleSessionName'] as const) : []),
    ...given,
  ]);
  const missing = parts.filter((part) => needed.has(part) && !values.has(part));
  if (missing.length > 0) {
    const keys = missing.map((part) => keyOf(name, part)).join(', ');
    const without = missing.includes('roleArn')
      ? `; without a role the keys are used directly: then leave out ${roleParts.map((part) => keyOf(name, part)).join(', ')}`
      : '';
    return fault(
      `organization ${name}: the secret's ${missing.length === 1 ? 'key' : 'keys'} ${keys} ${missing.length === 1 ? 'is' : 'are'} missing or empty`,
      `add them to the Vault secret${without}`,
    );
  }
  for (const part of parts) {
    const value = values.get(part);
    const format = formatOf(part);
    if (value !== undefined && !format.pattern.test(value))
      return fault(
        `organization ${name}: the secret's key ${keyOf(name, part)} is malformed`,
        format.write,
      );
  }
  const arn = values.get('roleArn');
  if (arn !== undefined && formats.isGovCloud(arn)) {
    const { message, next } = formats.GOV_CLOUD;
    return fault(
      `organization ${name}: the secret's key ${keyOf(name, 'roleArn')} ${message}`,
      next,
    );
  }
  const value = (part: Part): string => values.get(part) ?? '';
  return {
    name,
    access: {
      name,
      region,
      credentials: {
        kind: 'keys',
        accessKeyId: value('access_key_id'),
        secretAccessKey: value('secret_access_key'),
      },
      role:
        arn === undefined
          ? undefined
          : { arn, sessionName: value('roleSessionName'), externalId: values.get('externalId') },
      billingViewArn: values.get('billingViewArn'),
      listAccounts: values.get('listAccounts') !== 'false',
    },
  };
}

function formatOf(part: Part): formats.Format {
  return part === 'access_key_id' || part === 'secret_access_key'
    ? formats.accessKey
    : formats[part];
}

/** A key's text without the white space that pasting leaves around it; `undefined` when there is none. */
function textOf(value: unknown): string | undefined {
  const text =
    typeof value === 'boolean' ? String(value) : typeof value === 'string' ? value.trim() : '';
  return text === '' ? undefined : text;
}

/** An organization as the configuration file lists it, each value well-formed. */
export interface ListedOrganization {
  name: string;
  /** Without it the credentials ask for themselves. */
  roleArn?: string | undefined;
  roleSessionName?: string | undefined;
  externalId?: string | undefined;
  /** A profile of the shared AWS files; without it AWS_PROFILE, else the SDK's default chain. */
  profile?: string | undefined;
  region?: string | undefined;
  billingViewArn?: string | undefined;
  /** See {@link OrganizationAccess.listAccounts}; without it, true. */
  listAccounts?: boolean | undefined;
}

/** The session's name, as CloudTrail shows it, where the list says no other. */
const SESSION_NAME = 'aws-billing-pipeline';
const ListedOrganizationsREGION = 'us-east-1';

/**
 * How the listed organizations are reached, sorted by name. A region that the list does not tell is
 * AWS_REGION, else the profile's, else us-east-1. No credentials are asked for.
 */
export async function listedOrganizations(
  list: readonly ListedOrganization[],
): Promise<OrganizationEntry[]> {
  const entries = await Promise.all(list.map(entryOf));
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function entryOf({ name, ...listed }: ListedOrganization): Promise<OrganizationEntry> {
  const profile = listed.profile ?? (process.env['AWS_PROFILE'] || undefined);
  const region = listed.region ?? ((await sdkRegion(profile)) || ListedOrganizationsREGION);
  if (!formats.region.pattern.test(region)) {
    const fault = new ConfigurationError(
      `organization ${name}: AWS_REGION or its profile's region names no AWS region`,
      { next: `give ${name} a "region" under "organizations" in the configuration file` },
    );
    return { name, fault };
  }
  const gov = [region, listed.roleArn].find((of) => of !== undefined && formats.isGovCloud(of));
  if (gov !== undefined) {
    const { message, next } = formats.GOV_CLOUD;
    return {
      name,
      fault: new ConfigurationError(`organization ${name}: ${gov} ${message}`, { next }),
    };
  }
  const { roleArn: arn, roleSessionName: sessionName = SESSION_NAME, externalId } = listed;
  return {
    name,
    access: {
      name,
      region,
      credentials: { kind: 'chain', profile },
      role: arn === undefined ? undefined : { arn, sessionName, externalId },
      billingViewArn: listed.billingViewArn,
      listAccounts: listed.listAccounts ?? true,
    },
  };
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
