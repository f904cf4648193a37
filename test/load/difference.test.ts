import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { openDatabase, parseDatabaseUrl } from '../../load/database.js';
import type { Database } from '../../load/database.js';
import { DataError } from '../../pipeline/errors.js';
import { formatAmount, parseAmount } from '../../pipeline/money.js';
import { transformManifestKey } from '../../pipeline/staging/layout.js';
import { serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import {
  loadSlice,
  openFor,
  silent,
  temporaryFolder,
  temporaryStaging,
} from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';
import { october, stageSlice } from '../support/staged-slice.js';

let server: TestServer;
test.before(async () => {
  server = await openServer();
});
test.after.always(() => server.stop());

const kinds: Record<string, (t: ExecutionContext) => Promise<string>> = {
  MariaDB: () => server.createDatabase(),
  SQLite: async (t) => `sqlite:${join(await temporaryFolder(t), 'billing.sqlite')}`,
};

/** Stages a slice of one row, for which AWS tells a total of its own. */
async function stage(
  staging: Staging,
  amount: string,
  awsTotal: Record<string, string> | null,
  extraction = '20261101T020304Z',
): Promise<void> {
  const content = { customers: [{}], consumption: [{ Amount: parseAmount(amount).units }] };
  const manifest = await stageSlice(staging, october, content, { extraction });
  await staging.write(transformManifestKey(october), serializeManifest({ ...manifest, awsTotal }));
}

interface Load {
  Difference: string | null;
  Differences: string | null;
}

async function loads({ knex }: Database): Promise<Load[]> {
  const rows = (await knex('pipeline_loads').orderBy('Id')) as Load[];
  return rows.map(({ Difference, Differences }) => ({
    Difference: Difference === null ? null : formatAmount(parseAmount(Difference).units),
    Differences,
  }));
}

async function amounts({ knex }: Database): Promise<string[]> {
  const found = (await knex('consumption').pluck('Amount')) as string[];
  return found.map((amount) => formatAmount(parseAmount(amount).units));
}

for (const [kind, makeDatabase] of Object.entries(kinds)) {
  test(`${kind}: a difference up to the tolerance is loaded and kept in the history`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    for (const [awsTotal, expected] of [
      [{ USD: '10' }, { Difference: '0', Differences: '{"USD":"0"}' }],
      [{ USD: '9.99' }, { Difference: '-0.01', Differences: '{"USD":"-0.01"}' }],
      [
        { USD: '10.01', EUR: '0.005' },
        { Difference: null, Differences: '{"EUR":"0.005","USD":"0.01"}' },
      ],
      [null, { Difference: null, Differences: null }],
    ] as const) {
      await stage(staging, '10', awsTotal);
      t.is((await loadSlice(staging, database, { force: true })).state, 'done');
      t.deepEqual((await loads(database)).at(-1), expected);
    }
  });

  test(`${kind}: a larger one is refused, and what was loaded stays`, async (t) => {
    const staging = await temporaryStaging(t);
    const database = await openFor(t, await makeDatabase(t));
    await stage(staging, '10', { USD: '10' });
    await loadSlice(staging, database);
    const later = '20261102T020304Z';
    for (const [awsTotal, difference] of [
      [{ USD: '12.010000000000000001' }, '0.010000000000000001 USD'],
      [{ USD: '11.98' }, '-0.02 USD'],
      [{ EUR: '12' }, '12 EUR'],
      [{}, '-12 USD'],
    ] as const) {
      await stage(staging, '12', awsTotal, later);
      const error = await t.throwsAsync(loadSlice(staging, database, { force: true }), {
        instanceOf: DataError,
      });
      t.true(error.message.includes(`a difference of ${difference}, more than`), error.message);
      t.regex(
        error.message,
        /^oab's total of 2026-10 is .* its rows add up to .* tolerance of 0.01; which services make it was not asked for$/,
      );
      t.regex(
        error.next!,
        /--stage extract --force --month 2026-10 --organization oab.*--tolerance/,
      );
      t.deepEqual(await amounts(database), ['10']);
      t.is((await loads(database)).length, 1);
    }
    const tolerance = parseAmount('12').units;
    t.is((await loadSlice(staging, database, { tolerance })).state, 'done');
    t.deepEqual(await amounts(database), ['12']);
    // What is loaded already is not refused afterwards.
    t.is((await loadSlice(staging, database)).state, 'unchanged');
  });

  test(`${kind}: a database of the version before is upgraded, its history kept`, async (t) => {
    const url = await makeDatabase(t);
    const staging = await temporaryStaging(t);
    const old = await openDatabase(parseDatabaseUrl(url), silent);
    await stage(staging, '10', null);
    await loadSlice(staging, old);
    // As the version before made it, or one that was killed in the middle of the upgrade left it.
    await old.knex.schema.alterTable('pipeline_loads', (table) => {
      table.dropColumn('Differences');
      if (kind === 'MariaDB') table.dropColumn('Difference');
    });
    await old.knex('pipeline_migrations').where({ name: '002_difference' }).delete();
    await old.close();

    const database = await openFor(t, url);
    t.deepEqual(await loads(database), [{ Difference: null, Differences: null }]);
    await stage(staging, '10', { USD: '10.001' }, '20261103T020304Z');
    t.is((await loadSlice(staging, database)).state, 'done');
    t.deepEqual((await loads(database)).at(-1), {
      Difference: '0.001',
      Differences: '{"USD":"0.001"}',
    });
  });
}
