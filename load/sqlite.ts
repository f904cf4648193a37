import { createRequire } from 'node:module';
import knexModule from 'knex';
import type { Knex } from 'knex';
import Libsql from 'libsql';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Units } from '../pipeline/money.js';
import { addTo, addToNamed, parseAmount } from '../pipeline/money.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { emptySums } from './check-sums.js';
import { translated } from './database-errors.js';
import type { Database, LoadTransaction, Sums } from './driver.js';
import { LONGEST_WAIT } from './driver.js';
import { knexLog } from './knex-log.js';
import { insertSqliteRows } from './insert-sqlite.js';
import { isOutdated, migrate } from './migrate.js';
import { sliceKey } from './slice-rows.js';
import type { Lock } from './sqlite-lock.js';
import { prepareLock, whileFree, writing } from './sqlite-lock.js';
import { sumTexts } from './sum-texts.js';

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
  const knex = knexModule.knex({
    client: LibsqlClient,
    connection: { filename: file },
    useNullAsDefault: true,
    pool: { min: 1, max: 1, afterCreate: prepareConnection },
    acquireConnectionTimeout: LONGEST_WAIT,
    log: knexLog(log),
  });
  try {
    const lock = await translated(where, async () => {
      const statement = await whileFree(context, () => prepareLock(knex));
      if (await whileFree(context, () => isOutdated(knex, 'sqlite'))) {
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
  const knex = knexModule.knex({
    client: LibsqlClient,
    connection: { filename: file, options: { readonly: true } },
    useNullAsDefault: true,
    pool: { min: 0, max: 1, afterCreate: setPatience },
    log: knexLog(log),
  });
  return { knex, where: `sqlite:${file}` };
}

function setPatience(
  connection: Libsql.Database,
  done: (error: unknown, connection: Libsql.Database) => void,
): void {
  connection.exec(`PRAGMA busy_timeout = ${BUSY}`);
  done(null, connection);
}

function prepareConnection(
  connection: Libsql.Database,
  done: (error: unknown, connection: Libsql.Database) => void,
): void {
  try {
    connection.exec(`PRAGMA busy_timeout = ${BUSY}`);
    // With a write-ahead log, readers go on reading the old rows while new ones are written.
    connection.exec('PRAGMA journal_mode = WAL');
    connection.exec('PRAGMA synchronous = FULL');
    // 64 MiB: indexes are written in no order, and SQLite's own 2 MiB hold little of them.
    connection.exec('PRAGMA cache_size = -65536');
    done(null, connection);
  } catch (error) {
    done(error, connection);
  }
}

function sqliteDatabase(knex: Knex, lock: Lock, where: string): Database {
  let turn: Promise<unknown> = Promise.resolve();
  return {
    location: where,
    dialect: 'sqlite',
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
  const found = emptySums();
  const [{ last }] = extent.parse(await trx(table).where(sliceKey(slice)).max({ last: 'Line' }));
  const texts = ['Amount', ...columns].map((column) =>
    trx.raw("group_concat(??, ' ') AS ??", [column, column]),
  );
  for (let start = 1; start <= (last ?? 0); start += RANGE) {
    const answer: unknown = await trx(table)
      .where(sliceKey(slice))
      .whereBetween('Line', [start, start + RANGE - 1])
      .groupBy('Currency')
      .select({ currency: 'Currency' }, ...texts)
      .count({ rows: '*' });
    for (const sum of sums.parse(answer)) {
      const { currency } = sum;
      found.rows += sum.rows;
      for (const column of ['Amount', ...columns]) {
        const texts = sum[column];
        if (typeof texts !== 'string') continue;
        const units = sumTexts(texts, (amount) => unitsOf(amount, table));
        if (column === 'Amount') addTo(found.totals, currency, units);
        else addToNamed(found.columns, column, currency, units);
      }
    }
  }
  return found;
}

function unitsOf(amount: string, table: TableName): Units {
  const { units, rounded } = parseAmount(amount);
  if (!rounded) return units;
  throw new DataError(`${table} in the database holds the amount ${amount}`, {
    next: 'look for a trigger or another program that alters the table',
  });
}
