import type { DataError } from '../pipeline/shared/errors.js';
import type { ColumnValues, RowBatch } from '../pipeline/staging/batch.js';
import type { StagedGroup } from '../pipeline/staging/answers.js';
import type { Query } from '../pipeline/staging/manifest.js';
import type { Column } from '../pipeline/staging/tables.js';
import type { FurtherColumn, Money, RowTally, Stamp } from './columns.js';
import {
  batchOf,
  createCodes,
  createCostColumns,
  createDictionary,
  createPairs,
} from './columns.js';
import { addNames } from './customer-rows.js';
import type { CostPage, FinishedExtraction, Place } from './staged-pages.js';
import { checkAccountId, costPages, rowFault } from './staged-pages.js';

/** What a row's cost is for, such as a service. Many rows share one. */
export interface Item {
  /** 0, 1, 2 … in order of first appearance. */
  readonly index: number;
}

/** A question whose groups are rows. */
export interface RowQuestion<I extends Item> {
  readonly query: Query;
  /** Reads what a page's groups are for; `undefined` for a group whose rows other questions tell. */
  readonly itemReader: (page: Pick<CostPage, 'keyOf'>) => ItemReader<I>;
}

export type ItemReader<I extends Item> = (group: StagedGroup, place: Place) => I | undefined;

/** How an extraction's groups become the rows of a table, each an account's cost for one item. */
export interface RowSource<I extends Item> {
  table: readonly Column[];
  questions: readonly RowQuestion<I>[];
  /** The columns of money beside Amount that are asked for. */
  further: readonly FurtherColumn[];
  /** An item in words, for errors. */
  describe: (item: I) => string;
  /** Begins the columns that the table has beside account and money. @param capacity Rows of a page to make room for. */
  openColumns: (capacity: number) => ItemColumns<I>;
}

/** The columns of a page's rows that tell their items. */
export interface ItemColumns<I extends Item> {
  add(item: I, account: string, group: StagedGroup, place: Place): void;
  /** The columns by name. */
  take(money: Money): Readonly<Record<string, ColumnValues>>;
}

/**
 * The rows of a table in the order AWS gave them, one batch a staged page.
 * @throws {DataError} naming file and row of a group that is incomplete, is no number, or was there before.
 */
export async function* rowBatches<I extends Item>(
  extraction: FinishedExtraction,
  source: RowSource<I>,
  stamp: Stamp,
  tally: RowTally,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const known = createDictionary(checkAccountId);
  const openCosts = createCostColumns(source.further, tally);
  const isNew = createPairs();
  const names = new Map<string, string>();
  for (const { query, itemReader } of source.questions) {
    for await (const page of costPages(extraction, query, signal)) {
      addNames(names, page);
      const [accountOf, itemOf] = [page.keyOf('LINKED_ACCOUNT'), itemReader(page)];
      const { length: capacity } = page.groups;
      const accounts = createCodes(known.texts, capacity);
      const [costs, items] = [openCosts(capacity), source.openColumns(capacity)];
      const place = { where: page.where, row: 0 };
      let length = 0;
      for (const group of page.groups) {
        place.row++;
        const item = itemOf(group, place);
        const account = known.of(accountOf(group, place), place);
        if (item === undefined) continue;
        // The item first: mostly it is the last row's, and its bits are at hand.
        if (!isNew(item, account))
          throw await repetition(extraction, source, item, account.text, place, signal);
        accounts.add(account.index);
        costs.add(group, page.estimated, place);
        items.add(item, account.text, group, place);
        length++;
      }
      // Read, and let go of: while the rows are written, garbage collection would carry every group along.
      page.groups.length = 0;
      const money = costs.take();
      yield batchOf(source.table, length, stamp, {
        Reference: accounts.take(),
        ...items.take(money),
        ...money,
      });
    }
  }
  for (const account of known.texts) tally.accounts.set(account, names.get(account) ?? '');
}

/** AWS answers each group once: a repeated one means that a page was answered, or staged, twice. */
async function repetition<I extends Item>(
  extraction: FinishedExtraction,
  { questions, describe }: RowSource<I>,
  item: I,
  account: string,
  again: Place,
  signal: AbortSignal,
): Promise<DataError> {
  const said = `repeats ${describe(item)} of account ${account}`;
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
