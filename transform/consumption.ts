import { DataError } from '../pipeline/errors.js';
import type { ParsedAmount, Totals, Units } from '../pipeline/money.js';
import { addTo, parseAmount } from '../pipeline/money.js';
import type { Batch, Value } from '../pipeline/staging/tables.js';
import { consumption } from '../pipeline/staging/tables.js';
import type { CostPage, Group, Page, StagedExtraction } from './pages.js';
import { costPages } from './pages.js';
import type { Place, Stamp } from './rows.js';
import { checkAccountId, checkLength, columnOf, rowFault } from './rows.js';
import { createPairs, createTerms } from './terms.js';

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

/** The columns of a batch that differ from row to row. */
interface Costs {
  accounts: string[];
  services: string[];
  amounts: Units[];
  currencies: string[];
  estimated: boolean[];
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
  const accounts = createTerms(checkAccountId);
  const services = createTerms((text, place) => {
    checkLength(columns.service, text, place);
  });
  const currencies = createTerms((text, place) => {
    checkLength(columns.currency, text, place);
  });
  const isNew = createPairs();
  const names = new Map<string, string>();

  for await (const page of costPages(extraction, signal)) {
    addNames(names, page);
    const costs = emptyCosts();
    for (const { group, estimated, place } of groupsOf(page)) {
      const keys = keysOf(group, page.content, place);
      const account = accounts.of(keys.account, place);
      const service = services.of(keys.service, place);
      if (!isNew(account, service)) throw await repetition(extraction, keys, place, signal);
      const { units, rounded, unit } = amountOf(group, place);
      const currency = currencies.of(unit, place).text;
      if (rounded) tally.rounded++;
      addTo(tally.totals, currency, units);
      costs.accounts.push(account.text);
      costs.services.push(service.text);
      costs.amounts.push(units);
      costs.currencies.push(currency);
      costs.estimated.push(estimated);
    }
    tally.rows += costs.amounts.length;
    yield toBatch(costs, stamp);
  }
  for (const account of accounts.all()) tally.accounts.set(account, names.get(account) ?? '');
}

function emptyCosts(): Costs {
  return { accounts: [], services: [], amounts: [], currencies: [], estimated: [] };
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
  if (account === undefined) throw rowFault(place, 'has no account id');
  return { account, service };
}

function amountOf({ Metrics }: Group, place: Place): ParsedAmount & { unit: string } {
  const { Amount, Unit: unit } = Metrics?.UnblendedCost ?? {};
  if (Amount === undefined) throw rowFault(place, 'has no UnblendedCost');
  if (unit === undefined) throw rowFault(place, 'has an UnblendedCost without its unit');
  try {
    const { units, rounded } = parseAmount(Amount);
    return { units, rounded, unit };
  } catch (cause) {
    if (cause instanceof DataError) throw rowFault(place, `has a wrong amount: ${cause.message}`);
    throw cause;
  }
}

function addNames(names: Map<string, string>, { where, content }: Page<CostPage>): void {
  for (const [index, attributes] of (content.DimensionValueAttributes ?? []).entries()) {
    const { Value: id, Attributes: { description: name } = {} } = attributes;
    // Other dimensions' values stand in the same list.
    if (id === undefined || name === undefined || !/^\d{12}$/.test(id)) continue;
    names.set(id, checkLength(columns.name, name, { where, row: index + 1 }));
  }
}

/** AWS answers each group once: a repeated one means that a page was answered, or staged, twice. */
async function repetition(
  extraction: StagedExtraction,
  { account, service }: { account: string; service: string },
  again: Place,
  signal: AbortSignal,
): Promise<DataError> {
  const said = `repeats service ${JSON.stringify(service)} of account ${account}`;
  for await (const page of costPages(extraction, signal)) {
    for (const { group, place } of groupsOf(page)) {
      const keys = keysOf(group, page.content, place);
      if (keys.account === account && keys.service === service) {
        return rowFault(again, `${said}, which row ${place.row} of ${place.where} has already`);
      }
    }
  }
  return rowFault(again, said);
}

function toBatch(costs: Costs, stamp: Stamp): Batch {
  const { length } = costs.amounts;
  const same = (value: Value): Value[] => new Array<Value>(length).fill(value);
  const values: Record<string, Value[]> = {
    Reference: costs.accounts,
    Region: same('N/A'),
    Service: costs.services,
    Category: same('N/A'),
    SubCategory: same('N/A'),
    Quantity: same(null),
    Unit: same('N/A'),
    UnitPrice: same(null),
    Amount: costs.amounts,
    DiscountedAmount: same(null),
    Tag: same(stamp.tag),
    BillingPeriod: same(stamp.billingPeriod),
    Organization: same(stamp.organization),
    Currency: costs.currencies,
    Estimated: costs.estimated,
  };
  return {
    length,
    columns: consumption.map(({ name }) => {
      const column = values[name];
      if (column === undefined) throw new Error(`no value is known for consumption.${name}`);
      return column;
    }),
  };
}
