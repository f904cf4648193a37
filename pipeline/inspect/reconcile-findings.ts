import { stages } from '../config/selection.js';
import type { NextRun } from '../shared/commands.js';
import { commandText } from '../shared/commands.js';
import { BudgetError, DataError, DifferenceError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { Sums, TotalsText } from '../shared/sums.js';
import { addMoney } from '../shared/sums.js';
import type { Slice, TableName } from '../staging/layout.js';
import { tables } from '../staging/tables.js';

/** The forms that a month's cost takes on its way, in order, and what AWS invoiced of it. */
export const layerNames = [
  'AWS total',
  'AWS today',
  'staged pages',
  'Parquet',
  'CSV',
  'database',
  'invoices',
] as const;
export type LayerName = (typeof layerNames)[number];

/** What one layer holds of a slice; undefined where it has no such figure or cannot be read. */
export interface Layer {
  name: LayerName;
  customers?: number | undefined;
  /** Rows of consumption; groups in the staged pages. */
  rows?: number | undefined;
  /** Currency → exact sum. */
  totals?: TotalsText | undefined;
  /** What stands in the place of `ok`. */
  state?: string | undefined;
}

/**
 * Why something does not agree, by which the exit code is chosen: `difference`: two layers are there and hold other
 * figures or rows; `unloaded`: what is staged is not in the database (yet); `budget`: AWS was not asked, since the
 * budget of requests is used up; `fault`: anything else, such as a file that is missing or cannot be read.
 */
export type FindingKind = 'difference' | 'unloaded' | 'budget' | 'fault';

/** Something that does not agree: what, where, and what to do next. */
export interface Finding extends Slice {
  layer: LayerName;
  kind: FindingKind;
  what: string;
  where?: string | undefined;
  next?: string | undefined;
  /** The command in `next`. */
  command?: NextRun | undefined;
}

/** What kind of finding a failure makes. */
export function kindOf(failure: unknown): FindingKind {
  if (failure instanceof DifferenceError) return 'difference';
  return failure instanceof BudgetError ? 'budget' : 'fault';
}

/**
 * The kinds of what was found about one slice. A difference from AWS's total stops the load: that the database lacks
 * what is staged follows from it then, and is no kind of its own.
 */
export function kindsOf(findings: readonly Finding[]): FindingKind[] {
  const isStopped = findings.some(
    ({ layer, kind }) => layer === 'AWS total' && kind === 'difference',
  );
  const kinds = findings.map(({ kind }) => kind);
  return isStopped ? kinds.filter((kind) => kind !== 'unloaded') : kinds;
}

/**
 * What mends all findings about one slice, in one step and one command: the words are those of the first finding,
 * whose cause comes before the others'.
 */
export function remedy(findings: readonly Finding[]): Pick<Finding, 'next' | 'command'> {
  const commands = findings.flatMap(({ command }) => command ?? []);
  const first = findings.find((finding) => finding.command !== undefined);
  const { next, command } = first ?? {};
  if (next === undefined || command === undefined) return { next: findings[0]?.next };
  const needed = stages.filter((stage) =>
    commands.some(({ stages: some = [] }) => some.length === 0 || some.includes(stage)),
  );
  const all: NextRun = {
    ...command,
    stages: needed.length === stages.length ? [] : needed,
    flags: [...new Set(commands.flatMap(({ flags = [] }) => flags))],
  };
  return { next: next.replace(commandText(command), commandText(all)), command: all };
}

/** Collects what is found about one slice. */
export interface Report {
  readonly slice: Slice;
  readonly findings: Finding[];
  add(
    kind: FindingKind,
    layer: LayerName,
    what: string,
    details: Pick<Finding, 'where' | 'next' | 'command'>,
  ): void;
  /**
   * Does a check; data that is wrong becomes a finding and `undefined`, any other failure is thrown.
   * @param place what was checked, for a failure that does not say it itself.
   * @param kind what a failure is, where its class does not tell.
   */
  examine<T>(
    layer: LayerName,
    check: () => Promise<T> | T,
    place?: string,
    kind?: FindingKind,
  ): Promise<T | undefined>;
}

export function createReport(slice: Slice): Report {
  const findings: Finding[] = [];
  return {
    slice,
    findings,
    add(kind, layer, what, details) {
      findings.push({ ...slice, kind, layer, what, ...details });
    },
    async examine(layer, check, place, kind) {
      try {
        return await check();
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        const { message: what, where = place, next, command } = error;
        findings.push({ ...slice, layer, kind: kind ?? kindOf(error), what, where, next, command });
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
