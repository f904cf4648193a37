import test from 'ava';
import { demoData, organizationData } from '../../fixtures/demo/data.js';
import type { DemoInvoice } from '../../fixtures/demo/model.js';
import { invoicesOf } from '../../fixtures/demo/invoices.js';
import { pipeline } from '../support/cli.js';
import type { TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';
import { month, world } from '../support/world.js';

let server: TestServer;
test.before(async () => {
  server = await startServer();
});
test.after.always(() => server.stop());

const deny = { service: 'invoicing', kind: 'error', code: 'AccessDeniedException' } as const;

test('check has one line for the right to list invoices: allowed, denied and what to add, or none', async (t) => {
  const organizations = [
    { name: 'oab', accounts: 3 },
    { name: 'internal', accounts: 2 },
  ];
  const data = demoData({ months: [month], organizations });
  const { cloud, run, charged } = await world(t, { data });
  const plain = await run('check');
  t.is(plain.code, 0, plain.stdout);
  t.notRegex(plain.stdout, /invoices/i);
  const { managementAccount } = organizationData(data, 'oab');
  const allowed = await run('check', '--invoices');
  t.is(allowed.code, 0, allowed.stdout);
  t.regex(
    allowed.stdout,
    new RegExp(`^ok +oab: invoices +allowed, for account ${managementAccount}$`, 'm'),
  );
  cloud.faults.push({ ...deny, organization: 'oab', times: Infinity });
  const denied = await run('check', '--invoices');
  t.is(denied.code, 1);
  t.regex(denied.stdout, /^failed +oab: invoices .*invoicing:ListInvoiceSummaries/m);
  t.regex(denied.stdout, /^ok +internal: invoices +allowed/m);
  t.is(charged(), 0);
});

test('plan counts the requests to Invoicing beside those that cost, and a run makes as many', async (t) => {
  const { cloud, run, charged } = await world(t, { invoicesPerPage: 1 });
  const selection = ['--month', month, '--invoices'];
  const plan = async (...flags: string[]) =>
    JSON.parse((await run('plan', ...selection, ...flags, '--json')).stdout) as Record<
      string,
      unknown
    >;
  const listed = (): number =>
    cloud.requests.filter(({ operation }) => operation === 'ListInvoiceSummaries').length;
  t.like(await plan(), { requests: 4, invoicingRequests: 2 });
  t.is((await run('run', ...selection, '--stage', 'extract')).code, 0);
  const [asked, paid] = [listed(), charged()];
  t.true(asked > 2);
  t.like(await plan(), { requests: 0, invoicingRequests: 0 });
  t.like(await plan('--force'), { requests: paid, invoicingRequests: asked });
  const text = (await run('plan', ...selection, '--force')).stdout;
  t.regex(
    text,
    new RegExp(`beside them ${asked} Invoicing requests, of which AWS publishes no price`),
  );
});

test('a process killed between two pages of the invoices pays nothing twice and loses none', async (t) => {
  const { cloud, folder, run, charged } = await world(t, { invoicesPerPage: 1 });
  const args = ['run', '--month', month, '--invoices', '--organization', 'oab'];
  cloud.faults.push({
    ...{ service: 'invoicing', operation: 'ListInvoiceSummaries', kind: 'hang' },
    afterRequests: 1,
  });
  const isHanging = (): boolean =>
    cloud.requests.filter(({ operation }) => operation === 'ListInvoiceSummaries').length === 2;
  const killed = await pipeline(args, {
    cwd: folder,
    env: cloud.environment,
    running: (child) => {
      const wait = setInterval(() => {
        if (isHanging()) child.kill('SIGKILL');
      }, 20);
      child.once('close', () => {
        clearInterval(wait);
      });
    },
  });
  t.is(killed.signal, 'SIGKILL');
  const paid = charged();
  t.true(paid > 0);
  const { code, stdout, stderr } = await run(...args);
  t.is(code, 0, stdout + stderr);
  t.is(charged(), paid);
  const listed = JSON.parse((await run('invoices', '--month', month, '--json')).stdout) as {
    slices: { invoices: { InvoiceId: string }[] }[];
  };
  const ids = listed.slices.flatMap(({ invoices }) => invoices.map(({ InvoiceId }) => InvoiceId));
  t.true(ids.length > 1);
  const tokens = cloud.requests
    .filter(({ operation }) => operation === 'ListInvoiceSummaries')
    .map(({ token }) => token);
  t.is(tokens.length, ids.length + 1);
  t.is(tokens[1], tokens[2]);
  t.is(new Set(tokens).size, ids.length);
});

test('hostile texts of an invoice are the same in exports, SQLite and MariaDB, to the last digit', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  const oab = organizationData(data, 'oab');
  const [first] = invoicesOf(oab, month) as [DemoInvoice];
  const texts = [`'); DROP TABLE invoices; --`, '=1+1', '<b>\u001b[31m', '\\N\t\r\n"', '名😀 '];
  oab.months.get(month)!.invoices = texts.map((text, index) => ({
    ...first,
    id: `I${index}`,
    invoicingEntity: text,
    purchaseOrder: text,
    beforeTax: 123456789012345678901234567n + BigInt(index),
  }));
  const { run, runWith } = await world(t, { data });
  const url = await server.createDatabase();
  for (const env of [{}, { PIPELINE_DATABASE: url }] as Record<string, string>[]) {
    const loaded = await runWith(env, 'run', '--month', month, '--invoices', '--tolerance', '1000');
    t.is(loaded.code, 0, loaded.stderr);
    const same = await runWith(env, 'reconcile', '--month', month);
    t.is(same.code, 0, same.stdout + same.stderr);
  }
  const listed = await run('invoices', '--month', month);
  t.is(listed.code, 0, listed.stderr);
  t.false(listed.stdout.includes('\u001b'));
});

test('where AWS denies the invoices the run goes on and says so, and status too', async (t) => {
  const { cloud, run } = await world(t);
  cloud.faults.push({ ...deny, times: Infinity, message: 'not for you' });
  const result = await run('run', '--month', month, '--invoices');
  t.is(result.code, 0, result.stderr);
  t.regex(result.stderr, /AWS refused invoices: not for you \(AccessDeniedException\)/);
  t.regex((await run('status')).stdout, /oab: AWS refused invoices/);
  const told = await run('invoices', '--month', month);
  t.is(told.code, 0);
  t.regex(
    told.stdout,
    /oab: once AWS allows it, fetch the month again, .* run --invoices --force --month 2026-10 --organization oab"/,
  );
  const csv = await run('invoices', '--month', month, '--output', 'csv');
  t.deepEqual([csv.code, csv.stdout.trimEnd().split('\r\n').length], [0, 1]);
});

test('of several organizations those whose invoices were not fetched are named, and have none', async (t) => {
  const { run } = await world(t);
  t.is((await run('run', '--month', month, '--organization', 'internal')).code, 0);
  t.is((await run('run', '--month', month, '--organization', 'oab', '--invoices')).code, 0);
  const told = await run('invoices', '--month', month);
  t.is(told.code, 0);
  t.regex(
    told.stdout,
    /internal: its invoices were not fetched; fetch them with ".* run --invoices --month 2026-10 --organization internal"/,
  );
  const { slices } = JSON.parse((await run('invoices', '--month', month, '--json')).stdout) as {
    slices: { organization: string; state: string; invoices: object[] }[];
  };
  t.deepEqual(
    slices.map(({ organization, state, invoices }) => [organization, state, invoices.length > 0]),
    [
      ['internal', 'not asked', false],
      ['oab', 'invoiced', true],
    ],
  );
  const csv = await run('invoices', '--month', month, '--output', 'csv');
  t.is(csv.stdout.trimEnd().split('\r\n').length, 1 + slices[1]!.invoices.length);
});
