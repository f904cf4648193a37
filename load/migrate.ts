import type { Knex } from 'knex';
import { z } from 'zod';
import { ConfigurationError } from '../pipeline/errors.js';
import type { Dialect } from './driver.js';
import { migrations } from './schema.js';

const MIGRATIONS = 'pipeline_migrations';

const names = z.array(z.string());

/**
 * Whether steps are still to be done.
 * @throws {ConfigurationError} when a newer version has upgraded the database.
 */
export async function isOutdated(knex: Knex, dialect: Dialect): Promise<boolean> {
  if (!(await knex.schema.hasTable(MIGRATIONS))) return true;
  const done = names.parse(await knex(MIGRATIONS).pluck('name'));
  const known = migrations(dialect).map(({ name }) => name);
  const unknown = done.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new ConfigurationError(
      `a newer version has upgraded this database (step ${unknown} is unknown here)`,
      { next: 'use that version, or a database of its own' },
    );
  }
  return known.some((name) => !done.includes(name));
}

/**
 * Does the steps that are still to be done. The caller holds a lock that ends with its connection,
 * so that Knex's own lock, a row that outlives a killed process, is always stale here and freed.
 */
export async function migrate(knex: Knex, dialect: Dialect): Promise<void> {
  const steps = migrations(dialect);
  const settings: Knex.MigratorConfig = {
    tableName: MIGRATIONS,
    // MySQL commits at every DDL statement: a transaction around them would only pretend.
    disableTransactions: dialect === 'mysql',
    migrationSource: {
      getMigrations: () => Promise.resolve([...steps]),
      getMigrationName: (step: (typeof steps)[number]) => step.name,
      getMigration: (step: (typeof steps)[number]) => Promise.resolve(step),
    },
  };
  await knex.migrate.forceFreeMigrationsLock(settings);
  await knex.migrate.latest(settings);
}
