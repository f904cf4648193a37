import { coded } from '../pipeline/staging/batch.js';
import type { RowBatch } from '../pipeline/staging/batch.js';
import { recordTypeQuery } from '../pipeline/staging/manifest.js';
import { charges } from '../pipeline/staging/tables.js';
import type { RowTally, Stamp } from './columns.js';
import {
  batchOf,
  createCostColumns,
  createDictionary,
  createPairs,
  dictionaryOf,
} from './columns.js';
import { addNames } from './customers.js';
import type { FinishedExtraction } from './staged-pages.js';
import { checkAccountId, costPages, rowFault } from './staged-pages.js';

/**
 * The rows of the charges table in the order AWS gave them, one batch a staged page.
 * @throws {DataError} naming file and row of a group that is incomplete, is no number, or was there before.
 */
export async function* chargesBatches(
  extraction: FinishedExtraction,
  stamp: Stamp,
  tally: RowTally,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const { metrics } = extraction.manifest.scope;
  const openCosts = createCostColumns(
    metrics.map((metric) => [metric, metric]),
    tally,
  );
  const accounts = createDictionary(checkAccountId);
  const types = dictionaryOf('charges', 'RecordType');
  const isNew = createPairs();
  const names = new Map<string, string>();
  for await (const page of costPages(extraction, recordTypeQuery, signal)) {
    addNames(names, page);
    const { length } = page.groups;
    const [accountOf, typeOf] = [page.keyOf('LINKED_ACCOUNT'), page.keyOf('RECORD_TYPE')];
    const costs = openCosts(length);
    const codes = { accounts: new Uint32Array(length), types: new Uint32Array(length) };
    const place = { where: page.where, row: 0 };
    for (const group of page.groups) {
      const row = place.row++;
      const account = accounts.of(accountOf(group, place), place);
      const type = types.of(typeOf(group, place), place);
      if (!isNew(account, type)) {
        const said = `charge type ${JSON.stringify(type.text)} of account ${account.text}`;
        throw rowFault(place, `repeats ${said}`);
      }
      costs.add(group, page.estimated, place);
      codes.accounts[row] = account.index;
      codes.types[row] = type.index;
    }
    yield batchOf(charges, length, stamp, {
      Reference: coded(accounts.texts, codes.accounts),
      RecordType: coded(types.texts, codes.types),
      ...costs.take(),
    });
  }
  for (const account of accounts.texts) tally.accounts.set(account, names.get(account) ?? '');
}
