import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import type { CloudService, Fault } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { keysOf } from '../support/extract.js';
import { querySqlite } from '../support/sqlite.js';
import type { World } from '../support/world.js';
import { month, world } from '../support/world.js';

const chosen = ['--month', month, '--organization', 'oab'];

/** A loaded month of a world, and what must not change in it. */
async function loadedWorld(
  t: Pick<ExecutionContext, 'is'> & Parameters<typeof world>[0],
  chosen: readonly string[],
  options: Parameters<typeof world>[1] = {},
) {
  const made = await world(t, options);
  const { folder, run } = made;
  const first = await run('run', ...chosen);
  t.is(first.code, 0, first.stderr + first.stdout);
  const file = join(folder, 'billing.sqlite');
  const staging = localStaging(join(folder, 'staging'));
  const rows = (table: string) =>
    querySqlite(file, `SELECT * FROM ${table} ORDER BY Organization, BillingPeriod, Line`);
  const state = async () => ({
    customers: rows('customers'),
    consumption: rows('consumption'),
    loads: querySqlite(file, 'SELECT * FROM pipeline_loads'),
    manifests: (await keysOf(staging)).filter(
      (key) => key.endsWith('manifest.json') || key.startsWith('manifests/'),
    ),
  });
  return { ...made, file, staging, state, before: await state() };
}

type Loaded = Awaited<ReturnType<typeof loadedWorld>>;

const organizations = ['oab', 'internal', 'spp_ecm', 'spp_pm', 'five', 'six', 'seven'];
/** One loaded month of seven organizations, which outlives all that befalls it in the serial tests. */
let shared: Loaded;
const endings: (() => Promise<void>)[] = [];
test.before(async (t) => {
  const sizes = organizations.map((name) => ({ name, accounts: 4 }));
  const data = demoData({ months: [month], organizations: sizes });
  const ending = { is: t.is, teardown: (end: () => Promise<void>) => void endings.push(end) };
  shared = await loadedWorld(ending, ['--month', month], { data });
});
test.after.always(async () => {
  for (const end of endings) await end();
});

/** Fetches the month again while the faults strike: it fails in one line, and what was loaded stays. */
async function refused(
  t: ExecutionContext,
  { cloud, run, state, before }: Loaded,
  faults: readonly Fault[],
  says: RegExp,
  names = ['oab'],
): Promise<string> {
  cloud.faults.push(...faults.map((fault) => ({ times: Infinity, ...fault })));
  const selected = names.flatMap((name) => ['--organization', name]);
  const finished = await run('run', '--force', '--month', month, ...selected);
  cloud.faults.length = 0;
  const text = finished.stdout + finished.stderr;
  t.is(finished.code, 1, text);
  t.regex(text, says);
  t.notRegex(text, /^\s+at /m);
  t.deepEqual(await state(), before);
  return text;
}

/** What one organization is answered, and what its line then says, where ORGANIZATION stands for its name. */
type Case = readonly [Fault, says: RegExp];

/** The same with one answer for each organization: a run works on them side by side, and each fails by its own. */
async function eachRefused(t: ExecutionContext, cases: readonly Case[]): Promise<void> {
  const names = organizations.slice(0, cases.length);
  const faults = cases.map(([fault], index) => ({ ...fault, organization: names[index] ?? '' }));
  const text = await refused(t, shared, faults, /extract failed/, names);
  for (const [index, [, says]] of cases.entries()) {
    const name = names[index] ?? '';
    const lines = text.split('\n').filter((line) => line.includes(`${name} extract failed: `));
    t.regex(lines.join('\n'), new RegExp(says.source.replaceAll('ORGANIZATION', name)), text);
  }
}

const none = ['', '{}', 'null', '[]', '{"__type":"InternalServerException"}'];
const body = (service: CloudService, operation: string, text: string): Fault => ({
  service,
  operation,
  kind: 'body',
  body: text,
});

test.serial('a loaded month outlives every success of Vault that is no answer', async (t) => {
  for (const text of ['', '{"auth":null}'])
    await refused(t, shared, [body('vault', 'login', text)], /not an answer of Vault to a login/);
  for (const text of ['', '{"data":null}'])
    await refused(t, shared, [body('vault', 'read', text)], /not an answer of Vault to a read/);
});

test.serial('when everything answers with nothing, nothing is replaced', async (t) => {
  await refused(
    t,
    shared,
    (['vault', 'organizations', 'cost-explorer', 'sts'] as const).map((service) => ({
      service,
      kind: 'body',
    })),
    /not an answer of Vault/,
  );
});

// A fetch that failed is gone on with by the next: what is asked first fails first.
test.serial(
  'a loaded month outlives every success of STS and Organizations that is no answer',
  async (t) => {
    await eachRefused(t, [
      [body('sts', 'AssumeRole', ''), /AWS answered without credentials/],
      ...['', '{}', '{"Accounts":null}'].map((text): Case => [
        body('organizations', 'ListAccounts', text),
        /extract failed: not an answer of ListAccounts: .*\[ListAccounts, organization ORGANIZATION, page 1\]/,
      ]),
      [
        body('organizations', 'ListAccounts', '{"Accounts":[]}'),
        /not an answer of ListAccounts: it lists no account, and an organization has at least its management account/,
      ],
    ]);
  },
);

test.serial('a hostile value is named with its place before it is staged', async (t) => {
  const altered = (service: CloudService, alter: (text: string) => string): Fault => ({
    service,
    kind: 'alter',
    alter,
  });
  await eachRefused(t, [
    [
      altered('organizations', (text) =>
        text.replace(/"JoinedTimestamp":[\d.]+/, '"JoinedTimestamp":1e300'),
      ),
      /account 1 \("\d{12}"\) has a JoinedTimestamp that is no instant of the years 1000 to 9999 \[ListAccounts, organization ORGANIZATION, page 1\]/,
    ],
    [
      altered('organizations', (text) => text.replace(/"Name":"/, '"Name":"a\\u0000b')),
      /account 1 \("\d{12}"\) has the character NUL in .* for TenantName/,
    ],
    [
      altered('cost-explorer', (text) => text.replace('"Unit":"USD"', '"Unit":"__proto__"')),
      /group 1 \(.*\) has "__proto__" for a currency of its UnblendedCost \[GetCostAndUsage, organization ORGANIZATION, 2026-10, cost-and-usage page \d\]/,
    ],
    [
      altered('cost-explorer', (text) => text.replace('"Unit":"USD"', '"Unit":"constructor"')),
      /group 1 \(.*\) has "constructor" for a currency/,
    ],
    [
      altered('cost-explorer', (text) =>
        text.replaceAll(/"Amount":"[^"]*"/g, '"Amount":"99999999999999999999"'),
      ),
      /the sum of UnblendedCost in USD does not fit DECIMAL\(38,18\) with group \d \(.*\) \[GetCostAndUsage, organization ORGANIZATION, 2026-10, cost-and-usage page \d\]/,
    ],
    [
      altered('cost-explorer', (text) => text.replace(/"Keys":\["/, '"Keys":["a\\ud800b')),
      /group 1 \(.*\) has half of a surrogate pair in .* for Service/,
    ],
  ]);
});

test.serial(
  'a loaded month outlives every success of Cost Explorer that is no answer',
  async (t) => {
    const texts = [...none, '{"ResultsByTime":null}', '{"ResultsByTime":[null]}'];
    t.is(texts.length, organizations.length);
    await eachRefused(
      t,
      texts.map((text): Case => [
        body('cost-explorer', 'GetCostAndUsage', text),
        /extract failed: not an answer of GetCostAndUsage: .*\[GetCostAndUsage, organization ORGANIZATION, 2026-10, cost-and-usage page 1\]; run the same command again/,
      ]),
    );
  },
);

test.serial('the cost of another month is refused, naming both', async (t) => {
  const january = '{"Start":"2025-01-01","End":"2025-02-01"}';
  const alter = (change: (text: string) => string): Fault => ({
    service: 'cost-explorer',
    kind: 'alter',
    alter: change,
  });
  const says =
    /the answer tells the cost of 2025-01-01 to 2025-02-01, where 2026-10-01 to 2026-11-01 was asked for/;
  const period = /\{"Start":"2026-10-01","End":"2026-11-01"\}/g;
  await eachRefused(t, [
    [alter((text) => text.replace(period, january)), says],
    [
      alter((text) =>
        text.replace('"ResultsByTime":[', `"ResultsByTime":[{"TimePeriod":${january}},`),
      ),
      says,
    ],
    [
      {
        ...alter((text) => text.replace(/"Total":\{.*?\}\},"Groups":\[\]/, groupsWithoutTotal)),
        matches: (input) => !('GroupBy' in (input as object)),
      },
      /the answer has 1 groups, where the ungrouped total was asked for/,
    ],
  ]);
});

const groupsWithoutTotal =
  '"Total":{},"Groups":[{"Keys":["Tax","012345678901"],"Metrics":{"UnblendedCost":{"Amount":"1","Unit":"USD"}}}]';

test.serial('after all of that the same command works, and every layer agrees', async (t) => {
  const { run, state, before } = shared;
  const again = await run('run', '--force', '--month', month);
  t.is(again.code, 0, again.stderr + again.stdout);
  const { customers, consumption } = await state();
  t.deepEqual(
    { customers, consumption },
    { customers: before.customers, consumption: before.consumption },
  );
  const reconciled = await run('reconcile', '--month', month);
  t.is(reconciled.code, 0, reconciled.stdout);
});

test('nothing as page 3 of 5 does not end the chain: the next run pays for the rest alone', async (t) => {
  const loaded = await loadedWorld(t, chosen);
  const { cloud, charged, run, state, before } = loaded;
  const first = charged();
  t.true(first >= 5);
  await refused(
    t,
    loaded,
    [{ ...body('cost-explorer', 'GetCostAndUsage', '{}'), afterRequests: 2 }],
    /not an answer of GetCostAndUsage: .* page 3\]/,
  );
  // Two pages and the one that was none: AWS charges for answers.
  t.is(charged(), first + 3);
  await refused(
    t,
    loaded,
    [body('cost-explorer', 'GetCostAndUsage', '{"ResultsByTime":[]}')],
    /the answer lacks the period 2026-10-01 to 2026-11-01, though it is one of several pages/,
  );
  const again = await run('run', '--force', ...chosen);
  t.is(again.code, 0, again.stdout);
  t.is(charged(), first + 4 + first - 2);
  t.deepEqual((await state()).consumption, before.consumption);
  t.is(cloud.faults.length, 0);
});

test('a month that loses all its cost is loaded only when that is accepted', async (t) => {
  const loaded = await loadedWorld(t, chosen);
  const { cloud, run, state, before } = loaded;
  const empty: Fault = {
    service: 'cost-explorer',
    kind: 'body',
    body: '{"ResultsByTime":[]}',
    times: Infinity,
  };
  cloud.faults.push({ ...empty });
  const collapsed = await run('run', '--force', ...chosen);
  t.is(collapsed.code, 1);
  const rows = before.consumption.length;
  t.regex(
    collapsed.stdout,
    new RegExp(
      `load failed: oab's 2026-10 is loaded with ${rows} rows of consumption, and extraction \\w+ has none of them: nothing was changed .*--accept-empty`,
    ),
  );
  const now = await state();
  t.deepEqual(now.consumption, before.consumption);
  t.deepEqual(now.customers, before.customers);
  t.deepEqual(now.loads, before.loads);
  // What is staged is not what is loaded, and reconcile says so.
  const reconciled = await run('reconcile', ...chosen);
  t.is(reconciled.code, 1);
  t.regex(reconciled.stdout, /what is staged now .* is not loaded/);
  t.is((await run('run', ...chosen)).code, 1);
  const accepted = await run('run', ...chosen, '--accept-empty');
  t.is(accepted.code, 0, accepted.stdout);
  t.deepEqual((await state()).consumption, []);
  cloud.faults.length = 0;
  const back = await run('run', '--force', ...chosen);
  t.is(back.code, 0, back.stdout);
  t.deepEqual((await state()).consumption, before.consumption);
});

test('a resumed run keeps --accept-empty, and a month that never had cost needs none', async (t) => {
  const { cloud, run }: World = await world(t);
  cloud.faults.push({
    service: 'cost-explorer',
    kind: 'body',
    body: '{"ResultsByTime":[]}',
    times: Infinity,
  });
  const first = await run('run', ...chosen);
  t.is(first.code, 0, first.stdout);
  cloud.faults.unshift({ service: 'cost-explorer', kind: 'throttle', times: 1 });
  const broken = await run('run', '--force', '--accept-empty', ...chosen);
  t.is(broken.code, 1);
  t.regex(broken.stdout, /resume with: .* --force --accept-empty/);
});

test('breakdowns that are no longer wanted do not vanish from the database unasked', async (t) => {
  const { folder, run } = await world(t);
  const first = await run('run', ...chosen, '--by', 'record-type');
  t.is(first.code, 0, first.stdout);
  const file = join(folder, 'billing.sqlite');
  const charges = () => querySqlite(file, 'SELECT * FROM breakdowns ORDER BY Line');
  const before = charges();
  t.true(before.length > 0);
  t.is((await run('run', '--force', ...chosen)).code, 0);
  t.deepEqual(charges(), before);
  const without = await run('run', '--force', ...chosen, '--by', 'none');
  t.is(without.code, 1);
  t.regex(
    without.stdout,
    new RegExp(
      `loaded with ${before.length} rows of breakdowns by RECORD_TYPE, and extraction \\w+ has none of them: .*--by record-type .*--accept-empty`,
    ),
  );
  t.deepEqual(charges(), before);
  t.is((await run('run', '--stage', 'load', ...chosen, '--accept-empty')).code, 0);
  t.deepEqual(charges(), []);
});
