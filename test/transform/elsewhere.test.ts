import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { extractionPrefix } from '../../pipeline/staging/layout.js';
import { readTransformManifest } from '../../pipeline/staging/manifest.js';
import { localStaging } from '../../pipeline/staging/local.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { literal, query } from '../support/duckdb.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { moveAccount } from '../support/moved-account.js';
import { querySqlite } from '../support/sqlite.js';
import { temporaryStaging } from '../support/staging.js';
import { pathOf, run, slice, snapshot } from '../support/transform.js';

const [moved, gone, own] = ['111111111111', '222222222222', '333333333333'];

/** The organization that has cost of two accounts which it does not list any more. */
async function stageLeft(staging: Staging): Promise<void> {
  const groups = [moved, gone, own].map((id) => group('Tax', id, '1'));
  await makeExtraction(staging, slice, {
    accounts: [{ Accounts: [{ Id: own, Name: 'Own', State: 'ACTIVE' }] }],
    costs: [
      costAnswer(groups, {
        DimensionValueAttributes: [{ Value: gone, Attributes: { description: 'Gone, Ltd' } }],
      }),
    ],
  });
}

interface Listed {
  Id: string | undefined;
  Name?: string;
  Email?: string;
  JoinedTimestamp?: string;
}

let extraction = 0;

/** A further extraction of another organization that lists these accounts; of another month, if given. */
async function stageOther(
  staging: Staging,
  organization: string,
  accounts: readonly Listed[],
  month = slice.month,
): Promise<string> {
  const name = `20261101T03${String(++extraction).padStart(4, '0')}Z`;
  await makeExtraction(
    staging,
    { month, organization },
    {
      accounts: [{ Accounts: accounts.map((one) => ({ State: 'ACTIVE', ...one })) }],
      extraction: name,
    },
  );
  return name;
}

async function unlisted(staging: Staging): Promise<unknown[]> {
  const rows = await query(
    `SELECT Reference, TenantName, Email, Created FROM read_parquet(${literal(pathOf(staging, 'parquet', 'customers'))})
     WHERE Status = 'unlisted' ORDER BY Reference`,
  );
  return rows.map(({ Reference, TenantName, Email, Created }) => [
    Reference,
    TenantName,
    Email,
    Created,
  ]);
}

const nameless = [
  [moved, '', '', null],
  [gone, 'Gone, Ltd', '', null],
];
const named = [
  [moved, 'Moved', 'moved@example.com', null],
  [gone, 'Gone, Ltd', '', null],
];
const account = { Id: moved, Name: 'Moved', Email: 'moved@example.com' };

test('an account that changed payers has name and address of the organization that lists it', async (t) => {
  const staging = await temporaryStaging(t);
  await stageLeft(staging);
  await stageOther(staging, 'internal', [account]);
  t.like(await run(staging), { state: 'done', customers: 3 });
  t.deepEqual(await unlisted(staging), named);
  t.is((await readTransformManifest(staging, slice))?.manifest.customers.unlisted, 2);
});

test('another organization fetched later is noticed, and nothing is made where it says the same', async (t) => {
  const staging = await temporaryStaging(t);
  await stageLeft(staging);
  t.like(await run(staging), { state: 'done' });
  t.deepEqual(await unlisted(staging), nameless);
  t.like(await run(staging), { state: 'unchanged' });

  await stageOther(staging, 'spp', [{ Id: '444444444444', Name: 'Another' }]);
  t.like(await run(staging), { state: 'unchanged' });
  await stageOther(staging, 'internal', [account], parseMonth('2026-09'));
  t.like(await run(staging), { state: 'unchanged' });
  t.deepEqual(await unlisted(staging), nameless);

  await stageOther(staging, 'internal', [account]);
  t.like(await run(staging), { state: 'done' });
  t.deepEqual(await unlisted(staging), named);
  // Fetched again, it says the same.
  await stageOther(staging, 'internal', [account]);
  t.like(await run(staging), { state: 'unchanged' });
  await stageOther(staging, 'internal', [{ ...account, Name: 'Renamed' }]);
  t.like(await run(staging), { state: 'done' });
  t.deepEqual(await unlisted(staging), [[moved, 'Renamed', 'moved@example.com', null], named[1]]);
  await stageOther(staging, 'internal', []);
  t.like(await run(staging), { state: 'done' });
  t.deepEqual(await unlisted(staging), nameless);
});

test('what was looked at once and says the same is not read again', async (t) => {
  const staging = await temporaryStaging(t);
  await stageLeft(staging);
  await run(staging);
  const name = await stageOther(staging, 'internal', []);
  t.like(await run(staging), { state: 'unchanged' });
  const read: string[] = [];
  const watched: Staging = {
    ...staging,
    read: (key) => {
      read.push(key);
      return staging.read(key);
    },
  };
  t.like(await run(watched), { state: 'unchanged' });
  t.deepEqual(
    read.filter((key) => key.includes('/internal/')),
    [],
    name,
  );
});

test('of several organizations that list an account, it joined one last, or one is the first by name', async (t) => {
  for (const [organizations, expected] of [
    [{ a: '2024-01-01T00:00:00Z', b: '2026-10-07T00:00:00Z', c: undefined }, 'b'],
    [{ a: undefined, b: '2020-10-07T00:00:00Z' }, 'b'],
    [{ c: undefined, b: undefined }, 'b'],
    [{ c: '2026-10-07T00:00:00Z', b: '2026-10-07T00:00:00Z' }, 'b'],
  ] as const) {
    const staging = await temporaryStaging(t);
    await stageLeft(staging);
    for (const [name, joined] of Object.entries(organizations)) {
      const at = joined === undefined ? {} : { JoinedTimestamp: joined };
      await stageOther(staging, name, [{ ...account, Name: name, ...at }]);
    }
    await run(staging);
    t.is(((await unlisted(staging)) as string[][])[0]?.[1], expected);
  }
});

test("another organization's altered pages leave a name out, with a warning, until they are restored", async (t) => {
  const staging = await temporaryStaging(t);
  await stageLeft(staging);
  const name = await stageOther(staging, 'internal', [account]);
  await stageOther(staging, 'spp', [{ Id: gone, Email: 'gone@example.com' }]);
  const page = `${staging.location}/${extractionPrefix({ ...slice, organization: 'internal' }, name)}accounts-00001.json`;
  const content = JSON.stringify({ Accounts: [{ State: 'ACTIVE', ...account }] });
  await rm(page);
  const warnings: unknown[] = [];
  const none = (): void => undefined;
  const log = {
    debug: none,
    info: none,
    error: none,
    warn: (...words: unknown[]) => warnings.push(words.at(-1)),
  };
  t.like(await run(staging, { log }), { state: 'done' });
  t.regex(String(warnings), /^internal's staged accounts cannot be read/);
  // An address alone is taken too; the name is Cost Explorer's then.
  t.deepEqual(await unlisted(staging), [
    nameless[0],
    [gone, 'Gone, Ltd', 'gone@example.com', null],
  ]);
  await writeFile(page, content);
  t.like(await run(staging, { log }), { state: 'done' });
  t.is(((await unlisted(staging)) as string[][])[0]?.[1], 'Moved');
});

test('without unlisted accounts nothing of other organizations is listed or read', async (t) => {
  const staging = await temporaryStaging(t);
  await makeExtraction(staging, slice, {
    accounts: [{ Accounts: [{ Id: own, Name: 'Own' }] }],
    costs: [costAnswer([group('Tax', own, '1')])],
  });
  await stageOther(staging, 'internal', [account]);
  const seen: string[] = [];
  const watched: Staging = {
    ...staging,
    list: (prefix) => {
      seen.push(prefix);
      return staging.list(prefix);
    },
    read: (key) => {
      seen.push(key);
      return staging.read(key);
    },
  };
  await run(watched);
  await run(watched);
  t.true(seen.length > 0);
  t.deepEqual(
    seen.filter((key) => !key.includes('/oab')),
    [],
  );
});

test('a whole run: names do not depend on which payer was asked first, and the join keeps both rows', async (t) => {
  const { month } = slice;
  const names = ['internal', 'oab', 'spp'];
  const data = demoData({
    months: [month],
    organizations: names.map((name) => ({ name, accounts: 5 })),
  });
  const account = moveAccount(data, [month], { left: 'internal', joined: 'spp' });
  const cloud = await startCloud({ data });
  t.teardown(() => cloud.close());
  interface Task {
    organization: string;
    stage: string;
    state: string;
  }
  const runIn = async (cwd: string, concurrency: string) => {
    const command = ['run', '--month', month, '--concurrency', concurrency, '--json'];
    const { code, stdout, stderr } = await pipeline(command, { cwd, env: cloud.environment });
    t.is(code, 0, stderr);
    const { tasks } = JSON.parse(stdout) as { tasks: Task[] };
    return { states: tasks.map((task) => Object.values(task).slice(1, 4).join(' ')), stderr };
  };
  const states = (state: string): string[] =>
    names.flatMap((name) =>
      ['extract', 'transform', 'load'].map((stage) => `${name} ${stage} ${state}`),
    );
  const rows = (folder: string): unknown[] =>
    querySqlite(
      join(folder, 'billing.sqlite'),
      `SELECT Organization, TenantName, Email, Status FROM customers WHERE Reference = '${account.id}' ORDER BY 1`,
    ).map((row) => Object.values(row).join());
  const expected = [
    `internal,${account.name},${account.email},unlisted`,
    `spp,${account.name},${account.email},${account.state!.toLowerCase()}`,
  ];
  const filesOf = (folder: string) => snapshot(localStaging(join(folder, 'staging')));
  const folders = [await temporaryFolder(t), await temporaryFolder(t)] as const;

  // The payer that the account left is asked first, and made before the other is fetched.
  const first = await runIn(folders[0], '1');
  t.deepEqual(first.states, states('done'));
  // Each is told once, though each has accounts that are to be looked for, and all but the last were made too early.
  const told = first.stderr.split('\n').filter((line) => line.startsWith(month));
  t.deepEqual(
    told.map((line) => line.split(/ +/)[1]),
    names,
  );
  t.deepEqual(rows(folders[0]), expected);
  const files = await filesOf(folders[0]);
  t.deepEqual((await runIn(folders[0], '1')).states, states('unchanged'));
  t.deepEqual(await filesOf(folders[0]), files);

  t.deepEqual((await runIn(folders[1], '4')).states, states('done'));
  t.deepEqual(rows(folders[1]), expected);
  const exports = (all: ReadonlyMap<string, string>) =>
    [...all].filter(([key]) => /^(parquet|csv)\//.test(key));
  t.true(exports(files).length >= 12);
  t.deepEqual(exports(await filesOf(folders[1])), exports(files));

  // Nor on a database that is away: what can be made is.
  const cwd = await temporaryFolder(t);
  const away = { ...cloud.environment, PIPELINE_DATABASE: 'sqlite:away/b.sqlite' };
  const command = ['run', '--month', month, '--concurrency', '1', '--json'];
  const { code, stdout } = await pipeline(command, { cwd, env: away });
  t.is(code, 1);
  const { tasks } = JSON.parse(stdout) as { tasks: Task[] };
  t.deepEqual(
    tasks.map(({ stage, state }) => `${stage} ${state}`),
    names.flatMap(() => ['extract done', 'transform done', 'load failed']),
  );
  t.deepEqual(exports(await filesOf(cwd)), exports(files));

  const folder = folders[0];
  const count = (sql: string): unknown =>
    querySqlite(join(folder, 'billing.sqlite'), sql)[0]?.['n'];
  const all = count('SELECT count(*) AS n FROM consumption');
  const joinBy = (columns: string): unknown =>
    count(`SELECT count(*) AS n FROM consumption JOIN customers USING (${columns})`);
  t.is(joinBy('Reference, Organization, BillingPeriod'), all);
  t.true(Number(joinBy('Reference, BillingPeriod')) > Number(all));
});
