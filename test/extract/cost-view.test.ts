import test from 'ava';
import { organizationData } from '../../fixtures/demo/data.js';
import { TransientError, UsageError } from '../../pipeline/shared/errors.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import type { Scope, WantedScope } from '../../pipeline/shared/scope.js';
import { checkCostView, completeScope, covers, plainScope } from '../../pipeline/shared/scope.js';
import { MONTH, beforeWrites, bench, keysOf } from '../support/extract.js';
import { COST_VIEW, paidBy, resold } from '../support/resold.js';

const scope: Scope = { ...plainScope, costViewArn: COST_VIEW };
/** Vault cannot be asked, so that the organization's own part is open. */
const open: WantedScope = {
  ...plainScope,
  billingViewArn: undefined,
  costViewArn: undefined,
  listAccounts: undefined,
};

test('a month with a cost view will do for who asks for none, and for nobody who asks for another', (t) => {
  t.deepEqual(completeScope(open, scope), scope);
  t.true(covers(scope, open));
  t.true(covers(scope, plainScope));
  t.true(covers(scope, scope));
  t.false(covers(plainScope, scope));
  t.false(covers(scope, { ...scope, costViewArn: `${COST_VIEW}-other` }));
});

test.serial(
  'the cost view is one more question, whose fetch goes on where it was killed',
  async (t) => {
    const data = resold([MONTH]);
    const { run, requests, staging, manifest } = await bench(t, { data, groupsPerPage: 40 });
    const split: Scope = { ...scope, by: ['RECORD_TYPE'] };
    class Killed extends TransientError {}
    let dead = false;
    const dying = beforeWrites(staging, (key) => {
      dead ||= key.endsWith('cost-view-00002.json');
      if (dead) throw new Killed(`killed before ${key}`);
    });
    await t.throwsAsync(run({ scope: split, staging: dying }), { instanceOf: Killed });
    const before = requests('GetCostAndUsage').length;
    const outcome = await run({ scope: split });
    const { pages, costView, groups, totals, queries } = await manifest(outcome.extraction);
    const files = pages.filter(({ file }) => file.startsWith('cost-view-'));
    t.true(files.length > 2);
    // Of all pages the second one of the cost view alone was asked for twice.
    t.is(
      before + outcome.requests,
      pages.filter(({ file }) => !file.startsWith('accounts')).length + 1,
    );
    const paid = paidBy(data, MONTH);
    t.is(costView?.groups, paid.size);
    t.deepEqual(costView?.totals, {
      USD: formatAmount([...paid.values()].reduce((sum, one) => sum + one, 0n)),
    });
    t.notDeepEqual(costView?.totals, totals);
    t.is(outcome.rows, groups);
    t.deepEqual(
      queries.map(({ name }) => name),
      ['cost-and-usage', 'cost-view', 'by-record-type', 'total'],
    );
    const views = requests('GetCostAndUsage').map(({ input }) => {
      const { BillingViewArn = 'own' } = input as { BillingViewArn?: string };
      return BillingViewArn;
    });
    t.deepEqual(new Set(views), new Set(['own', COST_VIEW]));
    t.is((await keysOf(staging)).filter((key) => key.endsWith('manifest.json')).length, 1);
    t.like(await run({ scope: split }), { state: 'unchanged', requests: 0 });
  },
);

test.serial(
  'an old month without the question stays as it is until it is asked for, and what has it is taken again for nothing',
  async (t) => {
    const { run, manifest } = await bench(t, { data: resold([MONTH]) });
    const first = await run({ now: () => new Date('2026-11-20T00:00:00Z') });
    t.is((await manifest(first.extraction)).costView, undefined);
    t.like(await run({ scope: open }), { state: 'unchanged', requests: 0 });
    const asked = await run({ scope, now: () => new Date('2026-11-21T00:00:00Z') });
    t.true(asked.requests > 1);
    // Given up again: more than is wanted will do.
    t.like(await run(), { state: 'unchanged', requests: 0, extraction: asked.extraction });
  },
);

test.serial('a cost that moved makes an older fetch no good one to go back to', async (t) => {
  const data = resold([MONTH]);
  const { run } = await bench(t, { data });
  const on = (day: number) => () => new Date(Date.UTC(2026, 10, day));
  const rich: Scope = { ...scope, metrics: ['AmortizedCost'] };
  const first = await run({ scope: rich, now: on(20) });
  await run({ scope, now: on(21), force: true });
  t.like(await run({ scope: rich, now: on(22) }), { requests: 0, extraction: first.extraction });
  const [view] = organizationData(data, 'oab').views!.values();
  const paid = view!.months.get(MONTH)!;
  view!.months.set(MONTH, { ...paid, items: paid.items.slice(1) });
  await run({ scope, now: on(23), force: true });
  t.true((await run({ scope: rich, now: on(24) })).requests > 0);
});

test.serial(
  'with usage types the cost view is refused, also where the staged month decides',
  async (t) => {
    const { run, requests } = await bench(t, { data: resold([MONTH]) });
    await run({ scope: { ...plainScope, detail: 'usage-type' } });
    const before = requests('GetCostAndUsage').length;
    const error = await t.throwsAsync(run({ scope: { ...scope, detail: undefined } }), {
      instanceOf: UsageError,
    });
    t.regex(error.message, /^oab has a costViewArn, .* and the detail usage-type$/);
    t.regex(error.next ?? '', /--detail service/);
    t.is(requests('GetCostAndUsage').length, before);
  },
);

test('a view that is both what is billed and what it costs is refused', (t) => {
  const error = t.throws(
    () => {
      checkCostView('oab', { ...scope, billingViewArn: COST_VIEW });
    },
    {
      instanceOf: UsageError,
    },
  );
  t.is(error.message, 'oab has one view for billingViewArn and costViewArn');
});
