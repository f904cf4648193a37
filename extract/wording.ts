import type { OrganizationAccess } from './organizations.js';

/** How errors and `check` speak of an organization's access. Nothing here repeats a secret. */

/** The credentials that an organization begins with. */
export function credentialsOf({ credentials }: OrganizationAccess): string {
  if (credentials.kind === 'keys') return 'the access key';
  return credentials.profile === undefined
    ? 'the default AWS credentials'
    : `the AWS profile ${credentials.profile}`;
}

/** Who asks Organizations and Cost Explorer: the role, or else the credentials themselves. */
export function askerOf(access: OrganizationAccess): string {
  return access.role?.arn ?? credentialsOf(access);
}

/** Whom a right has to be given to. */
export function granteeOf({ name, credentials, role }: OrganizationAccess): string {
  if (role !== undefined) return 'the role';
  if (credentials.kind === 'keys') return `the user of aws_${name}_access_key_id`;
  return credentials.profile === undefined
    ? 'the user or role of these credentials'
    : "the profile's user or role";
}

/** Where a value of the access is set. */
export function settingOf(
  { name, credentials }: OrganizationAccess,
  part: 'roleArn' | 'externalId' | 'billingViewArn' | 'listAccounts' | 'region',
): string {
  if (credentials.kind === 'chain')
    return `${part} of ${name} under "organizations" in the configuration file`;
  return `${part === 'region' ? 'aws_region_name' : `aws_${name}_${part}`} in the Vault secret`;
}

/** How credentials that have run out are renewed. */
export function renewalOf({ name, credentials }: OrganizationAccess): string {
  if (credentials.kind === 'keys')
    return `put keys that do not expire into aws_${name}_access_key_id and aws_${name}_secret_access_key in the Vault secret`;
  return credentials.profile === undefined
    ? 'renew them, for example with "aws sso login" or a fresh AWS_SESSION_TOKEN, then run the same command again'
    : `run "aws sso login --profile ${credentials.profile}", or renew them where they come from, then run the same command again`;
}
