import test from 'ava';
import { monthData } from '../../fixtures/demo/data.js';
import { decideExtract } from '../../extract/decision.js';
import { estimator, remaining } from '../../pipeline/inspect/estimate.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import type { WantedScope } from '../../pipeline/shared/scope.js';
import { stagedSlices } from '../../pipeline/staging/extractions.js';
import type { Bench } from '../support/extract.js';
import { MONTH, bench, keysOf } from '../support/extract.js';
import { COST_VIEW } from '../support/resold.js';
import { at, final, killedAt, later, open, restate, slice, small } from '../support/widening.js';

/**
 * A run that widens a month is stopped, and what comes next is not the same run once more: other flags, another day,
 * a month that changed. No old figures become current, and the plan is what is asked.
 */

const region: WantedScope = { ...open, by: ['REGION'] };
const invoices: WantedScope = { ...open, invoices: true };

interface Changes {
  scope: WantedScope;
  now: () => Date;
  awsTotal?: boolean;
}

/** What a plan says, and then what a run of the same pays. */
async function plannedAndRun(of: Bench, changes: Changes) {
  const { awsTotal = true } = changes;
  const asked = { awsTotal, tolerance: parseAmount('0.01').units };
  const { staging, log } = of;
  const decision = await decideExtract({
    ...{ staging, slice, log, provisionalDays: 10, force: false, awsTotal },
    ...changes,
  });
  const estimate = estimator(staging, await stagedSlices(staging), asked);
  const whole = () => estimate(slice, decision.scope);
  const { requests } = await remaining(decision, whole, asked);
  return { planned: requests, action: decision.action, ...(await of.run(changes)) };
}

test.serial('without a total nothing is taken over, wherever the run was stopped', async (t) => {
  const changes = { scope: region, now: later };
  for (const [file, expected] of [
    ['cost-and-usage-00001.json', { action: 'fetch', planned: 4, requests: 4 }],
    ['by-region-00001.json', { action: 'fetch', planned: 4, requests: 4 }],
    // What was paid for is proved by the total all the same.
    ['total-00001.json', { action: 'resume', planned: 1, requests: 1 }],
  ] as const) {
    const of = await bench(t, small());
    await of.run({ now: final });
    await killedAt(of, file, changes);
    t.like(await plannedAndRun(of, { ...changes, awsTotal: false }), expected, file);
  }
});

test.serial('what was taken over without a total stands beside none', async (t) => {
  const changes = { scope: invoices, now: later };
  for (const file of ['accounts-00001.json', 'invoices-00001.json', 'invoices-00002.json']) {
    const of = await bench(t, small());
    const { totals } = await of.run({ now: final, awsTotal: false });
    await killedAt(of, file, { ...changes, awsTotal: false });
    restate(of);
    const found = await of.run(changes);
    t.notDeepEqual(found.totals, totals, file);
    t.deepEqual((await of.manifest(found.extraction)).awsTotal, found.totals);
  }
});

test.serial('what was stopped does not bring back what AWS has changed since', async (t) => {
  for (const isWidened of [true, false]) {
    const of = await bench(t, small());
    if (isWidened) await of.run({ now: final });
    await killedAt(of, 'manifest.json', { scope: region, now: later });
    restate(of);
    const { totals } = await of.run({ force: true, now: at('2026-11-25T07:00:00Z') });
    const now = at('2026-11-25T08:00:00Z');
    const found = await plannedAndRun(of, { scope: region, now });
    t.like(found, { action: 'widen', planned: 2, requests: 2, totals });
    t.regex(of.lines.join(''), /AWS has changed the month since, as 20261125T070000Z tells/);
  }
});

test.serial('what was stopped goes on where the month is the same', async (t) => {
  const of = await bench(t, small());
  await of.run({ now: final });
  await killedAt(of, 'manifest.json', { scope: region, now: later });
  await of.run({ force: true, now: at('2026-11-25T07:00:00Z') });
  const now = at('2026-11-25T08:00:00Z');
  const found = await plannedAndRun(of, { scope: region, now });
  t.like(found, { action: 'resume', planned: 0, requests: 0 });
});

test.serial(
  'copies of what is gone are not gone on with: what is there is taken over',
  async (t) => {
    const of = await bench(t, small());
    const { extraction } = await of.run({ now: final });
    await killedAt(of, 'cost-and-usage-00001.json', { scope: region, now: later });
    const newer = await of.run({ force: true, now: at('2026-11-25T07:00:00Z') });
    for (const key of await keysOf(of.staging))
      if (key.includes(`/${extraction}/`)) await of.staging.remove(key);
    const now = at('2026-11-25T08:00:00Z');
    const found = await plannedAndRun(of, { scope: region, now });
    t.like(found, { action: 'widen', planned: 2, requests: 2 });
    t.is((await of.manifest(found.extraction)).takenOver?.extraction, newer.extraction);
  },
);

test.serial(
  'figures of the last provisional day are not final for having ended the next',
  async (t) => {
    const stopped = { scope: region, now: at('2026-11-10T02:00:00Z') };
    const next = { scope: region, now: at('2026-11-11T01:00:00Z') };
    for (const file of ['cost-and-usage-00002.json', 'manifest.json']) {
      const of = await bench(t, small());
      const { totals } = await of.run({ now: at('2026-11-10T01:00:00Z') });
      await killedAt(of, file, stopped);
      restate(of);
      await of.run(next);
      const last = await of.run({ scope: region, now: at('2026-11-12T01:00:00Z') });
      t.notDeepEqual(last.totals, totals, file);
      t.false(last.provisional);
      t.is((await of.run({ scope: region, now: at('2026-11-13T01:00:00Z') })).state, 'unchanged');
    }
  },
);

test.serial('the plan goes by what is current, also where something else is newer', async (t) => {
  const of = await bench(t, { ...small(), groupsPerPage: 10 });
  const month = monthData(of.data, 'oab', MONTH);
  month.items = month.items.slice(0, 5);
  const first = await of.run({ now: final });
  const view = { ...open, billingViewArn: COST_VIEW };
  const other = await of.run({ scope: view, now: at('2026-11-21T06:00:00Z') });
  t.true(other.requests > first.requests);
  const back = await of.run({ scope: open, now: at('2026-11-22T06:00:00Z') });
  t.like(back, { extraction: first.extraction, requests: 0 });
  const scope: WantedScope = { ...open, by: ['PURCHASE_TYPE'] };
  t.like(await plannedAndRun(of, { scope, now: later }), {
    action: 'widen',
    planned: 2,
    requests: 2,
  });
});
