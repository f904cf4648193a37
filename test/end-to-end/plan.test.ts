import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import { month, world } from '../support/world.js';

interface Plan {
  requests: number;
  requestsKnown: boolean;
  priceUsd: string;
  notes?: string[];
  slices: {
    organization: string;
    requests: number;
    requestsKnown: boolean;
    stages: Record<string, { action: string; stagedPages?: number; error?: { message: string } }>;
  }[];
}

const parse = (text: string): Plan => JSON.parse(text) as Plan;
const actions = (plan: Plan, organization = 'oab'): string[] =>
  Object.values(plan.slices.find((slice) => slice.organization === organization)?.stages ?? {}).map(
    ({ action }) => action,
  );

test('a plan tells what a run then does, and what it asks for, without asking AWS or writing', async (t) => {
  const { folder, run, asked, charged } = await world(t);
  const selection = ['--month', month];
  const fresh = parse((await run('plan', ...selection, '--json')).stdout);
  t.deepEqual(actions(fresh), ['fetch', 'run', 'run']);
  t.deepEqual([fresh.requests, fresh.requestsKnown], [4, false]);
  const cheaper = parse((await run('plan', ...selection, '--no-aws-total', '--json')).stdout);
  t.is(cheaper.requests, 2);
  t.is(asked(), 0);
  t.deepEqual(await readdir(folder), []);
  const text = await run('plan', ...selection);
  t.regex(text.stdout, /oab +fetch +run +run +at least 2 /);
  t.regex(text.stdout, /total: at least 4 Cost Explorer requests, at least \$0\.04/);
  t.regex(text.stdout, /note: "at least" is a page for each question.*--max-requests bounds a run/);

  t.is((await run('run', ...selection)).code, 0);
  const whole = charged();
  const before = asked();
  const done = parse((await run('plan', ...selection, '--json')).stdout);
  t.deepEqual(actions(done), ['unchanged', 'unchanged', 'unchanged']);
  t.is(done.requests, 0);
  const forced = parse((await run('plan', ...selection, '--force', '--json')).stdout);
  t.deepEqual(actions(forced), ['fetch', 'run', 'run']);
  t.deepEqual([forced.requests, forced.requestsKnown], [whole, true]);
  t.is(asked(), before);
  t.is((await run('run', ...selection, '--force')).code, 0);
  t.is(charged(), 2 * whole, 'the run asked for something else than the plan said');
});

test('of a stopped extraction only what is left is planned, and staged files stay as they are', async (t) => {
  const { folder, run, charged } = await world(t);
  const selection = ['--month', month, '--organization', 'oab'];
  t.is((await run('run', ...selection)).code, 0);
  t.is((await run('run', ...selection, '--force', '--max-requests', '2')).code, 4);
  const files = await readdir(join(folder, 'staging'), { recursive: true });
  const plan = parse((await run('plan', ...selection, '--force', '--json')).stdout);
  t.like(plan.slices[0]?.stages['extract'], { action: 'resume', stagedPages: 2 });
  const text = await run('plan', '--month', month, '--force', '--detail', 'usage-type');
  const table = text.stdout.split('\n').filter((line) => /^(month|2026-10) {2}/.test(line));
  t.is(table.length, 3);
  for (const line of table) t.true(line.length <= 100, line);
  t.deepEqual(await readdir(join(folder, 'staging'), { recursive: true }), files);
  const before = charged();
  t.is((await run('run', ...selection, '--force')).code, 0);
  t.is(charged() - before, plan.requests);
  t.true(plan.requests > 0);
});

test('a month that lacks a part is planned and paid for as that part, or as a whole where AWS restated it', async (t) => {
  const organizations = [{ name: 'oab', accounts: 23 }];
  const data = demoData({ months: [month], organizations });
  const { folder, cloud, run, charged } = await world(t, { data, groupsPerPage: 60 });
  const paid = async (...args: string[]): Promise<number> => {
    const before = charged();
    const { code, stdout, stderr } = await run(...args, '--month', month);
    t.is(code, 0, stdout + stderr);
    return charged() - before;
  };
  const planned = async (...flags: string[]): Promise<Plan & { requestsAtMost: number | null }> =>
    JSON.parse((await run('plan', '--month', month, ...flags, '--json')).stdout) as never;
  const whole = await paid('run');
  t.true(whole > 4);

  const invoices = await planned('--invoices');
  t.like(invoices, { requests: 1, requestsKnown: true, requestsAtMost: whole + 1 });
  t.like(invoices.slices[0]?.stages['extract'], { action: 'widen' });
  t.like(invoices.slices[0], { invoicingRequests: 1 });
  t.is(await paid('run', '--invoices'), 1);

  const text = (await run('plan', '--month', month, '--by', 'legal-entity')).stdout;
  t.regex(text, /oab +widen +run +run +at least 2 +at least \$0\.02/);
  t.regex(text, /note: 2026-10 oab: widened, with LEGAL_ENTITY_NAME; what was fetched on .* stays/);
  t.regex(text, /note: what is taken over is asked for again where AWS tells another total/);
  t.is(await paid('run', '--by', 'legal-entity'), 2);
  t.is(await paid('run'), 0);
  t.is(await paid('reconcile', '--paid'), 1);

  // Killed after the new question's page, of which AWS was asked for two.
  const by = ['--by', 'invoicing-entity'];
  t.is((await run('run', '--month', month, ...by, '--max-requests', '1')).code, 4);
  const left = await planned(...by);
  t.like(left.slices[0]?.stages['extract'], { action: 'resume', stagedPages: 1 });
  t.like(left, { requests: 1, requestsKnown: true });
  t.is(await paid('run', ...by), 1);

  const of = data.organizations[0]!.months.get(month)!;
  const [first, ...others] = of.items;
  const UnblendedCost = first!.costs.UnblendedCost + parseAmount('0.01').units;
  of.items = [{ ...first!, costs: { ...first!.costs, UnblendedCost } }, ...others];
  const all = await planned('--by', 'purchase-type', '--force');
  t.is((await planned('--by', 'purchase-type')).requests, 2);
  const restated = await run('run', '--month', month, '--by', 'billing-entity');
  t.is(restated.code, 0);
  t.regex(restated.stderr, /2026-10 oab: AWS has changed the month since it was fetched/);
  t.is(cloud.requests.filter(({ operation }) => operation === 'ListInvoiceSummaries').length, 2);
  t.is(await paid('reconcile', '--paid'), 1, 'not what AWS tells today');
  const staged = await readdir(join(folder, 'staging/raw/month=2026-10/oab'));
  t.is(staged.length, 5);
  t.is(all.requests, whole + 3);
  t.is(await paid('run', '--force'), whole + 3);
});

test('a stopped extraction without a page is a fetch', async (t) => {
  const { run } = await world(t);
  const selection = ['--month', month, '--organization', 'oab'];
  t.is((await run('run', ...selection, '--max-requests', '0')).code, 4);
  const { stdout } = await run('plan', ...selection);
  t.regex(stdout, /^2026-10 +oab +fetch +run +run /m);
  const plan = parse((await run('plan', ...selection, '--json')).stdout);
  t.deepEqual(plan.slices[0]?.stages['extract'], { action: 'fetch' });
});

test('without Vault the organizations are those of the staging area, and the plan says so', async (t) => {
  const { run, runWith, asked } = await world(t);
  t.is((await run('run', '--month', month)).code, 0);
  const before = asked();
  const other = ['plan', '--month', '2026-09', '--json'];
  const without = { VAULT_ADDR: '', VAULT_ROLE_ID: '', VAULT_SECRET_ID: '' };
  for (const env of [without, { VAULT_ADDR: 'http://127.0.0.1:9' }]) {
    const result = await runWith(env, ...other);
    t.is(result.code, 0, result.stderr);
    const plan = parse(result.stdout);
    t.regex((plan.notes ?? []).join(), /Vault cannot be asked/);
    t.deepEqual(
      plan.slices.map(({ organization }) => organization),
      ['internal', 'oab'],
    );
    t.true(plan.requestsKnown);
  }
  t.is(asked(), before);
});

test('each stage is planned alone, by what it finds', async (t) => {
  const { folder, run } = await world(t);
  const load = ['plan', '--month', month, '--stage', 'load'];
  const nothing = await run(...load);
  t.is(nothing.code, 1);
  t.regex(nothing.stderr, /nothing is staged for 2026-10/);
  t.is((await run('run', '--month', month)).code, 0);
  t.deepEqual(actions(parse((await run(...load, '--json')).stdout)), ['unchanged']);
  await rm(join(folder, 'billing.sqlite'));
  t.deepEqual(actions(parse((await run(...load, '--json')).stdout)), ['run']);
  t.false((await readdir(folder)).includes('billing.sqlite'));
  const away = await run(...load, '--database', 'mysql://nobody@127.0.0.1:9/x');
  t.is(away.code, 1);
  t.regex(away.stdout, /oab load is unknown: .*127\.0\.0\.1:9/);
  t.is((await run('run', '--month', month)).code, 0);
  await rm(join(folder, 'staging/csv'), { recursive: true });
  const remake = ['--month', month, '--stage', 'transform', '--stage', 'load'];
  t.deepEqual(actions(parse((await run('plan', ...remake, '--json')).stdout)), [
    'run',
    'unchanged',
  ]);
  const { stdout } = await run('run', ...remake, '--json');
  const { tasks } = JSON.parse(stdout) as { tasks: { stage: string; state: string }[] };
  t.deepEqual(
    tasks.map(({ stage, state }) => `${stage} ${state}`),
    ['transform done', 'load unchanged', 'transform done', 'load unchanged'],
  );
});

test('a missing key is told beforehand, by name', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  Reflect.deleteProperty(data.secret, 'aws_oab_roleArn');
  const { run } = await world(t, { data });
  const result = await run('plan', '--month', month);
  t.is(result.code, 1);
  t.regex(result.stdout, /oab extract would fail: .*aws_oab_roleArn/);
  t.is((await run('plan', '--organization', 'obb')).code, 2);
});

test("a load that AWS's total will stop is told beforehand", async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  data.organizations[0]!.months.get(month)!.outsideGroups = parseAmount('5').units;
  const { run } = await world(t, { data });
  t.is((await run('run', '--month', month)).code, 3);
  const refused = await run('plan', '--month', month);
  t.is(refused.code, 1);
  t.regex(refused.stdout, /oab load would fail: .*a difference of 5 USD/);
  const taken = await run('plan', '--month', month, '--tolerance', '5', '--json');
  t.is(taken.code, 0);
  t.deepEqual(actions(parse(taken.stdout)), ['unchanged', 'unchanged', 'run']);
  t.is((await run('run', '--month', month, '--tolerance', '5')).code, 0);
  t.deepEqual(actions(parse((await run('plan', '--month', month, '--json')).stdout)), [
    'unchanged',
    'unchanged',
    'unchanged',
  ]);
});
