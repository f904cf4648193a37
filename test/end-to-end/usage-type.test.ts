import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { LineItem } from '../../fixtures/demo/data.js';
import { demoData, monthData, restate } from '../../fixtures/demo/data.js';
import { costMetrics } from '../../fixtures/demo/model.js';
import { expectedSums } from '../../fixtures/demo/truth.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { monthOf, parseMonth, shiftMonth } from '../../pipeline/shared/month.js';
import { pipeline, root, temporaryFolder } from '../support/cli.js';
import { csvRows, literal, query } from '../support/duckdb.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';
import { scriptsJoin } from '../support/scripts-join.js';
import { querySqlite } from '../support/sqlite.js';
import { world } from '../support/world.js';

const month = parseMonth('2026-10');
const organizations = ['internal', 'oab', 'spp_ecm', 'spp_pm'];
const data = demoData({ months: [month] });
const detail = ['--month', month, '--detail', 'usage-type'];

let cloud: Cloud;
let server: TestServer;
test.before(async () => {
  [cloud, server] = await Promise.all([startCloud({ data, groupsPerPage: 300 }), openServer()]);
});
test.after.always(async () => {
  await Promise.all([cloud.close(), server.stop()]);
});

type Row = Record<string, unknown>;

const numbers = [
  'Quantity',
  'Amount',
  'DiscountedAmount',
  'AmortizedCost',
  'NetAmortizedCost',
] as const;
const key = ['Organization', 'Reference', 'Service', 'Category'] as const;

/** One line a row, sorted; numbers by value, whatever zeros a reader prints. */
function lines(rows: readonly Row[]): string[] {
  return rows
    .map((row) =>
      [
        ...key.map((column) => String(row[column])),
        ...numbers.map((column) => formatAmount(parseAmount(String(row[column])).units)),
      ].join('\t'),
    )
    .sort();
}

/** What the line items add up to, by organization, account, service and usage type. */
function truth(): string[] {
  const by = ['account', 'service', 'usageType'] as const;
  return organizations
    .flatMap((organization) => {
      const of = (metric: Parameters<typeof expectedSums>[4]) =>
        expectedSums(data, organization, month, by, metric);
      const sums = [
        of('UsageQuantity'),
        of('UnblendedCost'),
        of('BlendedCost'),
        of('AmortizedCost'),
        of('NetAmortizedCost'),
      ];
      return [...sums[0]!.keys()].map((group) =>
        [organization, group, ...sums.map((sum) => formatAmount(sum.get(group)!))].join('\t'),
      );
    })
    .sort();
}

interface Manifest {
  consumption: { pairs: unknown };
}

/** Pairs of usage type and service, and of a usage type of several services and an account. */
function pairsOf(organization: string): number {
  const groups = (by: 'service' | 'account'): string[][] =>
    [...expectedSums(data, organization, month, ['usageType', by]).keys()].map((group) =>
      group.split('\t'),
    );
  const services = groups('service').map(([usageType]) => usageType);
  const isShared = (usageType: string | undefined): boolean =>
    services.indexOf(usageType) !== services.lastIndexOf(usageType);
  return services.length + groups('account').filter(([usageType]) => isShared(usageType)).length;
}

test.serial('every row has its own service, in every export and database, exactly', async (t) => {
  const folder = await temporaryFolder(t);
  const address = await server.createDatabase();
  const metrics = ['--metric', 'NetAmortizedCost', '--metric', 'AmortizedCost'];
  const ran = await pipeline(['run', ...detail, ...metrics, '--parquet', 'basic'], {
    cwd: folder,
    env: { ...cloud.environment, PIPELINE_DATABASE: address },
  });
  t.is(ran.code, 0, ran.stdout + ran.stderr);
  const copy = ['run', '--month', month, '--stage', 'load', '--database', 'sqlite:copy.sqlite'];
  t.is((await pipeline(copy, { cwd: folder })).code, 0);

  const expected = truth();
  t.true(expected.length > 5000);
  const texts = numbers.map((name) => `CAST(${name} AS VARCHAR) AS ${name}`).join(', ');
  const parquet = await query(
    `SELECT * REPLACE (${texts}) FROM ${literal(join(folder, 'staging/parquet/consumption/*/*.parquet'))}`,
  );
  t.deepEqual(lines(parquet), expected);
  const csv = await query(
    `SELECT * FROM ${csvRows(join(folder, 'staging/csv/consumption/*/*.csv'))}`,
  );
  t.deepEqual(lines(csv), expected);
  t.deepEqual(lines(await server.query(address, 'SELECT * FROM consumption')), expected);
  const file = join(folder, 'copy.sqlite');
  t.deepEqual(lines(querySqlite(file, 'SELECT * FROM consumption')), expected);

  // What is not asked for is null; the basic files have the same columns.
  const [other] = await query(
    `SELECT count(BlendedCost) AS b, count(NetUnblendedCost) AS n, count(AmortizedCost) AS a FROM ${literal(join(folder, 'staging/parquet-basic/consumption/*/*.parquet'))}`,
  );
  t.deepEqual(other, { b: '0', n: '0', a: String(expected.length) });

  // Each service of a usage type is compared with what AWS says of the two; each account of a shared one too.
  for (const organization of organizations) {
    const manifest = join(folder, `staging/manifests/month=${month}/${organization}.json`);
    const { consumption } = JSON.parse(await readFile(manifest, 'utf8')) as Manifest;
    t.deepEqual(consumption.pairs, { compared: pairsOf(organization), largest: null });
  }

  const reconciled = await pipeline(['reconcile', '--database', 'sqlite:copy.sqlite'], {
    cwd: folder,
  });
  t.is(reconciled.code, 0, reconciled.stdout);
  const prices = querySqlite(file, 'SELECT Quantity, Unit, UnitPrice, Amount FROM consumption');
  for (const { Quantity, Unit, UnitPrice, Amount } of prices) {
    const [quantity, amount] = [Quantity, Amount].map((text) => parseAmount(String(text)).units);
    const isPriced = quantity! > 0n && amount! >= 0n && Unit !== 'N/A';
    t.is(UnitPrice !== null, isPriced);
    if (!isPriced) continue;
    // Multiplied back, it is the amount but for half a unit of the 18th digit a piece.
    const apart = parseAmount(String(UnitPrice)).units * quantity! - amount! * 10n ** 18n;
    t.true((apart < 0n ? -apart : apart) * 2n <= quantity!);
  }
});

test.serial(
  "the script's join puts the cost of shared usage types on the wrong service",
  async (t) => {
    const folder = await temporaryFolder(t);
    const ran = await pipeline(['run', ...detail, '--database', 'sqlite:billing.sqlite'], {
      cwd: folder,
      env: cloud.environment,
    });
    t.is(ran.code, 0, ran.stdout + ran.stderr);
    const rows = querySqlite(join(folder, 'billing.sqlite'), 'SELECT * FROM consumption');
    let wrongRows = 0;
    for (const organization of organizations) {
      const ours = new Map<string, bigint>();
      for (const row of rows.filter(({ Organization }) => Organization === organization)) {
        const place = [row['Reference'], row['Service'], row['Category']].join('\t');
        ours.set(place, parseAmount(String(row['Amount'])).units);
      }
      const exact = expectedSums(data, organization, month, ['account', 'service', 'usageType']);
      const joined = scriptsJoin(monthData(data, organization, month).items);
      const wrong = [...new Set([...exact.keys(), ...joined.keys()])].filter(
        (place) => exact.get(place) !== joined.get(place),
      );
      t.true(wrong.length > 50, `${organization}: ${wrong.length} rows`);
      t.true(wrong.some((place) => place.includes('DataTransfer-Out-Bytes')));
      for (const place of wrong)
        t.is(ours.get(place), exact.get(place), `${place}; the join gives ${joined.get(place)}`);
      t.is(ours.size, exact.size);
      wrongRows += [...exact.keys()].filter(
        (place) => exact.get(place) !== joined.get(place),
      ).length;
    }
    const told = async (file: string): Promise<string> =>
      (await readFile(join(root, file), 'utf8')).replaceAll(/\s+/g, ' ');
    const docs = await told('docs/usage-types.md');
    t.true(docs.includes(`${wrongRows} of ${rows.length} rows`), `${wrongRows} of ${rows.length}`);
    const readme = await told('README.md');
    const [wrong, all] = [wrongRows, rows.length].map((count) => count.toLocaleString('en'));
    t.true(readme.includes(`${wrong} of the ${all} rows of the tests' month`));
  },
);

test('a plan tells the requests of the detail, and a stopped run pays for nothing twice', async (t) => {
  const { cloud: small, run, charged } = await world(t);
  const select = [...detail, '--organization', 'oab', '--by', 'record-type'];
  const first = await run('plan', ...select);
  t.regex(first.stdout, /oab +fetch +run +run +5 to 64 +\$0\.05 to \$0\.64/);
  t.regex(
    first.stdout,
    /note: usage types of several services, or of several regions, take further requests/,
  );
  const limit = ['--max-requests', '5'];
  let code: number | null = 4;
  for (let runs = 0; code === 4 && runs < 20; runs++) {
    const before = charged();
    const stopped = await run('run', ...select, ...limit);
    t.true(charged() - before <= 5);
    ({ code } = stopped);
    if (code === 4) t.regex(stopped.stdout, /resume with: .*--detail usage-type --by record-type/);
  }
  t.is(code, 0);
  const paid = small.requests
    .filter((request) => request.charged)
    .map(({ input, token }) => JSON.stringify([input, token]));
  t.true(paid.length > 12);
  t.is(new Set(paid).size, paid.length, 'a page was paid for twice');
  const planned = await run('plan', ...select, '--force', '--json');
  t.is((JSON.parse(planned.stdout) as { requests: number }).requests, paid.length);
});

test('a month keeps its detail until the other is asked for, and neither is paid for twice', async (t) => {
  const { run, folder, charged } = await world(t);
  const select = ['--month', month, '--organization', 'oab'];
  const count = (): unknown =>
    querySqlite(join(folder, 'billing.sqlite'), 'SELECT count(*) AS n FROM consumption')[0]?.['n'];
  const shown = async (): Promise<unknown> => {
    const { stdout } = await run('status', '--json');
    const [slice] = (JSON.parse(stdout) as { slices: { loaded: { detail: string } }[] }).slices;
    return slice?.loaded.detail;
  };
  const planned = async (...flags: string[]): Promise<unknown[]> => {
    const { stdout } = await run('plan', ...select, ...flags, '--json');
    const plan = JSON.parse(stdout) as {
      requests: number;
      slices: { stages: Record<string, { action: string }> }[];
    };
    const actions = Object.values(plan.slices[0]?.stages ?? {}).map(({ action }) => action);
    return [plan.requests, ...actions];
  };
  t.is((await run('run', ...select)).code, 0);
  const plain = count();
  t.is(await shown(), 'service');
  const finer = await run('run', ...select, '--detail', 'usage-type');
  t.is(finer.code, 0);
  t.regex(
    finer.stderr,
    /2026-10 oab: fetched anew, by usage type instead of service; what was fetched on/,
  );
  t.is(await shown(), 'usage-type');
  const fine = count();
  t.true(Number(fine) > Number(plain));
  t.regex((await run('status')).stdout, /usage-type +final/);

  const before = charged();
  for (const [flags, actions, detail, rows] of [
    [[], ['unchanged', 'unchanged', 'unchanged'], 'usage-type', fine],
    [['--detail', 'service'], ['reuse', 'run', 'run'], 'service', plain],
    [[], ['unchanged', 'unchanged', 'unchanged'], 'service', plain],
    [['--detail', 'usage-type'], ['reuse', 'run', 'run'], 'usage-type', fine],
    [[], ['unchanged', 'unchanged', 'unchanged'], 'usage-type', fine],
  ] as const) {
    t.deepEqual(await planned(...flags), [0, ...actions]);
    const ran = await run('run', ...select, ...flags);
    t.is(ran.code, 0, ran.stdout + ran.stderr);
    t.is(
      /taken from what was fetched on [^;]+, without a request, by/.test(ran.stderr),
      actions[0] === 'reuse',
    );
    t.deepEqual([count(), await shown()], [rows, detail]);
    t.is((await run('reconcile', '--organization', 'oab')).code, 0);
  }
  t.is(charged(), before, 'what is staged was paid for again');
  const changes = await run('changes', '--month', month, '--json');
  t.is(changes.code, 0, changes.stderr);
  t.deepEqual(
    (JSON.parse(changes.stdout) as { organizations: { changes: unknown[] }[] }).organizations.map(
      (one) => one.changes,
    ),
    [[]],
    'the same cost in another detail is no change',
  );
  // Pruning leaves one of each detail, and both ways stay free.
  t.regex((await run('prune', '--keep', '1')).stdout, /removed 0 extractions/);
  t.deepEqual(await planned('--detail', 'service'), [0, 'reuse', 'run', 'run']);
  const [requests] = await planned('--force');
  const spent = charged();
  t.is((await run('run', ...select, '--force')).code, 0);
  t.is(charged() - spent, Number(requests));
  t.is(await shown(), 'usage-type');

  // The recipe of the docs adds up the rows that it says.
  const page = await readFile(join(root, 'docs/usage-types.md'), 'utf8');
  const [, recipe = ''] = /^```sql\n(SELECT TenantName, Region[^]*?)```$/m.exec(page) ?? [];
  const database = join(folder, 'billing.sqlite');
  const found = querySqlite(database, recipe).map(({ Amount }) => Number(Amount));
  const transfer = querySqlite(database, 'SELECT Category, AmountNumber FROM consumption').filter(
    ({ Category }) => /DataTransfer|AWS-(In|Out)-Bytes$/.test(String(Category)),
  );
  t.true(found.length > 5);
  t.deepEqual(
    found,
    found.toSorted((a, b) => b - a),
  );
  const sum = (amounts: number[]): string => amounts.reduce((all, one) => all + one, 0).toFixed(6);
  t.is(sum(found), sum(transfer.map(({ AmountNumber }) => Number(AmountNumber))));
});

test('the file gives each organization its detail; a flag goes before it', async (t) => {
  const { run, folder } = await world(t);
  const file = join(folder, 'pipeline.config.yaml');
  await writeFile(file, 'detail:\n  oab: usage-type\n  stranger: service\n');
  const ran = await run('run', '--month', month);
  t.is(ran.code, 0, ran.stderr);
  t.regex(ran.stderr, /"detail" in the configuration file names stranger, which is none of/);
  const details = async (): Promise<unknown> => {
    const { stdout } = await run('status', '--json');
    const { slices } = JSON.parse(stdout) as {
      slices: { organization: string; loaded: { detail: string } }[];
    };
    return Object.fromEntries(slices.map((one) => [one.organization, one.loaded.detail]));
  };
  t.deepEqual(await details(), { internal: 'service', oab: 'usage-type' });
  t.is((await run('run', '--month', month, '--detail', 'service')).code, 0);
  t.deepEqual(await details(), { internal: 'service', oab: 'service' });
  await writeFile(file, 'detail:\n  oab: usage\n');
  const wrong = await run('run', '--month', month);
  t.is(wrong.code, 2);
  t.regex(wrong.stderr, /"detail\.oab" in the configuration file: is neither "service" nor/);
});

test('a first plan of the detail goes by another organization, or tells a range', async (t) => {
  const { run, charged } = await world(t);
  const plan = async (...flags: string[]) => run('plan', '--month', month, ...flags);
  const first = await plan('--detail', 'usage-type', '--organization', 'oab');
  t.regex(first.stdout, /oab +fetch +run +run +4 to 63 +\$0\.04 to \$0\.63/);
  t.regex(first.stdout, /note: usage types of several services.*--max-requests bounds a run/);
  const other = ['--detail', 'usage-type', '--organization', 'internal'];
  t.is((await run('run', '--month', month, ...other)).code, 0);
  const took = charged();
  const like = await plan('--detail', 'usage-type', '--organization', 'oab');
  t.regex(like.stdout, new RegExp(`oab +fetch +run +run +about ${took} `));
  t.regex(like.stdout, /note: "about" goes by what internal took/);
});

test('a month before the history of Cost Explorer is marked in the plan', async (t) => {
  const { run } = await world(t);
  const early = shiftMonth(monthOf(new Date()), -14);
  const marked = await run('plan', '--month', early, '--organization', 'oab');
  t.regex(marked.stdout, /oab +fetch, if still there/);
  const first = shiftMonth(early, 1);
  t.regex(marked.stdout, new RegExp(`note: ${early}: Cost Explorer keeps ${first} and later`));
  const kept = await run('plan', '--month', first, '--organization', 'oab');
  t.notRegex(kept.stdout, /if still there|Cost Explorer keeps/);
});

test('what AWS says of a pair, and its rows do not, is refused by load and found by reconcile', async (t) => {
  const changing = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 23 }] });
  const { cloud: small, run } = await world(t, { data: changing });
  const select = ['--month', month];
  // A fault that never strikes: between the first question and the second, AWS changes the month.
  let isChanged = false;
  small.faults.push({
    service: 'cost-explorer',
    kind: 'error',
    matches: (input) => {
      if (!isChanged && JSON.stringify(input).includes('LINKED_ACCOUNT')) {
        isChanged = true;
        restate(changing, 'oab', month, (items) => items.map(dearer));
      }
      return false;
    },
  });
  const ran = await run('run', ...select, '--detail', 'usage-type', '--no-aws-total');
  t.is(ran.code, 3, ran.stdout);
  t.regex(
    ran.stdout,
    /load failed: oab's usage type "[^"]*DataTransfer-Out-Bytes" of .* is not what its rows add up to: a difference of -?[\d.]+ USD/,
  );
  t.is((await run('run', ...select, '--stage', 'load', '--tolerance', '100')).code, 0);
  const reconciled = await run('reconcile');
  t.is(reconciled.code, 3);
  t.regex(reconciled.stdout, /is not what its rows add up to/);
});

test('a usage type that AWS leaves out of its first answer is asked for by itself', async (t) => {
  const changing = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 9 }] });
  const { cloud: small, run, folder } = await world(t, { data: changing });
  const [first] = monthData(changing, 'oab', month).items;
  const added: LineItem = { ...first!, usageType: 'EUW3-New', service: 'AWS New' };
  let isAdded = false;
  // A fault that never strikes: between the first question and the second, the usage type comes up.
  small.faults.push({
    service: 'cost-explorer',
    kind: 'error',
    matches: (input) => {
      if (!isAdded && JSON.stringify(input).includes('LINKED_ACCOUNT')) {
        isAdded = true;
        restate(changing, 'oab', month, (items) => [...items, added]);
      }
      return false;
    },
  });
  const ran = await run(
    'run',
    '--month',
    month,
    '--detail',
    'usage-type',
    '--tolerance',
    '1000000',
  );
  t.is(ran.code, 0, ran.stdout);
  const rows = querySqlite(
    join(folder, 'billing.sqlite'),
    "SELECT Service, Amount FROM consumption WHERE Category = 'EUW3-New'",
  );
  t.deepEqual(rows, [{ Service: 'AWS New', Amount: formatAmount(added.costs.UnblendedCost) }]);
});

function dearer(item: LineItem): LineItem {
  if (!item.usageType.endsWith('DataTransfer-Out-Bytes')) return item;
  const more = Object.fromEntries(
    costMetrics.map((metric) => [metric, item.costs[metric] + 10n ** 17n]),
  ) as LineItem['costs'];
  return { ...item, costs: more };
}
