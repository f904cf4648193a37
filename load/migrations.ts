import type { Knex } from 'knex';
import { z } from 'zod';
import { ConfigurationError } from '../pipeline/shared/errors.js';
import type { Dialect } from './driver.js';
import type { Step } from './schema.js';
import { tableSteps } from './schema.js';
import { isRefused, viewSteps } from './views.js';

const MIGRATIONS = 'pipeline_migrations';

const names = z.array(z.string());

/** What is still to be made or upgraded. */
interface Due {
  tables: boolean;
  /** The tables can be used without them. */
  views: boolean;
}

/**
 * Which steps are still to be done.
 * @throws {ConfigurationError} when another version has made the tables: a newer one, or one whose steps are none now.
 */
export async function dueSteps(knex: Knex, dialect: Dialect): Promise<Due> {
  if (!(await knex.schema.hasTable(MIGRATIONS))) return { tables: true, views: true };
  const done = names.parse(await knex(MIGRATIONS).pluck('name'));
  const [tables, views] = [tableSteps(dialect), viewSteps(dialect)];
  const unknown = done.find((step) => ![...tables, ...views].some(({ name }) => name === step));
  if (unknown !== undefined) {
    throw new ConfigurationError(
      `the database's tables are another version's (step ${unknown} is unknown here)`,
      { next: 'use that version, or a database of its own' },
    );
  }
  const isDue = ({ name }: Step): boolean => !done.includes(name);
  return { tables: tables.some(isDue), views: views.some(isDue) };
}

/**
 * Does the steps that are still to be done. The caller holds a lock that ends with its connection,
 * so that Knex's own lock, a row that outlives a killed process, is always stale here and freed.
 * @returns whether the views are there; without the right to make them, the tables are all the same.
 */
export async function migrate(knex: Knex, dialect: Dialect): Promise<boolean> {
  const steps = [...tableSteps(dialect), ...viewSteps(dialect)];
  const settings: Knex.MigratorConfig = {
    tableName: MIGRATIONS,
    // MySQL commits at every DDL statement: a transaction around them would only pretend.
    disableTransactions: dialect === 'mysql',
    migrationSource: {
      getMigrations: () => Promise.resolve([...steps]),
      getMigrationName: (step: Step) => step.name,
      getMigration: (step: Step) => Promise.resolve(step),
    },
  };
  await knex.migrate.forceFreeMigrationsLock(settings);
  try {
    await knex.migrate.latest(settings);
    return true;
  } catch (error) {
    if (isRefused(error)) return false;
    throw error;
  }
}
