import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { checkDifference } from '../../load/aws-difference.js';
import type { Database } from '../../load/database.js';
import { DataError } from '../../pipeline/shared/errors.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { transformManifestKey } from '../../pipeline/staging/layout.js';
import { serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { loadSlice, openFor, temporaryFolder, temporaryStaging } from '../support/load-fixture.js';
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

test('a usage type that its rows do not add up to is refused past the tolerance, by its name', (t) => {
  const tolerance = parseAmount('0.01').units;
  const check = (difference: string | null, by: 'service' | 'account'): void => {
    const named =
      by === 'service'
        ? { service: 'Amazon S3', account: null }
        : { service: null, account: '012345678901' };
    const largest =
      difference === null
        ? null
        : { usageType: 'Requests-Tier1', ...named, currency: 'USD', difference };
    checkDifference(
      {
        month: october.month,
        organization: october.organization,
        scope: plainScope,
        awsTotal: { USD: '10' },
        awsMetrics: {},
        consumption: { totals: { USD: '10' }, columns: {}, pairs: { compared: 3, largest } },
      },
      tolerance,
    );
  };
  for (const difference of [null, '0', '0.01', '-0.01', '0.009999999999999999'])
    t.notThrows(() => {
      check(difference, 'service');
    }, String(difference));
  for (const difference of ['0.010000000000000001', '-0.010000000000000001', '7']) {
    for (const [by, name] of [
      ['service', 'of "Amazon S3" in'],
      ['account', 'of account 012345678901 in'],
    ] as const) {
      const error = t.throws(
        () => {
          check(difference, by);
        },
        { instanceOf: DataError },
      );
      t.is(
        error.message,
        `oab's usage type "Requests-Tier1" ${name} 2026-10 is not what its rows add up to: a difference of ${difference} USD, more than the tolerance of 0.01`,
      );
    }
  }
});

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
}
