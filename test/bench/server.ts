import { openDatabase } from '../../load/database.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import { columnNames } from '../../load/schema.js';
import { silent } from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';
import type { Content } from './compare.js';
import { databaseSums, mustBeEqual, mustHaveRows } from './compare.js';
import type { Measured } from './measure.js';

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
