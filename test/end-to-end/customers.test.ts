import { join } from 'node:path';
import test from 'ava';
import { parse } from 'csv-parse/sync';
import { compareCustomers } from '../../pipeline/inspect/customer-changes.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { transformManifestKey } from '../../pipeline/staging/layout.js';
import { serializeManifest } from '../../pipeline/staging/manifest.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import type { Row } from '../support/staged-slice.js';
import { stageSlice } from '../support/staged-slice.js';

const hostile = '=HYPERLINK("http://x"),\u001b[2J\r\n日本\u202e';
const dollar = 10n ** 18n;

/** One organization's accounts, by their last digit: name, status. */
type Accounts = Readonly<Record<number, readonly [name: string, status: string]>>;

const idOf = (digit: number): string => `00000000000${digit}`;

/** Two months of three organizations, and what became of their customers. */
const months: Record<string, Record<string, Accounts>> = {
  '2026-08': { gone_org: { 9: ['Old', 'active'] } },
  '2026-09': {
    oab: {
      1: ['Stays', 'active'],
      2: ['Before', 'active'],
      3: ['Closing', 'active'],
      4: ['Leaver', 'active'],
      5: ['Mover', 'active'],
      6: ['Late', 'suspended'],
    },
    spp: { 7: ['Seven', 'pending_activation'] },
    late: { 8: ['Eight', 'active'] },
  },
  '2026-10': {
    oab: {
      1: ['Stays', 'active'],
      2: [hostile, 'active'],
      3: ['Closing', 'pending_closure'],
      4: ['Leaver', 'unlisted'],
      // It moved in mid-month: its cost of the first days is still here.
      5: ['Mover', 'unlisted'],
      6: ['Late', 'active'],
      9: ['Fresh', 'active'],
    },
    spp: { 7: ['Seven', 'active'], 5: ['Mover GmbH', 'active'] },
    newcomer: { 8: ['Eight', 'active'], 0: ['Zero', 'active'] },
  },
};

let folder: string;
let remove: (() => Promise<void>) | undefined;
test.before(async () => {
  folder = await temporaryFolder({ teardown: (end) => void (remove = end) });
  const staging = localStaging(join(folder, 'staging'));
  for (const [month, organizations] of Object.entries(months))
    for (const [organization, accounts] of Object.entries(organizations)) {
      const rows = Object.entries(accounts).map(([digit, [TenantName, Status]]): Row => {
        return { Reference: idOf(Number(digit)), TenantName, Status };
      });
      const consumption = rows
        .filter(({ TenantName }) => TenantName !== 'Stays')
        .flatMap(({ Reference = '' }): Row[] => [
          { Reference, Service: 'a', Amount: 3n * dollar + 1n },
          { Reference, Service: 'b', Amount: -dollar },
          { Reference, Service: 'c', Amount: 7n, Currency: 'CNY' },
        ]);
      const slice = { month: parseMonth(month), organization };
      await stageSlice(staging, slice, { customers: rows, consumption });
    }
});
test.after.always(() => remove?.());

const run = (...args: string[]) => pipeline(['customers', ...args], { cwd: folder });

interface Listed {
  customers: { month: string; organization: string; account: string; amount: object }[];
  missing: { month: string; organization: string; next: string }[];
}

test('the customers of a month, with exact sums by currency, and what is missing by name', async (t) => {
  const { code, stdout, stderr } = await run('--month', '2026-10', '--json');
  t.is(code, 0, stderr);
  const { customers, missing } = JSON.parse(stdout) as Listed;
  t.deepEqual(
    customers.map(({ organization, account }) => `${organization} ${account.slice(-1)}`),
    [
      'newcomer 0',
      'newcomer 8',
      ...[1, 2, 3, 4, 5, 6, 9].map((one) => `oab ${one}`),
      'spp 5',
      'spp 7',
    ],
  );
  t.deepEqual(customers[2]?.amount, {});
  t.deepEqual(customers[3], {
    ...{ month: '2026-10', organization: 'oab', account: idOf(2), name: hostile, status: 'active' },
    amount: { CNY: '0.000000000000000007', USD: '2.000000000000000001' },
    provisional: true,
  } as object);
  t.deepEqual(
    missing.map(({ month, organization }) => `${month} ${organization}`),
    ['2026-10 late'],
  );
  t.regex(missing[0]?.next ?? '', /cli\.js run --month 2026-10 --organization late$/);

  const table = await run('--month', '2026-10');
  t.is(table.code, 0, table.stderr);
  t.regex(table.stdout, /^month +organizati\S+ +account +name +status +amount\n/);
  t.regex(table.stdout, /^2026-10 +oab +0{11}1 +Stays +active\n/m);
  t.regex(table.stdout, /\n11 customers, 1 without cost\n/);
  t.regex(table.stdout, /\n2026-10 late is not there; make it with "node \S+ run .*late"\n/);
  t.notRegex(table.stdout.replaceAll('\n', ''), /[\p{Cc}\p{Bidi_Control}]/u);

  const csv = await run('--month', '2026-10', '--organization', 'oab,spp', '--output', 'csv');
  const records = parse<Record<string, string>>(csv.stdout, { columns: true });
  t.is(records.length, 9);
  t.is(records[1]?.['name'], `'${hostile}`);
  t.is(records[1]?.['amount.USD'], '2.000000000000000001');
  t.is(records[0]?.['amount.USD'], '');
  t.is(csv.stderr, '');
});

interface Changes {
  from: string;
  to: string;
  compared: string[];
  uncompared: { organization: string; why: string }[];
  missing: { month: string; organization: string }[];
  changes: Record<'change' | 'organization' | 'account' | 'name', string>[];
}

test('what became of each customer from one month to another', async (t) => {
  const { code, stdout, stderr } = await run('--changes', '--month', '2026-10', '--json');
  t.is(code, 0, stderr);
  const found = JSON.parse(stdout) as Changes;
  t.deepEqual([found.from, found.to, found.compared], ['2026-09', '2026-10', ['oab', 'spp']]);
  t.deepEqual(
    found.missing.map(({ month, organization }) => `${month} ${organization}`),
    // The month before had the first.
    ['2026-09 gone_org', '2026-09 newcomer', '2026-10 late'],
  );
  const change = (
    kind: string,
    organization: string,
    digit: number,
    name: string,
    [before, after]: readonly (string | null)[],
  ) => ({ change: kind, organization, account: idOf(digit), name, before, after });
  t.deepEqual(found.changes as unknown[], [
    change('new', 'oab', 9, 'Fresh', [null, 'active']),
    change('closed', 'oab', 3, 'Closing', ['active', 'pending_closure']),
    change('gone', 'oab', 4, 'Leaver', ['active', 'unlisted']),
    change('moved', 'spp', 5, 'Mover GmbH', ['oab', 'spp']),
    change('renamed', 'oab', 2, hostile, ['Before', hostile]),
    change('renamed', 'spp', 5, 'Mover GmbH', ['Mover', 'Mover GmbH']),
    change('reopened', 'oab', 6, 'Late', ['suspended', 'active']),
    change('state', 'spp', 7, 'Seven', ['pending_activation', 'active']),
  ]);

  const table = await run('--changes', '--from', '2026-09', '--to', '2026-10');
  t.is(table.code, 0, table.stderr);
  t.regex(table.stdout, /^change +organization +account +name +before +after\n/);
  t.regex(table.stdout, /^new +oab +0{11}9 +Fresh +- +active\n/m);
  t.regex(
    table.stdout,
    /\ncustomers from 2026-09 to 2026-10: 1 new, 1 closed, 1 gone, 1 moved, 2 renamed, 1 reopened, 1 state; compared: oab, spp\n/,
  );
  t.regex(table.stdout, /\nnot compared: 2026-10 late is not there; make it with "node \S+ run/);
  t.regex(table.stdout, /\nnot compared: 2026-09 gone_org, newcomer are not there;/);
  t.notRegex(table.stdout.replaceAll('\n', ''), /[\p{Cc}\p{Bidi_Control}]/u);

  const back = await run(
    '--changes',
    '--month',
    '2026-10',
    '--output',
    'csv',
    '--organization',
    'spp',
  );
  const records = parse<Record<string, string>>(back.stdout, { columns: true });
  t.deepEqual(
    records.map((row) => [row['change'], row['account']]),
    // Of one organization alone nobody knows where the customer came from.
    [
      ['new', idOf(5)],
      ['state', idOf(7)],
    ],
  );
});

test('an organization that tells something else than before is compared with nothing', async (t) => {
  const other = await temporaryFolder(t);
  const staging = localStaging(join(other, 'staging'));
  const [september, october] = [parseMonth('2026-09'), parseMonth('2026-10')];
  const rows = (Status: string): Row[] => [{ Reference: idOf(1), Status }];
  for (const organization of ['view', 'list', 'lost']) {
    await stageSlice(
      staging,
      { month: september, organization },
      { customers: rows('active'), consumption: [] },
    );
    const slice = { month: october, organization };
    const left = organization === 'view' ? [] : rows('unlisted');
    const manifest = await stageSlice(staging, slice, { customers: left, consumption: [] });
    const scope = {
      ...plainScope,
      ...(organization === 'view' ? { billingViewArn: 'arn:aws:billing::1:billingview/x' } : {}),
      ...(organization === 'list' ? { listAccounts: false } : {}),
    };
    await staging.write(transformManifestKey(slice), serializeManifest({ ...manifest, scope }));
  }
  const args = ['customers', '--changes', '--month', '2026-10', '--json'];
  const { code, stdout, stderr } = await pipeline(args, { cwd: other });
  t.is(code, 0, stderr);
  const { changes, compared, uncompared } = JSON.parse(stdout) as Changes;
  t.deepEqual([changes, compared], [[], []]);
  t.deepEqual(
    uncompared.map(({ organization, why }) => `${organization}: ${why}`),
    [
      'list: its accounts were listed in 2026-09 alone',
      'lost: no account of it is listed in 2026-10',
      "view: 2026-09 tells the organization's own cost, 2026-10 arn:aws:billing::1:billingview/x",
    ],
  );
});

test('who is on the way, has left before or has late cost is neither new nor gone', (t) => {
  const [from, to] = [parseMonth('2026-09'), parseMonth('2026-10')];
  const told = (was: Record<string, string>, is: Record<string, string>, listAccounts = true) => {
    const slices = [
      { month: from, states: was },
      { month: to, states: is },
    ].flatMap(({ month, states }) =>
      ['oab', 'spp'].map((organization) => {
        const status = states[organization];
        const customer = { account: idOf(1), name: 'A', status: status ?? '', amount: new Map() };
        const other = {
          ...customer,
          account: idOf(2),
          status: listAccounts ? 'active' : 'unlisted',
        };
        return {
          ...{ month, organization, provisional: false },
          scope: { ...plainScope, listAccounts },
          customers: status === undefined ? [other] : [customer, other],
        };
      }),
    );
    const { changes } = compareCustomers({ slices, missing: [] }, from, to);
    return changes
      .filter(({ account }) => account === idOf(1))
      .map(({ change, before, after }) => `${change} ${before ?? '-'} ${after ?? '-'}`);
  };
  // Both list it while it moves, since they were asked on two days.
  t.deepEqual(told({ oab: 'active' }, { oab: 'active', spp: 'active' }), ['moved oab spp']);
  t.deepEqual(told({ oab: 'active', spp: 'active' }, { spp: 'active' }), []);
  t.deepEqual(told({ oab: 'unlisted' }, { spp: 'active' }), ['moved oab spp']);
  t.deepEqual(told({ oab: 'active' }, { spp: 'suspended' }), [
    'closed active suspended',
    'moved oab spp',
  ]);
  // A charge of a month in which it was gone already.
  t.deepEqual(told({}, { oab: 'unlisted' }), []);
  t.deepEqual(told({ oab: 'unlisted' }, {}), []);
  t.deepEqual(told({}, { oab: 'active' }), ['new - active']);
  t.deepEqual(told({ oab: 'unlisted' }, { oab: 'active' }), ['new unlisted active']);
  // Where nobody lists accounts, cost alone tells of them.
  t.deepEqual(told({}, { oab: 'unlisted' }, false), ['new - unlisted']);
});

test('wrong usage ends with 2, a month that is not there with 1', async (t) => {
  for (const [args, code, message] of [
    [['--changes', '--month', '2026-09,2026-10'], 2, /--changes compares two months/],
    [['--changes', '--from', '2026-10', '--to', '2026-10'], 2, /are the same month/],
    [['--organization', 'nobody', '--month', '2026-10'], 2, /choose among newcomer, oab, spp/],
    [['--changes', '--month', '2026-08'], 1, /nothing is staged for 2026-07/],
    [
      ['--changes', '--month', '2026-10', '--organization', 'late'],
      1,
      /nothing is exported for 2026-10 \[.*run --month 2026-10 --organization late"/,
    ],
  ] as const) {
    const finished = await run(...args);
    t.is(finished.code, code, finished.stderr);
    t.regex(finished.stderr, message);
    t.is(finished.stdout, '');
  }
});
