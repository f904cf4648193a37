import type { DataError } from '../pipeline/errors.js';
import type { NamedTotals, Totals, Units } from '../pipeline/money.js';
import { addTo, addToNamed, divide } from '../pipeline/money.js';
import type { FurtherMetric, Scope } from '../pipeline/scope.js';
import { furtherMetrics } from '../pipeline/scope.js';
import { scopeOf } from '../pipeline/staging/manifest.js';
import type { Batch, Value } from '../pipeline/staging/tables.js';
import { consumption } from '../pipeline/staging/tables.js';
import { currencyColumn, furtherCost, groupsOf, keyReader, valueOf } from './costs.js';
import type { CostPage, Group, Page, StagedExtraction } from './pages.js';
import { costPages } from './pages.js';
import type { PairDifference } from './pairs.js';
import { comparePairs } from './pairs.js';
import type { Place, Stamp } from './rows.js';
import { batchOf, checkAccountId, checkLength, columnOf, rowFault } from './rows.js';
import type { Reading, Subject } from './subjects.js';
import { serviceReadings, usageTypeReadings } from './subjects.js';
import { createPairs, createTerms } from './terms.js';
import type { UsageTypes } from './usage-types.js';
import { readUsageTypes } from './usage-types.js';

/** What rows add up to, filled while they are made. */
export interface RowTally {
  rows: number;
  /** Amounts with more than 18 fraction digits, rounded half to even. */
  rounded: number;
  /** The column Amount per currency. */
  totals: Totals;
  /** The other columns of money that hold any value. */
  columns: NamedTotals;
  /** Every account with rows → the name that Cost Explorer gives it, '' without one. */
  accounts: Map<string, string>;
}

/** What the rows of the consumption table add up to. */
export interface ConsumptionTally extends RowTally {
  /** The rows by usage type beside AWS's own figures; null in the detail by service. */
  pairs: { compared: number; largest: PairDifference | null } | null;
}

/** A tally of no rows. */
export function emptyTally(): ConsumptionTally {
  return {
    rows: 0,
    rounded: 0,
    totals: new Map(),
    columns: new Map(),
    accounts: new Map(),
    pairs: null,
  };
}

/** The columns of a batch that differ from row to row. */
interface Costs {
  accounts: string[];
  subjects: Subject[];
  amounts: Units[];
  currencies: string[];
  estimated: boolean[];
  /** Of the detail by usage type. */
  quantities: Units[];
  quantityUnits: string[];
  discounted: Units[];
  metrics: ReadonlyMap<FurtherMetric, Units[]>;
}

const columns = {
  name: columnOf('customers', 'TenantName'),
  unit: columnOf('consumption', 'Unit'),
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
  const scope = scopeOf(extraction.manifest);
  const usageTypes =
    scope.detail === 'usage-type' ? await readUsageTypes(extraction, signal) : undefined;
  const readings =
    usageTypes === undefined ? serviceReadings() : usageTypeReadings(extraction, usageTypes);
  const accounts = createTerms(checkAccountId);
  const currencies = createTerms((text, place) => {
    checkLength(currencyColumn, text, place);
  });
  const isNew = createPairs();
  const names = new Map<string, string>();

  for (const reading of readings) {
    for await (const page of costPages(extraction, reading.query.name, signal)) {
      addNames(names, page);
      const keyOf = keyReader(page.content, reading.query.groupBy);
      const costs = emptyCosts(scope);
      for (const { group, estimated, place } of groupsOf(page)) {
        const subject = reading.subjectOf(keyOf, group, place);
        const account = accounts.of(keyOf('LINKED_ACCOUNT', group, place), place);
        const { units, rounded, unit } = valueOf(group, 'UnblendedCost', place);
        const currency = currencies.of(unit, place).text;
        if (subject === undefined) {
          const { text } = account;
          const usageType = keyOf('USAGE_TYPE', group, place);
          usageTypes?.addAccount({ usageType, account: text, currency, units });
          continue;
        }
        if (!isNew(account, subject)) {
          const again = { account: account.text, subject, place };
          throw await repetition(extraction, readings, again, signal);
        }
        if (rounded) tally.rounded++;
        addTo(tally.totals, currency, units);
        costs.accounts.push(account.text);
        costs.subjects.push(subject);
        costs.amounts.push(units);
        costs.currencies.push(currency);
        costs.estimated.push(estimated);
        if (usageTypes !== undefined) {
          addUsage(costs, tally, group, currency, place);
          const { service, category: usageType } = subject;
          usageTypes.addRow({ usageType, service, account: account.text, currency, units });
        }
        for (const [metric, values] of costs.metrics) {
          const further = furtherCost(group, metric, currency, place);
          if (further.rounded) tally.rounded++;
          addToNamed(tally.columns, metric, currency, further.units);
          values.push(further.units);
        }
      }
      tally.rows += costs.amounts.length;
      yield toBatch(costs, stamp, usageTypes);
    }
  }
  for (const account of accounts.all()) tally.accounts.set(account, names.get(account) ?? '');
  if (usageTypes !== undefined) tally.pairs = comparePairs(usageTypes.pairs());
}

function emptyCosts({ metrics }: Scope): Costs {
  return {
    accounts: [],
    subjects: [],
    amounts: [],
    currencies: [],
    estimated: [],
    quantities: [],
    quantityUnits: [],
    discounted: [],
    metrics: new Map(metrics.map((metric) => [metric, []])),
  };
}

function addUsage(
  costs: Costs,
  tally: RowTally,
  group: Group,
  currency: string,
  place: Place,
): void {
  const quantity = valueOf(group, 'UsageQuantity', place);
  const blended = furtherCost(group, 'BlendedCost', currency, place);
  if (quantity.rounded) tally.rounded++;
  if (blended.rounded) tally.rounded++;
  addToNamed(tally.columns, 'DiscountedAmount', currency, blended.units);
  costs.quantities.push(quantity.units);
  costs.quantityUnits.push(checkLength(columns.unit, quantity.unit, place));
  costs.discounted.push(blended.units);
}

/** Only a quantity of a known unit has a price, and only a cost, not a credit. */
function unitPrice(amount: Units, quantity: Units, unit: string): Units | null {
  if (quantity <= 0n || amount < 0n || unit === 'N/A' || unit === '') return null;
  return divide(amount, quantity);
}

/** Takes note of the account names that Cost Explorer tells beside its groups. */
export function addNames(names: Map<string, string>, { where, content }: Page<CostPage>): void {
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
  readings: readonly Reading[],
  { account, subject, place: again }: { account: string; subject: Subject; place: Place },
  signal: AbortSignal,
): Promise<DataError> {
  const type =
    subject.category === 'N/A' ? '' : `, usage type ${JSON.stringify(subject.category)},`;
  const said = `repeats service ${JSON.stringify(subject.service)}${type} of account ${account}`;
  for (const { query, subjectOf } of readings) {
    for await (const page of costPages(extraction, query.name, signal)) {
      const keyOf = keyReader(page.content, query.groupBy);
      for (const { group, place } of groupsOf(page)) {
        const isSame = subjectOf(keyOf, group, place) === subject;
        if (isSame && keyOf('LINKED_ACCOUNT', group, place) === account)
          return rowFault(again, `${said}, which row ${place.row} of ${place.where} has already`);
      }
    }
  }
  return rowFault(again, said);
}

function toBatch(costs: Costs, stamp: Stamp, usageTypes: UsageTypes | undefined): Batch {
  const { subjects, amounts, quantities, quantityUnits } = costs;
  const metrics = furtherMetrics.map((name): [string, Value[] | null] => [
    name,
    costs.metrics.get(name) ?? null,
  ]);
  const isByType = usageTypes !== undefined;
  return batchOf(consumption, amounts.length, stamp, {
    Reference: costs.accounts,
    Region: subjects.map(({ region }) => region),
    Service: subjects.map(({ service }) => service),
    Category: subjects.map(({ category }) => category),
    SubCategory: 'N/A',
    Quantity: isByType ? quantities : null,
    Unit: isByType ? quantityUnits : 'N/A',
    UnitPrice: isByType
      ? amounts.map((amount, row) =>
          unitPrice(amount, quantities[row] ?? 0n, quantityUnits[row] ?? ''),
        )
      : null,
    Amount: amounts,
    DiscountedAmount: isByType ? costs.discounted : null,
    ...Object.fromEntries(metrics),
    Currency: costs.currencies,
    Estimated: costs.estimated,
  });
}
