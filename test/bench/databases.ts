import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { openDatabase } from '../../load/database.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import { columnNames, LINE } from '../../load/schema.js';
import { columnIndex, consumption } from '../../pipeline/staging/tables.js';
import { query } from '../support/duckdb.js';
import { silent } from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { serverProgram, startServer } from '../support/mariadb.js';
import type { Content } from './compare.js';
import { databaseSums, mustBeEqual, mustHaveRows } from './compare.js';
import type { Measured } from './measure.js';
import { month, organizationNames, quoted } from './month.js';

/**
 * Starts the MariaDB of both sides: with memory for a month, and a log that it fits into; otherwise with
 * the tests' settings.
 */
export function startBenchServer(): Promise<TestServer> {
  return startServer([
    '--innodb-buffer-pool-size=1G',
    '--innodb-log-file-size=1G',
    '--local-infile=1',
  ]);
}

/** The same of MySQL, by the file of its `mysqld`. */
export function startMysql(mysqld: string): Promise<TestServer> {
  return startServer(
    [
      '--innodb-buffer-pool-size=1G',
      '--innodb-redo-log-capacity=2G',
      '--local-infile=1',
      // It would listen on every address.
      '--mysqlx=OFF',
    ],
    serverProgram(mysqld),
  );
}

/** Makes a database with the product's tables, and returns its address. */
export async function createTables(server: TestServer): Promise<string> {
  const address = await server.createDatabase();
  await (await openDatabase(parseDatabaseUrl(address), { log: silent })).close();
  return address;
}

/** Empties the tables, so that a load begins as the first of a month does. */
async function emptyTables(server: TestServer, address: string): Promise<void> {
  await server.query(address, 'TRUNCATE customers', 'TRUNCATE consumption');
}

/** Rows and exact sums of consumption, and a checksum over all its cells. */
async function contentOf(server: TestServer, address: string): Promise<Content> {
  const cells = columnNames('consumption').map((name) => `coalesce(${name}, 'null')`);
  const checksum = `SELECT sum(crc32(concat_ws('|', ${cells.join(', ')}))) AS checksum FROM consumption`;
  return [
    ...(await server.query(address, databaseSums)),
    ...(await server.query(address, checksum)),
  ];
}

/**
 * Prepares a comparison of what several sides load. Each fills empty tables, and leaves them empty, so
 * that the server does not go on writing one side's rows while it takes the other's.
 */
export function comparedLoads(
  server: TestServer,
  what: string,
  rows: number,
): (address: string, load: () => Promise<Measured>) => Promise<Measured> {
  let first: Content | undefined;
  return async (address, load) => {
    await emptyTables(server, address);
    const measured = await load();
    const content = await contentOf(server, address);
    mustHaveRows(what, content, rows);
    mustBeEqual(what, content, (first ??= content));
    await emptyTables(server, address);
    return measured;
  };
}

/**
 * Writes consumption as CSV files that a database's own loader takes as they are: numbers without
 * trailing zeros, booleans as 0 and 1.
 * @param names the database table's columns, in the order to write them.
 * @param nothing how null is written.
 * @returns the files, one an organization.
 */
export async function writeReadyFiles(
  staging: string,
  folder: string,
  names: readonly string[],
  nothing: string,
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const columns = names.map((name) => `${readyText(name)} AS ${quoted(name)}`);
  return Promise.all(
    organizationNames.map(async (organization) => {
      const parquet = `${staging}/parquet/consumption/month=${month}/${organization}.parquet`;
      const file = `${folder}/${organization}.csv`;
      await query(
        `COPY (SELECT ${columns.join(', ')} FROM read_parquet('${parquet}', file_row_number = true, hive_partitioning = false))
         TO '${file}' (FORMAT csv, HEADER, NULLSTR '${nothing}')`,
      );
      return file;
    }),
  );
}

function readyText(name: string): string {
  if (name === LINE) return 'file_row_number + 1';
  const { type } = consumption[columnIndex('consumption', name)] ?? {};
  const column = quoted(name);
  if (type === 'decimal') return `rtrim(rtrim(${column}::VARCHAR, '0'), '.')`;
  return type === 'boolean' ? `${column}::INTEGER` : column;
}

const run = promisify(execFile);

/**
 * Whether a program can be run here: it is there, or Debian's package brings it, where apt may install it.
 */
export async function hasProgram(program: string, debianPackage: string): Promise<boolean> {
  if (await runs(program)) return true;
  if (process.getuid?.() !== 0) return false;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await run('apt-get', ['-qq', 'update'], { env });
    await run('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', debianPackage], {
      env,
    });
  } catch {
    return false;
  }
  return runs(program);
}

async function runs(program: string): Promise<boolean> {
  return run(program, ['--version']).then(
    () => true,
    () => false,
  );
}
