import test from 'ava';
import type { OrganizationAccess } from '../../extract/organizations.js';
import { listedOrganizations } from '../../extract/organizations.js';
import type { ListedOrganization } from '../../pipeline/config/organization-fields.js';
import { describeError } from '../../pipeline/shared/errors.js';
import { awsFiles } from '../support/aws-files.js';
import { setEnvironment } from '../support/extract.js';

const ROLE = 'arn:aws:iam::000123456789:role/billing-read';
const config = '[profile paris]\nregion = eu-west-3\n[profile odd]\nregion = Paris\n';

async function accessOf(listed: Omit<ListedOrganization, 'name'>): Promise<OrganizationAccess> {
  const [entry] = await listedOrganizations([{ name: 'newco', ...listed }]);
  if (entry === undefined || 'fault' in entry) throw new Error('a fault');
  return entry.access;
}

test.serial('an organization takes what is listed, and defaults for the rest', async (t) => {
  const { ownEnvironment } = await awsFiles(t, { config });
  setEnvironment(t, ownEnvironment);
  t.deepEqual(await accessOf({}), {
    name: 'newco',
    region: 'us-east-1',
    credentials: { kind: 'chain', profile: undefined },
    role: undefined,
    listAccounts: true,
  });
  const billingViewArn = 'arn:aws:billing::000123456789:billingview/x';
  const listed = {
    roleArn: ROLE,
    profile: 'paris',
    externalId: 'a-b',
    billingViewArn,
    listAccounts: false,
  };
  t.deepEqual(await accessOf(listed), {
    name: 'newco',
    region: 'eu-west-3',
    credentials: { kind: 'chain', profile: 'paris' },
    role: { arn: ROLE, sessionName: 'aws-billing-pipeline', externalId: 'a-b' },
    billingViewArn,
    listAccounts: false,
  });
  t.is((await accessOf({ roleArn: ROLE, roleSessionName: 'me' })).role?.sessionName, 'me');
});

test.serial('AWS_PROFILE is the profile of those that name none', async (t) => {
  const { ownEnvironment } = await awsFiles(t, { config });
  setEnvironment(t, { ...ownEnvironment, AWS_PROFILE: 'paris' });
  t.like(await accessOf({}), { region: 'eu-west-3', credentials: { profile: 'paris' } });
  t.like(await accessOf({ profile: 'odd', region: 'eu-west-1' }), {
    credentials: { profile: 'odd' },
  });
});

test.serial("the region is the listed one, else AWS_REGION, else the profile's", async (t) => {
  const { ownEnvironment } = await awsFiles(t, { config });
  setEnvironment(t, { ...ownEnvironment, AWS_REGION: 'eu-north-1' });
  t.is((await accessOf({ profile: 'paris', region: 'eu-west-1' })).region, 'eu-west-1');
  t.is((await accessOf({ profile: 'paris' })).region, 'eu-north-1');
  setEnvironment(t, { AWS_REGION: '' });
  t.is((await accessOf({})).region, 'us-east-1');
  setEnvironment(t, { AWS_REGION: undefined });
  t.is((await accessOf({ profile: 'paris' })).region, 'eu-west-3');
  t.is((await accessOf({ profile: 'absent' })).region, 'us-east-1');
});

test.serial(
  'a region that is none fails its organization alone; the others are sorted',
  async (t) => {
    const { ownEnvironment } = await awsFiles(t, { config });
    setEnvironment(t, ownEnvironment);
    const found = await listedOrganizations([{ name: 'b' }, { name: 'a', profile: 'odd' }]);
    t.deepEqual(
      found.map(({ name }) => name),
      ['a', 'b'],
    );
    const [first, second] = found;
    t.regex(
      first !== undefined && 'fault' in first ? describeError(first.fault) : '',
      /organization a: .*names no AWS region; give a a "region"/,
    );
    t.true(second !== undefined && 'access' in second);
  },
);
