import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { stringify } from 'yaml';
import type { DemoOrganization } from '../../fixtures/demo/data.js';
import { demoData, organizationData } from '../../fixtures/demo/data.js';
import { awsFiles, keysSection } from '../support/aws-files.js';
import type { Finished } from '../support/cli.js';
import { querySqlite } from '../support/sqlite.js';
import type { World } from '../support/world.js';
import { month, world } from '../support/world.js';

const noVault = {
  VAULT_ADDR: '',
  VAULT_ROLE_ID: '',
  VAULT_SECRET_ID: '',
  VAULT_AWS_SECRET_PATH: '',
};

interface Given extends World {
  oab: DemoOrganization;
  internal: DemoOrganization;
  /** Writes the configuration file's list. */
  list: (...organizations: object[]) => Promise<void>;
  /** Runs the command with the user's AWS files; what it prints holds no secret. */
  run: (...args: string[]) => Promise<Finished>;
  /** The same with nothing of Vault set. */
  runWithoutVault: (...args: string[]) => Promise<Finished>;
}

/** Two organizations, and a user whose profile `billing` may take both roles. */
async function given(t: ExecutionContext): Promise<Given> {
  const sizes = [
    { name: 'oab', accounts: 5 },
    { name: 'internal', accounts: 4 },
  ];
  const data = demoData({ months: [month], organizations: sizes });
  const here = await world(t, { data });
  const files = await awsFiles(t, { credentials: keysSection('billing', data.operator) });
  const secrets = [...data.organizations, data.operator].map((one) => one.secretAccessKey);
  const run = async (env: Record<string, string>, args: string[]): Promise<Finished> => {
    const result = await here.runWith({ ...files.environment, ...env }, ...args);
    const said = result.stdout + result.stderr;
    t.false(secrets.some((secret) => said.includes(secret)));
    t.notRegex(said, /^\s+at /m);
    return result;
  };
  return {
    ...here,
    oab: organizationData(data, 'oab'),
    internal: organizationData(data, 'internal'),
    list: (...organizations) =>
      writeFile(join(here.folder, 'pipeline.config.yaml'), stringify({ organizations })),
    run: (...args) => run({}, args),
    runWithoutVault: (...args) => run(noVault, args),
  };
}

/** Takes an organization out of the AWS secret, some of its keys or all of them. */
function withdraw({ cloud }: World, name: string, parts = ['']): void {
  for (const secret of Object.values(cloud.vault.secrets)) {
    for (const key of Object.keys(secret)) {
      if (parts.some((part) => key.startsWith(`aws_${name}_${part}`)))
        Reflect.deleteProperty(secret, key);
    }
  }
}

test('without Vault, a listed role and an AWS profile are all that a month needs', async (t) => {
  const { cloud, folder, oab, internal, list, runWithoutVault } = await given(t);
  internal.externalId = 'partner-42';
  await list(
    { name: 'oab', roleArn: oab.roleArn, profile: 'billing', tag: 'aws-oab' },
    { name: 'internal', roleArn: internal.roleArn, profile: 'billing', externalId: 'partner-42' },
  );
  const checked = await runWithoutVault('check', '--paid');
  t.is(checked.code, 0, checked.stdout);
  t.regex(checked.stdout, /^ok +organizations +2 organizations: internal, oab$/m);
  t.regex(checked.stdout, /^ok +oab: AssumeRole +arn:.*, by the AWS profile billing$/m);
  t.notRegex(checked.stdout, /Vault|AWS secret/);
  const plan = await runWithoutVault('plan', '--month', month);
  t.is(plan.code, 0, plan.stderr);
  t.regex(plan.stdout, /internal +fetch[^]*oab +fetch/);
  t.notRegex(plan.stdout, /Vault/);

  const ran = await runWithoutVault('run', '--month', month);
  t.is(ran.code, 0, ran.stdout);
  t.regex(ran.stdout, /6 done; /);
  t.deepEqual(
    querySqlite(
      join(folder, 'billing.sqlite'),
      'SELECT DISTINCT Organization, Tag FROM consumption ORDER BY 1',
    ),
    [
      { Organization: 'internal', Tag: 'aws' },
      { Organization: 'oab', Tag: 'aws-oab' },
    ],
  );
  t.false(cloud.requests.some(({ service }) => service === 'vault'));
});

test('organizations of Vault and of the file are worked on together', async (t) => {
  const here = await given(t);
  const { cloud, oab, internal, list, run } = here;
  withdraw(here, 'internal');
  withdraw(here, 'oab', ['role']);
  oab.directAccess = true;
  await list({ name: 'internal', roleArn: internal.roleArn, profile: 'billing' });
  const checked = await run('check');
  t.is(checked.code, 0, checked.stdout);
  for (const line of [
    /^ok +AWS secret +1 organization: oab$/m,
    /^ok +organizations +1 organization: internal$/m,
    /^ok +oab: credentials +the access key: arn:aws:iam::\d{12}:user\/billing$/m,
    /^ok +internal: AssumeRole +arn:.*, by the AWS profile billing$/m,
  ])
    t.regex(checked.stdout, line);
  t.is((await run('check', '--organization', 'internal')).code, 0);
  const unknown = await run('check', '--organization', 'obb');
  t.regex(unknown.stdout, /^failed +AWS secret +there is no organization obb.*internal, oab$/m);

  const ran = await run('run', '--month', month);
  t.is(ran.code, 0, ran.stdout);
  t.regex(ran.stdout, /internal +done +done +done[^]*oab +done +done +done/);
  const signed = cloud.requests.filter(({ operation }) => operation === 'GetCostAndUsage');
  t.true(signed.some(({ accessKeyId }) => accessKeyId === oab.accessKeyId));
});

test('an organization that is in both places is an error that names both', async (t) => {
  const { oab, list, run, asked } = await given(t);
  await list({ name: 'oab', roleArn: oab.roleArn, profile: 'billing' });
  const says =
    /organization oab is given twice: in the Vault secret secret\/data\/billing\/aws and under "organizations" in the configuration file; remove/;
  for (const command of ['run', 'plan']) {
    const result = await run(command, '--month', month);
    t.is(result.code, 2, command);
    t.is(result.stdout, '');
    t.regex(result.stderr, says);
  }
  t.is(asked(), 0);
  const checked = await run('check');
  t.is(checked.code, 1);
  t.regex(checked.stdout, /^failed +AWS secret +organization oab is given twice/m);
  await list({ name: 'oab' }, { name: 'oab', profile: 'billing' });
  const listedTwice = await run('run', '--month', month);
  t.is(listedTwice.code, 2);
  t.regex(listedTwice.stderr, /"organizations" in the configuration file: names oab twice/);
});

test('a profile that is not there stops its own organization alone', async (t) => {
  const { oab, internal, list, runWithoutVault } = await given(t);
  await list(
    { name: 'oab', roleArn: oab.roleArn, profile: 'biling' },
    { name: 'internal', roleArn: internal.roleArn, profile: 'billing' },
  );
  const checked = await runWithoutVault('check');
  t.is(checked.code, 1);
  t.regex(checked.stdout, /^failed +oab: AssumeRole +the AWS profile biling is not there/m);
  t.regex(checked.stdout, /^skipped +oab: ListAccounts +the role cannot be assumed/m);
  t.regex(checked.stdout, /^ok +internal: ListAccounts/m);
  const ran = await runWithoutVault('run', '--month', month);
  t.is(ran.code, 1);
  t.regex(ran.stdout, /oab extract failed: the AWS profile biling .*aws configure list-profiles/);
  t.regex(ran.stdout, /internal +done +done +done/);
});

test('credentials without a role name what they are, and what they may not', async (t) => {
  const { list, runWithoutVault } = await given(t);
  await list({ name: 'oab', profile: 'billing' });
  const checked = await runWithoutVault('check');
  t.is(checked.code, 1);
  t.regex(
    checked.stdout,
    /^ok +oab: credentials +the AWS profile billing: arn:aws:iam::9{12}:user\/operator$/m,
  );
  t.regex(
    checked.stdout,
    /^failed +oab: ListAccounts +the AWS profile billing may not .*, or set roleArn of oab/m,
  );
});

test('where Vault does not answer, a plan knows the listed organizations still', async (t) => {
  const { cloud, internal, list, run } = await given(t);
  await list({ name: 'newco', roleArn: internal.roleArn, profile: 'billing' });
  t.is((await run('run', '--month', month, '--organization', 'oab')).code, 0);
  cloud.vault.sealed = true;
  const result = await run('plan', '--month', month);
  t.is(result.code, 0, result.stderr);
  t.regex(result.stdout, /newco +fetch[^]*oab +unchanged/);
  t.regex(result.stdout, /those of the configuration file and those of which something is staged/);
});

test('without any organization, both ways to tell them are named', async (t) => {
  const { runWithoutVault } = await given(t);
  const result = await runWithoutVault('run', '--month', month);
  t.is(result.code, 2);
  t.regex(result.stderr, /VAULT_AWS_SECRET_PATH/);
  t.regex(result.stderr, /"organizations" in the configuration file: is empty; list/);
});
