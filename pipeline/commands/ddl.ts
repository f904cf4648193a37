import { engineStatements, engines } from '../export/engine-tables.js';
import { advice } from '../shared/commands.js';
import { DataError, UsageError } from '../shared/errors.js';
import { nearest } from '../shared/nearest.js';
import { printable } from '../shared/printable.js';
import { exportPrefix } from '../staging/layout.js';
import type { ExportFormat } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import type { TableName } from '../staging/tables.js';
import { tableNames } from '../staging/tables.js';
import { command, configure, each, off, one, pick } from './command.js';

/** `pipeline ddl`: the statements by which an SQL engine has the staged Parquet files as tables. */
export const ddl = command({
  name: 'ddl',
  describe: 'Print the statements by which an SQL engine reads the Parquet files as tables',
  flags: {
    engine: {
      ...one(),
      choices: engines,
      demandOption: true,
      describe: 'Whose SQL it is',
    },
    table: {
      ...each(),
      describe: 'Table, repeatable (default: all that have files in the staging area)',
    },
    basic: {
      ...off(),
      describe: 'Of the files that --parquet basic makes, whose money is no exact decimal',
    },
    ...pick('staging', 'config', 'timeout', 'json', 'log-level'),
  },
  epilogue:
    'The tables are made in a schema (database) billing, with the folder of each month as the column month. Nothing is written, and with --table nothing is looked up either. Trino and Spark have to be told of a new month, as the statement says that stands last for each table; the others find it. Athena takes one statement at a time.',
  examples: [
    ['ddl --engine athena --staging s3://bucket/prefix', 'external tables that find new months'],
    ['ddl --engine duckdb | duckdb billing.duckdb', 'views over the files'],
  ],
  async work(args, { open }) {
    const config = await configure(args, { organizations: false, database: false });
    const { engine } = args;
    const format = args.basic ? 'parquet-basic' : 'parquet';
    const tables =
      args.table === undefined
        ? await staged((await open(config)).staging, format)
        : tablesOf(args.table);
    const statements = engineStatements(engine, { staging: config.staging, tables, format });
    return {
      text: () =>
        statements
          .map(({ sql, afterEachMonth }) =>
            afterEachMonth ? `-- Again after each new month:\n${sql};` : `${sql};`,
          )
          .join('\n\n'),
      json: () => ({ engine, statements }),
      failed: false,
    };
  },
});

/** @throws {UsageError} on a name that no table has. */
function tablesOf(names: readonly string[]): TableName[] {
  const all = names.flatMap((name) => name.split(',').map((some) => some.trim()));
  const wrong = all.find((name) => !tableNames.some((table) => table === name));
  if (wrong !== undefined) {
    const meant = nearest(wrong, tableNames);
    throw new UsageError(`there is no table ${printable(wrong)}`, {
      next: `${meant === undefined ? '' : `did you mean ${meant}? `}choose among ${tableNames.join(', ')}`,
    });
  }
  return tableNames.filter((table) => all.includes(table));
}

/**
 * The tables that have any file: a view of none cannot be made.
 * @throws {DataError} where none has.
 */
async function staged(staging: Staging, format: ExportFormat): Promise<TableName[]> {
  const found: TableName[] = [];
  for (const table of tableNames) {
    const files = staging.list(exportPrefix(format, table))[Symbol.asyncIterator]();
    if ((await files.next()).done !== true) found.push(table);
    await files.return?.();
  }
  if (found.length > 0) return found;
  throw new DataError(`no ${format === 'parquet' ? '' : 'basic '}Parquet file is staged yet`, {
    where: staging.location,
    ...advice(
      'make them with',
      {
        stages: ['transform'],
        flags: format === 'parquet' ? [] : ['--parquet', 'basic'],
      },
      ', or name the tables with --table',
    ),
  });
}
