import { DataError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import { formatAmount } from '../shared/money.js';
import type { TransformManifest } from '../staging/manifest.js';
import { costViewPart, describeRefusal } from '../staging/manifest.js';
import { compareTexts, compareUnits, magnitude, member, shareOf } from './comparisons.js';
import type { Context } from './context.js';
import { amountIn, totalOf } from './context.js';
import type * as figures from './figures.js';

/** A row of consumption beside what it costs the reseller. */
export interface MarginRow {
  organization: string;
  /** Its place among the customers. */
  customer: number;
  service: number;
  /** 0 where the row stands in the cost view alone. */
  amount: Units;
  /** Null where it stands in the bill alone. */
  cost: Units | null;
  isOnlyCost: boolean;
}

interface Sums {
  amount: Units;
  cost: Units;
}

interface Gap {
  customer: number;
  service: number;
  side: figures.MarginGap['side'];
  units: Units;
}

/** What rows of one currency earn, by whose they are, and which services of a customer have no other side. */
export interface AddedMargins {
  total: Sums;
  organizations: ReadonlyMap<string, Sums>;
  customers: ReadonlyMap<number, Sums>;
  gaps: readonly Gap[];
}

/**
 * Adds up margins, exactly: Σ amount − Σ cost is the same over all rows, all organizations and all customers. A row
 * without amount or cost is no gap: nothing of it is missing.
 */
export function addMargins(rows: Iterable<MarginRow>): AddedMargins {
  const nothing = (): Sums => ({ amount: 0n, cost: 0n });
  const total = nothing();
  const organizations = new Map<string, Sums>();
  const customers = new Map<number, Sums>();
  const gaps = new Map<string, Gap>();
  for (const { organization, customer, service, amount, cost, isOnlyCost } of rows) {
    for (const sums of [
      total,
      member(organizations, organization, nothing),
      member(customers, customer, nothing),
    ]) {
      sums.amount += amount;
      sums.cost += cost ?? 0n;
    }
    const side = isOnlyCost ? 'cost' : cost === null ? 'bill' : undefined;
    const units = isOnlyCost ? (cost ?? 0n) : amount;
    if (side === undefined || units === 0n) continue;
    const gap = member(gaps, `${side} ${customer} ${service}`, () => ({
      ...{ customer, service, side },
      units: 0n,
    }));
    gap.units += units;
  }
  return { total, organizations, customers, gaps: [...gaps.values()] };
}

/** The margins of a month in one currency; null where no organization has asked a cost view. @param code of the currency. */
export function marginFigures(context: Context, code: number): figures.Margins | null {
  const { data, customers, now } = context;
  const without = now.filter(({ slice }) => slice.costs === undefined);
  if (now.every(({ slice }) => slice.manifest.scope.costViewArn === null)) return null;
  const { total, organizations, customers: ofCustomers, gaps } = addMargins(rowsOf(context, code));
  if (ofCustomers.size === 0 && without.length < now.length) return null;
  checkMargins(context, code, total);
  const entryOf = (customer: number) => {
    const { id, name, file } = customers[customer] ?? { id: '', name: '', file: '' };
    return { id, name, file };
  };
  return {
    without: without.map(({ slice: { organization, manifest } }) => ({
      organization,
      refused: refusalOf(manifest),
    })),
    total: marginOf(total),
    organizations: [...organizations]
      .sort(([a], [b]) => compareTexts(a, b))
      .map(([organization, sums]) => ({ organization, ...marginOf(sums) })),
    customers: [...ofCustomers]
      .map(([customer, sums]) => ({ entry: entryOf(customer), sums }))
      .sort(
        (a, b) =>
          compareUnits(b.sums.amount, a.sums.amount) || compareTexts(a.entry.file, b.entry.file),
      )
      .map(({ entry, sums }) => ({ ...entry, ...marginOf(sums) })),
    gaps: gaps
      .map(({ customer, service, ...gap }) => ({
        ...gap,
        entry: entryOf(customer),
        service: data.names.textOf(service),
      }))
      .sort(
        (a, b) =>
          compareUnits(magnitude(b.units), magnitude(a.units)) ||
          compareTexts(a.entry.file, b.entry.file) ||
          compareTexts(a.service, b.service),
      )
      .map(({ side, units, service, entry }) => ({
        ...{ ...entry, service, side },
        amount: formatAmount(units),
      })),
  };
}

/** @throws {DataError} when the rows do not add up to what their manifests say. */
function checkMargins({ data, now }: Context, code: number, { amount, cost }: Sums): void {
  const currency = data.names.textOf(code);
  let [bill, costs] = [0n, 0n];
  for (const { slice } of now) {
    if (slice.costs === undefined) continue;
    bill += totalOf(slice.manifest, currency);
    costs += amountIn(slice.manifest.consumption.columns['CostAmount'] ?? {}, currency);
  }
  if (bill === amount && costs === cost) return;
  throw new DataError(
    `the margins of ${data.shown.month} are made of ${formatAmount(amount)} and ${formatAmount(cost)} ${currency}, the month has ${formatAmount(bill)} and ${formatAmount(costs)}`,
  );
}

/** Every row of the currency of the organizations that have a cost view. */
function* rowsOf({ customers, now }: Context, code: number): Generator<MarginRow> {
  const customerOf = new Map(
    customers.flatMap(({ codes }, index) => codes.map((account) => [account, index] as const)),
  );
  for (const { slice } of now) {
    const { organization, consumption, costs } = slice;
    if (costs === undefined) continue;
    for (let row = 0; row < costs.length; row++) {
      const customer = customerOf.get(costs.account[row] ?? 0);
      if (costs.currency[row] !== code || customer === undefined) continue;
      yield {
        ...{ organization, customer },
        service: costs.kind[row] ?? 0,
        amount: costs.amount.at(row) ?? 0n,
        cost: costs.cost.at(row),
        isOnlyCost: row >= consumption.length,
      };
    }
  }
}

/** Why AWS did not tell the organization's cost. */
function refusalOf({ scope, refused }: TransformManifest): string | null {
  const refusal = refused.find(({ part }) => part === costViewPart(scope.costViewArn));
  return refusal === undefined ? null : describeRefusal(refusal);
}

function marginOf({ amount, cost }: Sums): figures.Margin {
  const margin = amount - cost;
  return {
    amount: formatAmount(amount),
    cost: formatAmount(cost),
    margin: formatAmount(margin),
    ratio: shareOf(margin, amount),
  };
}
