import type {
  GetCostAndUsageCommandInput,
  GetCostAndUsageCommandOutput,
  Group,
} from '@aws-sdk/client-cost-explorer';
import { CostExplorerClient, GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { InvoicingClient } from '@aws-sdk/client-invoicing';
import { OrganizationsClient } from '@aws-sdk/client-organizations';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import type { ExecutionContext } from 'ava';
import type { Cloud, CloudOptions } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { CloudData, DemoOrganization } from '../../fixtures/demo/data.js';
import { demoData, organizationData } from '../../fixtures/demo/data.js';
import type { Month } from '../../pipeline/shared/month.js';
import { parseMonth } from '../../pipeline/shared/month.js';

/** The SDK's own clients; without retries by default, so that a test sees each answer of the stand-in. */

export const october = parseMonth('2026-10');

/** Two small organizations with one month. */
export function smallData(months: readonly Month[] = [october]): CloudData {
  return demoData({
    seed: 'test',
    months,
    organizations: [
      { name: 'oab', accounts: 47 },
      { name: 'internal', accounts: 9 },
    ],
  });
}

/** Starts the stand-in for the length of a test. */
export async function startFor(t: ExecutionContext, options: CloudOptions): Promise<Cloud> {
  const cloud = await startCloud(options);
  t.teardown(() => cloud.close());
  return cloud;
}

export interface Keys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

const settings = (cloud: Cloud, credentials: Keys, region: string, maxAttempts: number) => ({
  region,
  endpoint: cloud.url,
  credentials,
  maxAttempts,
});

export const stsClient = (cloud: Cloud, keys: Keys, maxAttempts = 1) =>
  new STSClient(settings(cloud, keys, 'eu-west-3', maxAttempts));

export const organizationsClient = (
  cloud: Cloud,
  keys: Keys,
  region = 'us-east-1',
  maxAttempts = 1,
) => new OrganizationsClient(settings(cloud, keys, region, maxAttempts));

export const costClient = (cloud: Cloud, keys: Keys, region = 'us-east-1', maxAttempts = 1) =>
  new CostExplorerClient(settings(cloud, keys, region, maxAttempts));

export const invoicingClient = (cloud: Cloud, keys: Keys, region = 'us-east-1', maxAttempts = 1) =>
  new InvoicingClient(settings(cloud, keys, region, maxAttempts));

/** The organization's long-term keys. */
export const longTermKeys = ({ accessKeyId, secretAccessKey }: DemoOrganization): Keys => ({
  accessKeyId,
  secretAccessKey,
});

/** Temporary credentials of the organization's role. */
export async function assume(cloud: Cloud, organization: DemoOrganization): Promise<Keys> {
  const { Credentials } = await stsClient(cloud, longTermKeys(organization)).send(
    new AssumeRoleCommand({
      RoleArn: organization.roleArn,
      RoleSessionName: organization.roleSessionName,
    }),
  );
  return {
    accessKeyId: Credentials!.AccessKeyId!,
    secretAccessKey: Credentials!.SecretAccessKey!,
    sessionToken: Credentials!.SessionToken!,
  };
}

/** A Cost Explorer client with a session of the named organization. */
export async function costSession(
  cloud: Cloud,
  data: CloudData,
  organization = 'oab',
): Promise<CostExplorerClient> {
  return costClient(cloud, await assume(cloud, organizationData(data, organization)));
}

/** October's unblended cost by service and account, changed as a test needs it. */
export function costQuery(
  change: Partial<GetCostAndUsageCommandInput> = {},
): GetCostAndUsageCommandInput {
  return {
    TimePeriod: { Start: '2026-10-01', End: '2026-11-01' },
    Granularity: 'MONTHLY',
    Metrics: ['UnblendedCost'],
    GroupBy: [
      { Type: 'DIMENSION', Key: 'SERVICE' },
      { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' },
    ],
    ...change,
  };
}

/** Every page of a query. */
export async function allPages(
  client: CostExplorerClient,
  query: GetCostAndUsageCommandInput,
): Promise<GetCostAndUsageCommandOutput[]> {
  const pages: GetCostAndUsageCommandOutput[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new GetCostAndUsageCommand({
        ...query,
        ...(token === undefined ? {} : { NextPageToken: token }),
      }),
    );
    pages.push(page);
    token = page.NextPageToken;
  } while (token !== undefined);
  return pages;
}

export const groupsOf = (pages: readonly GetCostAndUsageCommandOutput[]): Group[] =>
  pages.flatMap((page) => page.ResultsByTime!.flatMap((result) => result.Groups!));

/** The error that a promise is rejected with, for its name, message and members. */
export async function refusal(
  promise: Promise<unknown>,
): Promise<Error & { $metadata?: { httpStatusCode?: number } } & Record<string, unknown>> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(outcome instanceof Error)) throw new Error('it was not refused');
  return outcome as Error & Record<string, unknown>;
}
