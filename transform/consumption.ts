import { constant, valueAt } from '../pipeline/staging/batch.js';
import type { ColumnValues, RowBatch } from '../pipeline/staging/batch.js';
import type { ServiceTotals } from '../pipeline/shared/sums.js';
import { addToService, noSums } from '../pipeline/shared/sums.js';
import type { Scope } from '../pipeline/shared/scope.js';
import type { ExtractionManifest, TransformManifest } from '../pipeline/staging/manifest.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import { consumption } from '../pipeline/staging/tables.js';
import { hasServices } from './checks.js';
import type { Entry, FurtherColumn, Money, RowTally, Stamp } from './columns.js';
import { createCodes, dictionaryOf } from './columns.js';
import type { CostView } from './cost-view.js';
import { readCostView } from './cost-view.js';
import type { Item, RowQuestion, RowSource } from './rows.js';
import { rowBatches } from './rows.js';
import type { FinishedExtraction, Place } from './staged-pages.js';
import { metricAmount, rowFault } from './staged-pages.js';
import type { PairDifference, Regions, UsageTypes } from './usage-types.js';
import { comparePairs, createUsageColumns, noUsage, readUsageTypes } from './usage-types.js';

/** What the rows of the consumption table add up to. */
export interface ConsumptionTally extends RowTally {
  /** The rows by usage type beside AWS's own figures; null in the detail by service. */
  pairs: { compared: number; largest: PairDifference | null } | null;
  /** Usage types with rows whose region is not known. */
  severalRegions: Regions['several'];
  /** The rows by service, where AWS was asked by service alone. */
  services: ServiceTotals | undefined;
  /** Rows of the bill without a cost, and those of the cost view alone; undefined where it was not had. */
  costView: TransformManifest['consumption']['costView'];
}

/** A tally of no rows. */
export function emptyTally(): ConsumptionTally {
  return {
    ...noSums(),
    rounded: 0,
    accounts: new Map(),
    pairs: null,
    severalRegions: new Map(),
    services: undefined,
    costView: undefined,
  };
}

/** The rows of the consumption table, see {@link rowBatches}; last those of the cost view alone. */
export async function* consumptionBatches(
  extraction: FinishedExtraction,
  stamp: Stamp,
  tally: ConsumptionTally,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const { manifest } = extraction;
  const isByUsageType = manifest.scope.detail === 'usage-type';
  const usageTypes = isByUsageType ? await readUsageTypes(extraction, signal) : undefined;
  if (hasServices(extraction)) tally.services = new Map();
  const costView =
    manifest.costView === undefined ? undefined : await readCostView(extraction, tally, signal);
  const source = rowSource(manifest, usageTypes, tally, costView);
  yield* rowBatches(extraction, source, stamp, tally, signal);
  if (costView !== undefined) {
    const rest = costView.rest(source.further, stamp);
    tally.costView = { onlyBill: costView.onlyBill(), onlyCost: rest.length };
    if (rest.length > 0) yield rest;
  }
  if (usageTypes === undefined) return;
  tally.pairs = comparePairs(usageTypes.pairs());
  tally.severalRegions = usageTypes.regions.several;
}

function rowSource(
  manifest: ExtractionManifest,
  usageTypes: UsageTypes | undefined,
  tally: ConsumptionTally,
  costView: CostView | undefined,
): RowSource<BilledItem> {
  const billed =
    usageTypes === undefined ? billedByService() : billedByUsageType(manifest, usageTypes);
  const units = dictionaryOf('consumption', 'Unit');
  const further = furtherColumns(manifest.scope);
  const isCounted = (usageTypes ?? tally.services) !== undefined;
  return {
    table: consumption,
    questions: billed.questions,
    further,
    describe: ({ service, usageType }) => {
      const type = usageType === notTold ? '' : `, usage type ${JSON.stringify(usageType.text)},`;
      return `service ${JSON.stringify(service.text)}${type}`;
    },
    openColumns(capacity) {
      const regions = createCodes(billed.regions, capacity);
      const services = createCodes(billed.services, capacity);
      const types = createCodes(billed.usageTypes, capacity);
      const usage = usageTypes && createUsageColumns(units, capacity);
      const costs = costView?.openColumn(capacity);
      const items: BilledItem[] = [];
      const accounts: string[] = [];
      return {
        add(item, account, group, place) {
          if (usage?.add(group, place) === true) tally.rounded++;
          regions.add(item.regionIn(account, place).index);
          services.add(item.service.index);
          types.add(item.usageType.index);
          costs?.add(account, item.service.text, group, place);
          if (!isCounted) return;
          items.push(item);
          accounts.push(account);
        },
        take(money) {
          if (usageTypes !== undefined) addPairs(usageTypes, items, accounts, money);
          if (tally.services !== undefined) addServices(tally.services, further, items, money);
          return {
            Region: regions.take(),
            Service: services.take(),
            Category: types.take(),
            SubCategory: constant('N/A'),
            ...(usage === undefined ? noUsage : usage.take(money.Amount)),
            CostAmount: costs === undefined ? constant(null) : costs.take(money.Currency),
          };
        },
      };
    },
  };
}

/** The columns of money beside Amount that are asked for. */
function furtherColumns({ detail, metrics }: Scope): FurtherColumn[] {
  const asked = metrics.map((metric): FurtherColumn => [metric, metric]);
  return detail === 'usage-type' ? [...asked, ['DiscountedAmount', 'BlendedCost']] : asked;
}

/** Adds a page's rows to what is compared with AWS's own figures of usage types; neighbours of one item at once. */
function addPairs(
  usageTypes: UsageTypes,
  items: readonly BilledItem[],
  accounts: readonly string[],
  { Amount: amounts, Currency }: Money,
): void {
  for (let start = 0, end; start < items.length; start = end) {
    const item = items[start];
    if (item === undefined) return;
    const value = valueAt(Currency, start);
    end = start + 1;
    while (items[end] === item && valueAt(Currency, end) === value) end++;
    const [usageType, service] = [item.usageType.text, item.service.text];
    const currency = String(value);
    usageTypes.addRows({ usageType, service, currency, start, end, accounts, amounts });
  }
}

/** Adds a page's rows to the sums of their services, by metric. */
function addServices(
  sums: ServiceTotals,
  further: readonly FurtherColumn[],
  items: readonly BilledItem[],
  money: Money,
): void {
  // BlendedCost may be two columns.
  const byMetric = new Map<string, ColumnValues | undefined>([
    ['UnblendedCost', money.Amount],
    ...further.map(([name, metric]) => [metric, money[name]] as const),
  ]);
  for (const [metric, amounts] of byMetric)
    for (const [row, item] of items.entries()) {
      const units = valueAt(amounts, row);
      const currency = String(valueAt(money.Currency, row));
      if (typeof units === 'bigint')
        addToService(sums, item.service.text, metric, { currency, units });
    }
}

/** What a row's cost is for: a service, or a usage type of a service. */
export interface BilledItem extends Item {
  readonly service: Entry;
  readonly usageType: Entry;
  /** Its region, which may be each account's own. */
  readonly regionIn: (account: string, place: Place) => Entry;
}

/** What the detail by service has for a usage type and a region. */
const notTold: Entry = { text: 'N/A', index: 0 };

/** How an extraction's groups become rows, and the texts that the rows repeat. */
export interface Billed {
  readonly questions: readonly RowQuestion<BilledItem>[];
  readonly services: readonly string[];
  readonly usageTypes: readonly string[];
  readonly regions: readonly string[];
}

/** The only question of the detail by service. */
function billedByService(): Billed {
  const services = dictionaryOf('consumption', 'Service');
  const items: BilledItem[] = [];
  return {
    questions: [
      {
        query: costQuery,
        itemReader: ({ keyOf }) => {
          const serviceOf = keyOf('SERVICE');
          return (group, place) => {
            const service = services.of(serviceOf(group, place), place);
            return (items[service.index] ??= {
              index: service.index,
              service,
              usageType: notTold,
              regionIn: () => notTold,
            });
          };
        },
      },
    ],
    services: services.texts,
    usageTypes: [notTold.text],
    regions: [notTold.text],
  };
}

/**
 * The questions whose groups are the rows of the detail by usage type: by usage type and account, as far as
 * the usage type belongs to one service; and those about shared usage types.
 */
export function billedByUsageType(
  { queries }: Pick<ExtractionManifest, 'queries'>,
  known: Pick<UsageTypes, 'servicesOf' | 'regions' | 'addAccount'>,
): Billed {
  const services = dictionaryOf('consumption', 'Service');
  const usageTypes = dictionaryOf('consumption', 'Category');
  const regions = dictionaryOf('consumption', 'Region');
  // Service → usage type, by their indexes: a text of both could stand for two pairs.
  const items: BilledItem[][] = [];
  let count = 0;
  const itemOf = (serviceName: string, usageTypeName: string, place: Place): BilledItem => {
    const service = services.of(serviceName, place);
    const usageType = usageTypes.of(usageTypeName, place);
    const ofService = (items[service.index] ??= []);
    return (ofService[usageType.index] ??= {
      index: count++,
      service,
      usageType,
      regionIn: regionReader(usageTypeName, serviceName, place),
    });
  };
  const regionReader = (usageType: string, service: string, place: Place) => {
    const region = known.regions.of(usageType, service);
    if (typeof region === 'function')
      return (account: string, here: Place): Entry => regions.of(region(account), here);
    const entry = regions.of(region, place);
    return () => entry;
  };

  const shared = queries.filter(({ name }) => name.startsWith('usage-type-shared-'));
  const askedFor = new Set(shared.flatMap(({ filter }) => filter?.USAGE_TYPE ?? []));
  const onlyItemOf = (usageType: string, place: Place): BilledItem | undefined => {
    const [service, ...others] = known.servicesOf(usageType);
    return service === undefined || others.length > 0
      ? undefined
      : itemOf(service, usageType, place);
  };
  const byAccount: RowQuestion<BilledItem>['itemReader'] = ({ keyOf }) => {
    const [usageTypeOf, accountOf] = [keyOf('USAGE_TYPE'), keyOf('LINKED_ACCOUNT')];
    // Rows are ordered: mostly the usage type is the last row's.
    let last: string | undefined;
    let item: BilledItem | undefined;
    return (group, place) => {
      const usageType = usageTypeOf(group, place);
      if (usageType !== last) item = onlyItemOf((last = usageType), place);
      if (item !== undefined) return item;
      if (!askedFor.has(usageType))
        throw rowFault(place, `has usage type ${JSON.stringify(usageType)}, of no one service`);
      // Other questions tell the rows, which have to be what AWS says here.
      const { units, unit: currency } = metricAmount(group, 'UnblendedCost', place);
      known.addAccount({ usageType, account: accountOf(group, place), currency, units });
      return undefined;
    };
  };
  // Of the two dimensions one groups, and the other has a single value by the question's filter.
  const byFilter: RowQuestion<BilledItem>['itemReader'] = ({ keyOf }) => {
    const [serviceOf, usageTypeOf] = [keyOf('SERVICE'), keyOf('USAGE_TYPE')];
    return (group, place) => itemOf(serviceOf(group, place), usageTypeOf(group, place), place);
  };
  return {
    questions: queries.flatMap((query): RowQuestion<BilledItem>[] => {
      if (query.name === 'usage-type-account') return [{ query, itemReader: byAccount }];
      return shared.includes(query) ? [{ query, itemReader: byFilter }] : [];
    }),
    services: services.texts,
    usageTypes: usageTypes.texts,
    regions: regions.texts,
  };
}
