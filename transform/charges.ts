import type { RowBatch } from '../pipeline/staging/batch.js';
import { recordTypeQuery } from '../pipeline/staging/manifest.js';
import { charges } from '../pipeline/staging/tables.js';
import type { Entry, RowTally, Stamp } from './columns.js';
import { createCodes, dictionaryOf } from './columns.js';
import type { RowSource } from './rows.js';
import { rowBatches } from './rows.js';
import type { FinishedExtraction } from './staged-pages.js';

/** The rows of the charges table, each an account's cost of one charge type, see {@link rowBatches}. */
export function chargesBatches(
  extraction: FinishedExtraction,
  stamp: Stamp,
  tally: RowTally,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const types = dictionaryOf('charges', 'RecordType');
  const source: RowSource<Entry> = {
    table: charges,
    questions: [
      {
        query: recordTypeQuery,
        itemReader: ({ keyOf }) => {
          const typeOf = keyOf('RECORD_TYPE');
          return (group, place) => types.of(typeOf(group, place), place);
        },
      },
    ],
    further: extraction.manifest.scope.metrics.map((metric) => [metric, metric]),
    describe: ({ text }) => `charge type ${JSON.stringify(text)}`,
    openColumns(capacity) {
      const codes = createCodes(types.texts, capacity);
      return {
        add: ({ index }) => {
          codes.add(index);
        },
        take: () => ({ RecordType: codes.take() }),
      };
    },
  };
  return rowBatches(extraction, source, stamp, tally, signal);
}
