import type { TableExport } from '../../transform/table-export.js';
import type { CellKind, CellValue, SheetColumn } from '../report/xlsx.js';
import { writeXlsx } from '../report/xlsx.js';
import { throwIfInterrupted } from '../shared/errors.js';
import { formatAmount } from '../shared/money.js';
import { noSums } from '../shared/sums.js';
import type { RowBatch } from '../staging/batch.js';
import { addRows, isList, valueAt } from '../staging/batch.js';
import type { Column } from '../staging/tables.js';

/** A column of the sheet, and the column of the rows that fills it. */
interface Filled extends SheetColumn {
  index: number;
}

/**
 * Rows on their way into a workbook of one sheet. A decimal stands twice, as a number to add up, of which whoever
 * opens the file keeps 15 digits, and as text with all its digits; one that no row has is left out. The rows are held
 * as they come, each value once a batch, and written with the end.
 * @param path of the file that is made. @param made ISO 8601, when the rows were.
 * @param signal ends the writing.
 */
export function openSpreadsheet(
  path: string,
  columns: readonly Column[],
  made: string,
  signal: AbortSignal,
): TableExport {
  const batches: RowBatch[] = [];
  const sums = noSums();
  return {
    write(batch) {
      batches.push(batch);
      addRows(sums, columns, batch.length, (index) => batch.columns[index]);
      return Promise.resolve();
    },
    async finish() {
      const filled = columns.flatMap((column, index) =>
        batches.every((batch) => isNothing(batch, index)) ? [] : sheetColumns(column, index),
      );
      const rows = cellsOf(batches, filled, signal);
      await writeXlsx(path, { title: 'AWS cost', created: made }, [
        { name: 'Consumption', columns: filled, rows },
      ]);
      return sums;
    },
  };
}

function isNothing({ columns }: RowBatch, index: number): boolean {
  const values = columns[index] ?? [];
  return !isList(values) && values.kind === 'constant' && values.value === null;
}

function sheetColumns({ name, type, money }: Column, index: number): Filled[] {
  const column = (title: string, kind: CellKind, width: number): Filled => ({
    ...{ title, kind, width, index },
  });
  if (type === 'decimal')
    return [
      column(name, money === true ? 'amount' : 'number', 16),
      column(`${name}, exact`, 'exact', 26),
    ];
  return type === 'date' ? [column(name, 'date', 12)] : [column(name, 'text', 20)];
}

function* cellsOf(
  batches: readonly RowBatch[],
  filled: readonly Filled[],
  signal: AbortSignal,
): Generator<CellValue[]> {
  for (const { length, columns } of batches) {
    throwIfInterrupted(signal);
    for (let row = 0; row < length; row++)
      yield filled.map(({ index }) => {
        const value = valueAt(columns[index], row);
        if (typeof value === 'bigint') return formatAmount(value);
        return typeof value === 'boolean' ? String(value) : value;
      });
  }
}
