import { CostExplorerClient, GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { timePeriod } from '../../pipeline/shared/month.js';
import { metrics, month } from './month.js';

/**
 * `node peer-fetch.js chain|script ORGANIZATION…`: the bare requests, one after the other, with the SDK's
 * clients; nothing is written. `chain` asks only for what each next request needs: Vault's login and
 * secret, the role, the pages of cost. `script` does the replaced script's work: the accounts too, and
 * one organization after the other. Prints the number of groups.
 */
const [mode, ...organizations] = process.argv.slice(2);
const env = (name: string): string => process.env[name] ?? '';

async function vault(path: string, token: string, body?: object): Promise<VaultAnswer> {
  const answer = await fetch(`${env('VAULT_ADDR')}/v1/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'x-vault-token': token },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`Vault answers ${answer.status}`);
  return (await answer.json()) as VaultAnswer;
}
interface VaultAnswer {
  auth: { client_token: string };
  data: { data: Record<string, string> };
}

const credentials = { role_id: env('VAULT_ROLE_ID'), secret_id: env('VAULT_SECRET_ID') };
const { auth } = await vault('auth/approle/login', '', credentials);
const { data: secret } = (await vault(env('VAULT_AWS_SECRET_PATH'), auth.client_token)).data;

let groups = 0;
for (const organization of organizations) {
  const of = (key: string): string => secret[`aws_${organization}_${key}`] ?? '';
  const sts = new STSClient({
    region: secret['aws_region_name'] ?? '',
    credentials: {
      accessKeyId: of('access_key_id'),
      secretAccessKey: of('secret_access_key'),
    },
  });
  const role = { RoleArn: of('roleArn'), RoleSessionName: of('roleSessionName') };
  const { Credentials } = await sts.send(new AssumeRoleCommand(role));
  const settings = {
    region: 'us-east-1',
    credentials: {
      accessKeyId: Credentials?.AccessKeyId ?? '',
      secretAccessKey: Credentials?.SecretAccessKey ?? '',
      sessionToken: Credentials?.SessionToken ?? '',
    },
  };
  if (mode === 'script') {
    const { OrganizationsClient, paginateListAccounts } =
      await import('@aws-sdk/client-organizations');
    const client = new OrganizationsClient(settings);
    for await (const { Accounts } of paginateListAccounts({ client }, {}))
      if (Accounts === undefined) throw new Error('a page of accounts is missing');
  }
  const costExplorer = new CostExplorerClient(settings);
  let token: string | undefined;
  do {
    const answer = await costExplorer.send(
      new GetCostAndUsageCommand({
        TimePeriod: timePeriod(month),
        Granularity: 'MONTHLY',
        Metrics: [...metrics],
        GroupBy: [
          { Type: 'DIMENSION', Key: 'SERVICE' },
          { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' },
        ],
        ...(token === undefined ? {} : { NextPageToken: token }),
      }),
    );
    for (const result of answer.ResultsByTime ?? []) groups += result.Groups?.length ?? 0;
    token = answer.NextPageToken;
  } while (token !== undefined);
}
process.stdout.write(String(groups));
process.exit();
