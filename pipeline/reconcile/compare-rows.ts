import type { Dialect } from '../../load/driver.js';
import type { StoredRow } from '../../load/read-rows.js';
import { NULL, storedTexts } from '../../load/read-rows.js';
import type { TableName } from '../staging/layout.js';
import type { Batch } from '../staging/tables.js';
import { columnIndex, tables } from '../staging/tables.js';

/** Rows of one kind of difference: how many, and the first of them in words. */
export interface Kind {
  rows: number;
  first: string;
}

export interface RowDifferences {
  /** Staged, but not in the database. */
  missing: Kind;
  /** In the database, but not staged. */
  foreign: Kind;
  /** In both, with another value. */
  altered: Kind;
}

/**
 * Compares staged rows with stored ones, line by line and value by value; both come in order, a piece
 * at a time.
 * @param stored pieces that are never empty.
 */
export async function compareRows(
  table: TableName,
  dialect: Dialect,
  batches: AsyncIterable<Batch>,
  stored: AsyncIterator<readonly StoredRow[], void, undefined>,
): Promise<RowDifferences> {
  const found: RowDifferences = { missing: none(), foreign: none(), altered: none() };
  let piece: readonly StoredRow[] = [];
  let at = 0;
  const refill = async (): Promise<void> => {
    const next = await stored.next();
    if (next.done === true) return;
    piece = next.value;
    at = 0;
  };
  let line = 0;
  for await (const batch of batches) {
    const columns = storedTexts(table, batch, dialect);
    for (let row = 0; row < batch.length; row++) {
      line++;
      const texts = columns.map((column) => column[row] ?? NULL);
      for (;;) {
        if (at === piece.length) await refill();
        const candidate = piece[at];
        if (candidate === undefined || candidate.line > line) {
          add(found.missing, () => describe(table, { line, texts }));
          break;
        }
        at++;
        if (candidate.line === line) {
          compare(table, texts, candidate, found.altered);
          break;
        }
        add(found.foreign, () => describe(table, candidate));
      }
    }
  }
  for (;;) {
    if (at === piece.length) await refill();
    const candidate = piece[at++];
    if (candidate === undefined) return found;
    add(found.foreign, () => describe(table, candidate));
  }
}

function none(): Kind {
  return { rows: 0, first: '' };
}

function add(kind: Kind, describeRow: () => string): void {
  if (kind.rows++ === 0) kind.first = describeRow();
}

function compare(
  table: TableName,
  staged: readonly string[],
  { line, texts }: StoredRow,
  altered: Kind,
): void {
  const index = staged.findIndex((text, column) => text !== texts[column]);
  if (index < 0) return;
  add(altered, () => {
    const name = tables[table][index]?.name ?? '';
    return `${describe(table, { line, texts: staged })}: ${name} is ${quote(texts[index])} instead of ${quote(staged[index])}`;
  });
}

function quote(text: string | undefined): string {
  return text === undefined || text === NULL ? 'null' : JSON.stringify(text.slice(0, 80));
}

/** What a row's cost is for, by table. */
const subjects: Readonly<Record<TableName, readonly string[]>> = {
  customers: [],
  consumption: ['Service', 'Category'],
  charges: ['RecordType'],
};

function describe(table: TableName, { line, texts }: StoredRow): string {
  const value = (name: string): string => texts[columnIndex(table, name)] ?? '';
  const subject = subjects[table].map(value).filter((text) => text !== 'N/A');
  const amount = table === 'customers' ? [] : [`${value('Amount')} ${value('Currency')}`];
  return [`line ${line}`, `account ${value('Reference')}`, ...subject, ...amount].join(', ');
}
