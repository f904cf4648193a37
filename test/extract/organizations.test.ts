import test from 'ava';
import fc from 'fast-check';
import type { OrganizationEntry } from '../../extract/organizations.js';
import { parseOrganizations } from '../../extract/organizations.js';
import { ConfigurationError, describeError } from '../../pipeline/shared/errors.js';

const WHERE = 'https://vault.example.com/v1/secret/data/aws';

function keysOf(name: string): Record<string, unknown> {
  return {
    [`aws_${name}_access_key_id`]: `AKIA${name.toUpperCase()}`,
    [`aws_${name}_secret_access_key`]: `hidden-${name}`,
    [`aws_${name}_roleArn`]: 'arn:aws:iam::000123456789:role/path/billing-read',
    [`aws_${name}_roleSessionName`]: `billing-${name}`,
  };
}

function secretOf(...names: string[]): Record<string, unknown> {
  return Object.assign({ aws_region_name: 'eu-west-3' }, ...names.map(keysOf)) as Record<
    string,
    unknown
  >;
}

function faultOf(entry: OrganizationEntry | undefined): string {
  return entry !== undefined && 'fault' in entry ? describeError(entry.fault) : 'no fault';
}

test('names come from the keys, whatever they are, sorted', (t) => {
  const found = parseOrganizations(secretOf('spp_pm', 'oab', 'a-fifth_one', 'internal'), WHERE);
  t.deepEqual(
    found.map(({ name }) => name),
    ['a-fifth_one', 'internal', 'oab', 'spp_pm'],
  );
  t.true(found.every((entry) => 'access' in entry));
});

test('an organization has its own four values and the shared region; pasted white space goes', (t) => {
  const secret = { ...secretOf('oab', 'spp_pm'), aws_oab_secret_access_key: ' hidden-oab\n' };
  const [oab] = parseOrganizations(secret, WHERE);
  t.deepEqual(oab, {
    name: 'oab',
    access: {
      name: 'oab',
      region: 'eu-west-3',
      credentials: { kind: 'keys', accessKeyId: 'AKIAOAB', secretAccessKey: 'hidden-oab' },
      role: {
        arn: 'arn:aws:iam::000123456789:role/path/billing-read',
        sessionName: 'billing-oab',
        externalId: undefined,
      },
      billingViewArn: undefined,
      costViewArn: undefined,
      listAccounts: true,
    },
  });
});

for (const part of ['access_key_id', 'secret_access_key', 'roleArn', 'roleSessionName']) {
  for (const [how, value] of [
    ['absent', undefined],
    ['empty', ' '],
    ['not a text', 7],
  ] as const) {
    test(`a key ${part} that is ${how} fails its organization alone, by the key's name`, (t) => {
      const keys = Object.entries({ ...secretOf('oab', 'spp_pm'), [`aws_oab_${part}`]: value });
      const secret = Object.fromEntries(keys.filter((entry) => entry[1] !== undefined));
      const [oab, other] = parseOrganizations(secret, WHERE);
      t.is(oab?.name, 'oab');
      t.regex(faultOf(oab), new RegExp(`organization oab: .*aws_oab_${part} is missing or empty`));
      t.true(faultOf(oab).includes(WHERE));
      t.true(other !== undefined && 'access' in other);
    });
  }
}

test('all missing keys are named at once', (t) => {
  const [oab] = parseOrganizations(
    { aws_region_name: 'eu-west-3', aws_oab_roleArn: 'arn:aws:iam::000123456789:role/x' },
    WHERE,
  );
  t.regex(
    faultOf(oab),
    /keys aws_oab_access_key_id, aws_oab_secret_access_key, aws_oab_roleSessionName are missing/,
  );
});

test('a malformed role or session name fails its organization without repeating a value', (t) => {
  const wrong = { aws_oab_roleArn: 'billing-read', aws_spp_pm_roleSessionName: 'two words' };
  const found = parseOrganizations({ ...secretOf('oab', 'spp_pm'), ...wrong }, WHERE);
  t.regex(faultOf(found[0]), /aws_oab_roleArn is malformed/);
  t.regex(faultOf(found[1]), /aws_spp_pm_roleSessionName is malformed/);
  for (const entry of found) t.notRegex(faultOf(entry), /two words|billing-read|hidden/);
});

const VIEW = 'arn:aws:billing::000123456789:billingview/billing-group-oab';

/** The secret of `oab` without some of its keys, and with others. */
function changed(without: string[], change: Record<string, unknown> = {}): OrganizationEntry {
  const gone = new Set(without.map((part) => `aws_oab_${part}`));
  const kept = Object.entries(secretOf('oab')).filter(([key]) => !gone.has(key));
  const [entry] = parseOrganizations({ ...Object.fromEntries(kept), ...change }, WHERE);
  return entry!;
}

test('an organization that names no role uses its keys themselves', (t) => {
  const entry = changed(['roleArn', 'roleSessionName'], { aws_oab_billingViewArn: VIEW });
  t.deepEqual(entry, {
    name: 'oab',
    access: {
      name: 'oab',
      region: 'eu-west-3',
      credentials: { kind: 'keys', accessKeyId: 'AKIAOAB', secretAccessKey: 'hidden-oab' },
      role: undefined,
      billingViewArn: VIEW,
      costViewArn: undefined,
      listAccounts: true,
    },
  });
});

test('an external id goes with the role', (t) => {
  const entry = changed([], { aws_oab_externalId: ' partner/42:a \n' });
  t.true('access' in entry && entry.access.role?.externalId === 'partner/42:a');
});

test("what belongs to a role without the role's ARN is a slip, and both remedies are named", (t) => {
  t.regex(
    faultOf(changed(['roleArn'])),
    /key aws_oab_roleArn is missing .*without a role .* leave out aws_oab_roleSessionName$/,
  );
  t.regex(
    faultOf(changed(['roleArn', 'roleSessionName'], { aws_oab_externalId: 'partner-42' })),
    /keys aws_oab_roleArn, aws_oab_roleSessionName are missing .* leave out aws_oab_externalId$/,
  );
});

for (const [part, wrong] of [
  ['externalId', 'x'],
  ['externalId', 'two words'],
  ['externalId', 'x'.repeat(1225)],
  ['billingViewArn', 'billing-group-oab'],
  ['billingViewArn', VIEW.replace('billing-group', 'billing group')],
] as const) {
  test(`a ${part} such as ${wrong.slice(0, 60)} is malformed, by the key's name alone`, (t) => {
    const fault = faultOf(changed([], { [`aws_oab_${part}`]: wrong }));
    t.regex(fault, new RegExp(`aws_oab_${part} is malformed .*; (use|write)`));
    t.false(fault.includes(wrong) && wrong.length > 1);
  });
}

for (const part of ['externalId', 'billingViewArn']) {
  test(`an ${part} that is there but empty is a fault, not an organization without one`, (t) => {
    t.regex(
      faultOf(changed([], { [`aws_oab_${part}`]: '' })),
      new RegExp(`aws_oab_${part} is missing or empty`),
    );
  });
}

test('an optional key of a name that has no other is told, since it may be a misspelt one', (t) => {
  const found = parseOrganizations({ ...secretOf('oab'), aws_obb_billingViewArn: VIEW }, WHERE);
  t.regex(faultOf(found[1]), /organization obb: .*aws_obb_access_key_id/);
  t.is(found[0]?.name, 'oab');
});

test('external ids are taken as STS takes them', (t) => {
  const character = fc.constantFrom(...Array.from('abcXYZ019_+=,.@:/-'));
  t.notThrows(() => {
    fc.assert(
      fc.property(fc.string({ unit: character, minLength: 2, maxLength: 1224 }), (id) => {
        const entry = changed([], { aws_oab_externalId: id });
        return 'access' in entry && entry.access.role?.externalId === id;
      }),
    );
  });
});

test('a name that cannot be a folder is a fault, not a path', (t) => {
  const [entry] = parseOrganizations(secretOf('../oab'), WHERE);
  t.regex(faultOf(entry), /of the secret's keys, "\.\.\/oab" is not an organization's name/);
});

test('no organization, or no region, fails as a whole', (t) => {
  t.throws(() => parseOrganizations({ aws_region_name: 'eu-west-3', user: 'x' }, WHERE), {
    instanceOf: ConfigurationError,
    message: /describes no organization/,
  });
  const { aws_region_name, ...rest } = secretOf('oab');
  t.is(aws_region_name, 'eu-west-3');
  t.throws(() => parseOrganizations(rest, WHERE), {
    instanceOf: ConfigurationError,
    message: /aws_region_name is missing/,
  });
  t.throws(() => parseOrganizations({ ...rest, aws_region_name: 'us-gov-west-1' }, WHERE), {
    instanceOf: ConfigurationError,
    message: /aws_region_name \(us-gov-west-1\) is of AWS GovCloud, which has no Cost Explorer/,
  });
  t.throws(() => parseOrganizations({ ...rest, aws_region_name: 'Paris' }, WHERE), {
    instanceOf: ConfigurationError,
    message: /aws_region_name names no AWS region/,
  });
});

for (const [key, meant] of [
  ['aws_oab_roleARN', 'aws_oab_roleArn'],
  ['aws_oab_role_session_name', 'aws_oab_roleSessionName'],
  ['aws_oab_external_id', 'aws_oab_externalId'],
  ['aws_oab_acces_key', 'aws_oab_access_key_id'],
  ['aws_oab_secret_key', 'aws_oab_secret_access_key'],
  ['aws_oab_role', 'aws_oab_roleArn'],
  ['AWS_oab_billingViewARN', 'aws_oab_billingViewArn'],
  ['AWS_OAB_ROLE_ARN', 'aws_oab_roleArn'],
  ['aws_OAB_externalId', 'aws_oab_externalId'],
  ['aws_oabroleArn', 'aws_oab_roleArn'],
  ['aws_oab-role-arn', 'aws_oab_roleArn'],
] as const) {
  test(`the key ${key} is told as a slip for ${meant}, and only its organization fails`, (t) => {
    const secret = { ...secretOf('oab', 'oa', 'spp_pm'), [key]: 'hunter2' };
    const entries = parseOrganizations(secret, WHERE);
    t.deepEqual(
      entries.map((entry) => 'fault' in entry),
      [false, true, false],
    );
    const fault = faultOf(entries[1]);
    t.true(fault.startsWith(`organization oab: the secret's key ${key} is unknown [`), fault);
    t.true(fault.endsWith(`; rename ${key} to ${meant} in the Vault secret, or take it out`));
    t.false(fault.includes('hunter2'));
  });
}

test('a key that is like none of its organization is told with those that it has', (t) => {
  for (const key of ['aws_oab_region', 'aws_oab_comment', 'aws_oab_account_id', 'aws_oab_']) {
    const [oab] = parseOrganizations({ ...secretOf('oab'), [key]: 'hunter2' }, WHERE);
    const fault = faultOf(oab);
    t.true(fault.startsWith(`organization oab: the secret's key ${key} is unknown [`), fault);
    t.regex(
      fault,
      /; take it out of the Vault secret; an organization has aws_oab_access_key_id, /,
    );
  }
});

test('a slip in every key of an organization does not leave it out', (t) => {
  const slips = { aws_new_one_acces_key_id: 'AKIA', aws_new_one_secretAccesKey: 'hidden' };
  const entries = parseOrganizations({ ...secretOf('oab'), ...slips }, WHERE);
  t.deepEqual(
    entries.map(({ name }) => name),
    ['new_one', 'oab'],
  );
  t.regex(
    faultOf(entries[0]),
    /keys aws_new_one_acces_key_id, aws_new_one_secretAccesKey are unknown .*; rename aws_new_one_acces_key_id to aws_new_one_access_key_id, aws_new_one_secretAccesKey to aws_new_one_secret_access_key in/,
  );
  t.regex(
    t.throws(() => parseOrganizations({ aws_region_name: 'eu-west-3', note: 'x' }, WHERE)).message,
    /describes no organization/,
  );
});

test('a slip in every key of spp_ecm is not laid to spp, whose role it would take', (t) => {
  const slips = { aws_spp_ecm_roleARN: 'x', aws_spp_ecm_accessKeyId: 'y' };
  const entries = parseOrganizations({ ...secretOf('spp'), ...slips }, WHERE);
  t.deepEqual(
    entries.map((entry) => [entry.name, 'fault' in entry]),
    [
      ['spp', false],
      ['spp_ecm', true],
    ],
  );
  t.regex(
    faultOf(entries[1]),
    /rename aws_spp_ecm_roleARN to aws_spp_ecm_roleArn, aws_spp_ecm_accessKeyId to aws_spp_ecm_access_key_id in/,
  );
});

test('what other programs keep in the secret is left alone', (t) => {
  const others = {
    aws_default_region: 'eu-west-1',
    aws_session_token: 'x',
    aws_access_key_id: 'x',
    aws_secret_access_key: 'x',
    note: 'x',
    database_password: 'x',
    oab_roleARN: 'x',
  };
  const entries = parseOrganizations({ ...secretOf('oab', 'spp_pm'), ...others }, WHERE);
  t.true(entries.every((entry) => 'access' in entry));
  t.is(entries.length, 2);
});
