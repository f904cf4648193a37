import { access, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { CostMetric } from '../../fixtures/demo/data.js';
import { demoData, restate } from '../../fixtures/demo/data.js';
import type { LineItem } from '../../fixtures/demo/model.js';
import { expectedSums } from '../../fixtures/demo/truth.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { furtherMetrics } from '../../pipeline/shared/scope.js';
import { exportKey } from '../../pipeline/staging/layout.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { csvRows, literal, query } from '../support/duckdb.js';
import { openServer } from '../support/mariadb.js';
import { executeSqlite, querySqlite } from '../support/sqlite.js';
import { world } from '../support/world.js';

const month = parseMonth('2026-10');
/** The organizations of today, with a third of their accounts. */
const accounts = { oab: 41, internal: 9, spp_ecm: 18, spp_pm: 15 };
const data = demoData({
  months: [month],
  organizations: Object.entries(accounts).map(([name, count]) => ({ name, accounts: count })),
});
const allMetrics = furtherMetrics.flatMap((metric) => ['--metric', metric]);
const costs: readonly CostMetric[] = ['UnblendedCost', ...furtherMetrics];

type Row = Record<string, unknown>;

/** One line a row: place, then each cost by value. */
function lines(rows: readonly Row[], place: readonly string[]): string[] {
  const columns = costs.map((metric) => (metric === 'UnblendedCost' ? 'Amount' : metric));
  return rows
    .map((row) =>
      [
        ...place.map((name) => String(row[name])),
        ...columns.map((name) => formatAmount(parseAmount(String(row[name])).units)),
      ].join('\t'),
    )
    .sort();
}

function truth(by: readonly ['account' | 'recordType', 'service' | 'account']): string[] {
  return data.organizations
    .flatMap(({ name }) => {
      const sums = costs.map((metric) => expectedSums(data, name, month, by, metric));
      return [...sums[0]!.keys()].map((group) =>
        [name, group, ...sums.map((sum) => formatAmount(sum.get(group)!))].join('\t'),
      );
    })
    .sort();
}

test('metrics and charge types are exact in every table, and agree with the total', async (t) => {
  const cloud = await startCloud({ data, groupsPerPage: 500 });
  t.teardown(() => cloud.close());
  const server = await openServer();
  t.teardown(() => server.stop());
  const folder = await temporaryFolder(t);
  const address = await server.createDatabase();
  const args = ['--month', month, ...allMetrics, '--by', 'record-type'];
  const ran = await pipeline(['run', ...args], {
    cwd: folder,
    env: { ...cloud.environment, PIPELINE_DATABASE: address },
  });
  t.is(ran.code, 0, ran.stdout + ran.stderr);
  const copy = ['run', '--month', month, '--stage', 'load'];
  t.is((await pipeline(copy, { cwd: folder })).code, 0);
  // No further question for the metrics, and one question an organization for the charge types.
  const questions = cloud.requests.filter(({ charged }) => charged);
  const grouped = (key: string): number =>
    questions.filter(({ input }) => JSON.stringify(input).includes(key)).length;
  t.is(grouped('"RECORD_TYPE"'), 4);

  const texts = costs
    .map((metric) => (metric === 'UnblendedCost' ? 'Amount' : metric))
    .map((name) => `CAST(${name} AS VARCHAR) AS ${name}`)
    .join(', ');
  for (const [table, place, expected] of [
    ['consumption', ['Organization', 'Reference', 'Service'], truth(['account', 'service'])],
    ['breakdowns', ['Organization', 'Value', 'Reference'], truth(['recordType', 'account'])],
  ] as const) {
    const parquet = await query(
      `SELECT * REPLACE (${texts}) FROM ${literal(join(folder, `staging/parquet/${table}/*/*.parquet`))}`,
    );
    t.deepEqual(lines(parquet, place), expected, `Parquet ${table}`);
    const csv = await query(
      `SELECT * FROM ${csvRows(join(folder, `staging/csv/${table}/*/*.csv`))}`,
    );
    t.deepEqual(lines(csv, place), expected, `CSV ${table}`);
    t.deepEqual(lines(await server.query(address, `SELECT * FROM ${table}`), place), expected);
    const file = join(folder, 'billing.sqlite');
    t.deepEqual(lines(querySqlite(file, `SELECT * FROM ${table}`), place), expected);
  }
  const types = querySqlite(
    join(folder, 'billing.sqlite'),
    'SELECT DISTINCT Value AS type FROM breakdowns',
  ).map(({ type }) => type);
  for (const type of ['Usage', 'Credit', 'Refund', 'Tax', 'Support']) t.true(types.includes(type));
  const reconciled = await pipeline(['reconcile'], { cwd: folder });
  t.is(reconciled.code, 0, reconciled.stdout);
});

test('without the flag the month stays as it is, also in a fresh fetch; told not to, the breakdown goes once that is accepted', async (t) => {
  const { run, folder, charged } = await world(t);
  const select = ['--month', month, '--organization', 'oab'];
  t.is((await run('run', ...select, ...allMetrics, '--by', 'record-type')).code, 0);
  const file = join(
    folder,
    'staging',
    exportKey('parquet', 'breakdowns', { month, organization: 'oab' }),
  );
  const count = (what: string, table: string): unknown =>
    querySqlite(join(folder, 'billing.sqlite'), `SELECT count(${what}) AS n FROM ${table}`)[0]?.[
      'n'
    ];
  t.true(Number(count('*', 'breakdowns')) > 20);
  const before = charged();
  const again = await run('run', ...select);
  t.regex(again.stdout, /3 unchanged; 0 Cost Explorer requests/);
  t.is(charged(), before);
  t.true(Number(count('AmortizedCost', 'consumption')) > 0);

  t.is((await run('run', ...select, '--force')).code, 0);
  t.true(Number(count('*', 'breakdowns')) > 20);
  t.true(Number(count('AmortizedCost', 'consumption')) > 0);

  const without = ['--by', 'none', '--metric', 'UnblendedCost'];
  const refused = await run('run', ...select, ...without, '--force');
  t.is(refused.code, 1);
  t.regex(
    refused.stdout,
    /rows of breakdowns by RECORD_TYPE, and extraction \w+ has none of them: .*take them with "[^"]*run --by record-type --month 2026-10 --organization oab[^"]*", or, .*--accept-empty/,
  );
  t.true(Number(count('*', 'breakdowns')) > 20);
  t.is((await run('run', ...select, '--accept-empty')).code, 0);
  t.is(count('*', 'breakdowns'), 0);
  t.is(count('AmortizedCost', 'consumption'), 0);
  await t.throwsAsync(access(file), { code: 'ENOENT' });
  const reconciled = await run('reconcile', '--organization', 'oab');
  t.is(reconciled.code, 0, reconciled.stdout);

  // What is staged with that metric, and more, is taken without a request.
  const paid = charged();
  t.is((await run('run', ...select, '--metric', 'AmortizedCost')).code, 0);
  t.is(charged(), paid);
  t.is(count('AmortizedCost', 'consumption'), count('*', 'consumption'));
  t.true(Number(count('*', 'breakdowns')) > 20);
});

test('altered and deleted rows by charge type and usage type are found, each by its line', async (t) => {
  const { run, folder } = await world(t);
  const select = ['--month', month, '--organization', 'oab'];
  t.is((await run('run', ...select, '--by', 'record-type', '--detail', 'usage-type')).code, 0);
  const file = join(folder, 'billing.sqlite');
  executeSqlite(file, "UPDATE breakdowns SET Amount = '77' WHERE Line = 1");
  executeSqlite(file, 'DELETE FROM breakdowns WHERE Line = 3');
  executeSqlite(file, "UPDATE consumption SET Quantity = '77' WHERE Line = 9");
  const reconciled = await run('reconcile');
  t.is(reconciled.code, 1, 'an organization is absent too');
  const type = '[A-Z][A-Za-z]+';
  const amount = String.raw`-?[\d.]+ USD`;
  for (const said of [
    String.raw`line 1, account \d{12}, RECORD_TYPE, ${type}, ${amount}: Amount is "77" instead of`,
    String.raw`line 3, account \d{12}, RECORD_TYPE, ${type}, ${amount}`,
    String.raw`line 9, account \d{12}, [^,]+, [A-Z0-9]+-[^,]+, ${amount}: Quantity is "77" instead of`,
  ])
    t.regex(reconciled.stdout, new RegExp(said));

  // One digit in a page: the dimension is named, and accounts that the rows alone tell of are no further finding.
  const raw = join(folder, `staging/raw/month=${month}/oab`);
  const [extraction = ''] = await readdir(raw);
  const page = join(raw, extraction, 'by-record-type-00001.json');
  const content = await readFile(page, 'utf8');
  await writeFile(
    page,
    content.replace(/\d(?="[^"]*"Unit")/, (digit) => String(9 - Number(digit))),
  );
  const tampered = (await run('reconcile')).stdout;
  t.regex(tampered, /staged pages: a staged page by RECORD_TYPE was altered/);
  t.notRegex(tampered, /customers has/);
});

test('a metric that is not what its total says is refused', async (t) => {
  const changing = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 9 }] });
  const { cloud, run } = await world(t, { data: changing });
  let isChanged = false;
  // A fault that never strikes: before the ungrouped total, AWS changes the amortized cost of one item.
  cloud.faults.push({
    service: 'cost-explorer',
    kind: 'error',
    matches: (input) => {
      if (isChanged || JSON.stringify(input).includes('GroupBy')) return false;
      isChanged = true;
      restate(changing, 'oab', month, ([first, ...others]) => [
        { ...first!, costs: { ...first!.costs, AmortizedCost: 10n ** 21n } },
        ...others,
      ]);
      return false;
    },
  });
  const ran = await run(
    'run',
    '--month',
    month,
    '--metric',
    'AmortizedCost',
    '--by',
    'record-type',
  );
  t.is(ran.code, 3, ran.stdout);
  const message =
    /oab's AmortizedCost of 2026-10 is [\d.]+ USD by AWS, its rows add up to [\d.]+ USD: a difference of/;
  t.regex(ran.stdout, message);
  const reconciled = await run('reconcile');
  t.is(reconciled.code, 3);
  t.regex(reconciled.stdout, message);
});

test("without AWS's total the breakdowns are held against the rows", async (t) => {
  const changing = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 9 }] });
  const { cloud, run } = await world(t, { data: changing });
  const select = ['run', '--month', month, '--no-aws-total', '--by', 'record-type', '--force'];
  t.is((await run(...select)).code, 0);
  let isChanged = false;
  // A fault that never strikes: before the charge types, AWS changes the cost of one item.
  cloud.faults.push({
    service: 'cost-explorer',
    kind: 'error',
    matches: (input) => {
      if (isChanged || !JSON.stringify(input).includes('RECORD_TYPE')) return false;
      isChanged = true;
      restate(changing, 'oab', month, ([first, ...others]) => [
        { ...first!, costs: { ...first!.costs, UnblendedCost: 10n ** 21n } },
        ...others,
      ]);
      return false;
    },
  });
  const ran = await run(...select);
  t.is(ran.code, 3, ran.stdout);
  const message =
    /oab's total of 2026-10 is [\d.]+ USD by its rows, its rows by RECORD_TYPE add up to [\d.]+ USD: a difference of/;
  t.regex(ran.stdout, message);
  const reconciled = await run('reconcile');
  t.is(reconciled.code, 3);
  t.regex(reconciled.stdout, message);
});

test('wrong details and metrics are wrong usage', async (t) => {
  const { run, asked } = await world(t);
  for (const [args, message] of [
    [['--detail', 'resource'], /--detail.*is neither "service" nor "usage-type"/],
    [['--metric', 'ListCost'], /--metric.*is none of AmortizedCost, BlendedCost/],
  ] as const) {
    const result = await run('run', ...args);
    t.is(result.code, 2);
    t.regex(result.stderr, message);
  }
  t.is(asked(), 0);
});

/** What a line item is, by the dimensions that are asked for below. */
const told: Record<string, (item: LineItem) => string> = {
  'RECORD_TYPE': ({ recordType }) => recordType,
  'REGION': ({ region }) => region,
  'TAG:cost$center': ({ tags }) => tags?.get('cost$center') ?? '',
  'TAG:nobody': () => '',
  'TAG:team': ({ tags }) => tags?.get('team') ?? '',
};

test('hostile tags, of values that differ in case only, are exact in every layer', async (t) => {
  const { folder, run, runWith, charged } = await world(t, { data });
  const server = await openServer();
  t.teardown(() => server.stop());
  const address = await server.createDatabase();
  const by = ['record-type', 'region', 'tag:team', 'tag:cost$center', 'tag:nobody', 'tag:team'];
  const select = ['--month', month, ...by.flatMap((one) => ['--by', one])];
  const ran = await runWith({ PIPELINE_DATABASE: address }, 'run', ...select);
  t.is(ran.code, 0, ran.stdout + ran.stderr);
  // A key that is not activated is told; the others are not.
  t.regex(
    ran.stderr,
    /AWS gives no cost a value of TAG:nobody: is the tag key "nobody" spelled so/,
  );
  t.notRegex(ran.stderr, /value of TAG:team/);
  t.is((await run('run', '--month', month, '--stage', 'load')).code, 0);

  const place = ['Organization', 'Dimension', 'Value', 'Reference'] as const;
  const expected = data.organizations
    .flatMap(({ name }) =>
      Object.entries(told).flatMap(([dimension, of]) =>
        [...expectedSums(data, name, month, [of, 'account'])].map(([group, sum]) =>
          [name, dimension, group, formatAmount(sum)].join('\t'),
        ),
      ),
    )
    .sort();
  t.true(
    ['backend', 'Backend', 'a$b', '$'].every((value) => expected.join().includes(`\t${value}\t`)),
  );
  const linesOf = (rows: readonly Row[]): string[] =>
    rows
      .map((row) =>
        [
          ...place.map((name) => String(row[name])),
          formatAmount(parseAmount(String(row['Amount'])).units),
        ].join('\t'),
      )
      .sort();
  const files = (format: string): string =>
    join(folder, `staging/${format}/breakdowns/*/*.${format}`);
  const columns = '* REPLACE (CAST(Amount AS VARCHAR) AS Amount)';
  t.deepEqual(
    linesOf(await query(`SELECT ${columns} FROM ${literal(files('parquet'))}`)),
    expected,
  );
  t.deepEqual(
    linesOf(
      (await query(
        `SELECT * FROM ${csvRows(files('csv'), "force_not_null = ['Value']")}`,
      )) as Row[],
    ),
    // A spreadsheet takes such a text for a formula: CSV writes an apostrophe before it.
    expected.map((line) => line.replace('\t=1+1\t', "\t'=1+1\t")).sort(),
  );
  t.deepEqual(linesOf(await server.query(address, 'SELECT * FROM breakdowns')), expected);
  t.deepEqual(
    linesOf(querySqlite(join(folder, 'billing.sqlite'), 'SELECT * FROM breakdowns')),
    expected,
  );
  for (const database of [address, '']) {
    const reconciled = await runWith({ PIPELINE_DATABASE: database }, 'reconcile');
    t.is(reconciled.code, 0, reconciled.stdout);
  }

  // What the plan counts is what the run then asks.
  const paid = charged();
  const planned = JSON.parse((await run('plan', ...select, '--force', '--json')).stdout) as {
    requests: number;
    requestsKnown: boolean;
  };
  t.deepEqual(planned.requestsKnown, true);
  t.is((await run('run', ...select, '--force')).code, 0);
  t.is(charged() - paid, planned.requests);
});

test('what AWS refuses is named by run, status, plan and reconcile, and all else is loaded', async (t) => {
  const { run } = await world(t);
  const select = ['--month', month, '--organization', 'oab'];
  const refusal = /AWS refused COST_CATEGORY:Nope: .*Nope.*\(ValidationException\)/;
  const ran = await run('run', ...select, '--by', 'cost-category:Nope', '--by', 'region');
  t.is(ran.code, 0, ran.stdout + ran.stderr);
  t.regex(ran.stderr, refusal);
  for (const words of [['status'], ['plan', ...select], ['reconcile', '--organization', 'oab']]) {
    const { code, stdout } = await run(...words);
    t.is(code, 0, stdout);
    t.regex(stdout, refusal, words[0]);
  }
  const again = await run('run', ...select);
  t.regex(again.stdout, /3 unchanged; 0 Cost Explorer requests/);
});
