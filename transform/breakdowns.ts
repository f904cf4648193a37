import type { Breakdown } from '../pipeline/shared/dimensions.js';
import { addMoney, noSums } from '../pipeline/shared/sums.js';
import type { RowBatch } from '../pipeline/staging/batch.js';
import { constant } from '../pipeline/staging/batch.js';
import { breakdownQuery } from '../pipeline/staging/manifest.js';
import { breakdowns } from '../pipeline/staging/tables.js';
import type { Entry, RowTally, Stamp } from './columns.js';
import { createCodes, dictionaryOf } from './columns.js';
import type { RowSource } from './rows.js';
import { rowBatches } from './rows.js';
import type { FinishedExtraction } from './staged-pages.js';

/** What one dimension's rows add up to. */
export interface BreakdownTally extends RowTally {
  /** Distinct values, the empty one left out: AWS gives that where there is none. */
  values: number;
}

/** What the rows of breakdowns add up to: each dimension's, since each tells the whole cost once more. */
export type BreakdownTallies = Map<Breakdown, BreakdownTally>;

/**
 * The rows of the table of breakdowns: dimension after dimension in the order of their names, each in the order AWS
 * gave, see {@link rowBatches}.
 * @param tallies gets what each dimension's rows add up to.
 */
export async function* breakdownBatches(
  extraction: FinishedExtraction,
  stamp: Stamp,
  tallies: BreakdownTallies,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  for (const { dimension } of extraction.manifest.breakdowns) {
    const tally = { ...noSums(), rounded: 0, accounts: new Map<string, string>(), values: 0 };
    tallies.set(dimension, tally);
    const values = dictionaryOf('breakdowns', 'Value');
    const source = rowSource(extraction, dimension, values);
    yield* rowBatches(extraction, source, stamp, tally, signal);
    tally.values = values.texts.filter((text) => text !== '').length;
  }
}

function rowSource(
  { manifest }: FinishedExtraction,
  dimension: Breakdown,
  values: ReturnType<typeof dictionaryOf>,
): RowSource<Entry> {
  return {
    table: breakdowns,
    questions: [
      {
        query: breakdownQuery(dimension),
        itemReader: ({ keyOf }) => {
          const valueOf = keyOf(dimension);
          return (group, place) => values.of(valueOf(group, place), place);
        },
      },
    ],
    further: manifest.scope.metrics.map((metric) => [metric, metric]),
    describe: ({ text }) => `the ${dimension} ${JSON.stringify(text)}`,
    openColumns(capacity) {
      const codes = createCodes(values.texts, capacity);
      return {
        add: ({ index }) => {
          codes.add(index);
        },
        take: () => ({ Dimension: constant(dimension), Value: codes.take() }),
      };
    },
  };
}

/** All dimensions' rows together, as the files of the table hold them, and every account among them. */
export function addedUp(tallies: BreakdownTallies): RowTally {
  const all: RowTally = { ...noSums(), rounded: 0, accounts: new Map() };
  for (const { rows, rounded, accounts, totals, columns } of tallies.values()) {
    all.rows += rows;
    all.rounded += rounded;
    for (const [id, name] of accounts) all.accounts.set(id, name);
    for (const [name, sums] of [['Amount', totals] as const, ...columns])
      for (const [currency, units] of sums) addMoney(all, name, currency, units);
  }
  return all;
}
