import assert from 'node:assert/strict';
import { join } from 'node:path';
import {
  CloseAccountCommand,
  CreateAccountCommand,
  CreateOrganizationCommand,
  OrganizationsClient,
} from '@aws-sdk/client-organizations';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { demoData } from '../../fixtures/demo/data.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { querySqlite } from '../support/sqlite.js';
import type { World } from '../support/world.js';
import { month, world } from '../support/world.js';
import { startMoto } from './moto.js';
import type { Attempt, Trial } from './trial.js';
import { trial } from './trial.js';

/**
 * STS, Organizations and Cost Explorer as moto has them, seen by the SDK's clients. Its organization is made here; its Cost
 * Explorer says what it was told to, one answer after the other.
 */

const PAYER = '111122223333';
const roleArn = `arn:aws:iam::${PAYER}:role/billing-read`;
const region = 'us-east-1';
const key = { accessKeyId: 'AKIAREALSERVERS00000', secretAccessKey: 'not-a-secret-at-all' };

/** More than a page of ListAccounts. */
const ACCOUNTS = 23;

interface Account {
  id: string;
  name: string;
  /** Of its cost, in USD. */
  amount: string;
}

/** Makes an organization of many accounts, the last one closed, by the credentials of the payer's role. */
async function makeOrganization(endpoint: string): Promise<Account[]> {
  const sts = new STSClient({ endpoint, region, credentials: key });
  const { Credentials } = await sts.send(
    new AssumeRoleCommand({ RoleArn: roleArn, RoleSessionName: 'setting-up' }),
  );
  assert.ok(Credentials?.AccessKeyId !== undefined && Credentials.SecretAccessKey !== undefined);
  const organizations = new OrganizationsClient({
    endpoint,
    region,
    credentials: {
      accessKeyId: Credentials.AccessKeyId,
      secretAccessKey: Credentials.SecretAccessKey,
      sessionToken: Credentials.SessionToken ?? '',
    },
  });
  await organizations.send(new CreateOrganizationCommand({ FeatureSet: 'ALL' }));
  const accounts: Account[] = [{ id: PAYER, name: 'master', amount: '0.0000000001' }];
  for (let number = 1; number <= ACCOUNTS; number += 1) {
    const name = `Kunde ${number} <"&'> 漢`;
    const { CreateAccountStatus } = await organizations.send(
      new CreateAccountCommand({ AccountName: name, Email: `aws+${number}@example.com` }),
    );
    const id = CreateAccountStatus?.AccountId ?? '';
    const fraction = String(number * 987_654_321).padStart(10, '0');
    accounts.push({
      id,
      name,
      amount: `${number % 5 === 0 ? '-' : ''}${number}.${fraction.slice(-10)}`,
    });
  }
  await organizations.send(new CloseAccountCommand({ AccountId: accounts.at(-1)?.id }));
  sts.destroy();
  organizations.destroy();
  return accounts;
}

const sum = (accounts: readonly Account[]): string =>
  formatAmount(accounts.reduce((total, { amount }) => total + parseAmount(amount).units, 0n));

/** Has Cost Explorer answer two pages of groups, and then the month's total. */
async function setCost(endpoint: string, accounts: readonly Account[]): Promise<void> {
  const period = { TimePeriod: { Start: '2026-10-01', End: '2026-11-01' }, Estimated: false };
  const page = (some: readonly Account[]) => ({
    GroupDefinitions: ['SERVICE', 'LINKED_ACCOUNT'].map((Key) => ({ Type: 'DIMENSION', Key })),
    ResultsByTime: [
      {
        ...period,
        Total: {},
        Groups: some.map(({ id, amount }) => ({
          Keys: ['Amazon Elastic Compute Cloud - Compute', id],
          Metrics: { UnblendedCost: { Amount: amount, Unit: 'USD' } },
        })),
      },
    ],
    DimensionValueAttributes: some.map(({ id, name }) => ({
      Value: id,
      Attributes: { description: name },
    })),
  });
  const total = { UnblendedCost: { Amount: sum(accounts), Unit: 'USD' } };
  const results = [
    { ...page(accounts.slice(0, 15)), NextPageToken: 'the-second-page' },
    page(accounts.slice(15)),
    { ResultsByTime: [{ ...period, Total: total, Groups: [] }], DimensionValueAttributes: [] },
  ];
  const { status } = await fetch(`${endpoint}/moto-api/static/ce/cost-and-usage-results`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ account_id: PAYER, results }),
  });
  assert.equal(status, 201);
}

async function awsTrial(t: Attempt): Promise<void> {
  const endpoint = await startMoto(t);
  const accounts = await makeOrganization(endpoint);
  await setCost(endpoint, accounts);
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 1 }] });
  data.secret = {
    aws_region_name: 'eu-west-3',
    aws_oab_access_key_id: key.accessKeyId,
    aws_oab_secret_access_key: key.secretAccessKey,
    aws_oab_roleArn: roleArn,
    aws_oab_roleSessionName: 'billing-oab',
  };
  const ends: (() => Promise<void>)[] = [];
  t.teardown(async () => {
    for (const end of ends.reverse()) await end();
  });
  const made = await world({ teardown: (end) => void ends.push(end) }, { data });
  const on: World['run'] = (...args) => made.runWith({ AWS_ENDPOINT_URL: endpoint }, ...args);
  const query = (sql: string) => querySqlite(join(made.folder, 'billing.sqlite'), sql);

  await t.holds('AssumeRole and ListAccounts, as `pipeline check` asks them', async () => {
    const { code, stdout, stderr } = await on('check');
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, new RegExp(`^ok +oab: AssumeRole +${roleArn}`, 'm'));
    assert.match(stdout, /^ok +oab: ListAccounts +allowed/m);
  });

  await t.holds(
    `a month of ${accounts.length} accounts, by pages of ListAccounts and GetCostAndUsage, exactly`,
    async () => {
      const { code, stdout, stderr } = await on('run', '--month', month);
      assert.equal(code, 0, stdout + stderr);
      const customers = query('SELECT Reference, TenantName, Status FROM customers ORDER BY 1');
      const closed = accounts.at(-1)?.id;
      assert.deepEqual(
        customers,
        accounts
          .map(({ id, name }) => ({
            Reference: id,
            TenantName: name,
            Status: id === closed ? 'suspended' : 'active',
          }))
          .sort((a, b) => (a.Reference < b.Reference ? -1 : 1)),
      );
      const rows = query('SELECT Reference, Amount FROM consumption ORDER BY 1');
      assert.deepEqual(
        rows.map(({ Reference, Amount }) => [Reference, parseAmount(String(Amount)).units]),
        accounts
          .map(({ id, amount }) => [id, parseAmount(amount).units])
          .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
      );
      assert.equal((await on('reconcile', '--month', month)).code, 0);
      const again = await on('run', '--month', month);
      assert.match(again.stdout, /unchanged/);
    },
  );

  await t.holds('a month of which Cost Explorer has no results is one without cost', async () => {
    const { code, stdout, stderr } = await on('run', '--month', '2026-09');
    assert.equal(code, 0, stdout + stderr);
    assert.deepEqual(query("SELECT * FROM consumption WHERE BillingPeriod LIKE '2026-09%'"), []);
    assert.equal(
      query("SELECT * FROM customers WHERE BillingPeriod LIKE '2026-09%'").length,
      accounts.length,
    );
  });
}

export const awsTrials: readonly Trial[] = [
  trial('moto (STS, Organizations, Cost Explorer)', awsTrial),
];
