import { columnOf } from '../pipeline/staging/answers.js';
import { coded, constant, valueAt } from '../pipeline/staging/batch.js';
import type { ColumnValues, RowBatch } from '../pipeline/staging/batch.js';
import type { DataError } from '../pipeline/shared/errors.js';
import type { ServiceTotals } from '../pipeline/shared/sums.js';
import { addToService, noSums } from '../pipeline/shared/sums.js';
import type { Scope } from '../pipeline/shared/scope.js';
import type { Dimension, Query } from '../pipeline/staging/manifest.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import { consumption } from '../pipeline/staging/tables.js';
import { hasServices } from './checks.js';
import type { FurtherColumn, KeyOf, Place, RowTally, Stamp, Term, Terms } from './columns.js';
import {
  batchOf,
  checkAccountId,
  checkLength,
  countGroups,
  createCostColumns,
  createPairs,
  createTerms,
  keyReader,
  rowFault,
  valueOf,
} from './columns.js';
import type { Regions } from './region.js';
import { readRegions, reader } from './region.js';
import type { CostPage, Group, Page, StagedExtraction } from './staged-pages.js';
import { costPages } from './staged-pages.js';
import type { PairDifference, UsageTypes } from './usage-types.js';
import {
  comparePairs,
  createUsageColumns,
  noUsage,
  readUsageTypes,
  unitTerms,
} from './usage-types.js';

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
  extraction: StagedExtraction,
  stamp: Stamp,
  tally: ConsumptionTally,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const scope = extraction.manifest.scope;
  const usageTypes =
    scope.detail === 'usage-type' ? await readUsageTypes(extraction, signal) : undefined;
  const regions = usageTypes && (await readRegions(extraction, signal));
  const readings =
    usageTypes === undefined || regions === undefined
      ? serviceReadings()
      : usageTypeReadings(extraction, usageTypes, regions);
  const byService: ServiceTotals | undefined = hasServices(extraction) ? new Map() : undefined;
  const accounts = createTerms(checkAccountId);
  const openCosts = createCostColumns(furtherColumns(scope), tally);
  const units = unitTerms();
  const isNew = createPairs();
  const names = new Map<string, string>();

  for (const { query, subjects } of readings.list) {
    for await (const page of costPages(extraction, query.name, signal)) {
      addNames(names, page);
      const capacity = countGroups(page.content);
      const keyOf = keyReader(page.content, query.groupBy);
      const [accountOf, subjectOf] = [keyOf('LINKED_ACCOUNT'), subjects(keyOf)];
      const costs = openCosts(capacity);
      const usage = usageTypes && createUsageColumns(units, capacity);
      const codes = new Uint32Array(capacity);
      const regionCodes = new Uint32Array(capacity);
      const rowSubjects: Subject[] = [];
      const place = { where: page.where, row: 0 };
      for (const { Groups = [], Estimated = false } of page.content.ResultsByTime) {
        for (const group of Groups) {
          place.row++;
          const subject = subjectOf(group, place);
          const account = accounts.of(accountOf(group, place), place);
          if (subject === undefined) {
            const usageType = keyOf('USAGE_TYPE')(group, place);
            tellAccount(usageTypes, usageType, account.text, group, place);
            continue;
          }
          if (!isNew(account, subject)) {
            const again = { account: account.text, subject, place };
            throw await repetition(extraction, readings, again, signal);
          }
          costs.add(group, Estimated, place);
          if (usage?.add(group, place) === true) tally.rounded++;
          codes[rowSubjects.length] = account.index;
          if (subject.usage !== undefined)
            regionCodes[rowSubjects.length] = subject.usage.regionIn(account.text, place).index;
          rowSubjects.push(subject);
        }
      }
      const length = rowSubjects.length;
      const rowAccounts = codes.subarray(0, length);
      const columns = costs.take();
      if (usageTypes !== undefined) {
        for (const [row, { service, usage }] of rowSubjects.entries()) {
          usageTypes.addRow({
            usageType: usage?.type.text ?? '',
            service: service.text,
            account: accounts.texts[rowAccounts[row] ?? 0] ?? '',
            currency: String(valueAt(columns.Currency, row)),
            units: columns.Amount.units(row) ?? 0n,
          });
        }
      }
      if (byService !== undefined) addServices(byService, scope, rowSubjects, columns);
      yield batchOf(consumption, length, stamp, {
        Reference: coded(accounts.texts, rowAccounts),
        ...subjectColumns(readings, rowSubjects, regionCodes.subarray(0, length)),
        SubCategory: constant('N/A'),
        ...(usage === undefined ? noUsage : usage.take(columns.Amount)),
        ...columns,
      });
    }
  }
  for (const account of accounts.texts) tally.accounts.set(account, names.get(account) ?? '');
  if (usageTypes !== undefined) tally.pairs = comparePairs(usageTypes.pairs());
  if (regions !== undefined) tally.severalRegions = regions.several;
  tally.services = byService;
}

/** The columns of money beside Amount that are asked for. */
function furtherColumns({ detail, metrics }: Scope): FurtherColumn[] {
  const asked = metrics.map((metric): FurtherColumn => [metric, metric]);
  return detail === 'usage-type' ? [...asked, ['DiscountedAmount', 'BlendedCost']] : asked;
}

/** Adds a page's rows to the sums of their services, by metric. */
function addServices(
  services: ServiceTotals,
  scope: Scope,
  rows: readonly Subject[],
  columns: Readonly<Record<string, ColumnValues>>,
): void {
  const sources = new Map<string, ColumnValues | undefined>([
    ['UnblendedCost', columns['Amount']],
    ...furtherColumns(scope).map(([name, metric]) => [metric, columns[name]] as const),
  ]);
  for (const [metric, values] of sources) {
    if (values === undefined) continue;
    for (const [row, { service }] of rows.entries()) {
      const units = valueAt(values, row);
      const currency = String(valueAt(columns['Currency'] ?? constant(''), row));
      if (typeof units === 'bigint')
        addToService(services, service.text, metric, { currency, units });
    }
  }
}

function subjectColumns(
  { services, usageTypes, regions }: Readings,
  rows: readonly Subject[],
  regionCodes: Uint32Array,
) {
  const codes = (codeOf: (subject: Subject) => number): Uint32Array =>
    Uint32Array.from(rows, codeOf);
  const Service = coded(
    services.texts,
    codes(({ service }) => service.index),
  );
  if (usageTypes.texts.length === 0)
    return { Region: constant('N/A'), Service, Category: constant('N/A') };
  return {
    Region: coded(regions.texts, regionCodes),
    Service,
    Category: coded(
      usageTypes.texts,
      codes(({ usage }) => usage?.type.index ?? 0),
    ),
  };
}

/** Takes note of what AWS says of a shared usage type and an account; other questions tell its rows. */
function tellAccount(
  usageTypes: UsageTypes | undefined,
  usageType: string,
  account: string,
  group: Group,
  place: Place,
): void {
  const { units, unit: currency } = valueOf(group, 'UnblendedCost', place);
  usageTypes?.addAccount({ usageType, account, currency, units });
}

const nameColumn = columnOf('customers', 'TenantName');

/** Takes note of the account names that Cost Explorer tells beside its groups. */
export function addNames(names: Map<string, string>, { where, content }: Page<CostPage>): void {
  for (const [index, attributes] of (content.DimensionValueAttributes ?? []).entries()) {
    const { Value: id, Attributes: { description: name } = {} } = attributes;
    // Page after page names the same accounts.
    if (id !== undefined && name !== undefined && names.get(id) === name) continue;
    // Other dimensions' values stand in the same list.
    if (id === undefined || name === undefined || !/^\d{12}$/.test(id)) continue;
    names.set(id, checkLength(nameColumn, name, { where, row: index + 1 }));
  }
}

/** AWS answers each group once: a repeated one means that a page was answered, or staged, twice. */
async function repetition(
  extraction: StagedExtraction,
  { list }: Readings,
  { account, subject, place: again }: { account: string; subject: Subject; place: Place },
  signal: AbortSignal,
): Promise<DataError> {
  const type = subject.usage && `, usage type ${JSON.stringify(subject.usage.type.text)},`;
  const said = `repeats service ${JSON.stringify(subject.service.text)}${type ?? ''} of account ${account}`;
  for (const { query, subjects } of list) {
    for await (const { where, content } of costPages(extraction, query.name, signal)) {
      const keyOf = keyReader(content, query.groupBy);
      const [accountOf, subjectOf] = [keyOf('LINKED_ACCOUNT'), subjects(keyOf)];
      const groups = content.ResultsByTime.flatMap(({ Groups = [] }) => Groups);
      for (const [index, group] of groups.entries()) {
        const place = { where, row: index + 1 };
        if (subjectOf(group, place) === subject && accountOf(group, place) === account)
          return rowFault(again, `${said}, which row ${place.row} of ${place.where} has already`);
      }
    }
  }
  return rowFault(again, said);
}

/** What a row's cost is for: a service, or a usage type of a service. Many rows share one. */
export interface Subject {
  /** 0, 1, 2 … in order of first appearance. */
  readonly index: number;
  readonly service: Term;
  /** The usage type, and its region, which may be each account's own; `undefined` in the detail by service. */
  readonly usage:
    { readonly type: Term; readonly regionIn: (account: string, place: Place) => Term } | undefined;
}

/** How the groups of one question become rows. */
export interface Reading {
  readonly query: Query;
  /**
   * Reads the subjects of a page's groups, of which `keyOf` tells the dimensions; `undefined` for a group
   * whose rows other questions tell.
   */
  readonly subjects: (
    keyOf: (dimension: Dimension) => KeyOf,
  ) => (group: Group, place: Place) => Subject | undefined;
}

/** The questions that tell the rows of an extraction, and the texts that the rows repeat. */
export interface Readings {
  readonly list: readonly Reading[];
  readonly services: Terms;
  readonly usageTypes: Terms;
  readonly regions: Terms;
}

const columns = {
  service: columnOf('consumption', 'Service'),
  category: columnOf('consumption', 'Category'),
  region: columnOf('consumption', 'Region'),
};

function termsOf(column: (typeof columns)[keyof typeof columns]): Terms {
  return createTerms((text, place) => {
    checkLength(column, text, place);
  });
}

/** The only question of the detail by service. */
export function serviceReadings(): Readings {
  const services = termsOf(columns.service);
  const known: Subject[] = [];
  const subjectOf = (service: Term): Subject =>
    (known[service.index] ??= { index: service.index, service, usage: undefined });
  return {
    list: [
      {
        query: costQuery,
        subjects: (keyOf) => {
          const serviceOf = keyOf('SERVICE');
          return (group, place) => subjectOf(services.of(serviceOf(group, place), place));
        },
      },
    ],
    services,
    usageTypes: termsOf(columns.category),
    regions: termsOf(columns.region),
  };
}

/**
 * The questions whose groups are the rows of the detail by usage type: by usage type and account, as far as
 * the usage type belongs to one service; and those about shared usage types.
 */
export function usageTypeReadings(
  { manifest }: StagedExtraction,
  known: UsageTypes,
  where: Regions,
): Readings {
  const services = termsOf(columns.service);
  const usageTypes = termsOf(columns.category);
  const regions = termsOf(columns.region);
  // Service → usage type, by their indexes: a text of both could stand for two pairs.
  const subjects: Subject[][] = [];
  let count = 0;
  const subjectOf = (serviceName: string, usageType: string, place: Place): Subject => {
    const service = services.of(serviceName, place);
    const type = usageTypes.of(usageType, place);
    const ofService = (subjects[service.index] ??= []);
    let subject = ofService[type.index];
    if (subject === undefined) {
      subject = {
        index: count++,
        service,
        usage: { type, regionIn: regionReader(where.of(usageType, serviceName), place) },
      };
      ofService[type.index] = subject;
    }
    return subject;
  };

  const regionReader = (region: ReturnType<Regions['of']>, place: Place) => {
    if (typeof region === 'function')
      return (account: string, here: Place): Term => regions.of(region(account), here);
    const term = regions.of(region, place);
    return () => term;
  };

  const askedFor = new Set(
    manifest.queries.flatMap(({ name, filter }) =>
      name.startsWith('usage-type-shared-') ? (filter?.USAGE_TYPE ?? []) : [],
    ),
  );
  const byAccount: Reading['subjects'] = (keyOf) => {
    const usageTypeOf = keyOf('USAGE_TYPE');
    return (group, place) => {
      const usageType = usageTypeOf(group, place);
      const [service, ...others] = known.servicesOf(usageType);
      if (service !== undefined && others.length === 0) return subjectOf(service, usageType, place);
      if (askedFor.has(usageType)) return undefined;
      throw rowFault(place, `has usage type ${JSON.stringify(usageType)}, of no one service`);
    };
  };
  // Of the two dimensions one groups, and the other has a single value by the question's filter.
  const shared = (query: Query): Reading['subjects'] => {
    return (keyOf) => {
      const serviceOf = reader(query, 'SERVICE', keyOf);
      const usageTypeOf = reader(query, 'USAGE_TYPE', keyOf);
      return (group, place) => subjectOf(serviceOf(group, place), usageTypeOf(group, place), place);
    };
  };
  const list = manifest.queries.flatMap((query): Reading[] => {
    if (query.name === 'usage-type-account') return [{ query, subjects: byAccount }];
    return query.name.startsWith('usage-type-shared-') ? [{ query, subjects: shared(query) }] : [];
  });
  return { list, services, usageTypes, regions };
}
