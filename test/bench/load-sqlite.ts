import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'libsql';
import { openDatabase } from '../../load/database.js';
import { numberColumn } from '../../load/schema.js';
import type { Units } from '../../pipeline/shared/money.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { silent } from '../support/load-fixture.js';
import { executeSqlite, querySqlite } from '../support/sqlite.js';
import type { Content } from './compare.js';
import { mustBeEqual, mustHaveRows } from './compare.js';
import { hasProgram, writeReadyFiles } from './databases.js';
import type { Rounds } from './measure.js';
import { alternate, measure, pipeline } from './measure.js';
import type { MonthSize } from './month.js';
import { decimals, month, rowsOf } from './month.js';
import type { Row } from './table.js';
import { describeFigures } from './table.js';

/** The load stage into a new SQLite file, beside the sqlite3 shell's import into the same table. */
export async function benchLoadSqlite(
  staging: string,
  size: MonthSize,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const rows = rowsOf(size);
  const same = {
    stage: 'load',
    work: `Parquet → SQLite, ${rows.toLocaleString('en-US')} rows, with all checks`,
    beside: "the `sqlite3` shell's `.import` of ready CSV",
    bound: 'most',
    target: 2,
  } as const;
  if (!(await hasProgram('sqlite3', 'sqlite3')))
    return [{ ...same, ratio: undefined, ours: 'there is no sqlite3 shell', theirs: '' }];
  const ours = join(home, 'ours.sqlite');
  const peer = join(home, 'peer.sqlite');
  const blank = join(home, 'blank.sqlite');
  await (await openDatabase({ kind: 'sqlite', file: blank }, { log: silent })).close();
  // The shell fills columns by their place, and cannot leave out those that are computed, nor the views of them.
  const views = querySqlite(blank, "SELECT name FROM sqlite_master WHERE type = 'view'").map(
    ({ name }) => `DROP VIEW ${String(name)};`,
  );
  const computed = decimals.map(
    ({ name }) => `ALTER TABLE consumption DROP COLUMN ${numberColumn(name)};`,
  );
  executeSqlite(blank, [...views, ...computed].join('\n'));
  const names = querySqlite(blank, "SELECT name FROM pragma_table_info('consumption')").map(
    ({ name }) => String(name),
  );
  const files = await writeReadyFiles(staging, join(home, 'ready-sqlite'), names, '');
  // The shell gets our cache: with SQLite's own 2 MiB it takes far longer to write the indexes.
  const input = [
    'PRAGMA cache_size = -65536;',
    ...files.map((file) => `.import --csv --skip 1 ${file} consumption`),
  ].join('\n');
  const args = ['run', '--stage', 'load', '--month', month, '--staging', staging];
  const figures = await alternate(rounds, {
    ours: async () => {
      await rm(ours, { force: true });
      return measure(pipeline([...args, '--database', `sqlite:${ours}`], { cwd: home }));
    },
    shell: async () => {
      await copyFile(blank, peer);
      return measure({ program: 'sqlite3', args: ['-bail', peer], input: `${input}\n` });
    },
  });
  const content = contentOf(ours);
  mustHaveRows('SQLite', content, rows);
  mustBeEqual('SQLite', content, contentOf(peer));
  return [
    {
      ...same,
      ratio: figures.ours.seconds / figures.shell.seconds,
      ours: describeFigures(figures.ours, rows),
      theirs: describeFigures(figures.shell, rows),
    },
  ];
}

/** Rows and exact sums, which SQLite itself cannot compute. */
function contentOf(file: string): Content {
  const database = new Database(file, { readonly: true });
  try {
    const sums = new Map<string, { rows: number; amounts: Units[] }>();
    const names = ['Organization', 'Currency', ...decimals.map(({ name }) => name)];
    const statement = database.prepare(`SELECT ${names.join(', ')} FROM consumption`);
    for (const row of statement.raw().iterate() as Iterable<(string | null)[]>) {
      const key = `${row[0]} ${row[1]}`;
      const sum = sums.get(key) ?? { rows: 0, amounts: decimals.map(() => 0n) };
      sums.set(key, sum);
      sum.rows++;
      for (const [index, amount = 0n] of sum.amounts.entries()) {
        // The shell's import knows no null and leaves an empty text.
        const text = row[index + 2] ?? '';
        if (text !== '') sum.amounts[index] = amount + parseAmount(text).units;
      }
    }
    return [...sums]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { rows, amounts }]) => ({ key, rows, amounts: amounts.map(formatAmount) }));
  } finally {
    database.close();
  }
}
