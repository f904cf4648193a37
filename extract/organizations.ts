import type { PipelineError } from '../pipeline/errors.js';
import { ConfigurationError } from '../pipeline/errors.js';
import { parseOrganizationName } from '../pipeline/staging/layout.js';

/** What the secret says about one organization, complete. */
export interface OrganizationAccess {
  name: string;
  accessKeyId: string;
  secretAccessKey: string;
  roleArn: string;
  roleSessionName: string;
  /** The secret's own region: where STS is asked. */
  region: string;
  billingViewArn?: string | undefined;
}

/** An organization of the secret: ready, or with what its keys lack. */
export type OrganizationEntry =
  { name: string; access: OrganizationAccess } | { name: string; fault: PipelineError };

const REGION = 'aws_region_name';
const parts = ['access_key_id', 'secret_access_key', 'roleArn', 'roleSessionName'] as const;
type Part = (typeof parts)[number];

const groupKey = /^aws_(.+)_(?:access_key_id|secret_access_key|roleArn|roleSessionName)$/;
const keyOf = (name: string, part: Part): string => `aws_${name}_${part}`;

/** Formats by AWS STS API reference, AssumeRole: RoleArn and RoleSessionName. */
const formats: Partial<Record<Part, RegExp>> = {
  roleArn: /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/,
  roleSessionName: /^[\w+=,.@-]{2,64}$/,
};

/**
 * The organizations that the AWS secret describes, sorted by name. Their names come from the keys
 * `aws_<name>_access_key_id`, `_secret_access_key`, `_roleArn` and `_roleSessionName`; a name that has
 * only some of the four comes back with a fault that names the missing keys.
 * @param where the secret's place, for errors.
 * @throws {ConfigurationError} when no organization at all can be read, or `aws_region_name` is missing.
 */
export function parseOrganizations(
  secret: Readonly<Record<string, unknown>>,
  where: string,
): OrganizationEntry[] {
  const names = new Set(Object.keys(secret).flatMap((key) => groupKey.exec(key)?.[1] ?? []));
  if (names.size === 0) {
    throw new ConfigurationError('the secret describes no organization', {
      where,
      next: `give it the keys ${parts.map((part) => keyOf('<name>', part)).join(', ')}`,
    });
  }
  const region = textOf(secret[REGION]);
  if (region === undefined || !/^[a-z]{2}(-[a-z]+)+-\d+$/.test(region)) {
    throw new ConfigurationError(
      region === undefined
        ? `the secret's key ${REGION} is missing or empty`
        : `the secret's key ${REGION} names no AWS region`,
      { where, next: 'set it, for example to eu-west-1' },
    );
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
  } catch {
    return fault(
      `the secret's keys name an organization "${name.slice(0, 80)}"`,
      'rename the keys: a name has 1 to 64 letters, digits, "_" and "-"',
    );
  }
  const values = new Map<Part, string>();
  for (const part of parts) {
    const text = textOf(secret[keyOf(name, part)]);
    if (text !== undefined) values.set(part, text);
  }
  const missing = parts.filter((part) => !values.has(part)).map((part) => keyOf(name, part));
  if (missing.length > 0) {
    return fault(
      `organization ${name}: the secret's ${missing.length === 1 ? 'key' : 'keys'} ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} missing or empty`,
      'add them to the Vault secret',
    );
  }
  const value = (part: Part): string => values.get(part) ?? '';
  const malformed = parts.find((part) => formats[part]?.test(value(part)) === false);
  if (malformed !== undefined) {
    return fault(
      `organization ${name}: the secret's key ${keyOf(name, malformed)} is malformed`,
      malformed === 'roleArn'
        ? 'write it as arn:aws:iam::123456789012:role/name'
        : 'use 2 to 64 letters, digits and the characters _ + = , . @ -',
    );
  }
  return {
    name,
    access: {
      name,
      accessKeyId: value('access_key_id'),
      secretAccessKey: value('secret_access_key'),
      roleArn: value('roleArn'),
      roleSessionName: value('roleSessionName'),
      region,
    },
  };
}

/** A key's text without the white space that pasting leaves around it; `undefined` when there is none. */
function textOf(value: unknown): string | undefined {
  const text = typeof value === 'string' ? value.trim() : '';
  return text === '' ? undefined : text;
}
