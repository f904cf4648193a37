import type { ExecutionContext } from 'ava';
import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import type { Scope, WantedScope } from '../../pipeline/shared/scope.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { survey } from '../../pipeline/staging/extractions.js';
import type { Bench } from '../support/extract.js';
import { MONTH, beforeWrites, bench, keysOf, textOf } from '../support/extract.js';
import { COST_VIEW } from '../support/resold.js';
import { Killed, final, later, open, restate, slice, small } from '../support/widening.js';

const raw = 'raw/month=2026-10/oab/';

const count = (of: Bench) => ({
  cost: of.requests('GetCostAndUsage').length,
  accounts: of.requests('ListAccounts').length,
  invoices: of.requests('ListInvoiceSummaries').length,
});

/** What is asked in between, by the stem of its pages. */
async function asked<T>(of: Bench, work: () => Promise<T>) {
  const before = count(of);
  const result = await work();
  const after = count(of);
  return {
    result,
    cost: after.cost - before.cost,
    accounts: after.accounts - before.accounts,
    invoices: after.invoices - before.invoices,
  };
}

async function files(of: Bench, extraction: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const key of await keysOf(of.staging, `${raw}${extraction}/`)) {
    const file = key.slice(key.lastIndexOf('/') + 1);
    if (/-\d{5}\.json$/.test(file)) found.set(file, await textOf(of.staging, key));
  }
  return found;
}

/** The same month fetched as a whole in the scope, elsewhere. */
async function fetchedWhole(t: ExecutionContext, scope: Scope, restated = false) {
  const of = await bench(t, small());
  if (restated) restate(of);
  const { result, ...requests } = await asked(of, () => of.run({ scope, now: later }));
  return { requests, files: await files(of, result.extraction), totals: result.totals };
}

const widened: readonly (readonly [string, WantedScope, Scope])[] = [
  ['invoices', { ...open, invoices: true }, { ...plainScope, invoices: true }],
  ['a dimension', { ...open, by: ['REGION'] }, { ...plainScope, by: ['REGION'] }],
  ['a cost view', { ...open, costViewArn: COST_VIEW }, { ...plainScope, costViewArn: COST_VIEW }],
  [
    'all of them',
    { ...open, invoices: true, by: ['REGION', 'TAG:team'], costViewArn: COST_VIEW },
    { ...plainScope, invoices: true, by: ['REGION', 'TAG:team'], costViewArn: COST_VIEW },
  ],
];

for (const [what, wanted, scope] of widened) {
  test.serial(
    `a final month that lacks ${what} is asked for that and its total alone`,
    async (t) => {
      const reference = await fetchedWhole(t, scope);
      const of = await bench(t, small());
      const first = await of.run({ now: final });
      const former = await of.manifest(first.extraction);
      const added = [...reference.files.keys()].filter(
        (file) => !former.pages.some((page) => page.file === file),
      );
      const cost = added.filter((file) => !file.startsWith('invoices')).length + 1;
      const invoices = added.filter((file) => file.startsWith('invoices')).length;
      const { result, ...requests } = await asked(of, () => of.run({ scope: wanted, now: later }));
      t.deepEqual(requests, { cost, accounts: 0, invoices });
      t.is(result.requests, cost);
      t.deepEqual(await files(of, result.extraction), reference.files);
      const found = await of.manifest(result.extraction);
      t.deepEqual(found.scope, scope);
      t.deepEqual(found.requests, {
        ListAccounts: 0,
        GetCostAndUsage: cost,
        ListInvoiceSummaries: invoices,
      });
      t.deepEqual(found.takenOver, {
        extraction: first.extraction,
        files: former.pages.map(({ file }) => file).filter((file) => !file.startsWith('total')),
      });
      t.is((await of.run({ scope: wanted, now: later })).state, 'unchanged');
      t.like(await of.run({ scope: open, now: later }), { state: 'unchanged', requests: 0 });
    },
  );

  test.serial(`a month that AWS restated since, and lacks ${what}, is fetched anew`, async (t) => {
    const reference = await fetchedWhole(t, scope, true);
    const of = await bench(t, small());
    const first = await of.run({ now: final });
    restate(of);
    const { result, ...requests } = await asked(of, () => of.run({ scope: wanted, now: later }));
    t.notDeepEqual(result.totals, first.totals);
    t.deepEqual(result.totals, reference.totals);
    t.deepEqual(requests, reference.requests, 'it cost more than fetching all of it');
    t.deepEqual(await files(of, result.extraction), reference.files);
    const found = await of.manifest(result.extraction);
    t.is(found.takenOver, undefined);
    t.is(found.requests.GetCostAndUsage, requests.cost);
    t.is(of.lines.filter((line) => line.includes('AWS has changed the month')).length, 1);
  });
}

for (const isRestated of [false, true])
  test.serial(
    `a run that widens a month and is killed at any write${isRestated ? ', as AWS restates it,' : ''} is gone on with, and pays for nothing twice`,
    async (t) => {
      const [, wanted, scope] = widened[3]!;
      const reference = await fetchedWhole(t, scope, isRestated);
      const of = await bench(t, small());
      await of.run({ now: final });
      if (isRestated) restate(of);
      const before = new Set(await keysOf(of.staging));
      const whole = { isDone: false };
      for (let killAt = 1; !whole.isDone; killAt++) {
        for (const key of await keysOf(of.staging))
          if (!before.has(key)) await of.staging.remove(key);
        let writes = 0;
        let removals = 0;
        const lost: string[] = [];
        const dying = beforeWrites(of.staging, (key) => {
          writes++;
          if (writes + removals >= killAt) {
            lost.push(key);
            throw new Killed(`killed before ${key}`);
          }
        });
        const remove = async (key: string): Promise<void> => {
          removals++;
          if (writes + removals >= killAt) throw new Killed(`killed before ${key} is removed`);
          await of.staging.remove(key);
        };
        const { result, ...requests } = await asked(of, async () => {
          try {
            await of.run({ scope: wanted, now: later, staging: { ...dying, remove } });
            whole.isDone = true;
          } catch (error) {
            if (!(error instanceof Killed)) throw error;
          }
          return of.run({ scope: wanted, now: later });
        });
        t.deepEqual(await files(of, result.extraction), reference.files, `killed at ${killAt}`);
        t.deepEqual(result.totals, reference.totals);
        const found = await of.manifest(result.extraction);
        const copies = found.takenOver?.files.length ?? 0;
        t.is(
          found.requests.GetCostAndUsage +
            found.requests.ListInvoiceSummaries +
            found.requests.ListAccounts,
          found.pages.length - copies,
        );
        // The page that was on its way to the staging area as the run was killed is asked for again.
        const again = lost.some((key) => /\/(?:by|total|cost)-[^/]*$/.test(key));
        const isCopy = !isRestated && lost.some((key) => key.includes('/cost-and-usage-'));
        const price = isRestated ? reference.requests.cost : found.requests.GetCostAndUsage;
        t.true(
          requests.cost <= price + (again && !isCopy ? 1 : 0),
          `killed at ${killAt}, before ${lost.join()}: ${requests.cost} requests instead of ${price}`,
        );
        if (!isRestated) t.true(copies > 0, `killed before ${lost.join()}`);
        t.is((await survey(of.staging, slice)).extractions.length, 2);
      }
    },
  );

test.serial('--force fetches everything, also where a run that widened was stopped', async (t) => {
  const [, wanted, scope] = widened[1]!;
  const reference = await fetchedWhole(t, scope);
  for (const stop of ['accounts-00001.json', 'by-region-00001.json', 'manifest.json']) {
    const of = await bench(t, small());
    await of.run({ now: final });
    const dying = beforeWrites(of.staging, (key) => {
      if (key.endsWith(stop)) throw new Killed('killed');
    });
    const { result, cost } = await asked(of, async () => {
      await t.throwsAsync(of.run({ scope: wanted, now: later, staging: dying }), {
        instanceOf: Killed,
      });
      return of.run({ scope: wanted, now: later, force: true });
    });
    t.is(cost, reference.requests.cost + (stop.startsWith('by') ? 1 : 0), stop);
    const found = await of.manifest(result.extraction);
    t.is(found.takenOver, undefined);
    t.is(found.requests.GetCostAndUsage, reference.requests.cost);
    t.deepEqual(await files(of, result.extraction), reference.files);
  }
});

test.serial(
  'only what is as good as fetched now, and proved by a total, is taken over',
  async (t) => {
    const [, wanted, scope] = widened[1]!;
    const { requests: all } = await fetchedWhole(t, scope);
    const invoices = { ...open, invoices: true };
    const early = (hour: number) => () => new Date(Date.UTC(2026, 10, 4, hour));
    const costOf = async (
      first: Parameters<Bench['run']>[0],
      second: Parameters<Bench['run']>[0],
    ): Promise<number> => {
      const of = await bench(t, small());
      await of.run(first);
      return (await asked(of, () => of.run(second))).cost;
    };
    t.is(
      await costOf({ now: early(6) }, { scope: wanted, now: early(9) }),
      2,
      'provisional, of today',
    );
    const nextDay = () => new Date(Date.UTC(2026, 10, 5, 6));
    t.is(await costOf({ now: early(6) }, { scope: wanted, now: nextDay }), all.cost);
    const without = { now: final, awsTotal: false };
    t.is(await costOf(without, { scope: wanted, now: later, awsTotal: false }), all.cost - 1);
    t.is(await costOf(without, { scope: wanted, now: later }), all.cost);
    t.is(
      await costOf({ now: final }, { scope: wanted, now: later, awsTotal: false }),
      all.cost - 1,
    );
    // Invoices say nothing of Cost Explorer's figures.
    t.is(await costOf(without, { scope: invoices, now: later, awsTotal: false }), 0);
    const metric = { ...wanted, metrics: ['AmortizedCost'] } as const;
    t.is(await costOf({ now: final }, { scope: metric, now: later }), all.cost);
  },
);

test.serial(
  'of usage types the questions that are known from answers are taken over too',
  async (t) => {
    const data = () => ({
      data: demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 9 }] }),
      groupsPerPage: 60,
    });
    const detailed: Scope = { ...plainScope, detail: 'usage-type', metrics: ['AmortizedCost'] };
    const wanted = { ...detailed, by: ['REGION'] } as const;
    const reference = await bench(t, data());
    const { result: expected, cost: all } = await asked(reference, () =>
      reference.run({ scope: wanted, now: later }),
    );
    for (const isRestated of [false, true]) {
      const of = await bench(t, data());
      await of.run({ scope: detailed, now: final });
      if (isRestated) restate(of);
      const { result, cost } = await asked(of, () => of.run({ scope: wanted, now: later }));
      t.is(cost, isRestated ? all : 2);
      if (!isRestated)
        t.deepEqual(
          await files(of, result.extraction),
          await files(reference, expected.extraction),
        );
    }
  },
);

test.serial('a page that is damaged is not taken over: all is fetched', async (t) => {
  const [, wanted, scope] = widened[1]!;
  const { requests: all } = await fetchedWhole(t, scope);
  const of = await bench(t, small());
  const { extraction } = await of.run({ now: final });
  const key = `${raw}${extraction}/cost-and-usage-00002.json`;
  const text = await textOf(of.staging, key);
  await of.staging.write(key, Buffer.from(text.replace('1', '2')));
  const { result, cost } = await asked(of, () => of.run({ scope: wanted, now: later }));
  t.is(cost, all.cost);
  t.is((await of.manifest(result.extraction)).takenOver, undefined);
  t.regex(
    of.lines.join(''),
    /cannot be taken over \(a staged page is not what its manifest tells\)/,
  );
});
