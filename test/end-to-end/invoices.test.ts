import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { parse } from 'csv-parse/sync';
import { demoData, monthData, organizationData } from '../../fixtures/demo/data.js';
import { invoicesOf } from '../../fixtures/demo/invoices.js';
import type { CloudData, DemoInvoice } from '../../fixtures/demo/model.js';
import { expectedSums, expectedTotal } from '../../fixtures/demo/truth.js';
import type { InvoiceComparison } from '../../pipeline/shared/invoice-comparison.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { sha256Of } from '../../pipeline/staging/staging.js';
import { querySqlite } from '../support/sqlite.js';
import type { World } from '../support/world.js';
import { month, world } from '../support/world.js';

type Row = Record<string, string | null>;
interface Slice extends InvoiceComparison {
  organization: string;
  invoices: Row[];
}
interface Found {
  slices: Slice[];
  documents:
    | {
        invoice: string;
        state: string;
        file: string;
        sha256: string | null;
        error: object | null;
      }[]
    | null;
}

const organizations = ['internal', 'oab'];

function freshData(now = new Date('2026-11-26T10:00:00Z')): CloudData {
  const sizes = [
    { name: 'oab', accounts: 23 },
    { name: 'internal', accounts: 4 },
  ];
  return demoData({ months: [month], organizations: sizes, now });
}

async function fetched(t: ExecutionContext, data: CloudData, ...flags: string[]): Promise<World> {
  const of = await world(t, { data, invoicesPerPage: 2 });
  const { code, stdout, stderr } = await of.run('run', '--month', month, ...flags);
  t.is(code, 0, stdout + stderr);
  return of;
}

const asked = ['--invoices', '--by', 'record-type', '--by', 'billing-entity'];

async function show(of: World, ...flags: string[]): Promise<Found & { code: number | null }> {
  const { code, stdout } = await of.run('invoices', '--month', month, '--json', ...flags);
  return { code, ...(JSON.parse(stdout) as Found) };
}

interface Reconciled {
  agrees: boolean;
  slices: { organization: string; invoices: InvoiceComparison; findings: { what: string }[] }[];
}

async function reconcile(
  of: World,
  ...flags: string[]
): Promise<Reconciled & { code: number | null }> {
  const { code, stdout } = await of.run('reconcile', '--month', month, '--json', ...flags);
  return { code, ...(JSON.parse(stdout) as Reconciled) };
}

const sum = (documents: readonly DemoInvoice[]): string =>
  formatAmount(documents.reduce((all, { beforeTax, tax }) => all + beforeTax + tax, 0n));

test('every layer has the invoices to the last digit, and says the same of them', async (t) => {
  const data = freshData();
  const of = await fetched(t, data, ...asked);
  const { code, slices } = await show(of);
  t.is(code, 0);
  t.deepEqual(
    slices.map(({ organization }) => organization),
    organizations,
  );
  const pages = of.cloud.requests.filter(({ operation }) => operation === 'ListInvoiceSummaries');
  t.true(pages.length > organizations.length, 'one page each would prove nothing');
  for (const slice of slices) {
    const { organization, invoices, currencies, state } = slice;
    const truth = invoicesOf(organizationData(data, organization), month);
    t.deepEqual(
      invoices.map((row) => [
        row['InvoiceId'],
        row['Reference'],
        row['InvoiceType'],
        row['BillType'],
        row['Issued'],
        row['AmountBeforeTax'],
        row['Tax'],
        row['Amount'],
        row['Currency'],
      ]),
      truth.map((one) => [
        one.id,
        one.account,
        one.type,
        one.billType,
        one.issued,
        formatAmount(one.beforeTax),
        formatAmount(one.tax),
        formatAmount(one.beforeTax + one.tax),
        one.currency,
      ]),
    );
    t.is(state, 'invoiced');
    const cost = expectedTotal(data, organization, month);
    const tax = expectedSums(data, organization, month, ['recordType']).get('Tax') ?? 0n;
    const [usd] = currencies;
    t.deepEqual(usd?.cost, {
      total: formatAmount(cost),
      beforeTax: formatAmount(cost - tax),
      tax: formatAmount(tax),
    });
    t.is(usd?.invoices.total, sum(truth.filter(({ type }) => type === 'INVOICE')));
    t.is(usd?.creditMemos.total, sum(truth.filter(({ type }) => type === 'CREDIT_MEMO')));
    const all = truth.reduce((units, one) => units + one.beforeTax + one.tax, 0n);
    t.is(usd?.difference, formatAmount(all - cost));
    t.is(usd?.rest, '0');
    const folder = join(of.folder, 'staging');
    const csv = await readFile(join(folder, `csv/invoices/month=${month}/${organization}.csv`));
    t.deepEqual(
      parse(csv, { columns: true }).map((row: unknown) => (row as Row)['Amount']),
      invoices.map((row) => row['Amount']),
    );
    t.deepEqual(
      querySqlite(
        join(of.folder, 'billing.sqlite'),
        `SELECT InvoiceId, Amount FROM invoices WHERE Organization = '${organization}' ORDER BY Line`,
      ).map(({ InvoiceId, Amount }) => [InvoiceId, Amount]),
      invoices.map((row) => [row['InvoiceId'], row['Amount']]),
    );
  }

  const whole = await reconcile(of);
  t.is(whole.code, 0);
  for (const { organization, invoices } of whole.slices) {
    const { state, isPending, reasons, uncounted, currencies } = slices.find(
      (one) => one.organization === organization,
    )!;
    t.deepEqual(invoices, { state, isPending, reasons, uncounted, currencies });
  }

  t.is((await of.run('report', '--month', month)).code, 0);
  const page = await readFile(join(of.folder, 'report', month, 'index.html'), 'utf8');
  const block = JSON.parse(/<script id="figures"[^>]*>(.*?)<\/script>/.exec(page)?.[1] ?? '') as {
    currencies: { invoices: unknown }[];
  };
  t.deepEqual(
    block.currencies[0]?.invoices,
    slices.map(({ organization, state, currencies: [usd] }) => [
      organization,
      state,
      usd?.invoices.total,
      usd?.creditMemos.total,
      usd?.difference,
    ]),
  );

  const { stdout } = await of.run('invoices', '--month', month, '--output', 'csv');
  t.deepEqual(
    parse(stdout, { columns: true }).map((row: unknown) => (row as Row)['InvoiceId']),
    slices.flatMap(({ invoices }) => invoices.map((row) => row['InvoiceId'])),
  );
});

test('a difference is told with its parts, holds up no load, and exits with 3 beyond the tolerance alone', async (t) => {
  const data = freshData();
  const organization = organizationData(data, 'oab');
  const support = expectedSums(data, 'oab', month, ['recordType']).get('Support') ?? 0n;
  t.true(support > 0n);
  const cents = 10n ** 16n;
  const [first, ...others] = invoicesOf(organization, month);
  monthData(data, 'oab', month).invoices = [
    { ...first!, beforeTax: first!.beforeTax - (support / cents) * cents },
    ...others,
  ];
  const of = await fetched(t, data, ...asked);
  const { slices } = await show(of, '--organization', 'oab');
  t.deepEqual(
    slices[0]?.currencies[0]?.parts.map(({ part }) => part),
    ['support', 'rounding'],
  );
  t.is((await reconcile(of)).code, 0);
  const held = await reconcile(of, '--tolerance-invoice', '1');
  t.is(held.code, 3);
  const findings = held.slices.flatMap((one) => one.findings.map(({ what }) => what));
  t.is(findings.length, 1);
  t.regex(
    findings[0]!,
    /^invoices minus cost is -\d.* USD: support -\d.*; more than 1 is not taken/,
  );
  const text = await of.run('reconcile', '--month', month);
  t.regex(text.stdout, /2026-10 oab: invoices minus cost is -.*: support -/);
});

test('before day 5 of the next month is over nothing is held against invoices that are not there', async (t) => {
  const of = await fetched(t, freshData(), ...asked, '--organization', 'internal');
  // The stand-in's day, not this machine's, decides what is issued; the fetch's own decides the state.
  t.is((await show(of)).slices[0]?.state, 'invoiced');

  const early = await world(t, { data: freshData(new Date('2026-11-02T06:00:00Z')) });
  const run = await early.run('run', '--month', month, ...asked);
  t.is(run.code, 0, run.stderr);
  const { slices } = await show(early);
  t.deepEqual(
    slices.map(({ state, invoices, currencies }) => [
      state,
      invoices.length,
      currencies[0]?.creditMemos.count,
    ]),
    // Upfront fees are invoiced at once.
    [
      ['partly', 1, 0],
      ['none', 0, 0],
    ],
  );
});

test('a right that is denied fails the invoices alone, by name', async (t) => {
  const of = await world(t, {
    data: freshData(),
    faults: [
      {
        service: 'invoicing',
        operation: 'ListInvoiceSummaries',
        organization: 'oab',
        kind: 'error',
        code: 'AccessDeniedException',
        message: 'User: arn:aws:sts::1:assumed-role/x is not authorized',
        times: Infinity,
      },
    ],
  });
  const run = await of.run('run', '--month', month, ...asked);
  t.is(run.code, 0, run.stderr);
  t.regex(run.stderr, /AWS refused invoices: .*; the rest goes on without it/);
  const { code, slices } = await show(of);
  t.is(code, 0);
  t.deepEqual(
    slices.map(({ state }) => state),
    ['invoiced', 'refused'],
  );
  t.regex(slices[1]?.reasons.join() ?? '', /is not authorized \(AccessDeniedException\)/);
  t.is((await reconcile(of)).code, 0);
  const held = await reconcile(of, '--tolerance-invoice', '0.5');
  t.is(held.code, 1);
  t.regex(held.slices[1]?.findings[0]?.what ?? '', /no invoice is there to hold .* AWS refused/);
});

test('a month without them stays readable, is not fetched again for them, and says how to have them', async (t) => {
  const of = await fetched(t, freshData());
  const before = of.charged();
  const shown = await of.run('invoices', '--month', month);
  t.is(shown.code, 1);
  t.regex(shown.stderr, /invoices were not fetched for 2026-10.*run --invoices --month 2026-10/s);
  t.is((await of.run('run', '--month', month)).code, 0);
  t.is(of.charged(), before);
  t.is((await reconcile(of)).code, 0);
  const held = await reconcile(of, '--tolerance-invoice', '1');
  t.regex(held.slices[0]?.findings[0]?.what ?? '', /they were not fetched/);
  t.is((await of.run('run', '--month', month, '--invoices')).code, 0);
  t.is((await show(of)).slices[0]?.state, 'invoiced');
});

test('--download saves each PDF whole, keeps what is there, and tells a failure by name', async (t) => {
  const data = freshData();
  const of = await fetched(t, data, ...asked);
  const truth = invoicesOf(organizationData(data, 'oab'), month).map(({ id }) => id);
  of.cloud.faults.push({
    service: 'invoicing',
    operation: 'GetDocument',
    kind: 'body',
    body: '<html>sign in</html>',
  });
  const flags = ['--organization', 'oab', '--download', 'pdf', '--log-level', 'debug'];
  const first = await of.run('invoices', '--month', month, ...flags);
  t.is(first.code, 1);
  t.regex(
    first.stdout,
    /failed {2}2026-10 oab EUINFR26-\w+: what AWS gave as the document is no whole PDF/,
  );
  t.regex(first.stdout, new RegExp(`${truth.length - 1} saved, 0 kept, 1 failed`));
  // The addresses are secret.
  t.notRegex(first.stdout + first.stderr, /X-Amz-Signature|invoice-documents/);
  const place = join(of.folder, 'pdf', month, 'oab');
  t.is((await readdir(place)).length, truth.length - 1);

  const kept = (await readdir(place))[0]!;
  await writeFile(join(place, kept), 'mine');
  const again = await show(of, '--organization', 'oab', '--download', 'pdf');
  t.is(again.code, 0);
  t.deepEqual(
    again.documents?.map(({ invoice }) => invoice),
    truth,
  );
  t.deepEqual(again.documents?.map(({ state }) => state).sort(), [
    ...truth.slice(1).map(() => 'kept'),
    'saved',
  ]);
  for (const { file, sha256 } of again.documents ?? [])
    t.is(sha256, sha256Of(await readFile(file)));
  t.is(await readFile(join(place, kept), 'utf8'), 'mine');

  of.cloud.faults.push({
    ...{ service: 'invoicing', operation: 'GetInvoicePDF', kind: 'error', times: Infinity },
    ...{ code: 'AccessDeniedException', message: 'not authorized' },
  });
  const denied = await of.run('invoices', '--month', month, '--download', 'other');
  t.is(denied.code, 1);
  t.regex(denied.stdout, /may not fetch the invoice as PDF.*invoicing:GetInvoicePDF/);
  t.regex(denied.stdout, /0 saved, 0 kept, \d+ failed/);
});
