import type { Units } from '../pipeline/money.js';
import { addTo, addToNamed } from '../pipeline/money.js';
import { furtherMetrics } from '../pipeline/scope.js';
import type { Dimension } from '../pipeline/staging/manifest.js';
import { scopeOf } from '../pipeline/staging/manifest.js';
import type { Batch } from '../pipeline/staging/tables.js';
import { charges } from '../pipeline/staging/tables.js';
import type { RowTally } from './consumption.js';
import { addNames } from './consumption.js';
import { currencyColumn, furtherCost, groupsOf, keyReader, valueOf } from './costs.js';
import type { StagedExtraction } from './pages.js';
import { costPages } from './pages.js';
import type { Stamp } from './rows.js';
import { batchOf, checkAccountId, checkLength, columnOf, rowFault } from './rows.js';
import { createPairs, createTerms } from './terms.js';

const groupBy: readonly Dimension[] = ['RECORD_TYPE', 'LINKED_ACCOUNT'];
const recordType = columnOf('charges', 'RecordType');

/**
 * The rows of the charges table in the order AWS gave them, one batch a staged page.
 * @throws {DataError} naming file and row of a group that is incomplete, is no number, or was there before.
 */
export async function* chargesBatches(
  extraction: StagedExtraction,
  stamp: Stamp,
  tally: RowTally,
  signal: AbortSignal,
): AsyncGenerator<Batch> {
  const { metrics } = scopeOf(extraction.manifest);
  const accounts = createTerms(checkAccountId);
  const types = createTerms((text, place) => {
    checkLength(recordType, text, place);
  });
  const isNew = createPairs();
  const names = new Map<string, string>();
  for await (const page of costPages(extraction, 'record-type', signal)) {
    addNames(names, page);
    const keyOf = keyReader(page.content, groupBy);
    const columns = {
      Reference: [] as string[],
      RecordType: [] as string[],
      Amount: [] as Units[],
      Currency: [] as string[],
      Estimated: [] as boolean[],
    };
    const further = new Map(metrics.map((metric) => [metric, [] as Units[]]));
    for (const { group, estimated, place } of groupsOf(page)) {
      const account = accounts.of(keyOf('LINKED_ACCOUNT', group, place), place);
      const type = types.of(keyOf('RECORD_TYPE', group, place), place);
      if (!isNew(account, type)) {
        throw rowFault(
          place,
          `repeats charge type ${JSON.stringify(type.text)} of account ${account.text}`,
        );
      }
      const { units, rounded, unit: currency } = valueOf(group, 'UnblendedCost', place);
      checkLength(currencyColumn, currency, place);
      if (rounded) tally.rounded++;
      addTo(tally.totals, currency, units);
      columns.Reference.push(account.text);
      columns.RecordType.push(type.text);
      columns.Amount.push(units);
      columns.Currency.push(currency);
      columns.Estimated.push(estimated);
      for (const [metric, values] of further) {
        const cost = furtherCost(group, metric, currency, place);
        if (cost.rounded) tally.rounded++;
        addToNamed(tally.columns, metric, currency, cost.units);
        values.push(cost.units);
      }
    }
    const { length } = columns.Amount;
    tally.rows += length;
    yield batchOf(charges, length, stamp, {
      ...columns,
      ...Object.fromEntries(furtherMetrics.map((name) => [name, further.get(name) ?? null])),
    });
  }
  for (const account of accounts.all()) tally.accounts.set(account, names.get(account) ?? '');
}
