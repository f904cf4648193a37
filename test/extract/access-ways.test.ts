import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { openOrganization, probeAccess } from '../../extract/organization-source.js';
import type { ListedOrganization } from '../../pipeline/config/organization-fields.js';
import { listedOrganizations } from '../../extract/organizations.js';
import type { DemoOrganization } from '../../fixtures/demo/data.js';
import { organizationData } from '../../fixtures/demo/data.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { ConfigurationError, TransientError, describeError } from '../../pipeline/shared/errors.js';
import { assume } from '../support/aws-clients.js';
import type { AwsFiles } from '../support/aws-files.js';
import { awsFiles, keysSection } from '../support/aws-files.js';
import type { Bench } from '../support/extract.js';
import { bench, data as demo, setEnvironment } from '../support/extract.js';

const signal = new AbortController().signal;

/** A stand-in cloud, and a user's shared AWS files, of which a test says what stands in them. */
interface Ways extends Bench {
  oab: DemoOrganization;
  files: AwsFiles;
  /** Runs the extract stage of `oab`, listed like this. */
  runListed: (listed: Omit<ListedOrganization, 'name'>) => ReturnType<Bench['run']>;
  /** The failure of such a run, in one line; it holds no secret. */
  failure: (
    run: Promise<unknown>,
    kind?: typeof ConfigurationError | typeof TransientError,
  ) => Promise<string>;
}

async function ways(t: ExecutionContext): Promise<Ways> {
  const data = structuredClone(demo);
  const given = await bench(t, { data });
  const files = await awsFiles(t);
  setEnvironment(t, files.ownEnvironment);
  return {
    ...given,
    files,
    oab: organizationData(data, 'oab'),
    async runListed(listed) {
      const [entry] = await listedOrganizations([{ name: 'oab', ...listed }]);
      if (entry === undefined || 'fault' in entry) throw new Error('no access');
      const source = openOrganization(entry.access, { log: given.log });
      t.teardown(() => {
        source.close();
      });
      return given.run({ source: () => Promise.resolve(source) });
    },
    async failure(run, kind = ConfigurationError) {
      const text = describeError(await t.throwsAsync(run, { instanceOf: kind }));
      const secrets = [...data.organizations, data.operator].map((one) => one.secretAccessKey);
      t.false(secrets.some((secret) => text.includes(secret)));
      return text;
    },
  };
}

test.serial('an external id goes to AssumeRole; a wrong or missing one is told', async (t) => {
  const { run, data, oab, requests, failure } = await ways(t);
  oab.externalId = 'partner-42';
  t.regex(
    await failure(run()),
    /may not assume .*; if that policy asks for an external id, set aws_oab_externalId in the Vault/,
  );
  data.secret['aws_oab_externalId'] = 'partner-43';
  const wrong = await failure(run());
  t.regex(wrong, /the policy may ask for another external id than aws_oab_externalId in the Vault/);
  t.notRegex(wrong, /partner/);
  data.secret['aws_oab_externalId'] = 'partner-42';
  t.is((await run()).state, 'done');
  t.like(requests('AssumeRole').at(-1), { ok: true, input: { ExternalId: 'partner-42' } });
});

test.serial('keys without a role ask themselves', async (t) => {
  const { run, data, oab, requests, failure } = await ways(t);
  for (const part of ['roleArn', 'roleSessionName'])
    Reflect.deleteProperty(data.secret, `aws_oab_${part}`);
  t.regex(
    await failure(run()),
    /the access key may not list the accounts: .*; allow the user of aws_oab_access_key_id organizations:ListAccounts, or set aws_oab_roleArn in the Vault secret/,
  );
  oab.directAccess = true;
  t.is((await run()).state, 'done');
  t.deepEqual(requests('AssumeRole'), []);
  t.true(requests('GetCostAndUsage').every(({ accessKeyId }) => accessKeyId === oab.accessKeyId));
});

test.serial('keys without a role and without a list of accounts ask whose they are', async (t) => {
  const { run, data, oab, requests } = await ways(t);
  for (const part of ['roleArn', 'roleSessionName'])
    Reflect.deleteProperty(data.secret, `aws_oab_${part}`);
  oab.directAccess = true;
  const scope = { ...plainScope, invoices: true, listAccounts: false };
  t.is((await run({ scope })).state, 'done');
  t.is(requests('ListAccounts').length, 0);
  t.is(requests('GetCallerIdentity').length, 1);
  t.like(requests('ListInvoiceSummaries')[0]?.input, {
    Selector: { ResourceType: 'ACCOUNT_ID', Value: oab.managementAccount },
  });
});

test.serial('wrong keys without a role are told as such', async (t) => {
  const { run, data, failure } = await ways(t);
  for (const part of ['roleArn', 'roleSessionName'])
    Reflect.deleteProperty(data.secret, `aws_oab_${part}`);
  data.secret['aws_oab_secret_access_key'] = 'not-the-one';
  t.regex(await failure(run()), /signature of the access key .*check aws_oab_secret_access_key/);
  data.secret['aws_oab_access_key_id'] = 'AKIAUNKNOWN';
  t.regex(await failure(run()), /does not know the access key .*check aws_oab_access_key_id/);
});

test.serial('credentials of the environment assume the role', async (t) => {
  const { data, oab, runListed, requests } = await ways(t);
  setEnvironment(t, {
    AWS_ACCESS_KEY_ID: data.operator.accessKeyId,
    AWS_SECRET_ACCESS_KEY: data.operator.secretAccessKey,
  });
  t.is((await runListed({ roleArn: oab.roleArn })).state, 'done');
  t.like(requests('AssumeRole')[0], {
    accessKeyId: data.operator.accessKeyId,
    input: { RoleArn: oab.roleArn, RoleSessionName: 'aws-billing-pipeline' },
  });
  t.is(requests('AssumeRole').length, 1);
});

test.serial('a profile assumes the role, whatever the environment holds', async (t) => {
  const { data, oab, files, runListed, requests } = await ways(t);
  await writeFile(files.credentials, keysSection('billing', data.operator));
  setEnvironment(t, { AWS_ACCESS_KEY_ID: 'AKIAOTHER', AWS_SECRET_ACCESS_KEY: 'other' });
  oab.externalId = 'partner-42';
  const listed = { profile: 'billing', roleArn: oab.roleArn, externalId: 'partner-42' };
  t.is((await runListed(listed)).state, 'done');
  t.is(requests('AssumeRole')[0]?.accessKeyId, data.operator.accessKeyId);
});

test.serial('without a role the credentials ask themselves', async (t) => {
  const { oab, files, runListed, requests, failure } = await ways(t);
  await writeFile(files.credentials, keysSection('default', oab));
  t.regex(
    await failure(runListed({})),
    /the default AWS credentials may not list .*allow the user or role of these credentials organizations:ListAccounts, or set roleArn of oab under "organizations"/,
  );
  oab.directAccess = true;
  t.is((await runListed({})).state, 'done');
  t.deepEqual(requests('AssumeRole'), []);
});

const chained = (oab: DemoOrganization): string => `
[profile payer]
source_profile = person
role_arn = ${oab.roleArn}
external_id = partner-42
region = eu-west-3
`;

test.serial('a profile may assume the role by itself, one session for all requests', async (t) => {
  const { data, oab, files, runListed, requests, failure } = await ways(t);
  await writeFile(files.config, chained(oab));
  await writeFile(files.credentials, keysSection('person', data.operator));
  oab.externalId = 'partner-43';
  t.regex(
    await failure(runListed({ profile: 'payer' })),
    /the AWS profile payer may not assume its own role: .*\[credentials, organization oab\]; check role_arn/,
  );
  oab.externalId = 'partner-42';
  t.is((await runListed({ profile: 'payer' })).state, 'done');
  const assumed = requests('AssumeRole').filter(({ ok }) => ok);
  t.is(assumed.length, 1);
  t.is(assumed[0]?.accessKeyId, data.operator.accessKeyId);
});

test.serial("a profile's session that ends early is asked for anew", async (t) => {
  const { cloud, data, oab, files, runListed, requests } = await ways(t);
  oab.externalId = 'partner-42';
  await writeFile(files.config, chained(oab));
  await writeFile(files.credentials, keysSection('person', data.operator));
  cloud.faults.push({
    service: 'cost-explorer',
    kind: 'error',
    code: 'ExpiredTokenException',
    afterRequests: 2,
  });
  t.is((await runListed({ profile: 'payer' })).state, 'done');
  t.is(requests('AssumeRole').length, 2);
});

test.serial('credentials that were renewed in the file meanwhile are found', async (t) => {
  const { cloud, data, oab, files, log, requests } = await ways(t);
  oab.directAccess = true;
  const other = organizationData(data, 'spp_pm');
  other.directAccess = true;
  await writeFile(files.credentials, keysSection('billing', other));
  const [entry] = await listedOrganizations([{ name: 'oab', profile: 'billing' }]);
  if (entry === undefined || 'fault' in entry) throw new Error('no access');
  const probe = probeAccess(entry.access, { log });
  t.teardown(() => {
    probe.close();
  });
  await probe.listAccounts(signal);
  await writeFile(files.credentials, keysSection('billing', oab));
  await probe.listAccounts(signal);
  cloud.faults.push({ service: 'organizations', kind: 'error', code: 'ExpiredTokenException' });
  await probe.listAccounts(signal);
  t.deepEqual(
    requests('ListAccounts').map(({ accessKeyId, ok }) => [accessKeyId, ok]),
    [
      [other.accessKeyId, true],
      [other.accessKeyId, true],
      [other.accessKeyId, false],
      [oab.accessKeyId, true],
    ],
  );
});

test.serial('a profile that is not there is told, and nothing takes its place', async (t) => {
  const { cloud, data, oab, runListed, failure } = await ways(t);
  setEnvironment(t, {
    AWS_ACCESS_KEY_ID: data.operator.accessKeyId,
    AWS_SECRET_ACCESS_KEY: data.operator.secretAccessKey,
  });
  const says =
    /the AWS profile absent is not there, or holds no credentials \[credentials, organization oab\]; see "aws configure list-profiles", .*"aws configure sso --profile absent"/;
  t.regex(await failure(runListed({ profile: 'absent', roleArn: oab.roleArn })), says);
  setEnvironment(t, { AWS_PROFILE: 'absent' });
  t.regex(await failure(runListed({})), says);
  t.is(cloud.requests.length, 0);
});

test.serial('no credentials at all: the message says how to get some', async (t) => {
  const { cloud, oab, runListed, failure } = await ways(t);
  t.regex(
    await failure(runListed({ roleArn: oab.roleArn })),
    /no AWS credentials were found .*"aws configure" or "aws sso login", set AWS_PROFILE, or name the profile of oab/,
  );
  t.is(cloud.requests.length, 0);
});

/** Answers every request alike, or, without an answer, none; for the services that give machines their role. */
async function machine(t: ExecutionContext, answer?: object): Promise<string> {
  const server = createServer((_, response) => {
    if (answer !== undefined) response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.serial("a container's role is used where nothing else is set", async (t) => {
  const { cloud, oab, runListed, requests } = await ways(t);
  const keys = await assume(cloud, oab);
  const url = await machine(t, {
    AccessKeyId: keys.accessKeyId,
    SecretAccessKey: keys.secretAccessKey,
    Token: keys.sessionToken,
    Expiration: new Date(Date.now() + 3_600_000).toISOString(),
  });
  setEnvironment(t, { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/role` });
  t.is((await runListed({})).state, 'done');
  t.true(requests('GetCostAndUsage').every(({ accessKeyId }) => accessKeyId === keys.accessKeyId));
});

test.serial('an instance metadata service that never answers is given up', async (t) => {
  const { runListed, failure } = await ways(t);
  setEnvironment(t, {
    AWS_EC2_METADATA_DISABLED: undefined,
    AWS_EC2_METADATA_SERVICE_ENDPOINT: await machine(t),
  });
  t.regex(await failure(runListed({})), /no AWS credentials were found/);
});

test.serial(
  'a login of SSO that has expired is told with the command that renews it',
  async (t) => {
    const { files, runListed, failure } = await ways(t);
    const config = `
[profile sso]
sso_session = corp
sso_account_id = 000123456789
sso_role_name = Billing
[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.awsapps.example/start
`;
    await writeFile(files.config, config);
    const missing = await failure(runListed({ profile: 'sso' }));
    const says =
      /the login of the AWS profile sso has expired or is missing .*run "aws sso login --profile sso"/;
    t.regex(missing, says);
    const cache = join(files.home, '.aws', 'sso', 'cache');
    await mkdir(cache, { recursive: true });
    const name = createHash('sha1').update('corp').digest('hex');
    const token = { accessToken: 'hidden-token', expiresAt: '2026-01-01T00:00:00Z' };
    await writeFile(join(cache, `${name}.json`), JSON.stringify(token));
    const expired = await failure(runListed({ profile: 'sso' }));
    t.regex(expired, says);
    t.notRegex(expired, /hidden-token/);
  },
);

test.serial('temporary keys that have run out are told as such', async (t) => {
  const { cloud, data, oab, files, runListed, failure } = await ways(t);
  await writeFile(files.credentials, keysSection('billing', data.operator));
  cloud.faults.push({
    service: 'sts',
    kind: 'error',
    status: 403,
    code: 'ExpiredToken',
    times: Infinity,
  });
  t.regex(
    await failure(runListed({ profile: 'billing', roleArn: oab.roleArn })),
    /the login of the AWS profile billing has expired \[AssumeRole, organization oab\]; run "aws sso login --profile billing"/,
  );
  oab.directAccess = true;
  await writeFile(files.credentials, keysSection('default', oab));
  const ended = { kind: 'error', code: 'ExpiredTokenException', times: Infinity } as const;
  cloud.faults.push({ service: 'cost-explorer', ...ended });
  t.regex(
    await failure(runListed({})),
    /the login of the default AWS credentials has expired \[GetCostAndUsage, .*"aws sso login" or a fresh AWS_SESSION_TOKEN/,
  );
});

test.serial(
  'a profile that needs a code, or whose process fails, is told without secrets',
  async (t) => {
    const { files, oab, data, lines, runListed, failure } = await ways(t);
    const config = `${chained(oab)}mfa_serial = arn:aws:iam::000123456789:mfa/me
[profile process]
credential_process = sh -c "echo hidden-by-process >&2; exit 1"
`;
    await writeFile(files.config, config);
    await writeFile(files.credentials, keysSection('person', data.operator));
    t.regex(await failure(runListed({ profile: 'payer' })), /payer asks for a multi-factor code/);
    const failed = await failure(runListed({ profile: 'process' }));
    t.regex(failed, /credential_process of the AWS profile process failed .*by hand/);
    t.notRegex(`${failed}${lines.join('')}`, /hidden-by-process/);
  },
);

test.serial(
  'a network that fails while a profile assumes its role is passing trouble',
  async (t) => {
    const { data, oab, files, runListed, failure } = await ways(t);
    await writeFile(files.config, chained(oab));
    await writeFile(files.credentials, keysSection('person', data.operator));
    setEnvironment(t, { AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:1' });
    t.regex(
      await failure(runListed({ profile: 'payer' }), TransientError),
      /could not be reached \(ECONNREFUSED\)/,
    );
  },
);

test.serial('unknown and wrong keys of a profile are told by the profile', async (t) => {
  const { data, oab, files, runListed, failure } = await ways(t);
  const listed = { profile: 'billing', roleArn: oab.roleArn };
  const { accessKeyId } = data.operator;
  await writeFile(files.credentials, keysSection('billing', { accessKeyId, secretAccessKey: 'x' }));
  t.regex(await failure(runListed(listed)), /refused the signature of the AWS profile billing/);
  const unknown = { accessKeyId: 'AKIAUNKNOWN', secretAccessKey: 'x' };
  await writeFile(files.credentials, keysSection('billing', unknown));
  t.regex(await failure(runListed(listed)), /not know the access key of the AWS profile billing/);
  await writeFile(files.credentials, keysSection('billing', organizationData(data, 'spp_pm')));
  t.regex(
    await failure(runListed(listed)),
    new RegExp(`the AWS profile billing may not assume ${oab.roleArn}: .*trust policy`),
  );
});

test.serial('what a billing view lacks is told with the right it needs', async (t) => {
  const { cloud, data, run, failure } = await ways(t);
  const view = 'arn:aws:billing::000123456789:billingview/billing-group-oab';
  data.secret['aws_oab_billingViewArn'] = view;
  const once = { service: 'cost-explorer', kind: 'error' } as const;
  cloud.faults.push({ ...once, code: 'AccessDeniedException' });
  t.regex(
    await failure(run()),
    new RegExp(`allow the role ce:GetCostAndUsage, and billing:GetBillingViewData on ${view}`),
  );
  cloud.faults.push({ ...once, code: 'ResourceNotFoundException' });
  t.regex(
    await failure(run()),
    new RegExp(`does not serve the billing view ${view}: .*check aws_oab_billingViewArn in the V`),
  );
});

test.serial('the probe proves each way: by the role, or by who the credentials are', async (t) => {
  const { access, data, oab, files, log, requests } = await ways(t);
  const byRole = probeAccess(access('oab'), { log });
  t.teardown(() => {
    byRole.close();
  });
  t.is(await byRole.prove(signal), oab.roleArn);
  await writeFile(files.credentials, keysSection('billing', data.operator));
  const [entry] = await listedOrganizations([{ name: 'oab', profile: 'billing' }]);
  if (entry === undefined || 'fault' in entry) throw new Error('no access');
  const direct = probeAccess(entry.access, { log });
  t.teardown(() => {
    direct.close();
  });
  t.is(await direct.prove(signal), 'arn:aws:iam::999999999999:user/operator');
  t.is(requests('GetCallerIdentity').length, 1);
});
