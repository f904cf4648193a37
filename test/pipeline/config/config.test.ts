import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { readConfigFile } from '../../../pipeline/config/config-file.js';
import { resolveConfig, tagOf } from '../../../pipeline/config/config.js';
import { describeHook } from '../../../pipeline/config/hooks.js';
import { UsageError } from '../../../pipeline/shared/errors.js';
import { pipeline, temporaryFolder } from '../../support/cli.js';

const none = { organizations: false, database: false };
const all = { organizations: true, database: true };
const vault = {
  VAULT_ADDR: 'https://vault.example:8200',
  VAULT_ROLE_ID: 'role',
  VAULT_SECRET_ID: 'secret',
  VAULT_AWS_SECRET_PATH: 'secret/data/aws',
};

test('without any setting there are the defaults', (t) => {
  t.deepEqual(resolveConfig({}, {}, {}, none), {
    vault: undefined,
    organizations: [],
    staging: { kind: 'folder', folder: './staging' },
    database: { kind: 'url', location: { kind: 'sqlite', file: 'billing.sqlite' } },
    stagingOptions: { sse: undefined, kmsKeyId: undefined, timeoutMs: 60_000 },
    parquet: 'standard',
    scope: { detail: undefined, metrics: undefined, by: undefined, invoices: undefined },
    awsTotal: true,
    tolerance: 10n ** 16n,
    toleranceInvoice: undefined,
    concurrency: 8,
    maxRequests: undefined,
    loadConcurrency: 4,
    queue: undefined,
    waitSeconds: 0,
    timeoutMs: 60_000,
    hooks: [],
    provisionalDays: 10,
    tags: {},
    customers: [],
    report: {
      ...{ out: './report', formats: ['html', 'xlsx'], title: undefined, logo: undefined },
      ...{ footer: undefined, locale: 'en', currency: 'code' },
    },
  });
});

test('a flag goes before the environment, the environment before the file', (t) => {
  const file = { staging: 'from-file', parquet: 'basic', concurrency: 3 };
  const env = { PIPELINE_STAGING: 'from-env' };
  const folder = (flags: Record<string, unknown>, variables: NodeJS.ProcessEnv): unknown =>
    resolveConfig(flags, variables, file, none).staging;
  t.deepEqual(folder({ staging: 'from-flag' }, env), { kind: 'folder', folder: 'from-flag' });
  t.deepEqual(folder({}, env), { kind: 'folder', folder: 'from-env' });
  t.deepEqual(folder({}, { PIPELINE_STAGING: '' }), { kind: 'folder', folder: 'from-file' });
  t.is(resolveConfig({}, env, file, none).concurrency, 3);
});

test('the tolerance is exact, however it is written', (t) => {
  const of = (flags: Record<string, unknown>, file: Record<string, unknown> = {}): bigint =>
    resolveConfig(flags, {}, file, none).tolerance;
  t.is(of({ tolerance: '0' }), 0n);
  t.is(of({ tolerance: '0.000000000000000001' }), 1n);
  t.is(of({}, { tolerance: 0.05 }), 5n * 10n ** 16n);
  t.is(of({ tolerance: '2' }, { tolerance: 0.05 }), 2n * 10n ** 18n);
  for (const wrong of ['-0.01', 'much', '', '0.0000000000000000001', 'Infinity'])
    t.throws(
      () => of({ tolerance: wrong }),
      { instanceOf: UsageError, message: /--tolerance/ },
      wrong,
    );
});

test("the ungrouped total's cent is saved by the flag or the file", (t) => {
  const of = (flags: Record<string, unknown>, file: Record<string, unknown>): boolean =>
    resolveConfig(flags, {}, file, none).awsTotal;
  t.false(of({ 'aws-total': false }, {}));
  t.false(of({ 'aws-total': undefined }, { awsTotal: false }));
  t.true(of({ 'aws-total': true }, { awsTotal: false }));
  t.throws(() => of({}, { awsTotal: 'no' }), { instanceOf: UsageError, message: /awsTotal/ });
});

test('the days of provisional figures are a setting', (t) => {
  t.is(resolveConfig({}, {}, { provisionalDays: 0 }, none).provisionalDays, 0);
  t.throws(() => resolveConfig({}, {}, { provisionalDays: -1 }, none), {
    instanceOf: UsageError,
    message: /"provisionalDays" in the configuration file/,
  });
});

test('every fault is named at once, and no value is repeated', (t) => {
  const env = { VAULT_ADDR: 'vault-hunter2', PIPELINE_DATABASE: 'mysql://u:hunter2@' };
  const file = {
    vault: { colour: 'hunter2' },
    concurrency: 'hunter2',
    parquet: 'hunter2',
    unknown: 'hunter2',
  };
  const error = t.throws(() => resolveConfig({}, env, file, all), { instanceOf: UsageError });
  for (const name of ['VAULT_ADDR', '"vault"', '--concurrency', '--parquet', 'unknown'])
    t.true(error.message.includes(name), name);
  t.false(error.message.includes('hunter2'));
});

test('faults of the form and missing settings are named together with the place they belong to', (t) => {
  const error = t.throws(
    () =>
      resolveConfig({ staging: 'gs://x', database: 'what' }, {}, { tags: { '../x': 'y' } }, all),
    { instanceOf: UsageError },
  );
  for (const name of [
    '--staging',
    '--database',
    '"tags"',
    'VAULT_ADDR',
    'VAULT_ROLE_ID',
    'VAULT_SECRET_ID',
    'VAULT_AWS_SECRET_PATH',
  ]) {
    t.true(error.message.includes(name), name);
  }
});

test('a text where the file should hold settings is a fault, whatever the environment sets', (t) => {
  const error = t.throws(() => resolveConfig({}, vault, { vault: 'x' }, all), {
    instanceOf: UsageError,
  });
  t.regex(error.message, /"vault" in the configuration file/);
  t.notThrows(() => resolveConfig({}, vault, { vault: null }, all));
});

test('Vault is needed only by a run that asks it for something', (t) => {
  t.is(resolveConfig({}, vault, {}, { organizations: false, database: true }).vault, undefined);
  t.is(resolveConfig({}, vault, {}, all).vault?.awsSecretPath, 'secret/data/aws');
  const suivi = { ...vault, VAULT_SUIVI_SECRET_PATH: 'secret/data/suivi' };
  const config = resolveConfig({}, suivi, {}, { organizations: false, database: true });
  t.deepEqual(config.database, { kind: 'secret', path: 'secret/data/suivi' });
  t.truthy(config.vault);
  t.is(
    resolveConfig({ database: 'sqlite:x' }, suivi, {}, { organizations: false, database: true })
      .vault,
    undefined,
  );
});

const listed = { name: 'newco', profile: 'newco' };
const ROLE = 'arn:aws:iam::000123456789:role/billing-read';

test('with organizations in the file, Vault is left alone unless its secret is named too', (t) => {
  const alone = resolveConfig({}, {}, { organizations: [listed] }, all);
  t.is(alone.vault, undefined);
  t.like(alone.organizations, [listed]);
  const reachable = { ...vault, VAULT_AWS_SECRET_PATH: '' };
  t.is(resolveConfig({}, reachable, { organizations: [listed] }, all).vault, undefined);
  const mixed = resolveConfig({}, vault, { organizations: [listed] }, all);
  t.is(mixed.vault?.awsSecretPath, 'secret/data/aws');
  const suivi = { ...reachable, VAULT_SUIVI_SECRET_PATH: 'secret/data/suivi' };
  t.is(resolveConfig({}, suivi, { organizations: [listed] }, all).vault?.awsSecretPath, undefined);
  t.truthy(resolveConfig({}, suivi, { organizations: [listed] }, all).vault);
  t.throws(
    () => resolveConfig({}, { ...vault, VAULT_ADDR: '' }, { organizations: [listed] }, all),
    { instanceOf: UsageError, message: /VAULT_ADDR/ },
  );
});

test('without any organization, both ways to tell them are named', (t) => {
  for (const env of [{}, { ...vault, VAULT_AWS_SECRET_PATH: '' }]) {
    const error = t.throws(() => resolveConfig({}, env, { organizations: [] }, all), {
      instanceOf: UsageError,
    });
    t.regex(error.message, /VAULT_AWS_SECRET_PATH/);
    t.regex(error.message, /"organizations" in the configuration file: is empty; list/);
  }
  t.notThrows(() => resolveConfig({}, {}, {}, { organizations: false, database: true }));
});

test("a listed organization's tag is that of its rows; given twice it is a fault in both places", (t) => {
  const organizations = [{ ...listed, tag: 'aws-newco' }];
  const tags = { oab: 'aws-oab' };
  t.deepEqual(resolveConfig({}, {}, { organizations, tags }, all).tags, {
    oab: 'aws-oab',
    newco: 'aws-newco',
  });
  const inherited = resolveConfig({}, {}, { organizations: [{ name: 'constructor' }] }, all).tags;
  t.is(tagOf(inherited, 'constructor'), 'aws');
  t.is(tagOf(tags, 'oab'), 'aws-oab');
  const twice = { organizations, tags: { newco: 'aws-newco' } };
  t.throws(() => resolveConfig({}, {}, twice, all), {
    instanceOf: UsageError,
    message: /"organizations" in .*"tags" in the configuration file: both give newco a tag/,
  });
});

for (const [what, organizations, says] of [
  ['a name twice', [listed, { name: 'newco' }], /"organizations" in .*: names newco twice/],
  ['a name that is no folder', [{ name: '../x' }], /"organizations" in the configuration file: /],
  ['no name', [{ profile: 'x' }], /"organizations\.0\.name"/],
  ['an unknown key', [{ ...listed, rolearn: ROLE }], /"organizations\.0".*rolearn/],
  [
    'a malformed role',
    [{ name: 'a', roleArn: 'hunter2' }],
    /"organizations\.0\.roleArn".*: is malf/,
  ],
  [
    'a malformed external id',
    [{ name: 'a', roleArn: ROLE, externalId: 'hunter2 hunter2' }],
    /"organizations\.0\.externalId".*: is malformed; use 2 to 1224/,
  ],
  [
    'a malformed billing view',
    [listed, { name: 'a', billingViewArn: 'hunter2' }],
    /"organizations\.1\.billingViewArn".*: is malformed/,
  ],
  ['a malformed region', [{ name: 'a', region: 'hunter2' }], /"organizations\.0\.region"/],
  [
    'no choice about the list of accounts',
    [{ name: 'a', listAccounts: 'hunter2' }],
    /"organizations\.0\.listAccounts".*: is neither true nor false/,
  ],
  ['a tag that is too long', [{ name: 'a', tag: 'hunter2'.repeat(10) }], /organizations\.0\.tag/],
  [
    'an external id without role',
    [{ name: 'a', externalId: 'hunter2' }],
    /"organizations\.0\.roleArn" in .*: is missing; roleSessionName and externalId go with it/,
  ],
  ['a mapping for the list', { newco: listed }, /"organizations" in the configuration file: is no/],
] as const) {
  test(`among the listed organizations, ${what} is a fault at its place`, (t) => {
    const error = t.throws(() => resolveConfig({}, {}, { organizations }, all), {
      instanceOf: UsageError,
      message: says,
    });
    t.false(error.message.includes('hunter2'));
  });
}

test("a path written as a full URL tells Vault's address", (t) => {
  const env = {
    ...vault,
    VAULT_ADDR: '',
    VAULT_LOGIN_PATH: 'https://vault.example:8200/v1/auth/approle/login',
  };
  t.is(resolveConfig({}, env, {}, all).vault?.address, 'https://vault.example:8200');
});

for (const [value, off] of [
  ['true', true],
  ['1', true],
  ['TRUE', true],
  ['false', false],
  ['0', false],
  ['', false],
] as const) {
  test(`VAULT_SKIP_VERIFY="${value}" ${off ? 'switches' : 'does not switch'} verification off`, (t) => {
    t.is(resolveConfig({}, { ...vault, VAULT_SKIP_VERIFY: value }, {}, all).vault?.skipVerify, off);
  });
}

const numbers = ['concurrency', 'wait', 'timeout', 'maxRequests', 'provisionalDays'];
const flagsOf: Record<string, string> = { maxRequests: 'max-requests' };

test('a whole number is digits, from a flag or the file, and everything else is refused by name', (t) => {
  const wrong = [
    '0x10',
    '1e1',
    '5.0',
    ' 5',
    '+5',
    '-1',
    'true',
    '1_0',
    '0b1',
    'Infinity',
    '٣',
    '5s',
  ];
  for (const path of numbers) {
    for (const value of [...wrong, '99999999999999999999', true, 1.5, [5], { 5: 5 }, NaN]) {
      const error = t.throws(() => resolveConfig({}, {}, { [path]: value }, none), {
        instanceOf: UsageError,
      });
      t.regex(error.message, new RegExp(`"${path}" in the configuration file: is no `));
      const flag = flagsOf[path] ?? path;
      if (typeof value === 'string' && path !== 'provisionalDays')
        t.throws(() => resolveConfig({ [flag]: value }, {}, {}, none), {
          instanceOf: UsageError,
          message: new RegExp(`--${flag} or .* written in digits`),
        });
    }
    t.notThrows(() => resolveConfig({}, {}, { [path]: '007' }, none), path);
  }
  t.is(resolveConfig({ timeout: '007' }, {}, {}, none).timeoutMs, 7000);
});

test('what is empty in the file is not set, whatever it is', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'a.yaml');
  const defaults = resolveConfig({}, {}, {}, none);
  for (const empty of ['', '~', 'null', "''", '" "']) {
    const lines = [...numbers, 'staging', 'database', 'tolerance', 'awsTotal', 'detail', 'metrics'];
    const names = [...lines, 'tags', 'organizations', 'vault', 's3', 'parquet'];
    const text = names.map((name) => `${name}: ${empty}\n`).join('');
    await writeFile(file, text);
    t.deepEqual(resolveConfig({}, {}, await readConfigFile(file), none), defaults, empty);
    await writeFile(file, `vault:\n  namespace: ${empty}\n  skipVerify: ${empty}\n`);
    const config = resolveConfig({}, vault, await readConfigFile(file), all);
    t.is(config.vault?.namespace, undefined);
  }
  for (const text of ['colour:', 'organizations: [{name: a, roleArn: }]', 'tags: {oab: }']) {
    await writeFile(file, text);
    const read = await readConfigFile(file);
    t.throws(() => resolveConfig({}, {}, read, none), { instanceOf: UsageError }, text);
  }
});

test('a value of the file means what it would mean as a flag', async (t) => {
  const file = join(await temporaryFolder(t), 'a.yaml');
  const read = async (text: string): Promise<Record<string, unknown>> => {
    await writeFile(file, text);
    return readConfigFile(file);
  };
  for (const text of [
    'timeout: 0x10',
    'timeout: 0o17',
    'timeout: 1e1',
    'timeout: 5.0',
    'wait: true',
  ]) {
    const values = await read(text);
    t.throws(() => resolveConfig({}, {}, values, none), { message: /written in digits/ }, text);
  }
  for (const text of ['awsTotal: yes', 'awsTotal: 0', 'awsTotal: [false]']) {
    const values = await read(text);
    t.throws(() => resolveConfig({}, {}, values, none), { message: /is n(either|o single)/ }, text);
  }
  for (const text of ['tolerance: 1e-2', 'tolerance: .5', 'tolerance: 0x1', 'tolerance: +1']) {
    const values = await read(text);
    t.throws(() => resolveConfig({}, {}, values, none), { message: /is no amount/ }, text);
  }
  const values = await read('awsTotal: FALSE\ntolerance: 0.050\ntimeout: 010\nwait: "5"\n1: x\n');
  t.deepEqual(Object.keys(values).sort(), ['1', 'awsTotal', 'timeout', 'tolerance', 'wait']);
  Reflect.deleteProperty(values, '1');
  t.like(resolveConfig({}, {}, values, none), {
    awsTotal: false,
    tolerance: 5n * 10n ** 16n,
    timeoutMs: 10_000,
    waitSeconds: 5,
  });
});

test('variables of the SDK and of proxies are checked too, without their values', (t) => {
  const env = {
    AWS_MAX_ATTEMPTS: '0x10',
    AWS_ENDPOINT_URL: 'localhost:4566',
    AWS_ENDPOINT_URL_S3: 'ftp://hunter2',
    HTTPS_PROXY: 'socks5://u:hunter2@h',
    AWS_CA_BUNDLE: '/nowhere',
    AWS_ENDPOINT_URL_DYNAMODB: 'not ours',
  };
  const error = t.throws(() => resolveConfig({}, env, {}, none), { instanceOf: UsageError });
  for (const name of Object.keys(env).filter((one) => !one.endsWith('DYNAMODB')))
    t.true(error.message.includes(name), name);
  t.false(/hunter2|DYNAMODB/.test(error.message));
  const empty = Object.fromEntries(Object.keys(env).map((name) => [name, '']));
  t.notThrows(() => resolveConfig({}, empty, {}, none));
});

test('what no header or path can hold is named by its setting', (t) => {
  for (const [name, value] of [
    ['VAULT_NAMESPACE', 'a\nb'],
    ['VAULT_NAMESPACE', 'é'],
    ['VAULT_ROLE_ID', 'a\u0000'],
    ['VAULT_SECRET_ID', 'hunter2\n'],
    ['VAULT_ADDR', 'https://u:hunter2@h'],
    ['VAULT_ADDR', 'hunter2'],
    ['VAULT_LOGIN_PATH', 'https://elsewhere/v1/hunter'],
    ['VAULT_AWS_SECRET_PATH', '/v1/'],
    ['PIPELINE_STAGING', 'a\u001bb'],
    ['PIPELINE_DATABASE', 'mysql://u:hunter2@'],
  ] as const) {
    const error = t.throws(() => resolveConfig({}, { ...vault, [name]: value }, {}, all), {
      instanceOf: UsageError,
    });
    t.true(error.message.includes(name), name);
    t.notRegex(error.message, /hunter2|Invalid|\p{Cc}(?<!\n)/u);
  }
});

for (const text of [
  'vault:\n  secretId: !hunter2\n',
  'vault:\n  secretId: !!hunter2 x\n',
  'vault:\n  secretId: &hunter2\n',
  'vault:\n  secretId: *hunter2\n',
  'vault:\n  secretId: `hunter2\n',
  'vault: {secretId:hunter2}\n',
  '%hunter2 a\n---\nwait: 1\n',
  '? [hunter2]\n: 1\n',
  'wait: !!binary hunter2\n',
]) {
  test(`a secret that YAML takes for something else is not repeated: ${JSON.stringify(text)}`, async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, 'pipeline.config.yaml'), text);
    const { code, stdout, stderr } = await pipeline(['status', '--json'], { cwd: folder });
    t.is(code, 2);
    t.notRegex(stdout + stderr, /hunter2|Warning/);
    t.regex(stderr, /^pipeline: (the configuration file|a setting is wrong)/);
  });
}

test('a password is refused in the flag alone', (t) => {
  const address = 'mysql://user:hunter2@host/db';
  const error = t.throws(() => resolveConfig({ database: address }, {}, {}, none), {
    instanceOf: UsageError,
    message: /process list/,
  });
  t.false(error.message.includes('hunter2'));
  t.is(resolveConfig({}, { PIPELINE_DATABASE: address }, {}, none).database.kind, 'url');
  t.is(resolveConfig({ database: 'mysql://user@host/db' }, {}, {}, none).database.kind, 'url');
});

test('the file is read as YAML, and one that is none is refused without repeating it', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'a.yaml');
  await writeFile(file, 'tags:\n  oab: aws-oab\n');
  t.deepEqual(await readConfigFile(file), { tags: { oab: 'aws-oab' } });
  await writeFile(file, '');
  t.deepEqual(await readConfigFile(file), {});
  await writeFile(file, 'vault:\n  secretId: "hunter2\n');
  const error = await t.throwsAsync(readConfigFile(file), {
    instanceOf: UsageError,
    message: /not YAML \(line \d+\)/,
  });
  t.false(error.message.includes('hunter2'));
  await writeFile(file, '- a list');
  await t.throwsAsync(readConfigFile(file), { instanceOf: UsageError, message: /not a mapping/ });
});

test('customers of several accounts: each name and each account once, and named where it is not', (t) => {
  const of = (customers: unknown) => resolveConfig({}, {}, { customers }, none).customers;
  const acme = { name: 'Acme', accounts: ['000456789012', '000456789013'] };
  t.deepEqual(of([acme]), [acme]);
  const faults: readonly [customers: unknown, message: RegExp][] = [
    [[acme, acme], /"customers".*names the customer "Acme" twice/],
    [
      [{ ...acme, accounts: ['000456789012', '000456789012'] }],
      /account 000456789012 twice, in "Acme"/,
    ],
    [
      [acme, { name: 'Other', accounts: ['000456789013'] }],
      /gives account 000456789013 to "Acme" and to "Other"/,
    ],
    [
      [{ ...acme, accounts: ['456789012'] }],
      /customers.0.accounts.0.*is no account id of 12 digits/,
    ],
    [[{ ...acme, accounts: [] }], /names no account/],
    [[{ ...acme, acounts: [] }], /has no such key as "acounts"/],
    ['Acme', /is no list/],
  ];
  for (const [customers, message] of faults)
    t.throws(() => of(customers), { instanceOf: UsageError, message });
});

test('the look of reports: a language as it is known here, formats with commas between', (t) => {
  const of = (flags: Record<string, unknown>, report: unknown) =>
    resolveConfig(flags, {}, { report }, none).report;
  t.like(of({}, { locale: 'de-ch', currency: 'symbol', title: 'House' }), {
    ...{ locale: 'de-CH', currency: 'symbol', title: 'House', out: './report' },
  });
  t.deepEqual(of({ format: 'pdf, html' }, {}).formats, ['html', 'pdf']);
  t.deepEqual(of({}, { formats: 'xlsx' }).formats, ['xlsx']);
  t.throws(() => of({ format: 'html,docx' }, {}), { message: /--format.*html, xlsx, pdf/ });
  t.throws(() => of({}, { locale: 'no language' }), { message: /"report.locale".*is no language/ });
  t.throws(() => of({}, { locale: 'xx' }), { message: /"report.locale".*is no language/ });
  t.throws(() => of({}, { currency: 'words' }), { message: /"report.currency"/ });
  t.throws(() => of({}, { colour: 'red' }), { message: /has no such key as "colour"/ });
});

const hookSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** Hooks of a configuration file's `notify`, with these variables. */
function hooksOf(notify: unknown, env: NodeJS.ProcessEnv = {}) {
  return resolveConfig({}, env, { notify }, { ...none, hooks: true }).hooks;
}

test('hooks stand in the file, their secrets in the environment', (t) => {
  const env = { SLACK: ' https://hooks.slack.example/services/T/B/x ', KEY: hookSecret };
  const hooks = hooksOf(
    [
      { slackFrom: 'SLACK' },
      { webhook: 'https://a.example/x?y=z', secretFrom: 'KEY', on: ['always'] },
      { teams: 'http://127.0.0.1:8080/', on: 'restated', threshold: '5%' },
      { teams: 'https://t.example', on: ['failure', 'restated'], threshold: ['5%', '100usd'] },
    ],
    env,
  );
  t.deepEqual(
    hooks.map(({ kind, url, on }) => [kind, url.href, on]),
    [
      ['slack', 'https://hooks.slack.example/services/T/B/x', ['failure']],
      ['webhook', 'https://a.example/x?y=z', ['always']],
      ['teams', 'http://127.0.0.1:8080/', ['restated']],
      ['teams', 'https://t.example/', ['failure', 'restated']],
    ],
  );
  t.deepEqual(hooks[1]?.key, Buffer.alloc(32, 7));
  t.deepEqual(hooks.map(describeHook).slice(2), [
    'teams at 127.0.0.1:8080, on restated by 5%',
    'teams at t.example, on failure, restated by 5% and 100USD',
  ]);
});

test('only a run needs the secrets of hooks', (t) => {
  const file = { notify: [{ slackFrom: 'NOT_SET' }] };
  t.deepEqual(resolveConfig({}, {}, file, none).hooks, []);
  t.throws(() => hooksOf(file.notify), { instanceOf: UsageError, message: /notify\.0\.slackFrom/ });
});

for (const [what, entry, says] of [
  [
    'names no place',
    { on: ['failure'] },
    /"notify\.0" .*names no place; take one of webhook, webhookFrom, slack/,
  ],
  [
    'names two',
    { slack: 'https://a.example', teamsFrom: 'T' },
    /"notify\.0" .*more than one place/,
  ],
  ['is no entry', 'https://a.example', /"notify\.0" /],
  [
    'has another key',
    { slack: 'https://a.example', urls: 1 },
    /no such key as "urls"; it may have webhook/,
  ],
  ['has a slip', { slak: 'https://a.example' }, /"slak" \(did you mean "slack"\?\)/],
  [
    'is plain',
    { slack: 'http://a.example/hunter7' },
    /"notify\.0\.slack" .*is no https:\/\/ address/,
  ],
  ['is no address', { slack: 'hunter7' }, /"notify\.0\.slack" .*is no https:\/\/ address/],
  [
    'knows another occasion',
    { slack: 'https://a.example', on: ['fail'] },
    /notify\.0\.on\.0" .*is neither "failure"/,
  ],
  ['knows none', { slack: 'https://a.example', on: [] }, /notify\.0\.on" .*names no occasion/],
  [
    'has a threshold of nothing',
    { slack: 'https://a.example', threshold: '5%' },
    /threshold" .*"restated" only/,
  ],
  [
    'has a threshold without a unit',
    { slack: 'https://a.example', on: 'restated', threshold: '5' },
    /"5" is not a threshold/,
  ],
  [
    'signs what takes no signature',
    { slack: 'https://a.example', secretFrom: 'KEY' },
    /secretFrom" .*webhook only/,
  ],
  ['does not sign', { webhook: 'https://a.example' }, /secretFrom" .*is missing/],
  [
    'has the secret itself',
    { webhook: 'https://a.example', secretFrom: 'whsec_hunter7+' },
    /secretFrom" .*no name of an env/,
  ],
  [
    'names an unset variable',
    { webhook: 'https://a.example', secretFrom: 'hunter7' },
    /secretFrom" .*not set/,
  ],
  [
    'names a short secret',
    { webhook: 'https://a.example', secretFrom: 'SHORT' },
    /secretFrom" .*openssl rand/,
  ],
  [
    'names a bare secret',
    { webhook: 'https://a.example', secretFrom: 'BARE' },
    /secretFrom" .*openssl rand/,
  ],
  ['names another address', { teamsFrom: 'PLAIN' }, /teamsFrom" .*is no https:\/\/ address/],
] as const) {
  test(`an entry of notify that ${what} is refused, and no value is repeated`, (t) => {
    const env = {
      KEY: hookSecret,
      SHORT: `whsec_${Buffer.from('hunter7').toString('base64')}`,
      BARE: 'hunter7'.repeat(8),
      PLAIN: 'http://hunter7.example',
    };
    const error = t.throws(() => hooksOf([entry], env), { instanceOf: UsageError, message: says });
    t.notRegex(error.message, /hunter7/);
  });
}

test('notify is a list', (t) => {
  t.throws(() => hooksOf({ slack: 'https://a.example' }), { message: /"notify" .*is no list/ });
});
