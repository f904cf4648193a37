import { cp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { demoData, restate } from '../../fixtures/demo/data.js';
import { charge, costs, units } from '../../fixtures/demo/model.js';
import { expectedTotal } from '../../fixtures/demo/truth.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { openServer } from '../support/mariadb.js';
import { month, world } from '../support/world.js';

interface Status {
  databaseError?: { message: string };
  check?: object;
  problems: string[];
  slices: {
    organization: string;
    extracted: { extraction: string } | null;
    unfinished: string | null;
    transformed: object | null;
    loaded: object | string | null;
    figures: string | null;
    rows: number | null;
    amount: Record<string, string> | null;
    stale: string[];
  }[];
}
const parse = (text: string): Status => JSON.parse(text) as Status;
const organizations = [
  { name: 'oab', accounts: 23 },
  { name: 'internal', accounts: 4 },
];

test('an empty staging area is a friendly line', async (t) => {
  const { folder, run } = await world(t);
  const result = await run('status');
  t.is(result.code, 0, result.stderr);
  t.regex(result.stdout, /nothing is staged/);
  t.deepEqual(await readdir(folder), []);
});

test('status follows the stages, with what is stale, from the staging area and the database alone', async (t) => {
  const data = demoData({ months: [month], organizations });
  const { cloud, folder, run } = await world(t, { data });
  t.is((await run('run', '--month', month, '--stage', 'extract')).code, 0);
  const aws = (): number => cloud.requests.filter(({ service }) => service !== 'vault').length;
  const requests = aws();
  const extracted = parse((await run('status', '--json', '--organization', 'oab')).stdout);
  t.is(extracted.slices.length, 1);
  t.like(extracted.slices[0], {
    organization: 'oab',
    transformed: null,
    loaded: null,
    stale: [],
    amount: { USD: formatAmount(expectedTotal(data, 'oab', month)) },
  });
  t.deepEqual(await readdir(folder), ['staging'], 'status made a database');

  const rest = ['--stage', 'transform', '--stage', 'load'];
  t.is((await run('run', '--month', month, ...rest)).code, 0);
  const text = await run('status');
  t.is(text.code, 0, text.stderr);
  t.regex(
    text.stdout,
    /2026-10 {2}oab +\d{4}-\d\d-\d\d \d\d:\d\d +yes +yes +(final|provisional) +\d+\.\d\d\n/,
  );
  t.is(aws(), requests, 'status asked AWS');

  const again = ['run', '--month', month, '--organization', 'oab'];
  t.is((await run(...again, '--stage', 'extract', '--force')).code, 0);
  const staleOf = async (): Promise<string[][]> =>
    parse((await run('status', '--json')).stdout).slices.map(({ stale }) => stale);
  t.deepEqual(await staleOf(), [[], ['transform', 'load']]);
  t.is((await run(...again, '--stage', 'transform')).code, 0);
  t.deepEqual(await staleOf(), [[], ['load']]);
  t.is((await run(...again, '--stage', 'load')).code, 0);
  t.deepEqual(await staleOf(), [[], []]);

  t.is((await run(...again, '--force', '--max-requests', '1')).code, 4);
  const [, oab] = parse((await run('status', '--json')).stdout).slices;
  t.regex(oab?.unfinished ?? '', /^\d{8}T\d{6}Z$/);
  t.regex((await run('status')).stdout, /newer unfinished/);
  t.regex(
    (await run('status', '--month', '2025-01')).stdout,
    /nothing is staged in .* for the chosen months/,
  );
});

test('status reads MariaDB, and says when it cannot', async (t) => {
  const server = await openServer();
  t.teardown(() => server.stop());
  const PIPELINE_DATABASE = await server.createDatabase();
  const { runWith } = await world(t);
  const env = { PIPELINE_DATABASE };
  t.is((await runWith(env, 'run', '--month', month, '--stage', 'extract')).code, 0);
  const before = await runWith(env, 'status', '--json');
  t.is(before.code, 0, before.stderr);
  t.is(parse(before.stdout).slices[0]?.loaded, null);
  t.deepEqual(await server.query(PIPELINE_DATABASE, 'SHOW TABLES'), [], 'status made tables');
  t.is((await runWith(env, 'run', '--month', month)).code, 0);
  const loaded = parse((await runWith(env, 'status', '--json')).stdout);
  for (const slice of loaded.slices) {
    t.like(slice.loaded, { extraction: slice.extracted?.extraction });
    t.deepEqual(slice.stale, []);
  }
  // Tables of a version that is none of this one's line, with a column less.
  for (const change of [
    "UPDATE pipeline_migrations SET name = '001_charges' WHERE name = '001_breakdowns'",
    'ALTER TABLE pipeline_loads DROP COLUMN CostViewArn',
  ])
    await server.query(PIPELINE_DATABASE, change);
  const foreign = await runWith(env, 'status');
  t.is(foreign.code, 1);
  t.regex(foreign.stderr, /tables are another version's \(step 001_charges is unknown here\)/);
  const away = await runWith({ PIPELINE_DATABASE: 'mysql://u:pass-w0rd@127.0.0.1:9/x' }, 'status');
  t.is(away.code, 1);
  t.regex(away.stdout, / unknown /);
  t.regex(away.stderr, /database cannot be asked.*127\.0\.0\.1:9/);
  t.notRegex(away.stdout + away.stderr, /pass-w0rd/);
});

test('a damaged manifest is named, and the other slices are shown', async (t) => {
  const { folder, run } = await world(t);
  t.is((await run('run', '--month', month)).code, 0);
  await truncate(join(folder, `staging/manifests/month=${month}/oab.json`), 20);
  const result = await run('status');
  t.is(result.code, 1);
  t.regex(result.stdout, /2026-10 oab cannot be read: .*oab\.json/);
  t.regex(result.stdout, /2026-10 {2}internal .*\d+\.\d\d\n/);
});

test('an absent organization is named with the command that fetches it, and the check fails until it is there', async (t) => {
  const { folder, run, runWith } = await world(t);
  t.is((await run('run', '--month', month, '--organization', 'oab')).code, 0);
  const absent =
    /2026-10 internal: absent, though the AWS secret .*; run "node \S+ (run --month 2026-10 --organization internal)"/;
  const plain = await run('status');
  t.is(plain.code, 0, plain.stderr);
  t.regex(plain.stdout, absent);
  const check = ['status', '--check', '--month', month];
  const failed = await run(...check);
  t.is(failed.code, 1);
  t.regex(failed.stdout, absent);
  t.regex(failed.stdout, /2026-10: not complete, current, fresh; figures final\n$/);
  t.is((await run(...check, '--organization', 'oab')).code, 0);

  const [, words = ''] = absent.exec(plain.stdout) ?? [];
  t.is((await run(...words.split(' '))).code, 0);
  const whole = await run(...check);
  t.is(whole.code, 0, whole.stdout);
  t.is(whole.stdout, '2026-10: complete, current, fresh; figures final\n');

  // Without Vault nobody says which organizations there are, but for the months around.
  const without = { VAULT_ADDR: '', VAULT_ROLE_ID: '', VAULT_SECRET_ID: '' };
  const alone = await runWith(without, ...check);
  t.is(alone.code, 1);
  t.regex(alone.stdout, /whether all organizations of 2026-10 are there is not known: .*Vault/);
  await cp(
    join(folder, `staging/raw/month=${month}/oab`),
    join(folder, 'staging/raw/month=2026-09/oab'),
    { recursive: true },
  );
  t.is((await runWith(without, ...check)).code, 0);
  const around = await runWith(without, 'status', '--check', '--month', '2026-09');
  t.is(around.code, 1);
  t.regex(around.stdout, /2026-09 internal: absent, though the months around/);

  await writeFile(join(folder, 'pipeline.config.yaml'), 'provisionalDays: 365\n');
  const provisional = await run(...check, '--json');
  t.is(provisional.code, 5);
  t.deepEqual(parse(provisional.stdout).check, {
    complete: true,
    current: true,
    fresh: true,
    figures: 'provisional',
    verdict: 'provisional',
    exitCode: 5,
  });
  t.deepEqual(parse(provisional.stdout).problems, []);
});

test('exports that are gone or cut short are missing, and the command that is named makes them anew', async (t) => {
  const { folder, run } = await world(t);
  t.is((await run('run', '--month', month)).code, 0);
  await rm(join(folder, `staging/csv/consumption/month=${month}/oab.csv`));
  await truncate(join(folder, `staging/parquet/customers/month=${month}/internal.parquet`), 100);
  const { code, stdout } = await run('status');
  t.is(code, 0);
  t.regex(stdout, /2026-10 +oab +[\d-]+ [\d:]+ +missing +yes/);
  const [, words = ''] =
    /2026-10 internal, oab: exports missing; run "node \S+ (run [^"]+)"/.exec(stdout) ?? [];
  t.is(words.split(' ')[2], 'transform,load', stdout);
  t.is((await run('status', '--check', '--month', month)).code, 1);
  t.is((await run(...words.split(' '))).code, 0);
  t.is((await run('status', '--check', '--month', month)).code, 0);
  t.deepEqual(parse((await run('status', '--json')).stdout).problems, []);
});

test('with the longest names and nine digits the table has 100 columns at most', async (t) => {
  const names = ['spp_ecm', `organization-${'x'.repeat(30)}`];
  const data = demoData({
    months: [month],
    organizations: names.map((name) => ({ name, accounts: 3 })),
  });
  for (const organization of data.organizations)
    restate(data, organization.name, month, (items) => [
      ...items,
      charge(
        {
          account: organization.accounts[0]!.id,
          service: 'Tax',
          usageType: 'x',
          region: 'x',
          day: 1,
        },
        'Tax',
        costs(units('123456789'), 0),
      ),
    ]);
  const { run } = await world(t, { data });
  const ran = await run('run', '--month', month, '--detail', 'usage-type');
  t.is(ran.code, 0, ran.stdout);
  for (const command of ['status', 'reconcile']) {
    const { stdout } = await run(command);
    t.regex(stdout, /1234\d{5}\.\d\d/);
    const table = stdout.split('\n').filter((line) => /^(month|2026-10) {2}/.test(line));
    t.true(table.length > 2);
    for (const line of table) t.true(line.length <= 100, line);
  }
});
