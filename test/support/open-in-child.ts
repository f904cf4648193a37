import { execFile } from 'node:child_process';
import { argv, env } from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openDatabase } from '../../load/database.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import { silent } from './load-fixture.js';

const self = fileURLToPath(import.meta.url);

/** Opens and closes a database in a process of its own; rejects when that fails. */
export async function openInChild(url: string): Promise<void> {
  await promisify(execFile)(process.execPath, [self], { env: { ...env, OPEN_DATABASE: url } });
}

if (argv[1] === self) {
  const database = await openDatabase(parseDatabaseUrl(env['OPEN_DATABASE'] ?? ''), {
    log: silent,
  });
  await database.close();
}
