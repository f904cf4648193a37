import test from 'ava';
import fc from 'fast-check';
import type { CurrencyFigures, MonthReport } from '../../../pipeline/report/figures.js';
import { UsageError } from '../../../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../../../pipeline/shared/money.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import type {
  Sketch,
  SketchBreakdownRow,
  SketchRow,
  SketchSlice,
} from '../../support/report-data.js';
import { sketchInvoice, sketchReport } from '../../support/report-data.js';

const month = parseMonth('2026-10');

const units = (amount: string | null): bigint => (amount === null ? 0n : parseAmount(amount).units);
const sum = (amounts: readonly (string | null)[]): string =>
  formatAmount(amounts.reduce((total, amount) => total + units(amount), 0n));

const ids = Array.from({ length: 14 }, (_, index) => String(index).padStart(12, '0'));
const amount = fc
  .oneof(
    fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }),
    fc.bigInt({ min: -(10n ** 27n), max: 10n ** 27n }),
    fc.constantFrom(0n, 1n, -1n, 10n ** 10n),
  )
  .map(formatAmount);

function slice(organization: string): fc.Arbitrary<SketchSlice> {
  const row: fc.Arbitrary<SketchRow> = fc.record({
    account: fc.constantFrom(...ids),
    service: fc.constantFrom(
      '__proto__',
      ...Array.from({ length: 12 }, (_, index) => `Service ${index}`),
    ),
    amount,
    currency: fc.constantFrom('USD', 'USD', 'USD', 'EUR'),
  });
  const plain = fc.record({
    organization: fc.constant(organization),
    accounts: fc.subarray(ids).map((listed) => listed.map((id) => ({ id, name: `Account ${id}` }))),
    rows: fc.uniqueArray(row, {
      maxLength: 60,
      selector: ({ account, service, currency }) => `${account} ${service} ${currency ?? ''}`,
    }),
  });
  return fc.tuple(plain, broken).map(([of, by]) => ({ ...of, ...brokenDown(of.rows, by) }));
}

/** Which dimensions were asked for and which of them refused, and where the rows lie by each. */
const broken = fc.record({
  by: fc.subarray(['COST_CATEGORY:Segment', 'RECORD_TYPE', 'REGION', 'TAG:team', 'TAG:Team']),
  refused: fc.subarray(['COST_CATEGORY:Segment', 'TAG:Team']),
  /** What AWS rounds away, by dimension: the first value lacks it. */
  rounding: fc.array(fc.constantFrom('0', '0', '0.0000000003', '-0.01'), {
    minLength: 5,
    maxLength: 5,
  }),
  values: fc.array(fc.constantFrom('', '', 'a', 'A', 'a$b', '__proto__', '\u202E', 'Usage'), {
    minLength: 1,
    maxLength: 14,
  }),
});

type Broken = typeof broken extends fc.Arbitrary<infer T> ? T : never;

function brokenDown(
  rows: readonly SketchRow[],
  { by, refused, rounding, values }: Broken,
): Pick<SketchSlice, 'breakdowns' | 'by' | 'refused'> {
  const breakdowns = by
    .filter((dimension) => !refused.includes(dimension))
    .flatMap((dimension, place) =>
      rows.map(({ account, currency, amount: text }, index): SketchBreakdownRow => ({
        ...{ account, dimension, value: values[(index + place) % values.length]! },
        ...(currency === undefined ? {} : { currency }),
        amount: index === 0 ? sum([text, `-${rounding[place]!}`.replace('--', '')]) : text,
      })),
    );
  return {
    ...(by.length === 0 ? {} : { by, breakdowns }),
    refused: refused
      .filter((part) => by.includes(part))
      .map((part) => ({ part, error: 'ValidationException', message: 'there is none' })),
  };
}

const slices = fc
  .tuple(slice('oab'), slice('spp_ecm'), slice('internal'))
  .chain((all) => fc.subarray(all, { minLength: 1 }));

const orNone: fc.Arbitrary<readonly SketchSlice[]> = fc.oneof(fc.constant([]), slices);

interface Months {
  now: SketchSlice[];
  before: readonly SketchSlice[];
  earlier: readonly SketchSlice[];
  grouped: boolean;
}

const sketch: fc.Arbitrary<Sketch> = fc
  .record({
    now: slices,
    before: orNone,
    earlier: orNone,
    grouped: fc.boolean(),
  })
  .map(({ now, before, earlier, grouped }: Months) => ({
    month,
    months: [now, before, earlier],
    // As it is read: whoever had figures in the month before is missing now, not gone.
    gaps: before
      .filter(({ organization }) => !now.some((one) => one.organization === organization))
      .map(({ organization }) => ({ organization, reason: 'is not there', command: null })),
    groups: grouped
      ? [
          { name: 'Acme', accounts: ids.slice(0, 2).filter((id) => isKnown([now, before], id)) },
        ].filter(({ accounts }) => accounts.length > 0)
      : [],
  }));

function isKnown(months: readonly (readonly SketchSlice[])[], id: string): boolean {
  return months.some((all) =>
    all.some(
      ({ accounts, rows }) =>
        accounts.some((one) => one.id === id) || rows.some(({ account }) => account === id),
    ),
  );
}

test('customers, services and organizations add up to the month, and statements to their customers', (t) => {
  fc.assert(
    fc.property(sketch, (of) => {
      const report = sketchReport(of);
      const rows = (of.months[0] ?? []).flatMap((one) => one.rows);
      for (const section of report.figures.currencies) {
        const own = rows.filter(({ currency }) => currency === section.currency);
        const total = sum(own.map((row) => row.amount));
        t.is(section.total.amount, total);
        for (const parts of [section.customers, section.services, section.organizations])
          t.is(sum(parts.map((part) => part.amount)), total);
        for (const { bars, others } of [section.topServices, section.topCustomers])
          t.is(sum([...bars.map((bar) => bar.amount), others?.amount ?? null]), total);
        t.is(section.trend.at(-1)?.amount, total);
        for (const { amount: whole, organizations } of section.trend)
          t.is(sum(organizations.map((one) => one.amount)), whole ?? '0');
        checkChanges(t.is.bind(t), section);
        checkBreakdowns(t.is.bind(t), section, of);
      }
      checkStatements(t.is.bind(t), report);
    }),
    { numRuns: 300 },
  );
});

type Is = (found: unknown, expected: unknown, message?: string) => void;

/** What changed adds up too: each way's movers, and the parts of the total's change. */
function checkChanges(is: Is, section: CurrencyFigures): void {
  const { total, movingCustomers, movingServices, customers, services, organizations } = section;
  for (const one of [total, ...customers, ...services])
    if (one.previous !== null)
      is(one.change, formatAmount(units(one.amount) - units(one.previous)));
  if (total.change === null) {
    is(movingCustomers, null);
    return;
  }
  for (const parts of [customers, services, organizations])
    is(sum(parts.map(({ change }) => change)), total.change);
  for (const moving of [movingCustomers, movingServices]) {
    is(sum([moving?.up.amount ?? null, moving?.down.amount ?? null]), total.change);
    for (const side of [moving?.up, moving?.down])
      is(
        sum([...(side?.top ?? []).map(({ change }) => change), side?.others?.amount ?? null]),
        side?.amount,
      );
  }
}

/** Values and rest are the total of those that were asked; the values are the rows', to the last digit. */
function checkBreakdowns(
  is: Is,
  { currency, breakdowns, organizations }: CurrencyFigures,
  of: Sketch,
): void {
  const all = of.months[0] ?? [];
  const asked = new Set(all.flatMap(({ by = [] }) => by));
  is(
    breakdowns
      .map(({ dimension }) => dimension)
      .sort()
      .join(),
    [...asked].sort().join(),
  );
  for (const { dimension, values, top, rest, without } of breakdowns) {
    const lacking = all.filter(
      ({ by = [], refused = [] }) =>
        !by.includes(dimension) || refused.some(({ part }) => part === dimension),
    );
    is(
      without.map((one) => one.organization).join(),
      lacking.map((one) => one.organization).join(),
    );
    for (const { organization, refused } of without) {
      const { by = [] } = all.find((one) => one.organization === organization)!;
      is(refused, by.includes(dimension) ? 'there is none' : null);
    }
    const amounts = values.map((one) => one.amount);
    const whole = organizations.filter(
      ({ organization }) => !without.some((one) => one.organization === organization),
    );
    is(sum([...amounts, rest]), sum(whole.map((one) => one.amount)), dimension);
    is(sum([...top.bars.map((bar) => bar.amount), top.others?.amount ?? null]), sum(amounts));
    const rows = all
      .flatMap((one) => one.breakdowns ?? [])
      .filter((row) => row.dimension === dimension && row.currency === currency);
    is(new Set(values.map(({ value }) => value)).size, values.length);
    for (const { value, amount: found } of values)
      is(sum(rows.filter((row) => row.value === value).map((row) => row.amount)), found);
    is(sum(rows.map((row) => row.amount)), sum(amounts));
  }
}

function checkStatements(is: Is, report: MonthReport): void {
  const totals = new Map<string, string[]>();
  const broken = new Map<string, string[]>();
  const seen = new Set<string>();
  for (const statement of report.statements()) {
    is(seen.has(statement.file), false, statement.file);
    seen.add(statement.file);
    for (const { currency, total, services, accounts, trend, breakdowns } of statement.currencies) {
      totals.set(currency, [...(totals.get(currency) ?? []), total.amount]);
      is(sum(services.map((one) => one.amount)), total.amount);
      is(sum(accounts.map((one) => one.amount)), total.amount);
      for (const { dimension, values, rest } of breakdowns) {
        const amounts = values.map((one) => one.amount);
        is(sum([...amounts, rest]), total.amount);
        const key = `${currency} ${dimension}`;
        broken.set(key, [...(broken.get(key) ?? []), ...amounts]);
      }
      const last = trend.at(-1);
      is(last?.state === 'missing' ? null : total.amount, last?.amount);
    }
  }
  for (const { currency, total, customers } of report.figures.currencies) {
    is(sum(totals.get(currency) ?? []), total.amount);
    for (const { file } of customers) is(seen.has(file), true, file);
  }
  // A dimension that is whole of the month is so of each customer.
  for (const { currency, breakdowns } of report.figures.currencies)
    for (const { dimension, values, without } of breakdowns)
      if (without.length === 0 && !dimension.startsWith('COST_CATEGORY:'))
        is(
          sum(broken.get(`${currency} ${dimension}`) ?? []),
          sum(values.map((one) => one.amount)),
          dimension,
        );
  const sheet = [...report.breakdowns()];
  for (const { currency, breakdowns } of report.figures.currencies)
    for (const { dimension, values } of breakdowns) {
      const own = sheet.filter((row) => row.currency === currency && row.dimension === dimension);
      is(sum(own.map((row) => row.amount)), sum(values.map((one) => one.amount)));
    }
  const rows = [...report.consumption()];
  for (const { currency, total } of report.figures.currencies)
    is(sum(rows.filter((row) => row.currency === currency).map((row) => row.amount)), total.amount);
}

const row = (account: string, text: string, service = 'Amazon EC2'): SketchRow => ({
  account,
  service,
  amount: text,
});
const [a = '', b = '', c = '', d = ''] = ids;
const named = (...of: string[]) => of.map((id) => ({ id, name: `Account ${id}` }));

test('who has cost for the first time is new, who has none any more is gone', (t) => {
  const { figures } = sketchReport({
    month,
    months: [
      [{ organization: 'oab', accounts: named(a, b, d), rows: [row(a, '5'), row(b, '7')] }],
      [{ organization: 'oab', accounts: named(a, c, d), rows: [row(a, '4'), row(c, '9')] }],
    ],
  });
  const [usd] = figures.currencies;
  t.deepEqual(
    usd?.customers.map(({ id, presence, status, amount: now, previous }) => [
      ...[id, presence, status, now, previous],
    ]),
    [
      [b, 'new', 'active', '7', '0'],
      [a, 'kept', 'active', '5', '4'],
      [c, 'vanished', 'gone', '0', '9'],
      [d, 'idle', 'active', '0', '0'],
    ],
  );
  t.deepEqual(
    usd?.newCustomers.map(({ id }) => id),
    [b],
  );
  t.deepEqual(
    usd?.vanishedCustomers.map(({ id }) => id),
    [c],
  );
  t.is(usd?.total.change, '-1');
  t.is(usd?.movingCustomers?.up.amount, '8');
  t.is(usd?.movingCustomers?.down.amount, '-9');
  t.deepEqual(
    usd?.movingCustomers?.up.top.map(({ kind }) => kind),
    ['new', 'changed'],
  );
});

test('where an organization is missing, only what needs it is not compared', (t) => {
  const gap = { organization: 'spp', reason: 'is not there', command: null };
  const report = sketchReport({
    month,
    months: [
      [{ organization: 'oab', accounts: named(a), rows: [row(a, '5')] }],
      [
        { organization: 'oab', accounts: named(a), rows: [row(a, '4')] },
        { organization: 'spp', accounts: named(b, c), rows: [row(b, '100'), row(c, '1')] },
      ],
    ],
    gaps: [gap],
    groups: [{ name: 'Both', accounts: [a, b] }],
  });
  const { figures } = report;
  const [usd] = figures.currencies;
  t.is(figures.uncompared, '2026-10 is without spp.');
  t.deepEqual(
    figures.organizations.map(({ organization, state, reason }) => [organization, state, reason]),
    [
      ['oab', 'final', null],
      ['spp', 'missing', 'is not there'],
    ],
  );
  t.deepEqual([usd?.total.amount, usd?.total.previous, usd?.movingCustomers], ['5', null, null]);
  t.deepEqual(usd?.newCustomers, []);
  t.deepEqual(usd?.vanishedCustomers, []);
  t.deepEqual(
    usd?.organizations.map(({ organization, amount: now, change }) => [organization, now, change]),
    [
      ['oab', '5', '1'],
      ['spp', null, null],
    ],
  );
  // The customer who is only there has no page; the one who is partly there has one that says so.
  const [both, ...others] = [...report.statements()];
  t.is(others.length, 0);
  t.deepEqual(
    [both?.name, both?.missingAccounts, both?.currencies[0]?.total.previous],
    [...['Both', [b], null]],
  );
  t.is(both?.uncompared, 'Not all figures of 2026-09 and 2026-10 are there.');
});

test('several accounts are one customer: the sum, then each account', (t) => {
  const report = sketchReport({
    month,
    months: [
      [
        { organization: 'oab', accounts: named(a, c), rows: [row(a, '5'), row(c, '2')] },
        { organization: 'spp', accounts: named(b), rows: [row(b, '0.5'), row(b, '1', 'Tax')] },
      ],
    ],
    groups: [{ name: '"><img src=x>', accounts: [b, a] }],
  });
  const [group, single] = report.figures.currencies[0]?.customers ?? [];
  t.deepEqual(
    [group?.id, group?.file, group?.accounts, group?.organizations, group?.amount],
    ['"><img src=x>', `img-src-x-${b}`, [a, b], ['oab', 'spp'], '6.5'],
  );
  t.is(single?.file, c);
  const [statement] = [...report.statements(new Set([`img-src-x-${b}`]))];
  t.deepEqual(
    statement?.currencies[0]?.accounts.map(({ account, amount: now }) => [account, now]),
    [
      [a, '5'],
      [b, '1.5'],
    ],
  );
  t.deepEqual(
    statement?.currencies[0]?.services.map(({ service, amount: now }) => [service, now]),
    [
      ['Amazon EC2', '5.5'],
      ['Tax', '1'],
    ],
  );
});

test('an account of a group that no organization has is named', (t) => {
  const months = [[{ organization: 'oab', accounts: named(a), rows: [] }]];
  const groups = [{ name: 'Acme', accounts: [a, '999999999999'] }];
  t.throws(() => sketchReport({ month, months, groups }), {
    instanceOf: UsageError,
    message: /999999999999 of "Acme"/,
  });
  // It may well be of the organization whose figures are missing.
  const gaps = [{ organization: 'spp', reason: 'is not there', command: null }];
  const [statement] = [...sketchReport({ month, months, groups, gaps }).statements()];
  t.deepEqual(statement?.missingAccounts, ['999999999999']);
});

test('usage types of several accounts add up, and their price is what the table says', (t) => {
  const used = (account: string, text: string, quantity: string, unit = 'Hrs'): SketchRow => ({
    ...row(account, text),
    usage: { type: 'EU-BoxUsage', region: 'eu-west-1', unit, quantity },
  });
  const report = sketchReport({
    month,
    months: [
      [
        {
          organization: 'oab',
          accounts: named(a, b),
          rows: [used(a, '1', '3'), used(b, '0.5', '1.5'), used(b, '-2', '4', 'N/A')],
        },
      ],
    ],
    groups: [{ name: 'Acme', accounts: [a, b] }],
  });
  const [statement] = [...report.statements()];
  t.deepEqual(statement?.currencies[0]?.services[0]?.usage, [
    {
      ...{ usageType: 'EU-BoxUsage', region: 'eu-west-1', unit: 'Hrs' },
      ...{ quantity: '4.5', amount: '1.5', price: '0.333333333333333333' },
    },
    {
      ...{ usageType: 'EU-BoxUsage', region: 'eu-west-1', unit: null },
      ...{ quantity: '4', amount: '-2', price: null },
    },
  ]);
});

test('of a tag with a value for each resource, the largest are told one by one, and what has none', (t) => {
  const count = 1500;
  const breakdowns = Array.from({ length: count }, (_, index) => ({
    ...{ account: a, dimension: 'TAG:Name', value: index === 0 ? '' : `v${index}` },
    amount: String(index + 1),
  }));
  const cost = String((count * (count + 1)) / 2);
  const report = sketchReport({
    month,
    months: [
      [
        {
          organization: 'oab',
          accounts: named(a),
          rows: [row(a, cost)],
          by: ['TAG:Name'],
          breakdowns,
        },
      ],
    ],
  });
  const [statement] = report.statements();
  for (const section of [report.figures.currencies[0], statement?.currencies[0]]) {
    const [{ values, further, rest } = { values: [], further: null, rest: '' }] =
      section?.breakdowns ?? [];
    // The largest 1,000, and what has no value, though it is the smallest of all.
    t.is(values.length, 1001);
    t.is(values[999]?.value, 'v500');
    t.deepEqual([values[1000]?.value, values[1000]?.amount], ['', '1']);
    t.is(further?.count, 499);
    t.is(sum([...values.map((one) => one.amount), further?.amount ?? null, rest]), cost);
    t.is(rest, '0');
  }
  t.is([...report.breakdowns()].length, count);
});

test('invoices stand beside the cost of their currency and add up; who was not asked is not among them', (t) => {
  const { figures } = sketchReport({
    month,
    months: [
      [
        {
          ...{ organization: 'oab', accounts: named(a), rows: [row(a, '120')] },
          breakdowns: [
            { account: a, dimension: 'RECORD_TYPE', value: 'Usage', amount: '100' },
            { account: a, dimension: 'RECORD_TYPE', value: 'Tax', amount: '20' },
          ],
          invoices: [
            sketchInvoice('125', { tax: parseAmount('25').units }),
            sketchInvoice('7', { id: 'CNY', currency: 'CNY' }),
            sketchInvoice('1', { id: 'R', type: 'PAYMENT_RECEIPT' }),
          ],
        },
        {
          ...{ organization: 'spp', accounts: named(b), rows: [row(b, '10')], invoices: [] },
          fetched: '2026-11-02T06:00:00.000Z',
        },
        { organization: 'internal', accounts: named(c), rows: [row(c, '1')] },
      ],
    ],
  });
  t.deepEqual(
    figures.invoices.map(({ organization, state, uncounted }) => [
      organization,
      state,
      uncounted.map(({ id }) => id),
    ]),
    [
      ['oab', 'invoiced', ['R']],
      ['spp', 'not yet invoiced', []],
    ],
  );
  const [usd, cny] = figures.currencies;
  const oab = usd?.invoices?.organizations[0]?.compared;
  t.deepEqual(
    [oab?.cost.total, oab?.cost.beforeTax, oab?.invoices.total, oab?.difference, oab?.parts],
    ['120', '100', '125', '5', [{ part: 'tax', amount: '5' }]],
  );
  t.deepEqual(
    [usd?.total.amount, usd?.invoices?.total?.cost.total, usd?.invoices?.total?.difference],
    ['131', '130', null],
  );
  // A currency that is on an invoice alone has its place too.
  t.is(cny?.currency, 'CNY');
  t.is(cny?.invoices?.organizations[0]?.compared.difference, '7');
  t.is(cny?.invoices?.total, null);
});
