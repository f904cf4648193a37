import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { z } from 'zod';
import type { CloudData } from '../../fixtures/demo/data.js';
import { demoData, organizationData } from '../../fixtures/demo/data.js';
import type { DemoView } from '../../fixtures/demo/model.js';
import { expectedSums, expectedTotal } from '../../fixtures/demo/truth.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import type { Month } from '../../pipeline/shared/month.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { csvRows, literal, query } from '../support/duckdb.js';
import { openServer } from '../support/mariadb.js';
import { zippedText } from '../support/office.js';
import { COST_VIEW, ONLY_COST, paidBy, resold } from '../support/resold.js';
import { executeSqlite, querySqlite } from '../support/sqlite.js';
import { month, world } from '../support/world.js';

const before = parseMonth('2026-09');
const OTHER_VIEW = 'arn:aws:billing::999900009999:billingview/transfer';

const total = (sums: Iterable<bigint>): bigint => [...sums].reduce((sum, one) => sum + one, 0n);

/** `account, service, Amount, CostAmount` of rows, as text. */
function lines(rows: readonly Record<string, unknown>[]): string[] {
  const amount = (value: unknown): string => {
    const text = value === null ? 'N/A' : z.string().parse(value);
    return text === 'N/A' ? '-' : formatAmount(parseAmount(text).units);
  };
  return rows
    .map((row) =>
      [
        ...[row['Reference'], row['Service']],
        ...[amount(row['Amount']), amount(row['CostAmount'])],
      ].join('\t'),
    )
    .sort();
}

function truth(data: CloudData): string[] {
  const billed = expectedSums(data, 'oab', month, ['account', 'service'], 'UnblendedCost');
  const paid = paidBy(data, month);
  return [...new Set([...billed.keys(), ...paid.keys()])]
    .map((key) => {
      const cost = paid.get(key);
      return [
        key,
        formatAmount(billed.get(key) ?? 0n),
        cost === undefined ? '-' : formatAmount(cost),
      ].join('\t');
    })
    .sort();
}

test('what it costs the reseller stands beside the bill to the last digit in every layer', async (t) => {
  const data = resold([month]);
  const { run, runWith, folder, charged } = await world(t, { data });
  const server = await openServer();
  t.teardown(() => server.stop());
  const address = await server.createDatabase();
  const wish = ['--month', month, '--by', 'record-type'];
  const plan = JSON.parse((await run('plan', ...wish, '--json')).stdout) as { requests: number };
  const ran = await run('run', ...wish);
  t.is(ran.code, 0, ran.stdout + ran.stderr);
  const first = charged();
  // The first plan has to take one page for each question, the cost view's too.
  t.is(plan.requests, 4);
  t.true(plan.requests <= first);
  // The next plan counts the question's pages.
  const again = JSON.parse((await run('plan', '--month', month, '--force', '--json')).stdout) as {
    requests: number;
  };
  t.is(again.requests, first);
  t.is((await runWith({ PIPELINE_DATABASE: address }, 'run', '--stage', 'load')).code, 0);

  const expected = truth(data);
  t.true(expected.some((line) => line.endsWith('\t12.0000000001\t-')));
  t.true(expected.some((line) => line.endsWith(`${ONLY_COST}\t0\t-3.0000000007`)));
  const texts = 'CAST(Amount AS VARCHAR) AS Amount, CAST(CostAmount AS VARCHAR) AS CostAmount';
  const parquet = literal(join(folder, 'staging/parquet/consumption/*/*.parquet'));
  t.deepEqual(lines(await query(`SELECT * REPLACE (${texts}) FROM ${parquet}`)), expected);
  const csv = csvRows(join(folder, 'staging/csv/consumption/*/*.csv'));
  t.deepEqual(lines(await query(`SELECT * FROM ${csv}`)), expected);
  const file = join(folder, 'billing.sqlite');
  t.deepEqual(lines(querySqlite(file, 'SELECT * FROM consumption')), expected);
  t.deepEqual(lines(await server.query(address, 'SELECT * FROM consumption')), expected);
  const [{ earned } = {}] = querySqlite(
    file,
    'SELECT sum(Amount) - sum(CostAmount) AS earned FROM costs',
  );
  const amount = expectedTotal(data, 'oab', month);
  const cost = total(paidBy(data, month).values());
  t.true(Math.abs(Number(earned) - Number(formatAmount(amount - cost))) < 1e-6);

  const reconciled = await run('reconcile', '--json');
  t.is(reconciled.code, 0, reconciled.stdout);
  t.like(JSON.parse(reconciled.stdout), {
    slices: [
      {
        margin: {
          amount: { USD: formatAmount(amount) },
          cost: { USD: formatAmount(cost) },
          margin: { USD: formatAmount(amount - cost) },
          onlyBill: 1,
          onlyCost: 1,
        },
      },
    ],
  });
  t.regex(
    (await run('reconcile')).stdout,
    /is a margin of [\d.]+; 1 row billed without a cost, 1 of cost not billed/,
  );
  // One digit of one cost, in the database alone.
  executeSqlite(
    file,
    `UPDATE consumption SET CostAmount = '-3.0000000008' WHERE Service = '${ONLY_COST}'`,
  );
  const tampered = await run('reconcile');
  t.is(tampered.code, 3);
  t.regex(
    tampered.stdout,
    /consumption: 1 row other values in the database than staged, .*: CostAmount is "-3\.0000000008" instead of "-3\.0000000007"/,
  );
});

test('a customer sees nothing of it: not in a statement, nor in an export of its own', async (t) => {
  const data = resold([month]);
  const { run, folder } = await world(t, { data });
  t.is((await run('run', '--month', month)).code, 0);
  t.is((await run('report', '--month', month)).code, 0);
  const reports = join(folder, 'report', month);
  const page = await readFile(join(reports, 'index.html'), 'utf8');
  t.true(page.includes('<h2 id="margins-1-title">Margin</h2>'));
  t.true(page.includes('cost, not billed') && page.includes('billed, without a cost'));
  t.false(page.includes(ONLY_COST), 'names of others are escaped');
  // The page and its workbook are for the reseller alone.
  const workbook = await readFile(join(reports, `${month}.xlsx`));
  const names = [
    ...zippedText(workbook, 'xl/workbook.xml').matchAll(/<sheet [^>]*name="([^"]*)"/g),
  ].map(([, name]) => name);
  t.true(names.includes('Margins'));
  t.regex(
    zippedText(workbook, `xl/worksheets/sheet${names.indexOf('Margin gaps') + 1}.xml`),
    /Ground Station.*cost, not billed.*-3\.0000000007/s,
  );
  const statements = await readdir(join(reports, 'customers'));
  t.true(statements.length >= 9);
  for (const name of statements) {
    const text = await readFile(join(reports, 'customers', name), 'utf8');
    t.false(/Ground Station|margins|>Margin|CostAmount|3\.0000000007|what-we-pay/.test(text), name);
  }

  const [, , second] = organizationData(data, 'oab').accounts;
  const handed = await run('export', '--month', month, '--customer', second!.id, 'own.csv');
  t.is(handed.code, 0, handed.stderr);
  const own = await readFile(join(folder, 'own.csv'), 'utf8');
  t.notRegex(own, /CostAmount|Ground Station/);
  t.true(own.split('\r\n').length > 2);
  const sheet = ['--month', month, '--customer', second!.id, 'own.xlsx'];
  t.is((await run('export', ...sheet)).code, 0);
  const cells = zippedText(await readFile(join(folder, 'own.xlsx')), 'xl/worksheets/sheet1.xml');
  t.true(cells.includes('Amount, exact'));
  t.false(/CostAmount|Ground Station/.test(cells));
  const parquet = ['--month', month, '--customer', second!.id, 'own.parquet'];
  t.is((await run('export', ...parquet)).code, 0);
  const [row = {}] = await query(`SELECT * FROM ${literal(join(folder, 'own.parquet'))} LIMIT 1`);
  t.true('NetUnblendedCost' in row && !('CostAmount' in row));
  t.is((await run('export', '--month', month, 'all.csv')).code, 0);
  t.regex(await readFile(join(folder, 'all.csv'), 'utf8'), /CostAmount[^]*Ground Station/);
});

test('a cost that moved, and a cost view that is another one, are told by changes', async (t) => {
  const data = resold([before, month]);
  const oab = organizationData(data, 'oab');
  const { run } = await world(t, { data });
  t.is((await run('run', '--from', before, '--to', month)).code, 0);
  const view = oab.views!.get(COST_VIEW)!;
  const paid = view.months.get(month)!;
  view.months.set(month, {
    ...paid,
    items: paid.items.filter(({ service }) => service !== ONLY_COST),
  });
  t.is((await run('run', '--month', month, '--force')).code, 0);
  const moved = await run('changes', '--month', month);
  t.regex(moved.stdout, /oab: CostAmount was [\d.]+ USD, and is [\d.]+: 3\.0000000007\n/);
  t.regex(moved.stdout, /no amount differs: oab/);
  // Nothing of it where one customer is asked for.
  const [, , second] = oab.accounts;
  const one = await run('changes', '--month', month, '--customer', second!.id);
  t.notRegex(one.stdout, /CostAmount/);

  oab.views = new Map([...oab.views!, [OTHER_VIEW, view]]);
  data.secret['aws_oab_costViewArn'] = OTHER_VIEW;
  const told = /costViewArn is \S+transfer, and 2026-09 tells \S+what-we-pay: what the two/;
  t.regex((await run('plan', '--month', month)).stdout, told);
  const ran = await run('run', '--month', month);
  t.is(ran.code, 0, ran.stderr);
  t.regex(ran.stderr, told);
  t.regex(
    (await run('changes', '--month', month)).stdout,
    /oab: CostAmount is not compared: \S+what-we-pay before, \S+transfer after/,
  );
});

test('both views beside the detail by usage type are refused at the door', async (t) => {
  const { run, charged } = await world(t, { data: resold([month]) });
  for (const command of ['run', 'plan']) {
    const { code, stderr } = await run(command, '--month', month, '--detail', 'usage-type');
    t.is(code, 2, stderr);
    t.regex(stderr, /oab has a costViewArn.*detail usage-type/s);
  }
  t.is(charged(), 0);
});

/** A view of another payer's accounts, whose names Cost Explorer tells. */
function transferred(months: readonly Month[], seed: string): DemoView {
  const data = demoData({ seed, months, organizations: [{ name: 'acme', accounts: 5 }] });
  const { accounts, months: of } = organizationData(data, 'acme');
  return { accounts: accounts.map((one) => ({ ...one, named: true })), months: of };
}

const customersOf = (folder: string): Record<string, unknown>[] =>
  querySqlite(
    join(folder, 'billing.sqlite'),
    'SELECT DISTINCT c.Reference AS id, a.TenantName AS name, a.Status AS status FROM consumption c JOIN customers a USING (Reference, BillingPeriod, Organization) ORDER BY 1',
  );

test("a billing transfer's view tells another payer's accounts, by the names that Cost Explorer has", async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 4 }] });
  const view = transferred([month], 'other payer');
  organizationData(data, 'oab').views = new Map([[OTHER_VIEW, view]]);
  data.secret['aws_oab_billingViewArn'] = OTHER_VIEW;
  const { run, folder } = await world(t, { data });
  const ran = await run('run', '--month', month);
  t.is(ran.code, 0, ran.stderr);
  t.regex(ran.stderr, /no account of the billing view \S+transfer is in the organization's list/);
  const items = view.months.get(month)!.items;
  const billed = new Set(items.flatMap(({ account }) => (account === '' ? [] : [account])));
  const names = new Map(view.accounts.map(({ id, name }) => [id, name]));
  t.deepEqual(
    customersOf(folder),
    [...billed].sort().map((id) => ({ id, name: names.get(id), status: 'unlisted' })),
  );
  t.is((await run('reconcile')).code, 0);

  // Without the list, there are no other customers; the view is as it was.
  data.secret['aws_oab_listAccounts'] = 'false';
  const alone = await run('run', '--month', month, '--force');
  t.is(alone.code, 0, alone.stderr);
  t.notRegex(alone.stderr, /is in the organization's list/);
  const all = querySqlite(join(folder, 'billing.sqlite'), 'SELECT count(*) AS n FROM customers');
  t.deepEqual(all, [{ n: billed.size }]);
});

test('a view that is another one than in the month before is told by every command, and compared by none', async (t) => {
  const data = demoData({ months: [before, month], organizations: [{ name: 'oab', accounts: 4 }] });
  const oab = organizationData(data, 'oab');
  const { billingViewArn } = oab.proForma;
  oab.views = new Map([[OTHER_VIEW, { accounts: oab.accounts, months: oab.months }]]);
  data.secret['aws_oab_billingViewArn'] = billingViewArn;
  const { run, folder } = await world(t, { data });
  t.is((await run('run', '--month', before)).code, 0);

  data.secret['aws_oab_billingViewArn'] = OTHER_VIEW;
  const told =
    /billingViewArn is \S+transfer, and 2026-09 tells \S+billing-group-oab: what the two months tell is not of one kind/;
  t.regex((await run('plan', '--month', month)).stdout, told);
  const ran = await run('run', '--month', month, '--report');
  t.is(ran.code, 0, ran.stderr);
  t.regex(ran.stderr, told);
  const page = await readFile(join(folder, 'report/2026-10/index.html'), 'utf8');
  t.regex(page, /oab tells \S+transfer in 2026-10, and \S+billing-group-oab in 2026-09\./);
  t.regex(page, /Not compared\. oab tells the cost of another billing view than in 2026-09\./);
  for (const name of await readdir(join(folder, 'report/2026-10/customers'))) {
    const text = await readFile(join(folder, 'report/2026-10/customers', name), 'utf8');
    t.true(
      text.includes('The figures of 2026-09 are of another kind than those of 2026-10.'),
      name,
    );
    t.false(/billingview|billing-group|transfer/.test(text), name);
  }
  t.regex((await run('status')).stdout, /2026-10 oab: tells service of transfer/);

  // The view of the shown month again: its accounts are others now, and changes name each that came and went.
  const former = oab.accounts.map(({ id }) => id);
  oab.views = new Map([[OTHER_VIEW, transferred([month], 'other payer')]]);
  t.is((await run('run', '--month', month, '--force')).code, 0);
  const { organizations } = JSON.parse(
    (await run('changes', '--month', month, '--json')).stdout,
  ) as { organizations: { changes: { account: string; change: string }[] }[] };
  const changes = organizations[0]?.changes ?? [];
  t.true(changes.length > 0);
  for (const { account, change } of changes)
    t.is(change, former.includes(account) ? 'vanished' : 'appeared');
});

test('a cost view that is not healthy fails that part alone, by name, until it is asked again', async (t) => {
  const data = resold([month]);
  const [view] = organizationData(data, 'oab').views!.values();
  view!.health = 'UNHEALTHY';
  delete data.secret['aws_oab_costViewArn'];
  const { run, folder, charged } = await world(t, { data });
  const planned = async (): Promise<unknown> =>
    JSON.parse((await run('plan', '--month', month, '--force', '--json')).stdout);
  t.is((await run('run', '--month', month)).code, 0);
  const bill = charged();
  // Its pages are not known yet, at least one; and none where AWS has refused it.
  data.secret['aws_oab_costViewArn'] = COST_VIEW;
  t.like(await planned(), { requests: bill + 1, requestsKnown: false });
  const ran = await run('run', '--month', month, '--report');
  t.is(ran.code, 0, ran.stderr);
  const told =
    /AWS refused cost-view:arn:aws:billing::999900009999:billingview\/what-we-pay: The billing view status must be HEALTHY.*\(BillingViewHealthStatusException\)/;
  t.regex(ran.stderr, told);
  // The bill is taken over: its total alone is asked once more.
  t.is(charged(), bill + 1);
  t.like(await planned(), { requests: bill, requestsKnown: true });
  t.regex((await run('status')).stdout, told);
  t.regex(await readFile(join(folder, 'report/2026-10/index.html'), 'utf8'), told);
  t.is((await run('reconcile')).code, 0);
  const costs = 'SELECT count(*) AS n, count(CostAmount) AS costs FROM consumption';
  const [{ n, costs: had } = {}] = querySqlite(join(folder, 'billing.sqlite'), costs);
  t.true(Number(n) > 20);
  t.is(had, 0);

  view!.health = 'HEALTHY';
  const before = charged();
  t.is((await run('run', '--month', month)).code, 0);
  t.is(charged(), before);
  t.is((await run('run', '--month', month, '--force')).code, 0);
  t.true(Number(querySqlite(join(folder, 'billing.sqlite'), costs)[0]?.['costs']) > 20);
});

test("the bill's own view that is not healthy fails the month by the name of view and setting", async (t) => {
  const data = resold([month]);
  const { proForma } = organizationData(data, 'oab');
  proForma.health = 'UPDATING';
  data.secret['aws_oab_billingViewArn'] = proForma.billingViewArn;
  const { run, charged } = await world(t, { data });
  const { code, stdout } = await run('run', '--month', month);
  t.is(code, 1);
  t.regex(
    stdout,
    /the billing view arn:aws:billing::\d+:billingview\/billing-group-oab is not healthy.*\(aws_oab_billingViewArn in the Vault secret\)/s,
  );
  t.is(charged(), 0);
});
