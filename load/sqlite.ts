import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import knexModule from 'knex';
import type { Knex } from 'knex';
import Libsql from 'libsql';
import { z } from 'zod';
import { DataError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import type { Sums } from '../pipeline/shared/sums.js';
import { addMoney, noSums } from '../pipeline/shared/sums.js';
import { pause } from '../pipeline/shared/waits.js';
import type { CodedColumn, RowBatch } from '../pipeline/staging/batch.js';
import { codedAt } from '../pipeline/staging/batch.js';
import { createDecimals } from '../pipeline/staging/decimals.js';
import { tableNames } from '../pipeline/staging/tables.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { transaction, translated } from './database-errors.js';
import type { Database, LoadTransaction } from './driver.js';
import { LONGEST_WAIT, connectionsOf, knexLog } from './driver.js';
import { dueSteps, migrate } from './migrations.js';
import { columnNames, sliceKey } from './schema.js';
import { createWriter } from './values.js';

type ClientClass = typeof Knex.Client;

const BetterSqlite3 = createRequire(import.meta.url)(
  'knex/lib/dialects/better-sqlite3/index.js',
) as ClientClass;

/** Knex's better-sqlite3 dialect over `libsql`, which has the same interface and needs no compiler. */
class LibsqlClient extends BetterSqlite3 {
  _driver(): unknown {
    return Libsql;
  }
}

/** Milliseconds that SQLite itself waits for a lock; the process can do nothing else meanwhile. */
const BUSY = 200;

/** Opens an SQLite file, see `openDatabase`; makes the file, not its folder. */
export async function openSqlite(
  file: string,
  context: { signal: AbortSignal; log: Log },
): Promise<Database> {
  const { log } = context;
  const where = `sqlite:${file}`;
  const knex = openFile(file, log, [
    // With a write-ahead log, readers go on reading the old rows while new ones are written.
    'journal_mode = WAL',
    'synchronous = FULL',
    // 64 MiB: indexes are written in no order, and SQLite's own 2 MiB hold little of them.
    'cache_size = -65536',
  ]);
  try {
    const lock = await translated(where, async () => {
      const statement = await whileFree(context, () => prepareLock(knex));
      const due = await whileFree(context, () => dueSteps(knex, 'sqlite'));
      if (due.tables || due.views) {
        await writing(knex, statement, context, (trx) => migrate(trx, 'sqlite'));
      }
      return statement;
    });
    return sqliteDatabase(knex, lock, where);
  } catch (error) {
    await knex.destroy();
    throw error;
  }
}

/** Prepares an SQLite file for reading alone: it stays as it is, and is not made where it is missing. */
export function readSqlite(file: string, log: Log): { knex: Knex; where: string } {
  return { knex: openFile(file, log, [], true), where: `sqlite:${file}` };
}

function openFile(file: string, log: Log, pragmas: readonly string[], readonly = false): Knex {
  type Done = (error: unknown, connection: Libsql.Database) => void;
  const afterCreate = (connection: Libsql.Database, done: Done): void => {
    try {
      for (const pragma of [`busy_timeout = ${BUSY}`, ...pragmas])
        connection.exec(`PRAGMA ${pragma}`);
      done(null, connection);
    } catch (error) {
      done(error, connection);
    }
  };
  return knexModule.knex({
    client: LibsqlClient,
    connection: { filename: file, options: { readonly } },
    useNullAsDefault: true,
    pool: { min: readonly ? 0 : 1, max: 1, afterCreate },
    acquireConnectionTimeout: LONGEST_WAIT,
    log: knexLog(log),
  });
}

function sqliteDatabase(knex: Knex, lock: Lock, where: string): Database {
  let turn: Promise<unknown> = Promise.resolve();
  return {
    location: where,
    dialect: 'sqlite',
    viewGrant: undefined,
    knex,
    transact: (_slice, context, work) => {
      const result = turn.then(() =>
        translated(where, () =>
          writing(knex, lock, context, (trx) =>
            work({
              dialect: 'sqlite',
              trx,
              append: (table, pieces) => insertSqliteRows(trx, table, pieces),
              sums: (table, of, columns) => sumSlice(trx, table, of, columns),
            } satisfies LoadTransaction),
          ),
        ),
      );
      turn = result.catch(() => undefined);
      return result;
    },
    async close() {
      // Back to one plain file, unless another process has it open.
      await knex.raw('PRAGMA journal_mode = DELETE').catch(() => undefined);
      await knex.destroy();
    },
  };
}

/** Rows that are added up at once. */
const RANGE = 100_000;

const sums = z.array(
  z.object({ currency: z.string(), rows: z.number() }).catchall(z.string().nullable()),
);
const extent = z.tuple([z.object({ last: z.number().nullable() })]);

/** SQLite has no exact decimal: it hands the amounts over as text, and they are added up here. */
async function sumSlice(
  trx: Knex,
  table: TableName,
  slice: Slice,
  columns: readonly string[],
): Promise<Sums> {
  const found = noSums();
  const amounts = createDecimals();
  const money = ['Amount', ...columns];
  const [{ last }] = extent.parse(await trx(table).where(sliceKey(slice)).max({ last: 'Line' }));
  const texts = money.map((column) => trx.raw("group_concat(??, ' ') AS ??", [column, column]));
  for (let start = 1; start <= (last ?? 0); start += RANGE) {
    const answer: unknown = await trx(table)
      .where(sliceKey(slice))
      .whereBetween('Line', [start, start + RANGE - 1])
      .groupBy('Currency')
      .select({ currency: 'Currency' }, ...texts)
      .count({ rows: '*' });
    for (const sum of sums.parse(answer)) {
      found.rows += sum.rows;
      for (const column of money) {
        const texts = sum[column]?.split(' ') ?? [];
        for (const text of texts) if (amounts.add(text)) throw altered(table, text);
        if (texts.length > 0)
          addMoney(found, column, sum.currency, amounts.take().sum(0, texts.length));
      }
    }
  }
  return found;
}

function altered(table: TableName, amount: string): DataError {
  return new DataError(`${table} in the database holds the amount ${amount}`, {
    next: 'look for a trigger or another program that alters the table',
  });
}

const pragma = z.tuple([z.object({ user_version: z.int() })]);

/** A statement that takes SQLite's only write lock, inside a transaction of the only connection. */
type Lock = Libsql.Statement;

/**
 * It writes a number that is there already. It is prepared once and run again and again, since a
 * statement of libsql that found the file locked stays in progress until it is run again or
 * collected, and no transaction can be committed meanwhile.
 */
async function prepareLock(knex: Knex): Promise<Lock> {
  const [{ user_version: version }] = pragma.parse(await knex.raw('PRAGMA user_version'));
  const pool = connectionsOf<Libsql.Database>(knex);
  const connection = await pool.acquireConnection();
  const lock = connection.prepare(`PRAGMA user_version = ${version}`);
  await pool.releaseConnection(connection);
  return lock;
}

interface Context {
  signal: AbortSignal;
  log: Log;
}

/** Runs `work` in a transaction that holds SQLite's only write lock from its beginning. */
async function writing<T>(
  knex: Knex,
  lock: Lock,
  context: Context,
  work: (trx: Knex.Transaction) => Promise<T>,
): Promise<T> {
  try {
    return await transaction(knex, {}, async (trx) => {
      // BEGIN alone takes no lock, and so never fails.
      await whileFree(context, () => Promise.resolve(lock.run()));
      return work(trx);
    });
  } catch (error) {
    // After a failed COMMIT the transaction may still be open; otherwise there is nothing to roll back.
    await knex.raw('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/**
 * Tries again, leaving room for other work, as long as another process holds the file's lock.
 * @param longest milliseconds after which the lock's failure is thrown.
 * @throws {InterruptedError} as soon as the signal is given.
 */
export async function whileFree<T>(
  { signal, log }: Context,
  step: () => Promise<T>,
  longest = LONGEST_WAIT,
): Promise<T> {
  const start = Date.now();
  for (;;) {
    try {
      return await step();
    } catch (error) {
      const busy = String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY');
      if (!busy || Date.now() - start > longest) throw error;
    }
    throwIfInterrupted(signal);
    log.debug('waiting for another process that writes to the file');
    await pause(50, signal);
  }
}

/**
 * Rows of one statement, the largest first: more make it no faster, and fewer take what is left of a table. Each is parsed
 * once for a connection; one for just as many rows as are left would be parsed anew for nearly every table. SQLite takes
 * 32,766 values in one.
 */
const ROWS = [64, 16, 4, 1] as const;

type Bound = string | number | null;

/**
 * Adds rows to SQLite, letting other work of the process go on between two pieces. Statements are
 * prepared on Knex's connection itself, once for many runs: a value that all rows of a piece hold is
 * bound once, and Knex would have every value bound row by row, and parse every statement anew.
 */
async function insertSqliteRows(
  trx: Knex.Transaction,
  table: TableName,
  pieces: AsyncIterable<RowBatch<CodedColumn>>,
): Promise<void> {
  const connection = await connectionsOf<Libsql.Database>(trx).acquireConnection();
  const write = createWriter(table, 'sqlite', null);
  const prepare = preparers(connection)[table];
  let line = 1;
  for await (const rows of pieces) {
    const written = write(rows);
    const fields = written.filter((column) => column.kind === 'coded');
    const common = written.filter((column) => column.kind === 'constant').map(({ value }) => value);
    for (let start = 0; start < rows.length;) {
      const left = rows.length - start;
      const end = start + (ROWS.find((many) => many <= left) ?? 1);
      const values: Bound[] = [line, ...common];
      for (let row = start; row < end; row++) {
        for (const field of fields) values.push(codedAt(field, row));
      }
      prepare(written, end - start).run(values);
      line += end - start;
      start = end;
    }
    await setImmediate();
  }
}

type Preparer = (written: readonly CodedColumn<unknown>[], rows: number) => Libsql.Statement;

/** What was prepared on a connection lives as long as it does. */
const prepared = new WeakMap<Libsql.Database, Record<TableName, Preparer>>();

function preparers(connection: Libsql.Database): Record<TableName, Preparer> {
  let known = prepared.get(connection);
  if (known === undefined) {
    const made = tableNames.map((table) => [table, preparer(connection, table)]);
    known = Object.fromEntries(made) as Record<TableName, Preparer>;
    prepared.set(connection, known);
  }
  return known;
}

/** Makes statements that differ in their rows and in which of the columns all rows share. */
function preparer(connection: Libsql.Database, table: TableName): Preparer {
  const known = new Map<string, Libsql.Statement>();
  return (written, rows) => {
    const shape = `${rows} ${written.map(({ kind }) => (kind === 'constant' ? 1 : 0)).join('')}`;
    let statement = known.get(shape);
    if (statement === undefined) {
      known.set(shape, (statement = connection.prepare(insertSql(table, written, rows))));
    }
    return statement;
  };
}

/** `?1` is the first row's line, `?2` and on are the values that all rows share, then come the rows' own. */
function insertSql(
  table: TableName,
  written: readonly CodedColumn<unknown>[],
  rows: number,
): string {
  let next = 2;
  const shared = written.map(({ kind }) => (kind === 'constant' ? next++ : undefined));
  const row = (index: number): string => {
    const values = shared.map((parameter) => `?${parameter ?? next++}`);
    return `(${values.join(',')},?1+${index})`;
  };
  const names = columnNames(table).map((name) => `"${name}"`);
  const values = Array.from({ length: rows }, (_, index) => row(index));
  return `INSERT INTO "${table}" (${names.join(', ')}) VALUES ${values.join(',')}`;
}
