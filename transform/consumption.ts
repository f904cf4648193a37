import { DataError } from '../pipeline/errors.js';
import type { Totals } from '../pipeline/money.js';
import { consumption } from '../pipeline/staging/tables.js';
import type { ColumnValues, RowBatch } from './batch.js';
import { coded, constant } from './batch.js';
import type { DecimalsBuilder } from './decimals.js';
import { createDecimals } from './decimals.js';
import type { CostPage, Group, Page, StagedExtraction } from './pages.js';
import { costPages } from './pages.js';
import type { Place, Stamp } from './rows.js';
import { checkAccountId, checkLength, columnOf, rowFault } from './rows.js';
import { addSums } from './sums.js';
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
): AsyncGenerator<RowBatch> {
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
    const rows = countGroups(page.content);
    const codes = {
      accounts: new Uint32Array(rows),
      services: new Uint32Array(rows),
      currencies: new Uint32Array(rows),
    };
    const amounts = createDecimals(rows);
    const estimated: boolean[] = [];
    const keysOf = keyReader(page.content);
    const place = { where: page.where, row: 0 };
    for (const { Groups = [], Estimated = false } of page.content.ResultsByTime ?? []) {
      for (const group of Groups) {
        const index = place.row++;
        const keys = keysOf(group, place);
        const account = accounts.of(keys.account, place);
        const service = services.of(keys.service, place);
        if (!isNew(account, service)) throw await repetition(extraction, keys, place, signal);
        const { Amount, Unit } = costOf(group, place);
        if (addAmount(amounts, Amount, place)) tally.rounded++;
        codes.accounts[index] = account.index;
        codes.services[index] = service.index;
        codes.currencies[index] = currencies.of(Unit, place).index;
        estimated.push(Estimated);
      }
    }
    const costs: Costs = {
      accounts: coded(accounts.texts, codes.accounts),
      services: coded(services.texts, codes.services),
      amounts: amounts.take(),
      currencies: coded(currencies.texts, codes.currencies),
      estimated: coded(flags, Uint32Array.from(estimated, Number)),
    };
    tally.rows += rows;
    addSums(tally.totals, costs.amounts, costs.currencies, rows);
    yield toBatch(costs, rows, stamp);
  }
  for (const account of accounts.texts) tally.accounts.set(account, names.get(account) ?? '');
}

/** The columns of a batch that differ from row to row. */
interface Costs {
  accounts: ColumnValues;
  services: ColumnValues;
  amounts: ColumnValues;
  currencies: ColumnValues;
  estimated: ColumnValues;
}

const flags = [false, true] as const;

function countGroups({ ResultsByTime = [] }: CostPage): number {
  return ResultsByTime.reduce((sum, { Groups = [] }) => sum + Groups.length, 0);
}

/** A group's keys stand in the order of the request's GroupBy, which the answer repeats. */
function keyReader({
  GroupDefinitions = [],
}: CostPage): (group: Group, place: Place) => { account: string; service: string } {
  const position = (key: string, byDefault: number): number =>
    GroupDefinitions.length === 0
      ? byDefault
      : GroupDefinitions.findIndex((definition) => definition.Key === key);
  const ofService = position('SERVICE', 0);
  const ofAccount = position('LINKED_ACCOUNT', 1);
  return ({ Keys = [] }, place) => {
    const service = Keys[ofService];
    const account = Keys[ofAccount];
    if (service === undefined) throw rowFault(place, 'has no service');
    if (account === undefined) throw rowFault(place, 'has no account id');
    return { account, service };
  };
}

function costOf({ Metrics }: Group, place: Place): { Amount: string; Unit: string } {
  const { Amount, Unit } = Metrics?.UnblendedCost ?? {};
  if (Amount === undefined) throw rowFault(place, 'has no UnblendedCost');
  if (Unit === undefined) throw rowFault(place, 'has an UnblendedCost without its unit');
  return { Amount, Unit };
}

function addAmount(amounts: DecimalsBuilder, text: string, place: Place): boolean {
  try {
    return amounts.add(text);
  } catch (cause) {
    if (cause instanceof DataError) throw rowFault(place, `has a wrong amount: ${cause.message}`);
    throw cause;
  }
}

function addNames(names: Map<string, string>, { where, content }: Page<CostPage>): void {
  for (const [index, attributes] of (content.DimensionValueAttributes ?? []).entries()) {
    const { Value: id, Attributes: { description: name } = {} } = attributes;
    // Page after page names the same accounts.
    if (id !== undefined && name !== undefined && names.get(id) === name) continue;
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
  for await (const { where, content } of costPages(extraction, signal)) {
    const keysOf = keyReader(content);
    const groups = (content.ResultsByTime ?? []).flatMap(({ Groups = [] }) => Groups);
    for (const [index, group] of groups.entries()) {
      const place = { where, row: index + 1 };
      const keys = keysOf(group, place);
      if (keys.account === account && keys.service === service) {
        return rowFault(again, `${said}, which row ${place.row} of ${place.where} has already`);
      }
    }
  }
  return rowFault(again, said);
}

function toBatch(costs: Costs, length: number, stamp: Stamp): RowBatch {
  const values: Record<string, ColumnValues> = {
    Reference: costs.accounts,
    Region: constant('N/A'),
    Service: costs.services,
    Category: constant('N/A'),
    SubCategory: constant('N/A'),
    Quantity: constant(null),
    Unit: constant('N/A'),
    UnitPrice: constant(null),
    Amount: costs.amounts,
    DiscountedAmount: constant(null),
    Tag: constant(stamp.tag),
    BillingPeriod: constant(stamp.billingPeriod),
    Organization: constant(stamp.organization),
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
