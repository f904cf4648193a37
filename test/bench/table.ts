import type { Row } from './row.js';
import { isReached } from './row.js';

/** The rows as a Markdown table. */
export function benchTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    row.stage,
    row.work,
    row.beside,
    `at ${row.bound} ${row.target} ×`,
    row.ratio === undefined ? 'not measured' : `${row.ratio.toFixed(2)} ×`,
    isReached(row) ? 'yes' : 'no',
    row.ours,
    row.theirs,
  ]);
  const head = ['stage', 'work', 'beside', 'to reach', 'measured', 'reached', 'took', 'beside it'];
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}
