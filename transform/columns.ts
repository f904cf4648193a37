import { advice, fetchAgain } from '../pipeline/shared/commands.js';
import { DataError } from '../pipeline/shared/errors.js';
import { PRECISION, SCALE, fits } from '../pipeline/shared/money.js';
import type { FurtherMetric } from '../pipeline/shared/scope.js';
import { furtherMetrics } from '../pipeline/shared/scope.js';
import type { Sums } from '../pipeline/shared/sums.js';
import { currencyFault } from '../pipeline/staging/answers.js';
import type { StagedGroup } from '../pipeline/staging/answers.js';
import type { ColumnValues, Decimals, RowBatch } from '../pipeline/staging/batch.js';
import { addColumn, coded, constant } from '../pipeline/staging/batch.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { Column, Value } from '../pipeline/staging/tables.js';
import { columnOf } from '../pipeline/staging/tables.js';
import type { DecimalsBuilder } from '../pipeline/staging/decimals.js';
import { createDecimals } from '../pipeline/staging/decimals.js';
import type { Place } from './staged-pages.js';
import { amountAt, checkLength, metricText, rowFault } from './staged-pages.js';

/** What every row of a slice carries. */
export interface Stamp {
  tag: string;
  /** `YYYY-MM-DD`. */
  billingPeriod: string;
  organization: string;
}

/** Rows of a table from its columns by name; the stamp's columns are added. */
export function batchOf(
  table: readonly Column[],
  length: number,
  stamp: Stamp,
  values: Readonly<Record<string, ColumnValues>>,
): RowBatch {
  const all: typeof values = {
    Tag: constant(stamp.tag),
    BillingPeriod: constant(stamp.billingPeriod),
    Organization: constant(stamp.organization),
    ...values,
  };
  return {
    length,
    columns: table.map(({ name }) => {
      const column = all[name];
      if (column === undefined) throw new Error(`no value is known for the column ${name}`);
      return column;
    }),
  };
}

/** What rows add up to, and what is told beside, filled while they are made. */
export interface RowTally extends Sums {
  /** Amounts with more than 18 fraction digits, rounded half to even. */
  rounded: number;
  /** Every account with rows → the name that Cost Explorer gives it, '' without one. */
  accounts: Map<string, string>;
}

/** Gathers a page's column of repeated values. */
export interface CodesBuilder {
  /** Appends a row's value by its place in the list. */
  add(code: number): void;
  take(): ColumnValues;
}

/** @param capacity Rows of the page to make room for. */
export function createCodes(distinct: readonly Value[], capacity: number): CodesBuilder {
  const codes = new Uint32Array(capacity);
  let rows = 0;
  return {
    add(code) {
      codes[rows++] = code;
    },
    take: () => coded(distinct, codes.subarray(0, rows)),
  };
}

/** The columns of a page's rows that hold money, its currency and whether AWS calls it estimated. */
export interface CostColumns {
  /**
   * Appends a row.
   * @throws {DataError} naming file and row of a group that lacks a cost, or has it in two currencies.
   */
  add(group: StagedGroup, estimated: boolean, place: Place): void;
  /** The columns by name; they are counted and added up in the tally. */
  take(): Money;
}

/** Columns of money by name. */
export type Money = Readonly<Record<string, ColumnValues>> & {
  Amount: Decimals;
  Currency: ColumnValues;
};

/** A further column of money, and the metric that fills it. */
export type FurtherColumn = readonly [name: string, metric: FurtherMetric];

const noMetrics = Object.fromEntries(furtherMetrics.map((metric) => [metric, constant(null)]));

/** @param capacity Rows of a page to make room for. */
export function createCostColumns(
  further: readonly FurtherColumn[],
  tally: RowTally,
): (capacity: number) => CostColumns {
  const known = createDictionary((text, place) => {
    const fault = currencyFault(text);
    if (fault !== undefined) throw rowFault(place, fault);
  });
  return (capacity) => {
    const amounts = createDecimals(capacity);
    const others = further.map(([name, metric]) => {
      return { name, metric, values: createDecimals(capacity) };
    });
    const currencies = createCodes(known.texts, capacity);
    const estimates = createCodes([false, true], capacity);
    let rows = 0;
    let last: Place | undefined;
    return {
      add(group, estimated, place) {
        const { amount, unit } = metricText(group, 'UnblendedCost', place);
        if (addAmount(amounts, amount, place)) tally.rounded++;
        currencies.add(known.of(unit, place).index);
        for (const { metric, values } of others) {
          const cost = metricText(group, metric, place);
          if (cost.unit !== unit) {
            throw rowFault(
              place,
              `has its ${metric} in ${cost.unit}, its UnblendedCost in ${unit}`,
            );
          }
          if (addAmount(values, cost.amount, place)) tally.rounded++;
        }
        estimates.add(estimated ? 1 : 0);
        last = place;
        rows++;
      },
      take() {
        const [Amount, Currency] = [amounts.take(), currencies.take()];
        const taken = others.map(({ name, values }) => [name, values.take()] as const);
        for (const [name, values] of [['Amount', Amount] as const, ...taken])
          addColumn(tally, name, values, Currency, rows);
        tally.rows += rows;
        checkFit(tally, last);
        const Estimated = estimates.take();
        return { ...noMetrics, ...Object.fromEntries(taken), Amount, Currency, Estimated };
      },
    };
  };
}

/** @throws {DataError} naming the file with whose rows a sum gets more digits than a database's. */
export function checkFit({ totals, columns }: Sums, last: Place | undefined): void {
  for (const [name, sums] of [['Amount', totals] as const, ...columns]) {
    for (const [currency, sum] of sums) {
      if (fits(sum) || last === undefined) continue;
      throw new DataError(
        `the sum of ${name} in ${currency} up to row ${last.row} does not fit DECIMAL(${PRECISION},${SCALE})`,
        {
          where: last.where,
          ...advice('fetch the month again with', fetchAgain(), '; if it stays so, report it'),
        },
      );
    }
  }
}

/**
 * Appends an amount to a column.
 * @returns whether digits past the 18th were dropped.
 * @throws {DataError} naming file and row of what is no amount.
 */
export function addAmount(decimals: DecimalsBuilder, text: string, place: Place): boolean {
  return amountAt(place, () => decimals.add(text));
}

/** A text that many rows repeat, such as a service, kept once. */
export interface Entry {
  readonly text: string;
  /** 0, 1, 2 … in order of first appearance. */
  readonly index: number;
}

/** The distinct texts of a column: each is checked, and held, once however many rows have it. */
export interface Dictionary {
  of(text: string, place: Place): Entry;
  /** Every text so far, by its index. */
  readonly texts: readonly string[];
}

/** @param check Throws when a text met for the first time is wrong. */
export function createDictionary(check: (text: string, place: Place) => unknown): Dictionary {
  const known = new Map<string, number>();
  const texts: string[] = [];
  const entries: Entry[] = [];
  /** Rows are ordered: mostly the text is the last row's, or the one that followed it before. */
  let last = -1;
  return {
    texts,
    of(text, place) {
      if (texts[last] !== text) {
        last = last + 1 < texts.length ? last + 1 : 0;
        if (texts[last] !== text) last = known.get(text) ?? -1;
      }
      let entry = entries[last];
      if (entry === undefined) {
        check(text, place);
        last = texts.length;
        known.set(text, last);
        texts.push(text);
        entries.push((entry = { text, index: last }));
      }
      return entry;
    },
  };
}

/** The distinct texts of a declared column. */
export function dictionaryOf(table: TableName, column: string): Dictionary {
  const declared = columnOf(table, column);
  return createDictionary((text, place) => checkLength(declared, text, place));
}

type Indexed = Pick<Entry, 'index'>;

/**
 * Remembers pairs of entries: returns false for one that it has seen before. One bit a pair, so that
 * millions of rows take a few MiB where a set of strings would take hundreds.
 */
export function createPairs(): (first: Indexed, second: Indexed) => boolean {
  const seen: Uint32Array[] = [];
  return (first, second) => {
    const word = second.index >>> 5;
    const bit = 1 << (second.index & 31);
    let words = seen[first.index] ?? new Uint32Array(1);
    if (word >= words.length) {
      const grown = new Uint32Array(Math.max(word + 1, words.length * 2));
      grown.set(words);
      words = grown;
    }
    seen[first.index] = words;
    const before = words[word] ?? 0;
    words[word] = before | bit;
    return (before & bit) === 0;
  };
}
