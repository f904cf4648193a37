import { randomUUID } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parse } from 'csv-parse/sync';
import stringWidth from 'string-width';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { CloudData } from '../../fixtures/demo/data.js';
import { demoData, monthData, restate } from '../../fixtures/demo/data.js';
import { charge, costs, units } from '../../fixtures/demo/model.js';
import { expectedConsumption, expectedTotal } from '../../fixtures/demo/truth.js';
import { resolveConfig } from '../../pipeline/config/config.js';
import { select } from '../../pipeline/config/selection.js';
import { noProgress } from '../../pipeline/run/progress.js';
import { run } from '../../pipeline/run/runner.js';
import { noNews, reportToJson } from '../../pipeline/run/summary.js';
import type { RunRequest, TaskReport } from '../../pipeline/run/task.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { memoryLog, setEnvironment } from '../support/extract.js';
import { querySqlite } from '../support/sqlite.js';

const month = parseMonth('2026-10');

interface World {
  folder: string;
  cloud: Cloud;
  data: CloudData;
  /** Runs all stages as of an instant. */
  runAt: (instant: string, options?: { force?: boolean; organization?: string }) => Promise<Day>;
  changes: (...args: string[]) => ReturnType<typeof pipeline>;
}

interface Day {
  tasks: readonly TaskReport[];
  json: { requests: number; tasks: { stage: string; provisional?: boolean }[] };
  /** Requests that AWS got. */
  asked: number;
}

async function world(
  t: ExecutionContext,
  organizations = [
    { name: 'internal', accounts: 3 },
    { name: 'oab', accounts: 21 },
  ],
): Promise<World> {
  const folder = await temporaryFolder(t);
  const data = demoData({ months: [month], organizations });
  const cloud = await startCloud({ data, groupsPerPage: 60 });
  t.teardown(() => cloud.close());
  setEnvironment(t, { ...cloud.environment });
  const aws = (): number => cloud.requests.filter(({ service }) => service !== 'vault').length;
  return {
    folder,
    cloud,
    data,
    async runAt(instant, { force = false, organization } = {}) {
      const before = aws();
      const request: RunRequest = {
        runId: randomUUID(),
        config: resolveConfig(
          {
            staging: join(folder, 'staging'),
            database: `sqlite:${join(folder, 'billing.sqlite')}`,
          },
          { ...cloud.environment },
          {},
          { organizations: true, database: true },
        ),
        selection: select(
          {
            month: [month],
            ...(organization === undefined ? {} : { organization: [organization] }),
          },
          new Date(instant),
        ),
        force,
        signal: new AbortController().signal,
        log: memoryLog().log,
        progress: noProgress,
        now: () => new Date(instant),
      };
      const report = await run(request);
      const failure = report.tasks.find(({ error }) => error !== undefined);
      if (failure !== undefined) throw failure.error as Error;
      return {
        tasks: report.tasks,
        json: reportToJson(report, request, noNews) as Day['json'],
        asked: aws() - before,
      };
    },
    changes: (...args) => pipeline(['changes', '--month', month, ...args], { cwd: folder }),
  };
}

test.serial(
  'a provisional month is fetched once a day until it is final, and then only by force',
  async (t) => {
    const { runAt, data } = await world(t);
    const day = async (
      instant: string,
      state: 'done' | 'unchanged',
      provisional: boolean,
      options = {},
    ) => {
      const { tasks, json, asked } = await runAt(instant, options);
      t.is(tasks.length, 6);
      for (const { stage, outcome } of tasks) {
        t.is(outcome?.provisional, provisional, `${instant} ${stage}`);
        if (stage === 'extract') t.is(outcome?.state, state, instant);
      }
      t.true(json.tasks.every((task) => task.provisional === provisional));
      t.is(asked > 0, state === 'done', instant);
      t.is(json.requests > 0, state === 'done', instant);
    };
    // Day 2, twice; day 8; the last second of the tenth day; then the month is final.
    await day('2026-11-02T03:00:00Z', 'done', true);
    await day('2026-11-02T23:59:59Z', 'unchanged', true);
    await day('2026-11-08T03:00:00Z', 'done', true);
    await day('2026-11-10T23:59:59Z', 'done', true);
    await day('2026-11-11T00:00:00Z', 'done', false);
    await day('2026-11-12T03:00:00Z', 'unchanged', false);
    await day('2026-12-31T03:00:00Z', 'unchanged', false);
    // What AWS itself calls estimated stays provisional, however late it is.
    for (const { name } of data.organizations) monthData(data, name, month).estimated = true;
    await day('2027-01-02T03:00:00Z', 'unchanged', false);
    await day('2027-01-02T03:00:00Z', 'done', true, { force: true });
    await day('2027-01-02T05:00:00Z', 'unchanged', true);
    for (const { name } of data.organizations) monthData(data, name, month).estimated = false;
    await day('2027-01-03T03:00:00Z', 'done', false);
    await day('2027-01-04T03:00:00Z', 'unchanged', false);
  },
);

interface Document {
  month: string;
  organizations: {
    organization: string;
    uncompared?: string;
    since: { extraction: string; provisional: boolean };
    until: { extraction: string; provisional: boolean };
    totals: object[];
    changes: {
      account: string;
      name: string;
      service: string;
      change: string;
      before: string | null;
      after: string | null;
      difference: string;
      currency: string;
    }[];
  }[];
}

const hostile = '=HYPERLINK("http://x"),\u001b[2J\r\n日本';

/** Restates oab's month: one amount by the smallest step, one service gone, one account new. */
function restateMonth(data: CloudData): { changed: string; vanished: string; appeared: string } {
  const oab = data.organizations.find(({ name }) => name === 'oab')!;
  const rows = expectedConsumption(data, 'oab', month);
  const changed = rows.find(({ Amount }) => Amount > units('1'))!;
  const vanished = rows.findLast(({ Reference }) => Reference !== changed.Reference)!;
  const appeared = '999999999999';
  oab.accounts.push({
    id: appeared,
    name: hostile,
    email: 'x@example.com',
    state: 'ACTIVE',
    joined: '2026-10-30T00:00:00.000Z',
    joinedMethod: 'CREATED',
    listed: true,
    named: true,
  });
  const place = { usageType: 'x', region: 'NoRegion', day: 2 };
  restate(data, 'oab', month, (items) => [
    ...items.filter(
      ({ account, service }) => account !== vanished.Reference || service !== vanished.Service,
    ),
    charge(
      { ...place, account: changed.Reference, service: changed.Service },
      'Credit',
      costs(-units('0.0000000001'), 0),
    ),
    charge(
      { ...place, account: appeared, service: 'AWS Support (Business)' },
      'Support',
      costs(units('98765432109876.0000000001'), 0),
    ),
  ]);
  return { changed: changed.Reference, vanished: vanished.Reference, appeared };
}

type Amounts = Map<string, bigint>;

function amountsOf(data: CloudData): Amounts {
  return new Map(
    expectedConsumption(data, 'oab', month).map(({ Reference, Service, Amount }) => [
      `${Reference} ${Service}`,
      Amount,
    ]),
  );
}

/** What must be reported, worked out from the cloud's own data. */
function expectedChanges(before: Amounts, after: Amounts): string[] {
  const size = (units: bigint): bigint => (units < 0n ? -units : units);
  return [...new Set([...before.keys(), ...after.keys()])]
    .map((place) => ({ place, before: before.get(place), after: after.get(place) }))
    .filter((row) => row.before !== row.after)
    .map((row) => ({ ...row, difference: (row.after ?? 0n) - (row.before ?? 0n) }))
    .sort((a, b) => (size(a.difference) < size(b.difference) ? 1 : -1))
    .map(({ place, before: old, after: now, difference }) =>
      [
        place,
        ...[old, now, difference].map((one) => (one === undefined ? null : formatAmount(one))),
      ]
        .map(String)
        .join(' '),
    );
}

test.serial('a restated month shows exactly what changed, and the database follows', async (t) => {
  const { runAt, changes, data, folder, cloud } = await world(t);
  await runAt('2026-11-02T03:00:00Z');
  const before = amountsOf(data);
  const totals = { before: expectedTotal(data, 'oab', month) };

  const alone = await changes();
  t.is(alone.code, 0, alone.stderr);
  t.regex(
    alone.stdout,
    /^internal, oab are not compared: each has one extraction only; "node \S+ run --stage extract --force --month 2026-10 --organization internal,oab" fetches a second one, for about \$0\.\d\d$/m,
  );

  const { changed, vanished, appeared } = restateMonth(data);
  await runAt('2026-11-08T03:00:00Z');
  const after = amountsOf(data);
  const asked = cloud.requests.length;
  const { code, stdout, stderr } = await changes('--json');
  t.is(code, 0, stderr);
  const document = JSON.parse(stdout) as Document;
  t.is(document.month, month);
  const [internal, oab] = document.organizations;
  t.like(internal, { organization: 'internal', changes: { length: 0 } });
  t.like(oab, {
    organization: 'oab',
    since: { extraction: '20261102T030000Z', provisional: true },
    until: { extraction: '20261108T030000Z', provisional: true },
  });
  const total = expectedTotal(data, 'oab', month);
  t.deepEqual(oab?.totals, [
    {
      currency: 'USD',
      before: formatAmount(totals.before),
      after: formatAmount(total),
      difference: formatAmount(total - totals.before),
    },
  ]);
  const found = oab?.changes ?? [];
  t.deepEqual(
    found.map(({ account, service, before: old, after: now, difference }) =>
      [`${account} ${service}`, old, now, difference].map(String).join(' '),
    ),
    expectedChanges(before, after),
  );
  t.deepEqual(
    found.map(({ account, change }) => [account, change]),
    [
      [appeared, 'appeared'],
      [vanished, 'vanished'],
      [changed, 'changed'],
    ],
  );
  t.is(found[0]?.name, hostile);
  t.is(found[0]?.after, '98765432109876.0000000001');
  t.is(found[2]?.difference, '-0.0000000001');

  const table = await changes('--organization', 'oab');
  t.is(table.code, 0, table.stderr);
  t.regex(table.stdout, /^2026-10 from one extraction to another, in USD\n/);
  t.regex(table.stdout, /oab +2026-11-02 03:00 +2026-11-08 03:00 +[\d.]+ +[\d.]+ +98765[\d.]+\n/);
  t.regex(table.stdout, /provisional, so AWS may still change it: oab\n/);
  const wide = table.stdout.split('\n').filter((line) => /^(account|\d{12}) {2}/.test(line));
  t.is(wide.length, 4);
  for (const line of wide) t.true(stringWidth(line) <= 100, line);
  t.regex(table.stdout, /^999999999999 {2}=HYPER/m);
  t.notRegex(table.stdout.replaceAll('\n', ''), /\p{Cc}/u);
  t.regex(table.stdout, /\noab: 3 amounts differ\n/);
  t.notRegex(table.stdout, /internal/);

  const reached = async (...args: string[]) => {
    const { code: exit, stdout: printed } = await changes('--json', ...args);
    const { thresholds, organizations } = JSON.parse(printed) as Document & {
      thresholds: string[];
    };
    const [, watched] = organizations as (Document['organizations'][0] & {
      belowThreshold: number;
    })[];
    return { exit, thresholds, changes: watched?.changes, below: watched?.belowThreshold };
  };
  t.deepEqual(await reached('--threshold', '100%, 1USD'), {
    ...{ exit: 3, thresholds: ['100%', '1USD'], below: 1 },
    // What vanished is a hundred percent less.
    changes: found.slice(0, 2),
  });
  t.deepEqual(await reached('--threshold', '0%'), {
    ...{ exit: 3, thresholds: ['0%'], below: 0 },
    changes: found,
  });
  t.deepEqual(await reached('--threshold', '98765432109876.0000000002USD'), {
    ...{ exit: 0, thresholds: ['98765432109876.0000000002USD'], below: found.length, changes: [] },
  });
  const watched = await changes('--threshold', '98765432109876.0000000001usd', '--quiet');
  t.is(watched.code, 3);
  t.regex(
    watched.stdout,
    /\noab: 1 amount differs by 98765432109876\.0000000001USD or more, 2 by less\naccount +name/,
  );
  const elsewhere = await changes('--threshold', '98765432109876EUR');
  t.is(elsewhere.code, 3);
  t.regex(
    elsewhere.stdout,
    /\noab: 3 amounts differ by 98765432109876EUR or more; 3 in USD, for which no amount is named\n/,
  );
  const silent = await changes('--threshold', '98765432109876.0000000002USD', '--quiet');
  t.deepEqual([silent.code, silent.stdout, silent.stderr], [0, '', '']);

  const one = await changes('--json', '--customer', appeared);
  t.is(one.code, 0, one.stderr);
  const narrowed = JSON.parse(one.stdout) as Document & { customer: object };
  t.deepEqual(narrowed.customer, { account: appeared, name: hostile });
  t.deepEqual(
    narrowed.organizations.map(({ organization, changes: some, totals: sums }) => [
      organization,
      some.length,
      sums,
    ]),
    [
      [
        'oab',
        1,
        [
          {
            currency: 'USD',
            before: '0',
            after: '98765432109876.0000000001',
            difference: '98765432109876.0000000001',
          },
        ],
      ],
    ],
  );
  const named = data.organizations.find(({ name }) => name === 'internal')!.accounts[0]!;
  const quiet = await changes('--customer', named.name.toUpperCase());
  t.is(quiet.code, 0, quiet.stderr);
  t.true(quiet.stdout.startsWith(`2026-10 of ${named.name} (${named.id}) from one`), quiet.stdout);
  t.regex(quiet.stdout, /\nno amount differs: internal\n/);
  const nobody = await changes('--customer', 'nobody');
  t.is(nobody.code, 2);
  t.regex(nobody.stderr, /no customer of what was compared is called "nobody"/);
  const half = await changes('--customer', named.name.slice(0, -1));
  t.is(half.code, 2);
  t.true(half.stderr.includes(`${named.id} (${named.name})`), half.stderr);

  const csv = await changes('--output', 'csv');
  t.is(csv.code, 0, csv.stderr);
  t.true(csv.stdout.startsWith('"month","organization","since.extraction",'));
  t.true(csv.stdout.endsWith('\r\n'));
  const rows = parse<Record<string, string>>(csv.stdout, {
    columns: true,
    record_delimiter: '\r\n',
  });
  t.deepEqual(
    rows.map((row) => [row['account'], row['before'], row['after'], row['difference']]),
    found.map((row) => [row.account, row.before ?? '', row.after ?? '', row.difference]),
  );
  t.is(rows[0]?.['name'], `'${hostile}`);
  t.is(cloud.requests.length, asked, 'comparing asked the cloud');

  const stored = querySqlite(
    join(folder, 'billing.sqlite'),
    "SELECT Reference || ' ' || Service AS place FROM consumption WHERE Organization = 'oab'",
  );
  t.deepEqual(stored.map(({ place }) => String(place)).sort(), [...after.keys()].sort());
  const history = querySqlite(
    join(folder, 'billing.sqlite'),
    "SELECT * FROM pipeline_loads WHERE Organization = 'oab' ORDER BY Id",
  );
  t.deepEqual(
    history.map((load) => [
      load['Month'],
      load['Extraction'],
      load['ConsumptionRows'],
      load['Amount'],
    ]),
    [
      [month, '20261102T030000Z', before.size, history[0]?.['Amount']],
      [month, '20261108T030000Z', after.size, history[1]?.['Amount']],
    ],
  );
  t.deepEqual(
    history.map(({ Totals }) => JSON.parse(String(Totals)) as unknown),
    [{ USD: formatAmount(totals.before) }, { USD: formatAmount(total) }],
  );
  t.is(new Set(history.map(({ Run }) => Run)).size, 2);
  for (const { Version, Started, Finished } of history) {
    t.regex(String(Version), /^\d+\.\d+\.\d+/);
    t.is(Started, Finished);
  }
});

test.serial('any two extractions are compared, by name, date or instant', async (t) => {
  const { runAt, changes, data } = await world(t, [{ name: 'oab', accounts: 5 }]);
  const [row] = expectedConsumption(data, 'oab', month);
  const credit = (amount: string): void => {
    restate(data, 'oab', month, (items) => [
      ...items,
      charge(
        { account: row!.Reference, service: row!.Service, usageType: 'x', region: 'x', day: 1 },
        'Credit',
        costs(units(amount), 0),
      ),
    ]);
  };
  await runAt('2026-11-02T03:00:00Z');
  credit('-1');
  await runAt('2026-11-08T03:00:00Z');
  credit('-0.5');
  await runAt('2026-11-15T03:00:00Z');

  const compared = async (...args: string[]): Promise<unknown[]> => {
    const { code, stdout, stderr } = await changes('--json', ...args);
    t.is(code, 0, stderr);
    const [oab] = (JSON.parse(stdout) as Document).organizations;
    if (oab?.uncompared !== undefined) return [oab.uncompared];
    return [
      oab?.since.extraction,
      oab?.until.extraction,
      oab?.until.provisional,
      oab?.changes.map(({ difference }) => difference),
    ];
  };
  const [first, second, third] = ['20261102T030000Z', '20261108T030000Z', '20261115T030000Z'];
  t.deepEqual(await compared(), [second, third, false, ['-0.5']]);
  t.deepEqual(await compared('--since', '2026-11-02'), [first, third, false, ['-1.5']]);
  t.deepEqual(await compared('--until', '2026-11-14'), [first, second, true, ['-1']]);
  t.deepEqual(await compared('--since', first, '--until', '2026-11-08T03:00:00Z'), [
    first,
    second,
    true,
    ['-1'],
  ]);
  t.deepEqual(await compared('--since', '2026-11-01'), [
    `its first extraction, ${first}, is later than --since`,
  ]);
  t.deepEqual(await compared('--until', '2026-11-01'), [
    `its first extraction, ${first}, is later than --until`,
  ]);
  t.deepEqual(await compared('--until', '2026-11-02'), [`it has no extraction before ${first}`]);
  t.deepEqual(await compared('--since', third), [
    `it has no extraction between --since and --until but ${third}`,
  ]);
});

test.serial('wrong usage ends with 2, damage with 1 and the file at fault', async (t) => {
  const { runAt, changes, folder } = await world(t, [{ name: 'oab', accounts: 5 }]);
  await runAt('2026-11-02T03:00:00Z');
  await runAt('2026-11-08T03:00:00Z');
  for (const [args, message] of [
    [['--since', 'yesterday'], /neither an extraction nor a date/],
    [['--since', '2026-11-08', '--until', '2026-11-02'], /--since is not before --until/],
    [['--month', '2026-09'], /one month at a time/],
    [['--output', 'csv', '--json'], /--json does not go with --output csv/],
    [['--organization', 'nobody'], /nothing is staged of nobody/],
    [['--threshold', '1,000USD'], /"1" is not a threshold .*--threshold.*20%/],
    [['--quiet'], /--quiet needs a --threshold/],
  ] as const) {
    const { code, stdout, stderr } = await changes(...args);
    t.is(code, 2, stderr);
    t.regex(stderr, message);
    const document = args.some((word) => word === '--json');
    if (document) t.like(JSON.parse(stdout), { error: { class: 'UsageError' } });
    else t.is(stdout, '');
  }
  const empty = await pipeline(['changes', '--month', '2026-09'], { cwd: folder });
  t.is(empty.code, 1);
  t.regex(empty.stderr, /nothing is staged for 2026-09/);

  const page = 'raw/month=2026-10/oab/20261102T030000Z/cost-and-usage-00001.json';
  await appendFile(join(folder, 'staging', page), ' ');
  const damaged = await changes('--json');
  t.is(damaged.code, 1);
  t.true(damaged.stderr.includes(page));
  t.like(JSON.parse(damaged.stdout), { error: { class: 'DataError' } });
});
