import type { DataError } from '../pipeline/errors.js';
import type { ServiceTotals } from '../pipeline/money.js';
import { addToService } from '../pipeline/money.js';
import type { Scope } from '../pipeline/scope.js';
import { scopeOf } from '../pipeline/staging/manifest.js';
import { consumption } from '../pipeline/staging/tables.js';
import { hasServices } from './aws-total.js';
import type { ColumnValues, RowBatch } from './batch.js';
import { coded, constant, valueAt } from './batch.js';
import type { FurtherColumn, RowTally } from './cost-columns.js';
import { createCostColumns } from './cost-columns.js';
import { countGroups, keyReader, valueOf } from './costs.js';
import type { CostPage, Group, Page, StagedExtraction } from './pages.js';
import { costPages } from './pages.js';
import type { PairDifference } from './pairs.js';
import { comparePairs } from './pairs.js';
import type { Regions } from './region.js';
import { readRegions } from './region.js';
import type { Place, Stamp } from './rows.js';
import { batchOf, checkAccountId, checkLength, columnOf, rowFault } from './rows.js';
import type { Readings, Subject } from './subjects.js';
import { serviceReadings, usageTypeReadings } from './subjects.js';
import { createPairs, createTerms } from './terms.js';
import { createUsageColumns, noUsage, unitTerms } from './usage-columns.js';
import type { UsageTypes } from './usage-types.js';
import { readUsageTypes } from './usage-types.js';

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
    rows: 0,
    rounded: 0,
    totals: new Map(),
    columns: new Map(),
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
  const scope = scopeOf(extraction.manifest);
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
