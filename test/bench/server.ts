import { openDatabase, parseDatabaseUrl } from '../../load/database.js';
import { silent } from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';

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
  await (await openDatabase(parseDatabaseUrl(address), silent)).close();
  return address;
}

/** Empties the tables, so that a load begins as the first of a month does. */
export async function emptyTables(server: TestServer, address: string): Promise<void> {
  await server.query(address, 'TRUNCATE customers', 'TRUNCATE consumption');
}
