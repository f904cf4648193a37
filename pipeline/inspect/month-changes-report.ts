import { price } from '../run/task.js';
import { fetchAgain, shownCommand } from '../shared/commands.js';
import type { Units } from '../shared/money.js';
import { formatAmount } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { printable } from '../shared/printable.js';
import { shortAmount, tableLines } from '../shared/table.js';
import type { Threshold } from '../shared/threshold.js';
import { thresholdText } from '../shared/threshold.js';
import type { Change, MonthChanges, OrganizationChanges } from './month-changes.js';

type Compared = Extract<OrganizationChanges, { until: unknown }>;

/** The lines in which people read what changed: totals, every change, and what was not compared. */
export function* changesLines(month: Month, found: MonthChanges): Generator<string> {
  const { organizations, customer, thresholds } = found;
  const compared = organizations.filter(isCompared);
  const currencies = new Set(compared.flatMap(({ totals }) => totals.map((one) => one.currency)));
  const isOne = currencies.size <= 1;
  if (compared.length > 0) {
    const whose = customer === undefined ? '' : ` of ${customer.name} (${customer.account})`;
    const unit = isOne ? [...currencies].map((currency) => `, in ${currency}`).join('') : '';
    yield printable(`${month}${whose} from one extraction to another${unit}`);
    yield '';
    yield* totalsTable(compared, isOne);
    const open = compared.filter(({ until }) => until.provisional);
    if (open.length > 0)
      yield `provisional, so AWS may still change it: ${open.map((one) => one.organization).join(', ')}`;
    for (const { organization, since, until } of compared)
      if (since.detail !== until.detail)
        yield `${organization}: detail by ${since.detail}, then by ${until.detail}; AWS rounds each group by itself, so that differences of 0.000000001 or less are no change of cost`;
  }
  for (const { organization, cost } of compared) yield* costLines(organization, cost);
  const same = compared.filter((one) => one.changes.length + one.belowThreshold === 0);
  if (same.length > 0) {
    yield '';
    yield `no amount differs: ${same.map(({ organization }) => organization).join(', ')}`;
  }
  const least = thresholds.map(thresholdText).join(' and ');
  for (const { organization, changes, belowThreshold } of compared) {
    if (changes.length + belowThreshold === 0) continue;
    const count = ['no amount differs', '1 amount differs'][changes.length];
    yield '';
    yield [
      `${organization}: ${count ?? `${changes.length} amounts differ`}`,
      ...(least === '' ? [] : [` by ${least} or more`]),
      ...(belowThreshold === 0 ? [] : [`, ${belowThreshold} by less`]),
      ...unmeasured(changes, thresholds),
    ].join('');
    if (changes.length > 0) yield* changesTable(changes, isOne);
  }
  const others = uncomparedLines(month, organizations);
  if (others.length > 0) yield '';
  yield* others;
}

/** Says which changes are shown since no threshold is an amount of their currency, where one is of another. */
function unmeasured(changes: Compared['changes'], thresholds: readonly Threshold[]): string[] {
  const measured = thresholds.flatMap(({ currency }) => currency ?? []);
  const others = changes.filter(({ currency }) => !measured.includes(currency));
  if (measured.length === 0 || others.length === 0) return [];
  const currencies = [...new Set(others.map(({ currency }) => currency))].join(' and ');
  return [printable(`; ${others.length} in ${currencies}, for which no amount is named`)];
}

/** What the reseller pays, where that moved or is not compared. */
function* costLines(organization: string, cost: Compared['cost']): Generator<string> {
  if (cost?.uncompared !== undefined)
    yield printable(`${organization}: CostAmount is not compared: ${cost.uncompared}`);
  else
    for (const [currency, apart] of Object.entries(cost?.difference ?? {}))
      if (apart !== '0')
        yield `${organization}: CostAmount was ${cost?.before[currency] ?? '0'} ${currency}, and is ${cost?.after[currency] ?? '0'}: ${apart}`;
}

/** Which organizations were not compared, with the reason, and how they can be. */
export function uncomparedLines(
  month: Month,
  organizations: readonly OrganizationChanges[],
): string[] {
  const others = organizations.filter((one) => !isCompared(one));
  const once = others.filter(({ requests }) => requests !== undefined);
  const [first, ...more] = once;
  const told = others
    .filter((one) => one !== first && !more.includes(one))
    .map(({ organization, uncompared }) => `${organization} is not compared: ${uncompared}`);
  if (first === undefined) return told;
  const names = once.map(({ organization }) => organization);
  const why =
    more.length === 0
      ? `${first.organization} is not compared: ${first.uncompared}`
      : `${names.join(', ')} are not compared: each has one extraction only`;
  const again = shownCommand({ ...fetchAgain(), months: [month], organizations: names });
  const requests = once.reduce((sum, one) => sum + (one.requests ?? 0), 0);
  return [...told, `${why}; "${again}" fetches a second one, for about $${price(requests)}`];
}

const amountNames = ['before', 'after', 'difference'] as const;

function amounts(of: Partial<Record<(typeof amountNames)[number], Units | undefined>>): string[] {
  return amountNames.map((name) => {
    const units = of[name];
    return units === undefined ? '-' : shortAmount(formatAmount(units));
  });
}

function totalsTable(compared: readonly Compared[], isOne: boolean): Generator<string> {
  const rows = compared.flatMap(({ organization, since, until, totals }) => {
    const sides = [organization, ...[since, until].map(({ fetched }) => timeText(fetched))];
    const nothing = { currency: '', before: 0n, after: 0n, difference: 0n };
    return (totals.length === 0 ? [nothing] : totals).map((total) => [
      ...[...sides, ...amounts(total)],
      ...(isOne ? [] : [total.currency]),
    ]);
  });
  const head = ['organization', 'since', 'until', ...amountNames, ...(isOne ? [] : ['currency'])];
  return tableLines(head, rows, amountNames, { names: ['organization'] });
}

function changesTable(changes: Compared['changes'], isOne: boolean): Generator<string> {
  const rows = changes.map((change) => [
    ...[change.account, change.name, change.service, ...amounts(change)],
    ...(isOne ? [] : [change.currency]),
  ]);
  const head = ['account', 'name', 'service', ...amountNames, ...(isOne ? [] : ['currency'])];
  return tableLines(head, rows, amountNames, { names: ['name', 'service'] });
}

function timeText(instant: string): string {
  return instant.slice(0, 16).replace('T', ' ');
}

/** What changed as one JSON document; amounts are decimal texts, null where there was no such cost. */
export function changesToJson(
  month: Month,
  { organizations, customer, thresholds }: MonthChanges,
): unknown {
  return {
    month,
    ...(customer === undefined ? {} : { customer }),
    ...(thresholds.length === 0 ? {} : { thresholds: thresholds.map(thresholdText) }),
    organizations: organizations.map((one) =>
      isCompared(one)
        ? {
            organization: one.organization,
            since: one.since,
            until: one.until,
            totals: one.totals.map(({ currency, before, after, difference }) => ({
              currency,
              before: formatAmount(before),
              after: formatAmount(after),
              difference: formatAmount(difference),
            })),
            ...(one.cost === undefined ? {} : { cost: one.cost }),
            changes: one.changes.map(changeJson),
            ...(thresholds.length === 0 ? {} : { belowThreshold: one.belowThreshold }),
          }
        : {
            ...one,
            ...(one.requests === undefined
              ? {}
              : {
                  priceUsd: price(one.requests),
                  next: shownCommand(fetchAgain({ month, organization: one.organization })),
                }),
          },
    ),
  };
}

function changeJson(change: Change) {
  const orNull = (units: Units | undefined): string | null =>
    units === undefined ? null : formatAmount(units);
  return {
    ...change,
    before: orNull(change.before),
    after: orNull(change.after),
    difference: formatAmount(change.difference),
  };
}

/** Every change as a row, with what was not compared beside them. */
export function changesRows(month: Month, { organizations }: MonthChanges) {
  const sides = ['since.extraction', 'until.extraction', 'until.provisional'];
  const own = ['account', 'name', 'service', 'change', ...amountNames, 'currency'];
  return {
    columns: ['month', 'organization', ...sides, ...own],
    rows: organizations
      .filter(isCompared)
      .flatMap(({ organization, since, until, changes }) =>
        changes.map((change) => ({ month, organization, since, until, ...changeJson(change) })),
      ),
    notes: uncomparedLines(month, organizations),
  };
}

/** How many changes there are that reach what they had to. */
export function countChanges({ organizations }: MonthChanges): number {
  return organizations.filter(isCompared).reduce((sum, { changes }) => sum + changes.length, 0);
}

function isCompared(one: OrganizationChanges): one is Compared {
  return one.uncompared === undefined;
}
