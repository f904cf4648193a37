import { ConfigurationError } from '../pipeline/errors.js';
import * as formats from './formats.js';
import type { OrganizationEntry } from './organizations.js';

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
const REGION = 'us-east-1';

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
  const region = listed.region ?? ((await sdkRegion(profile)) || REGION);
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
