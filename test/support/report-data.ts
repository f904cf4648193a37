import { createRandom } from '../../fixtures/demo/random.js';
import { services as catalogue } from '../../fixtures/demo/catalogue.js';
import type { ReportOptions } from '../../pipeline/report/context.js';
import { monthReport } from '../../pipeline/report/month-report.js';
import type { Look, MonthReport } from '../../pipeline/report/figures.js';
import type { MoneyRows, Names, SliceRows } from '../../pipeline/report/month-rows.js';
import { createNames, unitsColumn } from '../../pipeline/report/month-rows.js';
import type { FormerFetch, Gap, MonthData } from '../../pipeline/report/months.js';
import type { SliceInvoices } from '../../load/invoiced-months.js';
import type { InvoiceDocument } from '../../pipeline/shared/invoice-comparison.js';
import { compareInvoices } from '../../pipeline/shared/invoice-comparison.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import type { Month } from '../../pipeline/shared/month.js';
import { parseMonth, shiftMonth } from '../../pipeline/shared/month.js';
import { addTo, formatTotals } from '../../pipeline/shared/sums.js';
import type { Totals } from '../../pipeline/shared/sums.js';
import type { TransformManifest } from '../../pipeline/staging/manifest.js';
import { tables } from '../../pipeline/staging/tables.js';

/** Months for reports as tests want them, without a staging area: what the exports would hold, computed for real. */

export interface SketchAccount {
  id: string;
  name: string;
  status?: string;
}

export interface SketchRow {
  account: string;
  service: string;
  /** Exact decimal text. */
  amount: string;
  currency?: string;
  usage?: { type: string; region: string; unit: string; quantity: string };
}

export interface SketchBreakdownRow {
  account: string;
  dimension: string;
  value: string;
  amount: string;
  currency?: string;
}

/** One organization's month. */
export interface SketchSlice {
  organization: string;
  accounts: readonly SketchAccount[];
  rows: readonly SketchRow[];
  breakdowns?: readonly SketchBreakdownRow[];
  /** Dimensions that were asked for (default: those of the rows). */
  by?: readonly string[];
  refused?: TransformManifest['refused'];
  /** The invoices; absent where they were not asked for. */
  invoices?: readonly InvoiceDocument[];
  /** ISO 8601; by default the 15th of the next month. */
  fetched?: string;
  /** AWS's own total by currency; by default what the rows add up to, `null` where it was not asked for. */
  awsTotal?: Record<string, string> | null;
}

export interface Sketch {
  month: Month;
  /** Organizations of the month, of the one before, and so on; an empty list where nothing is there. */
  months: readonly (readonly SketchSlice[])[];
  gaps?: readonly Gap[];
  stale?: readonly Gap[];
  former?: readonly FormerFetch[];
  /** Organizations that earlier months lack: how many months back → which. */
  earlierGaps?: Readonly<Record<number, readonly Gap[]>>;
  groups?: ReportOptions['groups'];
  corrected?: ReportOptions['corrected'];
}

/** The report of a sketch, by the product's own arithmetic. */
export function sketchReport(sketch: Sketch): MonthReport {
  const names = createNames();
  const monthAt = (back: number): Month => shiftMonth(sketch.month, -back);
  const read = (back: number): SliceRows[] =>
    (sketch.months[back] ?? []).map((slice) => sliceRows(names, monthAt(back), slice));
  const data: MonthData = {
    names,
    shown: { month: sketch.month, slices: read(0), gaps: sketch.gaps ?? [] },
    stale: sketch.stale ?? [],
    former: sketch.former ?? [],
    leftOut: [],
    elsewhere: new Map(),
    previous: { month: monthAt(1), slices: read(1), gaps: sketch.earlierGaps?.[1] ?? [] },
    earlier: sketch.months
      .map((_, back) => back)
      .slice(2)
      .reverse()
      .map((back) => ({
        month: monthAt(back),
        slices: read(back).map((slice) => ({
          organization: slice.organization,
          manifest: slice.manifest,
          totals: accountTotals(slice),
        })),
        gaps: sketch.earlierGaps?.[back] ?? [],
      })),
  };
  return monthReport(data, {
    groups: sketch.groups ?? [],
    made: new Date('2026-11-15T06:02:03.000Z'),
    provisionalDays: 10,
    isPart: false,
    corrected: sketch.corrected ?? (() => []),
  });
}

function sliceRows(names: Names, month: Month, slice: SketchSlice): SliceRows {
  const { organization, accounts, rows, breakdowns } = slice;
  const money = moneyRows(
    names,
    rows.map(({ service, ...rest }) => ({ kind: service, ...rest })),
  );
  const usages = rows.map(({ usage }) => usage);
  const hasUsage = usages.some((usage) => usage !== undefined);
  const code = (text: string | undefined): number => names.codeOf(text ?? '');
  const quantity = unitsColumn(rows.length);
  for (const [row, usage] of usages.entries())
    quantity.set(row, usage === undefined ? null : parseAmount(usage.quantity).units);
  return {
    organization,
    manifest: manifestOf(month, slice, hasUsage),
    accounts: new Map(
      accounts.map(({ id, name, status = 'active' }) => [names.codeOf(id), { name, status }]),
    ),
    consumption: money,
    usage: hasUsage
      ? {
          usageType: Uint32Array.from(usages, (usage) => code(usage?.type)),
          region: Uint32Array.from(usages, (usage) => code(usage?.region)),
          unit: Uint32Array.from(usages, (usage) => code(usage?.unit)),
          quantity,
        }
      : undefined,
    breakdowns:
      breakdowns === undefined
        ? undefined
        : {
            ...moneyRows(
              names,
              breakdowns.map(({ value, ...rest }) => ({ kind: value, ...rest })),
            ),
            dimension: Uint32Array.from(breakdowns, ({ dimension }) => names.codeOf(dimension)),
          },
    invoices: invoicesOf(month, slice),
  };
}

/** What is read of the exports' invoices. */
function invoicesOf(month: Month, slice: SketchSlice): SliceInvoices | undefined {
  const { invoices: listed, breakdowns } = slice;
  if (listed === undefined) return undefined;
  const { fetched, awsTotal, consumption } = manifestOf(month, slice, false);
  const chargeTypes = new Map<string, Totals>();
  const charges = breakdowns?.filter(({ dimension }) => dimension === 'RECORD_TYPE');
  for (const { value, amount, currency = 'USD' } of charges ?? []) {
    const totals = chargeTypes.get(value) ?? new Map<string, bigint>();
    chargeTypes.set(value, totals);
    addTo(totals, currency, parseAmount(amount).units);
  }
  const totals: Totals = new Map(
    Object.entries(awsTotal ?? consumption.totals).map(([currency, amount]) => [
      currency,
      parseAmount(amount).units,
    ]),
  );
  const cost = {
    ...{ totals, marketplace: undefined, isOfView: false },
    chargeTypes: charges === undefined ? undefined : chargeTypes,
  };
  return {
    comparison: compareInvoices({ month, fetched }, cost, listed),
    listed: listed.map((one) => ({
      ...one,
      row: Object.fromEntries(
        tables.invoices.map(({ name, type }) => [
          name,
          type === 'decimal' ? formatAmount(one.total ?? 0n) : name === 'InvoiceId' ? one.id : null,
        ]),
      ),
    })),
  };
}

/** An invoice of the month that is right but for what is told. */
export function sketchInvoice(total: string, more: Partial<InvoiceDocument> = {}): InvoiceDocument {
  return {
    ...{ id: 'EUINFR26-1', type: 'INVOICE', billType: 'ANNIVERSARY', receiverRole: 'BUYER' },
    ...{ billingEntity: 'AWS', commercialInvoiceId: '', taxAuthorityStatus: '', currency: 'USD' },
    ...{ beforeTax: null, tax: null, total: parseAmount(total).units },
    ...more,
  };
}

function moneyRows(
  names: Names,
  rows: readonly { account: string; kind: string; amount: string; currency?: string }[],
): MoneyRows {
  const amount = unitsColumn(rows.length);
  for (const [row, one] of rows.entries()) amount.set(row, parseAmount(one.amount).units);
  return {
    length: rows.length,
    account: Uint32Array.from(rows, ({ account }) => names.codeOf(account)),
    kind: Uint32Array.from(rows, ({ kind }) => names.codeOf(kind)),
    currency: Uint32Array.from(rows, ({ currency = 'USD' }) => names.codeOf(currency)),
    amount,
  };
}

function accountTotals({ consumption }: SliceRows): Map<number, Map<number, bigint>> {
  const totals = new Map<number, Map<number, bigint>>();
  for (let row = 0; row < consumption.length; row++) {
    const currency = consumption.currency[row]!;
    const account = consumption.account[row]!;
    const ofCurrency = totals.get(currency) ?? new Map<number, bigint>();
    totals.set(currency, ofCurrency);
    ofCurrency.set(account, (ofCurrency.get(account) ?? 0n) + (consumption.amount.at(row) ?? 0n));
  }
  return totals;
}

function manifestOf(month: Month, slice: SketchSlice, isByUsageType: boolean): TransformManifest {
  const sums: Totals = new Map();
  for (const { currency = 'USD', amount } of slice.rows)
    addTo(sums, currency, parseAmount(amount).units);
  const totals = formatTotals(sums);
  const none = '0'.repeat(64);
  return {
    format: 1,
    version: '0',
    month,
    organization: slice.organization,
    extraction: '20261115T060112Z',
    source: none,
    finished: '2026-11-15T06:02:00.000Z',
    tag: '',
    estimated: false,
    awsTotal: slice.awsTotal === undefined ? totals : slice.awsTotal,
    difference: null,
    awsMetrics: {},
    serviceDifferences: [],
    fetched: slice.fetched ?? `${shiftMonth(month, 1)}-15T06:01:12.000Z`,
    columns: none,
    scope: {
      detail: isByUsageType ? 'usage-type' : 'service',
      metrics: [],
      by: slice.by ?? [...new Set(slice.breakdowns?.map(({ dimension }) => dimension))].sort(),
      billingViewArn: null,
      costViewArn: null,
      listAccounts: true,
    },
    refused: slice.refused ?? [],
    customers: { rows: slice.accounts.length, unlisted: 0, files: [] },
    consumption: { rows: slice.rows.length, totals, columns: {}, files: [], pairs: null },
  } as unknown as TransformManifest;
}

export const plainLook: Look = {
  title: null,
  footer: null,
  logo: null,
  locale: 'en',
  currency: 'code',
};

/** Names as they come, and as nobody wants them. */
export const hostileNames = [
  '</script><script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  'شركة الاختبار للتجارة',
  '株式会社東京クラウドサービス',
  'Very Long Holding Company Name of Many Words '.repeat(3).slice(0, 128).padEnd(128, 'x'),
  'x'.repeat(128),
  '\u202Egnp.exe Evil\u202C GmbH',
  '=HYPERLINK("http://evil.example","click")',
  '🙂 Emoji & Fils <b>bold</b>',
  "'; DROP TABLE customers; --",
] as const;

/** How a made month is. */
export interface Made {
  /** Accounts an organization. */
  customers: Readonly<Record<string, number>>;
  /** How many months, the shown one among them. */
  months: number;
  names?: readonly string[];
  /** Services of each account at most. */
  services?: number;
  /** Whether there are breakdowns: charge types, a region, and tags and a cost category  a cost category. */
  breakdowns?: boolean;
  /** Values of the tag `team` (default: plain ones), and how many further tags there are (default none). */
  teams?: readonly string[];
  tags?: number;
  usage?: boolean;
  seed?: string;
  fetched?: string;
}

const month = parseMonth('2026-10');

/** A service's cost by every dimension; what belongs to no service has no tags. */
function brokenDown(
  { teams = ['backend', 'data', 'web', 'platform'], tags = 0 }: Made,
  account: string,
  service: number | undefined,
  amount: string,
  recordType = 'Usage',
): SketchBreakdownRow[] {
  const pick = (values: readonly string[]): string =>
    service === undefined ? '' : (values[service % (values.length + 1)] ?? '');
  const row = (dimension: string, value: string) => ({ account, dimension, value, amount });
  return [
    row('RECORD_TYPE', recordType),
    row('REGION', service === undefined ? 'NoRegion' : ['eu-west-3', 'us-east-1'][service % 2]!),
    row('TAG:team', pick(teams)),
    row('COST_CATEGORY:Segment', pick(['Shared $', 'Product'])),
    ...Array.from({ length: tags }, (_, index) => row(`TAG:key ${index}`, pick(['a', 'b']))),
  ];
}

/** A month of a reseller who grows: names, amounts and changes out of a seed. */
export function madeSketch(made: Made): Sketch {
  const first = [
    'Nordic',
    'Blue',
    'Alpine',
    'Grand',
    'Metro',
    'Silver',
    'Baltic',
    'Maison',
    'Urban',
    'Green',
  ] as const;
  const second = [
    'Robotics',
    'Logistics',
    'Papier',
    'Textiles',
    'Énergie',
    'Mobility',
    'Forge',
    'Optics',
    'Foods',
    'Lumière',
  ] as const;
  const third = ['GmbH', 'SAS', 'B.V.', 'Ltd', 'S.A.', 'AG'] as const;
  const kind = ['production', 'staging', 'data', 'shared', 'sandbox'] as const;
  const months = Array.from({ length: made.months }, (_, back) =>
    Object.entries(made.customers).map(([organization, count], place): SketchSlice => {
      const accounts: SketchAccount[] = [];
      const rows: SketchRow[] = [];
      const breakdowns: SketchBreakdownRow[] = [];
      for (let customer = 0; customer < count; customer++) {
        const own = createRandom(`${made.seed ?? 'look'} ${organization} ${customer}`);
        const id = String(own.bigBelow(10n ** 12n)).padStart(12, '0');
        const hostile = made.names?.[place * 3 + customer];
        const name =
          hostile ??
          `${own.pick(first)} ${own.pick(second)} ${own.pick(third)} - ${own.pick(kind)}`;
        // Some arrive, some leave.
        const [arrives, leaves] = own.chance(12) ? [own.below(13), 0] : [99, own.chance(4) ? 1 : 0];
        if (back > arrives) continue;
        const isGone = back < leaves;
        if (!isGone) accounts.push({ id, name, ...(own.chance(5) ? { status: 'suspended' } : {}) });
        const size = [4, 30, 120, 700, 2600][own.below(5)]!;
        const used = 3 + own.below((made.services ?? 22) - 3);
        for (let service = 0; service < used && !isGone; service++) {
          const entry = catalogue[(service * 7 + customer) % catalogue.length]!;
          const turn = Math.floor(service / catalogue.length);
          const step = createRandom(`${id} ${service} ${back}`);
          const share = size / (1 + service * service);
          const amount = share * 1.02 ** -back * (0.85 + step.below(300) / 1000);
          const text = amount.toFixed(10).replace(/0+$/, '').replace(/\.$/, '');
          const [usage] = entry.usages;
          rows.push({
            account: id,
            service: turn === 0 ? entry.name : `${entry.name} ${turn + 1}`,
            amount: text,
            ...(made.usage === true
              ? {
                  usage: {
                    type: `EUC1-${usage.type}`,
                    region: 'eu-central-1',
                    unit: usage.unit,
                    quantity: (amount * 11.7).toFixed(6),
                  },
                }
              : {}),
          });
          if (made.breakdowns === true) breakdowns.push(...brokenDown(made, id, service, text));
        }
        if (made.breakdowns === true && !isGone && own.chance(20)) {
          const credit = `-${(size / 12).toFixed(4)}`;
          rows.push({ account: id, service: 'AWS Credits', amount: credit });
          breakdowns.push(...brokenDown(made, id, undefined, credit, 'Credit'));
          const tax = (size * 0.19).toFixed(2);
          rows.push({ account: id, service: 'Tax', amount: tax });
          breakdowns.push(...brokenDown(made, id, undefined, tax, 'Tax'));
        }
      }
      return {
        organization,
        accounts,
        rows,
        ...(made.breakdowns === true ? { breakdowns } : {}),
        ...(back === 0 && made.fetched !== undefined ? { fetched: made.fetched } : {}),
      };
    }),
  );
  return { month, months };
}
