import test from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { openDatabase, parseDatabaseUrl } from '../../load/database.js';
import { load } from '../../load/load.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { openServer } from '../support/mariadb.js';
import { october, stageSlice } from '../support/staged-slice.js';

test('smoke', async (t) => {
  let s = performance.now();
  const server = await openServer();
  t.log('start', performance.now() - s);
  t.teardown(() => server.stop());
  const folder = await mkdtemp(join(tmpdir(), 'load-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const staging = localStaging(join(folder, 'staging'));
  await stageSlice(staging, october, {
    customers: [
      {},
      { Created: null, TenantName: 'tab\there \\ back\nnl \0 nul "q" \'s\' 😀 \uFEFF ? \\?' },
    ],
    consumption: [
      { Amount: -1n, Quantity: 5n * 10n ** 30n },
      { Amount: 10n ** 38n - 1n },
      { Amount: -7n, Currency: 'EUR', Estimated: true },
    ],
  });
  const address = await server.createDatabase();
  for (const url of [address, `sqlite:${join(folder, 'a.db')}`]) {
    s = performance.now();
    const database = await openDatabase(
      parseDatabaseUrl(url),
      pino({ level: 'debug' }, pino.destination(2)),
    );
    t.log('open', performance.now() - s);
    s = performance.now();
    for (const force of [false, false, true])
      t.log(
        await load({
          staging,
          database,
          slice: october,
          runId: 'r',
          force,
          signal: new AbortController().signal,
          log: pino({ level: 'silent' }),
          onProgress: (x) => {
            t.log(x);
          },
          now: () => new Date(),
        }),
      );
    t.log('load', performance.now() - s);
    t.log(
      await database.knex('customers'),
      await database.knex('consumption'),
      await database.knex('pipeline_loads'),
    );
    await database.close();
  }
  t.log(
    await server.query(address, 'SHOW CREATE TABLE consumption'),
    await server.query(address, 'SHOW CREATE TABLE pipeline_loads'),
  );
});
