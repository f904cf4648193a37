import type { NextRun } from '../shared/commands.js';
import type { ErrorDetails } from '../shared/errors.js';
import { DataError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { Sums, TotalsText } from '../shared/sums.js';
import { addMoney } from '../shared/sums.js';
import type { Slice, TableName } from '../staging/layout.js';
import { tables } from '../staging/tables.js';

/** The forms that a month's cost takes on its way, in order. */
export const layerNames = ['AWS total', 'staged pages', 'Parquet', 'CSV', 'database'] as const;
export type LayerName = (typeof layerNames)[number];

/** What one layer holds of a slice; undefined where it has no such figure or cannot be read. */
export interface Layer {
  name: LayerName;
  customers?: number | undefined;
  /** Rows of consumption; groups in the staged pages. */
  rows?: number | undefined;
  /** Currency → exact sum. */
  totals?: TotalsText | undefined;
}

/** Something that does not agree: what, where, and what to do next. */
export interface Finding extends Slice {
  layer: LayerName;
  what: string;
  where?: string | undefined;
  next?: string | undefined;
  /** The command in `next`. */
  command?: NextRun | undefined;
}

/** Collects what is found about one slice. */
export interface Report {
  readonly slice: Slice;
  readonly findings: Finding[];
  add(
    layer: LayerName,
    what: string,
    details: Pick<ErrorDetails, 'where' | 'next' | 'command'>,
  ): void;
  /**
   * Does a check; data that is wrong becomes a finding and `undefined`, any other failure is thrown.
   * @param place what was checked, for a failure that does not say it itself.
   */
  examine<T>(layer: LayerName, check: () => Promise<T> | T, place?: string): Promise<T | undefined>;
}

export function createReport(slice: Slice): Report {
  const findings: Finding[] = [];
  return {
    slice,
    findings,
    add(layer, what, details) {
      findings.push({ ...slice, layer, what, ...details });
    },
    async examine(layer, check, place) {
      try {
        return await check();
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        const { message: what, where = place, next, command } = error;
        findings.push({ ...slice, layer, what, where, next, command });
        return undefined;
      }
    },
  };
}

/**
 * Makes a function that adds a row of a table, each column in plain text, to sums.
 * @param unitsOf `undefined`: the row adds nothing to the column.
 */
export function textAdder(
  table: TableName,
  sums: Sums,
  unitsOf: (text: string, column: string) => Units | undefined,
): (row: readonly string[]) => void {
  const money = [...tables[table].entries()].filter(([, column]) => column.money === true);
  const currency = tables[table].findIndex(({ name }) => name === 'Currency');
  return (row) => {
    sums.rows++;
    for (const [index, { name }] of money) {
      const units = unitsOf(row[index] ?? '', name);
      if (units !== undefined) addMoney(sums, name, row[currency] ?? '', units);
    }
  };
}
