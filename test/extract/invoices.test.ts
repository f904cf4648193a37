import test from 'ava';
import type { Fault } from '../../fixtures/cloud/cloud.js';
import { organizationData } from '../../fixtures/demo/data.js';
import type { DemoInvoice } from '../../fixtures/demo/model.js';
import { invoicesOf } from '../../fixtures/demo/invoices.js';
import type { ExtractTask } from '../../extract/extract.js';
import { DataError, TransientError } from '../../pipeline/shared/errors.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import type { Bench } from '../support/extract.js';
import { MONTH, beforeWrites, bench, data, keysOf, textOf } from '../support/extract.js';

const scope = { ...plainScope, invoices: true };
const asked: Partial<ExtractTask> = { scope };
const oab = organizationData(data, 'oab');
const [pattern] = invoicesOf(oab, MONTH) as [DemoInvoice];
/** Seven documents, whatever the seed has. */
const documents = Array.from({ length: 7 }, (_, index) => ({ ...pattern, id: `INV${index}` }));
oab.months.get(MONTH)!.invoices = documents;

interface StagedSummary {
  InvoiceId: string;
  IssuedDate: string;
  Entity: { BillingEntity: string };
}

async function small(t: Parameters<typeof bench>[0]): Promise<Bench> {
  return bench(t, { invoicesPerPage: 3 });
}

const tokensOf = (requests: ReturnType<Bench['requests']>): unknown[] =>
  requests.map(({ token }) => token);

test.serial(
  'every page is staged word for word, of the payer that the accounts tell',
  async (t) => {
    const { run, manifest, staging, requests } = await small(t);
    const { extraction } = await run(asked);
    const found = await manifest(extraction);
    t.deepEqual(found.invoices, { payer: oab.managementAccount, rows: 7 });
    t.deepEqual(found.refused, []);
    t.is(found.requests.ListInvoiceSummaries, 3);
    const pages = found.pages.filter(({ file }) => file.startsWith('invoices-'));
    t.deepEqual(
      pages.map(({ rows }) => rows),
      [3, 3, 1],
    );
    const ids: unknown[] = [];
    for (const { file } of pages) {
      const text = await textOf(staging, `raw/month=2026-10/oab/${extraction}/${file}`);
      const page = JSON.parse(text) as { InvoiceSummaries: StagedSummary[] };
      for (const one of page.InvoiceSummaries) {
        ids.push(one.InvoiceId);
        t.is(one.Entity.BillingEntity, 'AWS');
        t.is(one.IssuedDate, new Date(pattern.issued).toISOString());
      }
    }
    t.deepEqual(
      ids,
      documents.map(({ id }) => id),
    );
    t.is(requests('GetCallerIdentity').length, 0);
    const { input } = requests('ListInvoiceSummaries')[0]!;
    t.deepEqual(input, {
      Selector: { ResourceType: 'ACCOUNT_ID', Value: oab.managementAccount },
      Filter: { BillingPeriod: { Month: 10, Year: 2026 } },
      MaxResults: 100,
    });
  },
);

test.serial(
  'a run killed at any page of the invoices asks for no page twice but that one',
  async (t) => {
    for (const page of [1, 2, 3]) {
      const { run, staging, requests, manifest } = await small(t);
      const dying = beforeWrites(staging, (key) => {
        if (key.endsWith(`invoices-0000${page}.json`)) throw new TransientError('killed');
      });
      await t.throwsAsync(run({ ...asked, staging: dying }), { message: /killed/ });
      t.is(requests('ListInvoiceSummaries').length, page);
      const paid = requests('GetCostAndUsage').length;
      const { extraction } = await run(asked);
      t.is(requests('GetCostAndUsage').length, paid, 'no cost is paid for again');
      const tokens = tokensOf(requests('ListInvoiceSummaries'));
      t.is(tokens.length, 4);
      t.is(new Set(tokens).size, 3);
      t.is(tokens[page - 1], tokens[page]);
      t.deepEqual((await manifest(extraction)).invoices, { payer: oab.managementAccount, rows: 7 });
    }
  },
);

test.serial('only the manifest is missing: nothing is asked for', async (t) => {
  const { run, staging, cloud } = await small(t);
  const dying = beforeWrites(staging, (key) => {
    if (key.endsWith('manifest.json')) throw new TransientError('killed');
  });
  await t.throwsAsync(run({ ...asked, staging: dying }), { message: /killed/ });
  const before = cloud.requests.length;
  await run({
    ...asked,
    source: () => {
      throw new Error('opened');
    },
  });
  t.is(cloud.requests.length, before);
});

test.serial(
  'a token that AWS no longer honours begins the invoices anew, and no cost',
  async (t) => {
    const { run, staging, cloud, requests, manifest } = await small(t);
    const dying = beforeWrites(staging, (key) => {
      if (key.endsWith('invoices-00003.json')) throw new TransientError('killed');
    });
    await t.throwsAsync(run({ ...asked, staging: dying }), { message: /killed/ });
    const paid = requests('GetCostAndUsage').length;
    cloud.faults.push({
      service: 'invoicing',
      kind: 'error',
      code: 'ValidationException',
      message: 'The NextToken is expired',
    });
    const { extraction } = await run(asked);
    t.is(requests('GetCostAndUsage').length, paid);
    const found = await manifest(extraction);
    t.is(found.invoices?.rows, 7);
    t.deepEqual(found.refused, []);
    t.deepEqual(tokensOf(requests('ListInvoiceSummaries')).slice(4)[0], undefined);
  },
);

test.serial(
  'a token that AWS refuses again and again fails the stage, and no cost is paid twice',
  async (t) => {
    const { run, cloud, requests } = await small(t);
    cloud.faults.push({
      service: 'invoicing',
      kind: 'error',
      code: 'ValidationException',
      message: 'The NextToken is expired',
      matches: (input) => JSON.stringify(input).includes('NextToken'),
      times: Infinity,
    });
    await t.throwsAsync(run(asked), { instanceOf: TransientError, message: /continuation token/ });
    const paid = requests('GetCostAndUsage').length;
    await t.throwsAsync(run(asked), { instanceOf: TransientError, message: /continuation token/ });
    t.is(requests('GetCostAndUsage').length, paid);
  },
);

test.serial('a damaged page of a stopped run is asked for anew', async (t) => {
  const { run, staging, requests, manifest } = await small(t);
  const dying = beforeWrites(staging, (key) => {
    if (key.endsWith('manifest.json')) throw new TransientError('killed');
  });
  await t.throwsAsync(run({ ...asked, staging: dying }), { message: /killed/ });
  const paid = requests('GetCostAndUsage').length;
  const key = (await keysOf(staging)).find((one) => one.endsWith('invoices-00002.json'))!;
  await staging.write(key, new TextEncoder().encode('{"InvoiceSummaries":[{'));
  const { extraction } = await run(asked);
  t.is((await manifest(extraction)).invoices?.rows, 7);
  t.is(requests('GetCostAndUsage').length, paid);
});

/** What AWS would answer if a document had come in before those of the next page: its first one is listed again. */
const shifted = (times: number): Fault => {
  let last: unknown;
  return {
    service: 'invoicing',
    operation: 'ListInvoiceSummaries',
    kind: 'alter',
    times,
    alter: (body) => {
      const page = JSON.parse(body) as { InvoiceSummaries: unknown[] };
      const InvoiceSummaries = [...(last === undefined ? [] : [last]), ...page.InvoiceSummaries];
      last = page.InvoiceSummaries.at(-1);
      return JSON.stringify({ ...page, InvoiceSummaries });
    },
  };
};

test.serial('a list that moves on while it is read is read anew, and no cost', async (t) => {
  const { run, cloud, requests, manifest } = await small(t);
  cloud.faults.push(shifted(2));
  const { extraction } = await run(asked);
  const found = await manifest(extraction);
  t.is(found.invoices?.rows, 7);
  t.is(found.requests.ListInvoiceSummaries, 3);
  t.is(requests('ListInvoiceSummaries').length, 5);
});

test.serial(
  'a list that names an invoice twice again is told, and no cost is paid twice',
  async (t) => {
    const { run, cloud, requests, manifest } = await small(t);
    cloud.faults.push(shifted(Infinity));
    await t.throwsAsync(run(asked), {
      instanceOf: DataError,
      message: /AWS lists the invoice \["INVOICE","INV2"\] twice/,
    });
    const paid = requests('GetCostAndUsage').length;
    cloud.faults.splice(0);
    const { extraction } = await run(asked);
    t.is((await manifest(extraction)).invoices?.rows, 7);
    t.is(requests('GetCostAndUsage').length, paid);
  },
);

test.serial('tokens that do not advance stop loudly', async (t) => {
  const { run, cloud, requests } = await small(t);
  let first: string | undefined;
  cloud.faults.push({
    service: 'invoicing',
    times: Infinity,
    kind: 'alter',
    alter: (body) => {
      const page = JSON.parse(body) as { NextToken?: string };
      first ??= page.NextToken;
      return JSON.stringify({ ...page, NextToken: first });
    },
  });
  await t.throwsAsync(run(asked), {
    instanceOf: DataError,
    message: /the same continuation token twice/,
  });
  t.is(requests('ListInvoiceSummaries').length, 2);
});

const refusals: [string, Fault][] = [
  [
    'a right that is denied',
    { service: 'invoicing', kind: 'error', code: 'AccessDeniedException' },
  ],
  [
    'a denial after a page',
    { service: 'invoicing', kind: 'error', code: 'AccessDeniedException', afterRequests: 1 },
  ],
  [
    'an account that has no invoices',
    { service: 'invoicing', kind: 'error', code: 'ResourceNotFoundException' },
  ],
];
for (const [name, fault] of refusals)
  test.serial(`${name}: the invoices fail by name, and the rest goes on`, async (t) => {
    const { run, manifest, cloud, lines, staging, requests } = await small(t);
    cloud.faults.push({ ...fault, times: Infinity, message: 'not for you' });
    const { extraction, rows, state } = await run(asked);
    t.is(state, 'done');
    const found = await manifest(extraction);
    t.true(rows > 0);
    t.is(found.invoices, null);
    t.true(found.scope.invoices);
    t.deepEqual(found.refused, [{ part: 'invoices', error: fault.code!, message: 'not for you' }]);
    t.deepEqual(
      (await keysOf(staging)).filter((key) => key.includes('invoices-')),
      [],
    );
    t.is(lines.filter((line) => line.includes('AWS refused invoices')).length, 1);
    const before = requests('ListInvoiceSummaries').length;
    t.is((await run(asked)).state, 'unchanged', 'it is not asked again each time');
    t.is(requests('ListInvoiceSummaries').length, before);
  });

test.serial(
  'throttling passes, and where it does not, the stage fails and nothing is refused',
  async (t) => {
    const { run, manifest, cloud } = await small(t);
    cloud.faults.push({ service: 'invoicing', kind: 'throttle', times: Infinity });
    await t.throwsAsync(run(asked), {
      instanceOf: TransientError,
      message: /throttles the request after 2 tries/,
    });
    cloud.faults.splice(0);
    cloud.faults.push({ service: 'invoicing', kind: 'throttle' });
    const { extraction } = await run(asked);
    t.is((await manifest(extraction)).invoices?.rows, 7);
  },
);

test.serial(
  'without a list of accounts the payer is the account of the role, which costs no right',
  async (t) => {
    const { run, manifest, requests } = await small(t);
    const { extraction } = await run({ scope: { ...scope, listAccounts: false } });
    t.is((await manifest(extraction)).invoices?.payer, oab.managementAccount);
    t.is(requests('ListAccounts').length, 0);
  },
);

test.serial(
  'an old month is not fetched again for invoices unless they are asked for',
  async (t) => {
    const { run, cloud } = await small(t);
    await run();
    const before = cloud.requests.length;
    const open = { ...scope, invoices: undefined };
    t.is((await run({ scope: open })).state, 'unchanged');
    t.is(cloud.requests.length, before);
    t.is((await run(asked)).state, 'done');
    t.is((await run({ scope: open })).state, 'unchanged', 'what is there stays');
  },
);

const wrong: [string, (one: Record<string, unknown>) => void, RegExp][] = [
  [
    'an amount that is none',
    (one) => (one['BaseCurrencyAmount'] = { TotalAmount: '1,234.5', CurrencyCode: 'USD' }),
    /wrong amount.*1,234\.5/,
  ],
  [
    'an amount without currency',
    (one) => (one['TaxCurrencyAmount'] = { AmountBreakdown: { Taxes: { TotalAmount: '1' } } }),
    /amount without its currency/,
  ],
  [
    'another month',
    (one) => (one['BillingPeriod'] = { Month: 9, Year: 2026 }),
    /is of 2026-09, where 2026-10/,
  ],
  ['an account that is none', (one) => (one['AccountId'] = '12'), /account id of 12 digits/],
];
for (const [name, change, says] of wrong)
  test.serial(`${name} is not staged`, async (t) => {
    const { run, cloud, staging } = await small(t);
    cloud.faults.push({
      service: 'invoicing',
      kind: 'alter',
      times: Infinity,
      alter: (body) => {
        const page = JSON.parse(body) as { InvoiceSummaries: Record<string, unknown>[] };
        change(page.InvoiceSummaries[1]!);
        return JSON.stringify(page);
      },
    });
    const error = await t.throwsAsync(run(asked), { instanceOf: DataError });
    t.regex(error.message, says);
    t.true(error.message.startsWith('invoice 2 ("INV1")'));
    t.regex(error.next ?? '', /--no-invoices, which pays for its cost anew/);
    t.false((await keysOf(staging)).some((key) => key.includes('invoices-')));
  });
