import { DataError } from '../pipeline/errors.js';
import type { ParsedAmount, Totals, Units } from '../pipeline/money.js';
import { addTo, parseAmount } from '../pipeline/money.js';
import type { Batch, Value } from '../pipeline/staging/tables.js';
import { consumption } from '../pipeline/staging/tables.js';
import type { CostPage, Group, Page, StagedExtraction } from './pages.js';
import { costPages } from './pages.js';
import { createPairs } from './pairs.js';
import type { Place, Stamp } from './rows.js';
import { checkAccountId, checkLength, columnOf, rowFault } from './rows.js';

/** What the rows of the consumption table add up to, filled while they are made. */
export interface ConsumptionTally {
  rows: number;
  /** Amounts with more than 18 fraction digits, rounded half to even. */
  rounded: number;
  totals: Totals;
  /** Every account with consumption → the name that Cost Explorer gives it, '' without one. */
  accounts: Map<string, string>;
}

/** A tally of no rows. */
export function emptyTally(): ConsumptionTally {
  return { rows: 0, rounded: 0, totals: new Map(), accounts: new Map() };
}

/** A group's values that differ from row to row. */
interface Cost {
  account: string;
  service: string;
  amount: Units;
  currency: string;
  estimated: boolean;
}

const columns = {
  service: columnOf('consumption', 'Service'),
  currency: columnOf('consumption', 'Currency'),
  name: columnOf('customers', 'TenantName'),
};

/**
 * The rows of an extraction in the order AWS gave them, one batch a staged page.
 * @throws {DataError} naming file and row of a group that is incomplete, is no number, or was there before.
 */
export async function* consumptionBatches(
  extraction: StagedExtraction,
  stamp: Stamp,
  tally: ConsumptionTally,
  signal: AbortSignal,
): AsyncGenerator<Batch> {
  const pairs = createPairs();
  const names = new Map<string, string>();
  for await (const page of costPages(extraction, signal)) {
    addNames(names, page);
    const costs: Cost[] = [];
    for (const { group, estimated, place } of groupsOf(page)) {
      const { account, service } = keysOf(group, page.content, place);
      if (!pairs.add(account, service)) {
        throw await repetition(extraction, { account, service }, place, signal);
      }
      const { units: amount, rounded, currency } = amountOf(group, place);
      if (rounded) tally.rounded++;
      addTo(tally.totals, currency, amount);
      if (!tally.accounts.has(account)) tally.accounts.set(account, '');
      costs.push({ account, service, amount, currency, estimated });
    }
    tally.rows += costs.length;
    yield toBatch(costs, stamp);
  }
  for (const account of tally.accounts.keys()) {
    tally.accounts.set(account, names.get(account) ?? '');
  }
}

function* groupsOf({
  where,
  content,
}: Page<CostPage>): Generator<{ group: Group; estimated: boolean; place: Place }> {
  let row = 0;
  for (const { Groups = [], Estimated = false } of content.ResultsByTime ?? []) {
    for (const group of Groups) yield { group, estimated: Estimated, place: { where, row: ++row } };
  }
}

/** The group's keys stand in the order of the request's GroupBy, which the answer repeats. */
function keysOf(
  { Keys = [] }: Group,
  { GroupDefinitions = [] }: CostPage,
  place: Place,
): { account: string; service: string } {
  const position = (key: string, byDefault: number): number =>
    GroupDefinitions.length === 0
      ? byDefault
      : GroupDefinitions.findIndex((definition) => definition.Key === key);
  const service = Keys[position('SERVICE', 0)];
  const account = Keys[position('LINKED_ACCOUNT', 1)];
  if (service === undefined) throw rowFault(place, 'has no service');
  return {
    account: checkAccountId(account, place),
    service: checkLength(columns.service, service, place),
  };
}

function amountOf({ Metrics }: Group, place: Place): ParsedAmount & { currency: string } {
  const { Amount, Unit } = Metrics?.UnblendedCost ?? {};
  if (Amount === undefined) throw rowFault(place, 'has no UnblendedCost');
  if (Unit === undefined) throw rowFault(place, 'has an UnblendedCost without its unit');
  const currency = checkLength(columns.currency, Unit, place);
  try {
    const { units, rounded } = parseAmount(Amount);
    return { units, rounded, currency };
  } catch (cause) {
    if (cause instanceof DataError) throw rowFault(place, `has a wrong amount: ${cause.message}`);
    throw cause;
  }
}

function addNames(names: Map<string, string>, { where, content }: Page<CostPage>): void {
  for (const [index, { Value: id, Attributes }] of (
    content.DimensionValueAttributes ?? []
  ).entries()) {
    const name = Attributes?.description;
    // Other dimensions' values stand in the same list.
    if (id === undefined || name === undefined || !/^\d{12}$/.test(id)) continue;
    names.set(id, checkLength(columns.name, name, { where, row: index + 1 }));
  }
}

/** AWS answers each group once: a repeated one means that a page was answered, or staged, twice. */
async function repetition(
  extraction: StagedExtraction,
  pair: { account: string; service: string },
  again: Place,
  signal: AbortSignal,
): Promise<DataError> {
  const said = `repeats service ${JSON.stringify(pair.service)} of account ${pair.account}`;
  for await (const page of costPages(extraction, signal)) {
    for (const { group, place } of groupsOf(page)) {
      const { account, service } = keysOf(group, page.content, place);
      if (account === pair.account && service === pair.service) {
        return rowFault(again, `${said}, which row ${place.row} of ${place.where} has already`);
      }
    }
  }
  return rowFault(again, said);
}

function toBatch(costs: readonly Cost[], stamp: Stamp): Batch {
  const same = (value: Value): Value[] => new Array<Value>(costs.length).fill(value);
  const values: Record<string, () => Value[]> = {
    Reference: () => costs.map(({ account }) => account),
    Region: () => same('N/A'),
    Service: () => costs.map(({ service }) => service),
    Category: () => same('N/A'),
    SubCategory: () => same('N/A'),
    Quantity: () => same(null),
    Unit: () => same('N/A'),
    UnitPrice: () => same(null),
    Amount: () => costs.map(({ amount }) => amount),
    DiscountedAmount: () => same(null),
    Tag: () => same(stamp.tag),
    BillingPeriod: () => same(stamp.billingPeriod),
    Organization: () => same(stamp.organization),
    Currency: () => costs.map(({ currency }) => currency),
    Estimated: () => costs.map(({ estimated }) => estimated),
  };
  return {
    length: costs.length,
    columns: consumption.map(({ name }) => {
      const column = values[name];
      if (column === undefined) throw new Error(`no value is known for consumption.${name}`);
      return column();
    }),
  };
}
