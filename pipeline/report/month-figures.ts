import { DataError } from '../shared/errors.js';
import { addComparisons } from '../shared/invoice-comparison.js';
import type { Units } from '../shared/money.js';
import { formatAmount } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { timePeriod } from '../shared/month.js';
import { monthBreakdowns } from './breakdown-figures.js';
import type { Cell } from './comparisons.js';
import {
  addCell,
  barsOf,
  byAmount,
  compareTexts,
  compareUnits,
  compared,
  isSameView,
  member,
  moversOf,
  noCell,
  shared,
  sumOfCells,
  textOrNull,
  unitsOf,
} from './comparisons.js';
import type { Context } from './context.js';
import { amountIn, servicesOf, stateOf, stateOfSlices, totalOf, trendMonths } from './context.js';
import type { Entry } from './customer-groups.js';
import type * as figures from './figures.js';
import { marginFigures } from './margins.js';
import type { Gap, MonthData, ReadMonth } from './months.js';

const DAY = 86_400_000;

/** One currency of the month, as it is added up. */
interface Section {
  code: number;
  currency: string;
  total: Cell;
  customers: { entry: Entry; cell: Cell }[];
  services: Map<number, { cell: Cell; customers: number }>;
}

/** Every figure of the month's page. */
export function monthFigures(context: Context): figures.MonthFigures {
  const { data, options } = context;
  const { shown, stale, leftOut, previous } = data;
  const { month, gaps } = shown;
  const uncompared = whyUncompared(data);
  const fetched = shown.slices.map(({ manifest }) => manifest.fetched).sort();
  const states = stateOfSlices(context);
  return {
    month,
    previousMonth: previous.month,
    made: options.made.toISOString(),
    state: [...states.values()].some((state) => state !== 'final') ? 'provisional' : 'final',
    finalFrom: finalFrom(month, options.provisionalDays),
    fetched: { oldest: fetched.at(0) ?? '', newest: fetched.at(-1) ?? '' },
    organizations: [
      ...shown.slices.map(({ organization, manifest }): figures.OrganizationState => {
        const gap = stale.find((one) => one.organization === organization);
        return {
          organization,
          state: states.get(organization) ?? 'final',
          reason: gap?.reason ?? null,
          command: gap?.command ?? null,
          fetched: manifest.fetched,
          detail: manifest.scope.detail,
        };
      }),
      ...[...gaps, ...leftOut.map(leftOutGap)].map((gap): figures.OrganizationState => ({
        ...gap,
        ...{ state: 'missing', fetched: null, detail: null },
      })),
    ].sort((a, b) => compareTexts(a.organization, b.organization)),
    uncompared,
    invoices: invoicedSlices(shown).map(({ organization, invoiced }) => ({
      organization,
      state: invoiced.state,
      reasons: invoiced.reasons,
      uncounted: invoiced.uncounted,
    })),
    otherViews: otherViewsOf(data),
    currencies: sectionsOf(context).map((section) => currencyFigures(context, section, uncompared)),
  };
}

function leftOutGap(organization: string): Gap {
  return { organization, reason: 'was left out: other organizations were chosen', command: null };
}

/** Why totals of the month and of the one before tell nothing of each other. */
function whyUncompared({ shown, previous }: MonthData): string | null {
  if (previous.slices.length === 0) return `There are no figures of ${previous.month}.`;
  const names = (gaps: readonly Gap[]): string =>
    gaps.map(({ organization }) => organization).join(', ');
  const without = [shown, previous]
    .filter(({ gaps }) => gaps.length > 0)
    .map(({ month, gaps }) => `${month} is without ${names(gaps)}`);
  const views = shown.slices
    .filter(({ organization, manifest }) =>
      previous.slices.some(
        (one) => one.organization === organization && !isSameView(one.manifest, manifest),
      ),
    )
    .map(
      ({ organization }) =>
        `${organization} tells the cost of another billing view than in ${previous.month}`,
    );
  const reasons = [...without, ...views];
  return reasons.length === 0 ? null : `${reasons.join('; ')}.`;
}

/** The months of the trend that tell the cost of another billing view, by organization and view. */
function otherViewsOf(data: MonthData): string[] {
  const name = (view: string | null): string => view ?? "the organization's own cost";
  return data.shown.slices.flatMap(({ organization, manifest }) => {
    const months = new Map<string, Month[]>();
    for (const { month, slices } of trendMonths(data))
      for (const one of slices)
        if (one.organization === organization && !isSameView(one.manifest, manifest))
          member(months, name(one.manifest.scope.billingViewArn), () => []).push(month);
    return [...months].map(
      ([view, of]) =>
        `${organization} tells ${name(manifest.scope.billingViewArn)} in ${data.shown.month}, and ${view} in ${of.join(', ')}.`,
    );
  });
}

function finalFrom(month: Month, provisionalDays: number): string {
  const over = Date.parse(`${timePeriod(month).End}T00:00:00Z`);
  return new Date(over + provisionalDays * DAY).toISOString().slice(0, 10);
}

/** The month by currency, that with the most customers first; there is one even where nothing cost anything. */
function sectionsOf(context: Context): Section[] {
  const { data, customers } = context;
  const { names } = data;
  const sections = new Map<number, Section>();
  const sectionAt = (code: number): Section =>
    member(sections, code, () => ({
      code,
      currency: names.textOf(code),
      total: noCell(),
      customers: [],
      services: new Map(),
    }));
  for (const { manifest } of [...data.shown.slices, ...data.previous.slices])
    for (const currency of Object.keys({
      ...manifest.consumption.totals,
      ...manifest.consumption.columns['CostAmount'],
    }))
      sectionAt(names.codeOf(currency));
  for (const { invoiced } of invoicedSlices(data.shown))
    for (const { currency } of invoiced.currencies) sectionAt(names.codeOf(currency));
  const idle: Entry[] = [];
  for (const [index, entry] of customers.entries()) {
    const currencies = servicesOf(context, index);
    if (currencies.size === 0) idle.push(entry);
    for (const [code, services] of currencies) {
      const section = sectionAt(code);
      const cell = sumOfCells(services.values());
      addCell(section.total, cell);
      section.customers.push({ entry, cell });
      for (const [service, ofService] of services) {
        const sum = member(section.services, service, () => ({ cell: noCell(), customers: 0 }));
        addCell(sum.cell, ofService);
        if (ofService.rows > 0) sum.customers += 1;
      }
    }
  }
  if (sections.size === 0) sectionAt(names.codeOf('USD'));
  const sorted = [...sections.values()].sort(
    (a, b) => b.customers.length - a.customers.length || compareTexts(a.currency, b.currency),
  );
  for (const entry of idle) sorted[0]?.customers.push({ entry, cell: noCell() });
  return sorted;
}

function currencyFigures(
  context: Context,
  section: Section,
  uncompared: string | null,
): figures.CurrencyFigures {
  const { data } = context;
  const { names, shown } = data;
  const { currency } = section;
  const total = section.total.amount;
  const organizations = organizationsOf(data, section);
  const services = [...section.services]
    .map(([code, { cell, customers }]) => ({ cell, customers, service: names.textOf(code) }))
    .sort(byAmount(({ service }) => service));
  const customers = section.customers.sort(byAmount(({ entry }) => entry.file));
  checkSums(shown.month, currency, total, {
    organizations: organizations.map(({ units }) => units ?? 0n),
    services: services.map(({ cell }) => cell.amount),
    customers: customers.map(({ cell }) => cell.amount),
  });
  const isCompared = uncompared === null;
  const customerFigures = customers.map(({ entry, cell }) => customer(entry, cell, total));
  const present = (presence: figures.Customer['presence']): figures.CustomerFigures[] =>
    customerFigures.filter((one) => one.presence === presence);
  return {
    currency,
    total: compared(total, isCompared ? section.total.previous : null),
    aws: awsOf(shown, currency),
    organizations: organizations.map(({ organization, units, previous }) => ({
      organization,
      ...(units === null
        ? { amount: null, previous: textOrNull(previous), change: null, ratio: null, share: null }
        : shared(units, previous, total)),
    })),
    ...trendOf(context, section, organizations),
    services: services.map(({ service, cell, customers: count }) => ({
      service,
      ...shared(cell.amount, isCompared ? cell.previous : null, total),
      customers: count,
    })),
    topServices: barsOf(
      services.map(({ service, cell }) => ({ name: service, file: null, units: cell.amount })),
      total,
    ),
    customers: customerFigures,
    topCustomers: barsOf(
      customers.map(({ entry, cell }) => ({ ...entry, units: cell.amount })),
      total,
    ),
    movingCustomers: isCompared
      ? moversOf(customers.map(({ entry, cell }) => ({ ...entry, cell })))
      : null,
    movingServices: isCompared
      ? moversOf(services.map(({ service, cell }) => ({ name: service, file: null, cell })))
      : null,
    newCustomers: present('new'),
    vanishedCustomers: present('vanished').sort((a, b) =>
      compareUnits(unitsOf(b.previous), unitsOf(a.previous)),
    ),
    restated: restatedOf(data, currency),
    breakdowns: monthBreakdowns(context, section.code, total),
    invoices: invoicesOf(shown, currency),
    margins: marginFigures(context, section.code),
  };
}

/** Asserts that the same was added up on three ways. */
function checkSums(
  month: Month,
  currency: string,
  total: Units,
  parts: Readonly<Record<string, readonly Units[]>>,
): void {
  for (const [what, units] of Object.entries(parts)) {
    const sum = units.reduce((a, b) => a + b, 0n);
    if (sum !== total)
      throw new DataError(
        `the ${what} of ${month} add up to ${formatAmount(sum)} ${currency}, the month to ${formatAmount(total)}`,
      );
  }
}

interface OrganizationUnits {
  organization: string;
  /** Null: it has no figures of the month. */
  units: Units | null;
  previous: Units | null;
}

/** The organizations' sums as their manifests say them, to which their rows were held when they were read. */
function organizationsOf(
  { shown, previous }: MonthData,
  { currency }: Section,
): OrganizationUnits[] {
  const unitsAt = ({ slices, gaps }: ReadMonth, organization: string): Units | null => {
    const slice = slices.find((one) => one.organization === organization);
    if (slice !== undefined) return totalOf(slice.manifest, currency);
    return slices.length === 0 || gaps.some((gap) => gap.organization === organization) ? null : 0n;
  };
  const names = [...shown.slices, ...shown.gaps].map(({ organization }) => organization);
  return names
    .map((organization) => ({
      organization,
      units: unitsAt(shown, organization),
      previous: unitsAt(previous, organization),
    }))
    .sort((a, b) => {
      if (a.units === null || b.units === null)
        return (
          Number(a.units === null) - Number(b.units === null) ||
          compareTexts(a.organization, b.organization)
        );
      return compareUnits(b.units, a.units) || compareTexts(a.organization, b.organization);
    });
}

function awsOf({ slices }: ReadMonth, currency: string): figures.CurrencyFigures['aws'] {
  const unasked = slices
    .filter(({ manifest }) => manifest.awsTotal === null)
    .map(({ organization }) => organization);
  if (unasked.length > 0) return { total: null, difference: null, unasked };
  let [total, difference] = [0n, 0n];
  for (const { manifest } of slices) {
    const said = amountIn(manifest.awsTotal ?? {}, currency);
    total += said;
    difference += said - totalOf(manifest, currency);
  }
  return { total: formatAmount(total), difference: formatAmount(difference), unasked };
}

function customer(entry: Entry, cell: Cell, total: Units): figures.CustomerFigures {
  const { id, name, file, accounts, organizations, isCompared } = entry;
  const [now, then] = [cell.rows > 0, cell.previousRows > 0];
  return {
    ...{ id, name, file },
    accounts: accounts.map(({ account }) => account),
    organizations: [...organizations].sort(),
    status: [...new Set(accounts.map(({ status }) => status))].join(', '),
    presence:
      !now && !then ? 'idle' : !isCompared || now === then ? 'kept' : now ? 'new' : 'vanished',
    ...shared(cell.amount, isCompared ? cell.previous : null, total),
  };
}

function trendOf(
  { data, options }: Context,
  { currency }: Section,
  organizations: readonly OrganizationUnits[],
): Pick<figures.CurrencyFigures, 'trend' | 'trendOrganizations'> {
  const months = trendMonths(data);
  const own = organizations.map(({ organization }) => organization);
  const others = months.flatMap(({ slices }) =>
    slices
      .filter(
        ({ organization, manifest }) =>
          !own.includes(organization) && totalOf(manifest, currency) !== 0n,
      )
      .map(({ organization }) => organization),
  );
  const trendOrganizations = [...own, ...[...new Set(others)].sort()];
  const trend = months.map(({ month, slices, gaps }): figures.TrendMonth => {
    const isProvisionalMonth = slices.some(
      ({ organization, manifest }) =>
        stateOf(manifest, options.provisionalDays) === 'provisional' ||
        (month === data.shown.month && data.stale.some((one) => one.organization === organization)),
    );
    const sum = slices.reduce((units, { manifest }) => units + totalOf(manifest, currency), 0n);
    return {
      month,
      state: slices.length === 0 ? 'missing' : isProvisionalMonth ? 'provisional' : 'final',
      gap:
        slices.length === 0 && gaps.length === 0
          ? 'nothing is there'
          : gaps.length === 0
            ? null
            : gaps.map(({ organization, reason }) => `${organization} ${reason}`).join('; '),
      amount: slices.length === 0 ? null : formatAmount(sum),
      organizations: trendOrganizations.map((organization) => {
        const slice = slices.find((one) => one.organization === organization);
        return {
          organization,
          amount: slice === undefined ? null : formatAmount(totalOf(slice.manifest, currency)),
        };
      }),
    };
  });
  return { trend, trendOrganizations };
}

function restatedOf({ shown, former }: MonthData, currency: string): figures.Restatement[] {
  return former.flatMap(({ organization, fetched, totals }) => {
    const slice = shown.slices.find((one) => one.organization === organization);
    if (slice === undefined) return [];
    const [before, after] = [amountIn(totals, currency), totalOf(slice.manifest, currency)];
    if (before === after) return [];
    return [
      {
        ...{ organization, since: fetched, until: slice.manifest.fetched },
        before: formatAmount(before),
        after: formatAmount(after),
        difference: formatAmount(after - before),
      },
    ];
  });
}

/** The organizations that were asked for invoices, by name. */
function invoicedSlices({ slices }: ReadMonth) {
  return slices
    .flatMap(({ organization, invoices }) =>
      invoices === undefined || invoices.comparison.state === 'not asked'
        ? []
        : [{ organization, invoiced: invoices.comparison }],
    )
    .sort((a, b) => compareTexts(a.organization, b.organization));
}

function invoicesOf(shown: ReadMonth, currency: string): figures.CurrencyFigures['invoices'] {
  const organizations = invoicedSlices(shown).flatMap(({ organization, invoiced }) =>
    invoiced.currencies
      .filter((one) => one.currency === currency)
      .map((compared) => ({ organization, state: invoiced.state, compared })),
  );
  if (organizations.length === 0) return null;
  const several = organizations.map(({ compared }) => compared);
  return { organizations, total: several.length < 2 ? null : addComparisons(currency, several) };
}
