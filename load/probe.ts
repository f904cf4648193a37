import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Knex } from 'knex';
import { z } from 'zod';
import { ConfigurationError } from '../pipeline/errors.js';
import { tableNames } from '../pipeline/staging/tables.js';
import type { OpenOptions } from './database.js';
import { openDatabase } from './database.js';
import { translated } from './database-errors.js';
import type { DatabaseLocation } from './driver.js';
import { LOADS } from './history.js';
import { openForReading } from './reading.js';

const mysqlAnswer = z
  .tuple([z.tuple([z.object({ version: z.string(), bulk: z.coerce.boolean() })])])
  .rest(z.unknown());
const sqliteAnswer = z.tuple([z.object({ version: z.string() })]);

/** What a server says of itself. */
export interface DatabaseFacts {
  location: string;
  version: string;
  /** Whether local_infile is on; `undefined` for SQLite. */
  bulk: boolean | undefined;
  /** Whether the binary log keeps statements, so that loads take turns. */
  statements: boolean;
}

/**
 * Connects and asks for the version, changing nothing.
 * @returns `undefined` for an SQLite file that does not exist.
 * @throws {PipelineError} when the database cannot be reached or refuses.
 */
export async function probeConnection(
  location: DatabaseLocation,
  options: OpenOptions,
): Promise<DatabaseFacts | undefined> {
  const database = await openForReading(location, options);
  if (database === undefined) return undefined;
  try {
    return { location: database.location, ...(await database.ask(asker(location))) };
  } finally {
    await database.close();
  }
}

function asker({ kind }: DatabaseLocation) {
  return async (knex: Knex): Promise<Omit<DatabaseFacts, 'location'>> => {
    if (kind === 'sqlite') {
      const answer: unknown = await knex.raw('SELECT sqlite_version() AS version');
      const [{ version }] = sqliteAnswer.parse(answer);
      return { version: `SQLite ${version}`, bulk: undefined, statements: false };
    }
    const answer: unknown = await knex.raw(
      'SELECT VERSION() AS version, @@GLOBAL.local_infile AS bulk',
    );
    const { logsStatements } = await import('./mysql.js');
    return { ...mysqlAnswer.parse(answer)[0][0], statements: await logsStatements(knex) };
  };
}

/**
 * Does what a load does, with no row: makes or upgrades the tables as the first load would, and sends
 * each table an INSERT and a DELETE that concern nothing. Of an SQLite file that does not exist, only
 * whether it could be made is looked at.
 * @throws {PipelineError} naming the right that is missing.
 */
export async function probeRights(location: DatabaseLocation, options: OpenOptions): Promise<void> {
  if (location.kind === 'sqlite' && (await isMissing(location.file))) {
    const folder = dirname(resolve(location.file));
    try {
      await access(folder, constants.W_OK);
    } catch (cause) {
      throw new ConfigurationError('the database file cannot be made', {
        where: folder,
        next: 'make the folder, or let this user write there',
        cause,
      });
    }
    return;
  }
  const database = await openDatabase(location, options);
  try {
    await translated(database.location, async () => {
      const { knex } = database;
      for (const table of [...tableNames, LOADS]) {
        const columns = Object.keys(await knex(table).columnInfo());
        await knex.raw('INSERT INTO ?? (??) SELECT ?? FROM ?? WHERE 1 = 0', [
          table,
          columns,
          columns,
          table,
        ]);
        await knex(table).whereRaw('1 = 0').delete();
      }
    });
  } finally {
    await database.close();
  }
}

async function isMissing(file: string): Promise<boolean> {
  return access(resolve(file)).then(
    () => false,
    () => true,
  );
}
