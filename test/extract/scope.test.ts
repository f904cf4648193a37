import test from 'ava';
import { demoData, monthData } from '../../fixtures/demo/data.js';
import type { Scope, WantedScope } from '../../pipeline/shared/scope.js';
import {
  completeScope,
  covers,
  describeScopeChange,
  plainScope,
  sameScope,
} from '../../pipeline/shared/scope.js';
import { TransientError } from '../../pipeline/shared/errors.js';
import { survey } from '../../pipeline/staging/extractions.js';
import { MONTH, beforeWrites, bench, keysOf } from '../support/extract.js';

const slice = { month: MONTH, organization: 'oab' };
/** Nothing is set: the organization's own part alone is known. */
const open: WantedScope = {
  ...plainScope,
  detail: undefined,
  metrics: undefined,
  by: undefined,
};
const byService: WantedScope = { ...open, detail: 'service' };
const byUsageType: WantedScope = { ...open, detail: 'usage-type' };
const rich: Scope = {
  ...plainScope,
  detail: 'usage-type',
  metrics: ['AmortizedCost', 'NetAmortizedCost'],
  by: ['RECORD_TYPE'],
};
/** Few accounts, and small pages: each question still has several. */
const small = {
  data: demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 9 }] }),
  groupsPerPage: 60,
};
const on = (day: number) => () => new Date(Date.UTC(2026, 10, day, 6));
/** The month is over for so many days before its figures count as final. */
const provisionalDays = 20;

test('what is open is left as it was asked for; what is set holds, and more of it will do', (t) => {
  t.deepEqual(completeScope(open), plainScope);
  t.deepEqual(completeScope(open, rich), rich);
  t.deepEqual(completeScope({ ...open, metrics: [], by: [] }, rich), {
    ...plainScope,
    detail: 'usage-type',
  });
  t.true(covers(rich, open));
  t.true(covers(rich, { ...byUsageType, metrics: ['AmortizedCost'], by: [] }));
  t.false(covers(rich, byService));
  t.false(covers(rich, { ...open, metrics: ['BlendedCost'] }));
  t.true(sameScope(rich, { ...rich, metrics: [...rich.metrics] }));
  t.false(sameScope(rich, { ...rich, metrics: ['AmortizedCost'] }));
});

test('of another scope only what is more and less is told', (t) => {
  const other: Scope = {
    ...plainScope,
    metrics: ['AmortizedCost', 'BlendedCost'],
    by: [],
    invoices: true,
    listAccounts: false,
    billingViewArn: 'arn:a',
    costViewArn: 'arn:b',
  };
  t.is(describeScopeChange(rich, rich), '');
  t.is(
    describeScopeChange(rich, other),
    'by service instead of usage type, with BlendedCost and invoices, without RECORD_TYPE, NetAmortizedCost, and the list of accounts, of the billing view arn:a instead of the organization itself, with the cost view arn:b instead of no cost view',
  );
  t.is(
    describeScopeChange({ ...other, detail: 'usage-type' }, { ...rich, costViewArn: 'arn:b' }),
    'with RECORD_TYPE, NetAmortizedCost, and the list of accounts, without BlendedCost and invoices, of the organization itself instead of the billing view arn:a',
  );
});

test.serial('a month keeps what it was asked for, also where it is fetched again', async (t) => {
  const { run, manifest, lines } = await bench(t, small);
  await run({ scope: rich, now: on(2), provisionalDays });
  t.like(await run({ scope: open, now: on(2), provisionalDays }), {
    state: 'unchanged',
    requests: 0,
  });
  const next = await run({ scope: open, now: on(3), provisionalDays });
  t.is(next.state, 'done');
  t.deepEqual((await manifest(next.extraction)).scope, rich);
  const forced = await run({ scope: open, now: on(28), provisionalDays, force: true });
  t.deepEqual((await manifest(forced.extraction)).scope, rich);
  t.false(lines.join('').includes('fetched anew'));
  const fewer = { ...open, metrics: ['AmortizedCost'], by: [] } as const;
  const told = await run({ scope: fewer, now: on(28), provisionalDays, force: true });
  t.deepEqual((await manifest(told.extraction)).scope, {
    ...plainScope,
    detail: 'usage-type',
    metrics: ['AmortizedCost'],
  });
  t.regex(
    lines.join(''),
    /fetched anew, without RECORD_TYPE and NetAmortizedCost; what was fetched on 2026-11-28 stays staged/,
  );
});

test.serial('the other detail is taken from what is staged, there and back', async (t) => {
  const { run, lines, staging } = await bench(t, small);
  const now = on(25);
  const service = await run({ scope: byService, now });
  const usageType = await run({ scope: byUsageType, now });
  t.regex(
    lines.join(''),
    /fetched anew, by usage type instead of service; what was fetched on 2026-11-25 stays staged/,
  );
  for (const [scope, former] of [
    [byService, service],
    [open, service],
    [byUsageType, usageType],
    [open, usageType],
    [byService, service],
  ] as const) {
    const outcome = await run({ scope, now });
    t.like(outcome, { requests: 0, extraction: former.extraction, totals: former.totals });
    t.is((await survey(staging, slice)).current, former.extraction);
    t.is(outcome.state, scope === open ? 'unchanged' : 'done');
  }
  t.regex(
    lines.join(''),
    /taken from what was fetched on 2026-11-25, without a request, by service instead of usage type; what was fetched on 2026-11-25 stays staged/,
  );
  // One choice stands at a time, and the next fetch does away with it.
  const choices = async (): Promise<string[]> =>
    (await keysOf(staging)).filter((key) => key.includes('current-is-'));
  t.is((await choices()).length, 1);
  const forced = await run({ scope: open, now, force: true });
  t.is((await survey(staging, slice)).current, forced.extraction);
  t.deepEqual(await choices(), []);
});

test.serial('what is old, damaged or without a wanted metric is not taken instead', async (t) => {
  const { run, staging, manifest } = await bench(t, small);
  await run({ scope: byService, now: on(2), provisionalDays });
  await run({ scope: byUsageType, now: on(25), provisionalDays });
  const fresh = await run({ scope: byService, now: on(25), provisionalDays });
  t.true(fresh.requests > 0, 'provisional figures of an earlier day were taken for final ones');
  await run({ scope: byUsageType, now: on(25), provisionalDays });
  const wanted = { ...byService, metrics: ['AmortizedCost'] } as const;
  const further = await run({ scope: wanted, now: on(25), provisionalDays });
  t.true(further.requests > 0);
  await run({ scope: byUsageType, now: on(25), provisionalDays });
  for (const { extraction } of [fresh, further])
    await staging.remove(`raw/month=2026-10/oab/${extraction}/cost-and-usage-00001.json`);
  const anew = await run({ scope: byService, now: on(25), provisionalDays });
  t.true(anew.requests > 0);
  t.is((await manifest(anew.extraction)).scope.detail, 'service');
});

test.serial('what AWS has told other amounts of since is fetched instead of taken', async (t) => {
  for (const awsTotal of [true, false]) {
    const data = demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 9 }] });
    const { run } = await bench(t, { ...small, data });
    const now = on(25);
    const before = await run({ scope: byService, now, awsTotal });
    await run({ scope: byUsageType, now, awsTotal });
    t.is((await run({ scope: byService, now, awsTotal })).extraction, before.extraction);
    const bill = data.organizations[0]?.months.get(MONTH);
    const [first] = bill?.items ?? [];
    if (bill === undefined || first === undefined) throw new Error('the month has no cost');
    const more = first.costs.UnblendedCost + 10n ** 18n;
    const restated = { ...first, costs: { ...first.costs, UnblendedCost: more } };
    bill.items = [restated, ...bill.items.slice(1)];
    const after = await run({ scope: byUsageType, now, awsTotal, force: true });
    const fetched = await run({ scope: byService, now, awsTotal });
    t.true(fetched.requests > 0, 'older amounts took the place of newer ones');
    t.deepEqual(fetched.totals, after.totals);
    const back = await run({ scope: byUsageType, now, awsTotal });
    t.like(back, { requests: 0, extraction: after.extraction });
  }
});

test.serial('metrics and breakdowns of the month are kept in the other detail too', async (t) => {
  const { run, manifest } = await bench(t, small);
  const now = on(25);
  const service = await run({ scope: byService, now });
  await run({ scope: { ...byUsageType, metrics: ['AmortizedCost'], by: ['RECORD_TYPE'] }, now });
  // What is staged by service has neither: it would take them away without being asked to.
  const kept = await run({ scope: byService, now });
  t.true(kept.requests > 0);
  t.deepEqual((await manifest(kept.extraction)).scope, {
    ...plainScope,
    metrics: ['AmortizedCost'],
    by: ['RECORD_TYPE'],
  });
  await run({ scope: byUsageType, now });
  const plain = { ...byService, metrics: [], by: [] };
  const asked = await run({ scope: plain, now });
  t.like(asked, { requests: 0, extraction: kept.extraction });
  t.is((await run({ scope: plain, now })).state, 'unchanged');
  t.not(kept.extraction, service.extraction);
});

test.serial(
  'a stopped fetch decides too, while nothing is finished; it is gone on with',
  async (t) => {
    const { run, staging, manifest } = await bench(t, small);
    const dying = beforeWrites(staging, (key) => {
      if (key.endsWith('usage-type-account-00002.json')) throw new TransientError('killed');
    });
    await t.throwsAsync(run({ scope: byUsageType, staging: dying, now: on(25) }));
    const { unfinished } = await survey(staging, slice);
    const outcome = await run({ scope: open, now: on(25) });
    t.is(unfinished, outcome.extraction);
    const { scope, requests } = await manifest(outcome.extraction);
    t.is(scope.detail, 'usage-type');
    t.true(outcome.requests < requests.GetCostAndUsage);
  },
);

test.serial('a stopped fetch that is too old to go on still tells the detail', async (t) => {
  const { run, staging, manifest } = await bench(t, small);
  const dying = beforeWrites(staging, (key) => {
    if (key.endsWith('usage-type-account-00002.json')) throw new TransientError('killed');
  });
  await t.throwsAsync(run({ scope: byUsageType, staging: dying, now: on(25) }));
  const outcome = await run({ scope: open, now: on(28) });
  const { scope, requests } = await manifest(outcome.extraction);
  t.is(scope.detail, 'usage-type');
  t.is(outcome.requests, requests.GetCostAndUsage);
});

test.serial('a stopped fetch that is ended after a choice is the current one', async (t) => {
  const { run, staging } = await bench(t, small);
  const now = on(25);
  const service = await run({ scope: byService, now });
  await run({ scope: byUsageType, now });
  const dying = beforeWrites(staging, (key) => {
    if (key.endsWith('usage-type-account-00002.json')) throw new TransientError('killed');
  });
  await t.throwsAsync(run({ scope: byUsageType, staging: dying, now, force: true }));
  const { unfinished } = await survey(staging, slice);
  t.is((await run({ scope: byService, now })).extraction, service.extraction);
  t.is((await survey(staging, slice)).unfinished, unfinished);
  const ended = await run({ scope: byUsageType, now, force: true });
  t.is(unfinished, ended.extraction);
  t.is((await survey(staging, slice)).current, unfinished);
});

test.serial('a damaged month is fetched anew in the detail that it had', async (t) => {
  const { run, staging, manifest } = await bench(t, small);
  const { extraction } = await run({ scope: rich, now: on(25) });
  await staging.write(`raw/month=2026-10/oab/${extraction}/manifest.json`, Buffer.from('{'));
  const anew = await run({ scope: open, now: on(25) });
  t.deepEqual((await manifest(anew.extraction)).scope, rich);
});

test.serial('what AWS has changed since is not gone back to', async (t) => {
  for (const awsTotal of [true, false]) {
    const data = demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 9 }] });
    const { run } = await bench(t, { ...small, data });
    const service = await run({ scope: byService, now: on(25), awsTotal });
    const of = monthData(data, 'oab', MONTH);
    of.items = of.items.slice(20);
    const later = { awsTotal, now: on(26) };
    const usageType = await run({ scope: byUsageType, ...later });
    t.notDeepEqual(usageType.totals, service.totals);
    const back = await run({ scope: byService, ...later });
    t.true(back.requests > 0, 'figures that AWS has taken back came back as final ones');
    t.deepEqual(back.totals, usageType.totals);
    // These two agree.
    t.is((await run({ scope: byUsageType, ...later })).requests, 0);
    t.is((await run({ scope: byService, ...later })).requests, 0);
  }
});

const dyingAt = (file: string) => (key: string) => {
  if (key.includes(file)) throw new TransientError('killed');
};

test.serial('a fetch of the other detail in between costs a stopped one no page', async (t) => {
  const { run, staging, manifest } = await bench(t, small);
  const dying = beforeWrites(staging, dyingAt('usage-type-account-00002.json'));
  await t.throwsAsync(run({ scope: byUsageType, staging: dying, now: on(25) }));
  const { unfinished } = await survey(staging, slice);
  const service = await run({ scope: byService, now: on(25) });
  t.is((await survey(staging, slice)).current, service.extraction);
  const outcome = await run({ scope: byUsageType, now: on(25) });
  t.is(unfinished, outcome.extraction);
  t.is((await survey(staging, slice)).current, unfinished);
  t.true(outcome.requests < (await manifest(outcome.extraction)).requests.GetCostAndUsage);
  t.is((await run({ scope: byService, now: on(25) })).requests, 0);
});

test.serial('a kill as an older fetch becomes the current one loses nothing', async (t) => {
  const { run, staging } = await bench(t, small);
  const dying = (file: string) => beforeWrites(staging, dyingAt(file));
  const now = on(25);
  const forced = { scope: byUsageType, now, force: true };
  const service = await run({ scope: byService, now });
  await run({ scope: byUsageType, now });
  await t.throwsAsync(run({ ...forced, staging: dying('usage-type-account-00002.json') }));
  const { unfinished } = await survey(staging, slice);
  await run({ scope: byService, now });
  await t.throwsAsync(run({ ...forced, staging: dying('current-is-') }));
  t.is((await survey(staging, slice)).current, service.extraction);
  await t.throwsAsync(run({ ...forced, staging: dying('manifest.json') }));
  t.is((await survey(staging, slice)).current, service.extraction);
  const ended = await run(forced);
  t.like(ended, { extraction: unfinished, requests: 0 });
  t.is((await survey(staging, slice)).current, unfinished);
});
