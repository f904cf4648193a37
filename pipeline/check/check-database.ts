import type { DatabaseLocation, OpenOptions } from '../../load/database.js';
import { probeConnection, probeRights } from '../../load/probe.js';
import type { Checklist } from './check-lines.js';
import type { Config } from '../config.js';
import type { Secrets } from '../secrets.js';

/** Connects to the database, and tries the rights that a load needs. */
export async function checkDatabase(
  { database, vault }: Config,
  secrets: Secrets,
  options: OpenOptions,
  list: Checklist,
): Promise<void> {
  let location: DatabaseLocation | undefined;
  if (database.kind === 'url') {
    location = database.location;
  } else if (vault !== undefined) {
    location = await list.step('suivi secret', async () => ({
      found: await secrets.database(),
      text: database.path,
    }));
  }
  if (location === undefined) {
    for (const check of ['database', 'database rights'])
      list.skip(check, 'the suivi secret cannot be read');
    return;
  }
  await checkServer(location, options, list);
}

async function checkServer(
  location: DatabaseLocation,
  options: OpenOptions,
  list: Checklist,
): Promise<void> {
  const connected = await list.step('database', async () => {
    const facts = await probeConnection(location, options);
    const text =
      facts === undefined
        ? 'the SQLite file is not there yet: the first load makes it'
        : `${facts.location}, version ${facts.version}`;
    return { found: { facts }, text };
  });
  if (connected === undefined) {
    list.skip('database rights', 'there is no connection');
    return;
  }
  await list.step('database rights', async () => {
    await probeRights(location, options);
    return { found: true, text: 'enough to load' };
  });
  if (connected.facts?.statements === true) {
    await list.step('binlog_format', () =>
      Promise.resolve({
        found: true,
        text: 'STATEMENT: loading works, one month and organization at a time; ROW or MIXED lets them load side by side',
      }),
    );
  }
  const bulk = connected.facts?.bulk;
  if (bulk !== undefined) {
    await list.step('local_infile', () =>
      Promise.resolve({
        found: bulk,
        text: bulk ? 'on' : 'off: loading works, about half as fast; SET GLOBAL local_infile = 1',
      }),
    );
  }
}
