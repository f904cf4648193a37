import { coded, constant, valueAt } from '../pipeline/staging/batch.js';
import type { ColumnValues, RowBatch } from '../pipeline/staging/batch.js';
import type { DataError } from '../pipeline/shared/errors.js';
import type { ServiceTotals } from '../pipeline/shared/sums.js';
import { addToService, noSums } from '../pipeline/shared/sums.js';
import type { Scope } from '../pipeline/shared/scope.js';
import type { StagedGroup } from '../pipeline/staging/answers.js';
import type { ExtractionManifest, Query } from '../pipeline/staging/manifest.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import { consumption } from '../pipeline/staging/tables.js';
import { hasServices } from './checks.js';
import type { Entry, FurtherColumn, RowTally, Stamp } from './columns.js';
import {
  batchOf,
  createCostColumns,
  createDictionary,
  createPairs,
  dictionaryOf,
} from './columns.js';
import { addNames } from './customers.js';
import type { CostPage, FinishedExtraction, Place } from './staged-pages.js';
import { checkAccountId, costPages, metricAmount, rowFault } from './staged-pages.js';
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
  };
}

/**
 * The rows of an extraction in the order AWS gave them, one batch a staged page.
 * @throws {DataError} naming file and row of a group that is incomplete, is no number, or was there before.
 */
export async function* consumptionBatches(
  extraction: FinishedExtraction,
  stamp: Stamp,
  tally: ConsumptionTally,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const { manifest } = extraction;
  const { scope } = manifest;
  const usageTypes =
    scope.detail === 'usage-type' ? await readUsageTypes(extraction, signal) : undefined;
  const billed =
    usageTypes === undefined ? billedByService() : billedByUsageType(manifest, usageTypes);
  const services: ServiceTotals | undefined = hasServices(extraction) ? new Map() : undefined;
  const accounts = createDictionary(checkAccountId);
  const units = dictionaryOf('consumption', 'Unit');
  const openCosts = createCostColumns(furtherColumns(scope), tally);
  const isNew = createPairs();
  const names = new Map<string, string>();

  for (const { query, itemReader } of billed.questions) {
    for await (const page of costPages(extraction, query, signal)) {
      addNames(names, page);
      const [accountOf, itemOf] = [page.keyOf('LINKED_ACCOUNT'), itemReader(page)];
      const { length: capacity } = page.groups;
      const costs = openCosts(capacity);
      const usage = usageTypes && createUsageColumns(units, capacity);
      const codes = {
        account: new Uint32Array(capacity),
        region: new Uint32Array(capacity),
        service: new Uint32Array(capacity),
        usageType: new Uint32Array(capacity),
      };
      const items: BilledItem[] = [];
      const place = { where: page.where, row: 0 };
      for (const group of page.groups) {
        place.row++;
        const item = itemOf(group, place);
        const account = accounts.of(accountOf(group, place), place);
        if (item === undefined) {
          // Other questions tell the rows, which have to be what AWS says here.
          const usageType = page.keyOf('USAGE_TYPE')(group, place);
          const { units, unit: currency } = metricAmount(group, 'UnblendedCost', place);
          usageTypes?.addAccount({ usageType, account: account.text, currency, units });
          continue;
        }
        if (!isNew(account, item))
          throw await repetition(extraction, billed, item, account.text, place, signal);
        costs.add(group, page.estimated, place);
        if (usage?.add(group, place) === true) tally.rounded++;
        codes.account[items.length] = account.index;
        codes.region[items.length] = item.regionIn(account.text, place).index;
        codes.service[items.length] = item.service.index;
        codes.usageType[items.length] = item.usageType.index;
        items.push(item);
      }
      const columns = costs.take();
      const rowsOf = (values: readonly string[], of: Uint32Array): ColumnValues =>
        coded(values, of.subarray(0, items.length));
      if (usageTypes !== undefined)
        for (const [row, { usageType, service }] of items.entries())
          usageTypes.addRow({
            usageType: usageType.text,
            service: service.text,
            account: accounts.texts[codes.account[row] ?? 0] ?? '',
            currency: String(valueAt(columns.Currency, row)),
            units: columns.Amount.units(row) ?? 0n,
          });
      if (services !== undefined) addServices(services, scope, items, columns);
      yield batchOf(consumption, items.length, stamp, {
        Reference: rowsOf(accounts.texts, codes.account),
        Region: rowsOf(billed.regions, codes.region),
        Service: rowsOf(billed.services, codes.service),
        Category: rowsOf(billed.usageTypes, codes.usageType),
        SubCategory: constant('N/A'),
        ...(usage === undefined ? noUsage : usage.take(columns.Amount)),
        ...columns,
      });
    }
  }
  for (const account of accounts.texts) tally.accounts.set(account, names.get(account) ?? '');
  if (usageTypes !== undefined) {
    tally.pairs = comparePairs(usageTypes.pairs());
    tally.severalRegions = usageTypes.regions.several;
  }
  tally.services = services;
}

/** The columns of money beside Amount that are asked for. */
function furtherColumns({ detail, metrics }: Scope): FurtherColumn[] {
  const asked = metrics.map((metric): FurtherColumn => [metric, metric]);
  return detail === 'usage-type' ? [...asked, ['DiscountedAmount', 'BlendedCost']] : asked;
}

/** Adds a page's rows to the sums of their services, by metric. */
function addServices(
  sums: ServiceTotals,
  scope: Scope,
  items: readonly BilledItem[],
  columns: Readonly<Record<string, ColumnValues>>,
): void {
  // BlendedCost may be two columns.
  const byMetric = new Map([
    ['UnblendedCost', columns['Amount']],
    ...furtherColumns(scope).map(([name, metric]) => [metric, columns[name]] as const),
  ]);
  for (const [metric, amounts] of byMetric)
    for (const [row, { service }] of items.entries()) {
      const units = valueAt(amounts, row);
      const currency = String(valueAt(columns['Currency'], row));
      if (typeof units === 'bigint') addToService(sums, service.text, metric, { currency, units });
    }
}

/** AWS answers each group once: a repeated one means that a page was answered, or staged, twice. */
async function repetition(
  extraction: FinishedExtraction,
  { questions }: Billed,
  item: BilledItem,
  account: string,
  again: Place,
  signal: AbortSignal,
): Promise<DataError> {
  const type =
    item.usageType === notTold ? '' : `, usage type ${JSON.stringify(item.usageType.text)},`;
  const said = `repeats service ${JSON.stringify(item.service.text)}${type} of account ${account}`;
  for (const { query, itemReader } of questions) {
    for await (const page of costPages(extraction, query, signal)) {
      const [accountOf, itemOf] = [page.keyOf('LINKED_ACCOUNT'), itemReader(page)];
      for (const [index, group] of page.groups.entries()) {
        const place = { where: page.where, row: index + 1 };
        if (itemOf(group, place) === item && accountOf(group, place) === account)
          return rowFault(again, `${said}, which row ${place.row} of ${place.where} has already`);
      }
    }
  }
  return rowFault(again, said);
}

/** What a row's cost is for: a service, or a usage type of a service. Many rows share one. */
export interface BilledItem {
  /** 0, 1, 2 … in order of first appearance. */
  readonly index: number;
  readonly service: Entry;
  readonly usageType: Entry;
  /** Its region, which may be each account's own. */
  readonly regionIn: (account: string, place: Place) => Entry;
}

/** What the detail by service has for a usage type and a region. */
const notTold: Entry = { text: 'N/A', index: 0 };

/** How an extraction's groups become rows, and the texts that the rows repeat. */
export interface Billed {
  readonly questions: readonly RowQuestion[];
  readonly services: readonly string[];
  readonly usageTypes: readonly string[];
  readonly regions: readonly string[];
}

/** A question whose groups are rows. */
interface RowQuestion {
  readonly query: Query;
  /** Reads what a page's groups are for; `undefined` for a group whose rows other questions tell. */
  readonly itemReader: (page: Pick<CostPage, 'keyOf'>) => ItemReader;
}

type ItemReader = (group: StagedGroup, place: Place) => BilledItem | undefined;

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
  known: Pick<UsageTypes, 'servicesOf' | 'regions'>,
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
  const byAccount: RowQuestion['itemReader'] = ({ keyOf }) => {
    const usageTypeOf = keyOf('USAGE_TYPE');
    return (group, place) => {
      const usageType = usageTypeOf(group, place);
      const [service, ...others] = known.servicesOf(usageType);
      if (service !== undefined && others.length === 0) return itemOf(service, usageType, place);
      if (askedFor.has(usageType)) return undefined;
      throw rowFault(place, `has usage type ${JSON.stringify(usageType)}, of no one service`);
    };
  };
  // Of the two dimensions one groups, and the other has a single value by the question's filter.
  const byFilter: RowQuestion['itemReader'] = ({ keyOf }) => {
    const [serviceOf, usageTypeOf] = [keyOf('SERVICE'), keyOf('USAGE_TYPE')];
    return (group, place) => itemOf(serviceOf(group, place), usageTypeOf(group, place), place);
  };
  return {
    questions: queries.flatMap((query): RowQuestion[] => {
      if (query.name === 'usage-type-account') return [{ query, itemReader: byAccount }];
      return shared.includes(query) ? [{ query, itemReader: byFilter }] : [];
    }),
    services: services.texts,
    usageTypes: usageTypes.texts,
    regions: regions.texts,
  };
}
