import { readdir } from 'node:fs/promises';
import test from 'ava';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import type { TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';
import type { World } from '../support/world.js';
import { month, world } from '../support/world.js';

let server: TestServer;
test.before(async () => {
  server = await startServer(['--local-infile=0']);
});
test.after.always(() => server.stop());

test('all is well: exit 0, nothing is left behind and nothing is paid', async (t) => {
  const { cloud, folder, run, charged } = await world(t);
  const result = await run('check');
  t.is(result.code, 0, result.stdout);
  for (const line of [
    /^ok +settings/m,
    /^ok +Vault login/m,
    /^ok +AWS secret +2 organizations: internal, oab$/m,
    /^ok +oab: AssumeRole/m,
    /^ok +oab: ListAccounts/m,
    /^skipped +oab: Cost Explorer .*--paid/m,
    /^ok +staging area/m,
    /^ok +database rights/m,
  ])
    t.regex(result.stdout, line);
  t.is(charged(), 0);
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  t.deepEqual(
    files.filter((file) => file.isFile()),
    [],
  );
  const listed = cloud.requests.filter(({ operation }) => operation === 'ListAccounts');
  t.is(listed.length, 2, 'one page for each organization');
});

test('--paid asks Cost Explorer once for each chosen organization', async (t) => {
  const { run, charged } = await world(t);
  const result = await run('check', '--paid', '--organization', 'oab', '--json');
  t.is(result.code, 0, result.stdout);
  t.is(charged(), 1);
  const { ok, checks } = JSON.parse(result.stdout) as { ok: boolean; checks: object[] };
  t.true(ok);
  t.true(checks.length >= 8);
});

const deny = { kind: 'error', times: Infinity } as const;
const failures: [
  string,
  (given: World) => Record<string, string> | undefined,
  string[],
  RegExp[],
][] = [
  [
    'a setting that is missing',
    () => ({ VAULT_SECRET_ID: '' }),
    [],
    [/^failed +settings [^]*VAULT_SECRET_ID/m, /^skipped +Vault login/m, /^ok +staging area/m],
  ],
  [
    'a sealed Vault',
    ({ cloud }) => void (cloud.vault.sealed = true),
    [],
    [/^failed +Vault login .*sealed/m, /^skipped +AWS secret/m, /^ok +database rights/m],
  ],
  [
    'a secret that is not there',
    () => ({ VAULT_AWS_SECRET_PATH: 'secret/data/nowhere' }),
    [],
    [/^ok +Vault login/m, /^failed +AWS secret .*nowhere/m],
  ],
  [
    'an organization that is not there',
    () => undefined,
    ['--organization', 'obb'],
    [/^failed +AWS secret .*obb/m],
  ],
  [
    'a role that may not be assumed',
    ({ cloud }) =>
      void cloud.faults.push({
        ...deny,
        service: 'sts',
        organization: 'oab',
        code: 'AccessDenied',
      }),
    [],
    [
      /^failed +oab: AssumeRole .*trust policy/m,
      /^skipped +oab: ListAccounts/m,
      /^ok +internal: L/m,
    ],
  ],
  [
    'no right to list accounts',
    ({ cloud }) =>
      void cloud.faults.push({ ...deny, service: 'organizations', code: 'AccessDeniedException' }),
    [],
    [/^ok +oab: AssumeRole/m, /^failed +oab: ListAccounts .*organizations:ListAccounts/m],
  ],
  [
    'no right to ask Cost Explorer',
    ({ cloud }) =>
      void cloud.faults.push({ ...deny, service: 'cost-explorer', code: 'AccessDeniedException' }),
    ['--paid'],
    [/^ok +oab: ListAccounts/m, /^failed +oab: Cost Explorer .*ce:GetCostAndUsage/m],
  ],
  [
    'a staging area that cannot be written',
    () => undefined,
    ['--staging', '/dev/null/nowhere'],
    [/^failed +staging area .*\/dev\/null\/nowhere/m, /^ok +database rights/m],
  ],
  [
    'a database that cannot be reached',
    () => ({ PIPELINE_DATABASE: 'mysql://u:pass-w0rd@127.0.0.1:9/x' }),
    [],
    [/^failed +database .*127\.0\.0\.1:9/m, /^skipped +database rights/m, /^ok +staging area/m],
  ],
  [
    'a suivi secret that is not there',
    () => ({ VAULT_SUIVI_SECRET_PATH: 'secret/data/suivi' }),
    [],
    [/^failed +suivi secret .*secret\/data\/suivi/m, /^skipped +database /m],
  ],
];
for (const [what, arrange, args, lines] of failures) {
  test(`${what} fails its own line, and the rest is checked`, async (t) => {
    const given = await world(t);
    const result = await given.runWith(arrange(given) ?? {}, 'check', ...args);
    t.is(result.code, 1, result.stdout);
    for (const line of lines) t.regex(result.stdout, line);
    const said = result.stdout + result.stderr;
    t.notRegex(said, /pass-w0rd|^\s+at /m);
    for (const secret of [given.cloud.vault.secretId, given.cloud.vault.roleId])
      t.false(said.includes(secret));
  });
}

test('missing keys of the secret are named', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  Reflect.deleteProperty(data.secret, 'aws_oab_secret_access_key');
  const { run } = await world(t, { data });
  const result = await run('check');
  t.is(result.code, 1);
  t.regex(result.stdout, /^failed +AWS secret .*aws_oab_secret_access_key/m);
});

test('of MariaDB it tells version, local_infile and the right that is missing', async (t) => {
  const address = await server.createDatabase();
  const { runWith } = await world(t);
  const good = await runWith({ PIPELINE_DATABASE: address }, 'check');
  t.is(good.code, 0, good.stdout);
  t.regex(good.stdout, /^ok +database .*version \d+\.\d+/m);
  t.regex(good.stdout, /^ok +local_infile +off: /m);
  t.notRegex(good.stdout, /^\w+ +views/m);

  const url = new URL(address);
  const name = url.pathname.slice(1);
  await server.query(
    address,
    `CREATE USER 'reader'@'%' IDENTIFIED BY 'pass-w0rd'`,
    `GRANT SELECT, INSERT ON \`${name}\`.* TO 'reader'@'%'`,
  );
  url.username = 'reader';
  url.password = 'pass-w0rd';
  const bad = await runWith({ PIPELINE_DATABASE: url.href }, 'check');
  t.is(bad.code, 1);
  t.regex(bad.stdout, /^ok +database /m);
  t.regex(bad.stdout, /^failed +database rights .*DELETE/m);
  t.notRegex(bad.stdout + bad.stderr, /pass-w0rd/);
});

test('of MariaDB it tells the GRANT by which the views are made, and loading needs none', async (t) => {
  const address = await server.createDatabase();
  const { runWith } = await world(t);
  const url = new URL(address);
  const name = url.pathname.slice(1);
  await server.query(
    address,
    `CREATE USER 'loader'@'%' IDENTIFIED BY 'pass-w0rd'`,
    `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON \`${name}\`.* TO 'loader'@'%'`,
  );
  url.username = 'loader';
  url.password = 'pass-w0rd';
  const environment = { PIPELINE_DATABASE: url.href };
  const checked = await runWith(environment, 'check');
  t.is(checked.code, 0, checked.stdout);
  const [, grant = ''] =
    /^ok +views +missing, loading works: .* with (GRANT CREATE VIEW ON \S+ TO 'loader'@'%')$/m.exec(
      checked.stdout,
    ) ?? [];
  const ran = await runWith(environment, 'run', '--month', month);
  t.is(ran.code, 0, ran.stderr);
  t.is(ran.stderr.split(grant).length, 2, ran.stderr);
  await server.query(address, grant);
  const after = await runWith(environment, 'check');
  t.notRegex(after.stdout, /^\w+ +views/m);
  t.not((await server.query(address, 'SELECT * FROM customer_month')).length, 0);
});

test('a bucket is tried too, and the other commands read from it', async (t) => {
  const s3 = await startS3({ buckets: ['bucket'] });
  t.teardown(() => s3.close());
  const { runWith } = await world(t);
  const staging = ['--staging', 's3://bucket/area'];
  const good = await runWith(s3.environment, 'check', ...staging);
  t.is(good.code, 0, good.stdout);
  t.regex(good.stdout, /^ok +staging area +s3:\/\/bucket\/area: /m);
  t.true(s3.requests.some(({ operation }) => operation === 'DeleteObject'));
  const extract = ['run', '--month', month, '--stage', 'extract'];
  t.is((await runWith(s3.environment, ...extract, ...staging)).code, 0);
  t.regex(
    (await runWith(s3.environment, 'status', ...staging)).stdout,
    /2026-10 {2}oab .*\d\.\d\d\n/,
  );
  const plan = await runWith(s3.environment, 'plan', '--month', month, ...staging);
  t.regex(plan.stdout, /oab +unchanged +run +run +0/);
  const bad = await runWith(s3.environment, 'check', '--staging', 's3://nowhere/area');
  t.is(bad.code, 1);
  t.regex(bad.stdout, /^failed +staging area .*nowhere/m);
});
