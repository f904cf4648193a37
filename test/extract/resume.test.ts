import test from 'ava';
import {
  ConfigurationError,
  InterruptedError,
  TransientError,
} from '../../pipeline/shared/errors.js';
import { beforeWrites, bench, keysOf, textOf } from '../support/extract.js';

/** How a run ends that is killed: a write that never comes to pass, and nothing after it. */
class Killed extends TransientError {}

const FOLDER = /^raw\/month=2026-10\/oab\/([^/]+)\//;
const costFile = (page: number): string => `cost-and-usage-${String(page).padStart(5, '0')}.json`;

/** A staging area that dies with the first write of a file whose name ends so. */
function killAt(staging: Parameters<typeof beforeWrites>[0], end: string) {
  let dead = false;
  return beforeWrites(staging, (key) => {
    dead ||= key.endsWith(end);
    if (dead) throw new Killed(`killed before ${key}`);
  });
}

test.serial(
  'a run killed at any page goes on there, and pays again for that page at most',
  async (t) => {
    const whole = await bench(t, { groupsPerPage: 150 });
    const uninterrupted = await whole.run();
    const reference = await whole.manifest(uninterrupted.extraction);
    const total = uninterrupted.requests;
    t.true(total > 5 && total < 20);

    for (let page = 1; page < total; page++) {
      const { run, requests, staging, manifest } = await bench(t, { groupsPerPage: 150 });
      await t.throwsAsync(run({ staging: killAt(staging, costFile(page)) }), {
        instanceOf: Killed,
      });
      t.is(requests('GetCostAndUsage').length, page);
      const outcome = await run();
      t.is(requests('GetCostAndUsage').length, total + 1);
      t.like(outcome, {
        state: 'done',
        requests: total - page + 1,
        rows: uninterrupted.rows,
        totals: uninterrupted.totals,
      });
      const found = await manifest(outcome.extraction);
      t.deepEqual(found.pages, reference.pages);
      t.is(found.requests.GetCostAndUsage, total);
      const folders = (await keysOf(staging)).map((key) => FOLDER.exec(key)?.[1]);
      t.deepEqual(new Set(folders), new Set([outcome.extraction]));
    }
  },
);

test.serial('a run interrupted between two pages pays for none twice', async (t) => {
  const { run, requests, lines } = await bench(t);
  const controller = new AbortController();
  await t.throwsAsync(
    run({
      signal: controller.signal,
      onProgress: (text) => {
        if (text.startsWith('page 3,')) controller.abort();
      },
    }),
    { instanceOf: InterruptedError },
  );
  t.is(requests('GetCostAndUsage').length, 3);
  const { requests: paid } = await run();
  const asked = requests('GetCostAndUsage');
  const questions = asked.map(({ input, token }) => JSON.stringify([input, token]));
  t.is(new Set(questions).size, questions.length);
  t.is(questions.length, 3 + paid);
  t.true(lines.some((line) => line.includes('at cost page 4')));
});

test.serial(
  'a run killed before the ungrouped total is staged pays for nothing else again',
  async (t) => {
    const { run, requests, staging, manifest } = await bench(t);
    await t.throwsAsync(run({ staging: killAt(staging, 'total-00001.json') }), {
      instanceOf: Killed,
    });
    const asked = requests('GetCostAndUsage').length;
    const outcome = await run();
    t.is(outcome.requests, 1);
    t.is(requests('GetCostAndUsage').length, asked + 1);
    const found = await manifest(outcome.extraction);
    t.deepEqual(found.awsTotal, found.totals);
    t.is(found.requests.GetCostAndUsage, asked);
  },
);

test.serial(
  'a manifest names the questions that were asked, not those that a stopped run meant to ask',
  async (t) => {
    const { run, staging, manifest } = await bench(t);
    await t.throwsAsync(run({ staging: killAt(staging, costFile(2)) }), { instanceOf: Killed });
    const { extraction } = await run({ awsTotal: false });
    const { queries, awsTotal } = await manifest(extraction);
    t.deepEqual(
      queries.map(({ name }) => name),
      ['cost-and-usage'],
    );
    t.is(awsTotal, null);
  },
);

test.serial('an ungrouped total that is staged is not paid for again', async (t) => {
  const { run, requests, staging, manifest } = await bench(t);
  await t.throwsAsync(run({ staging: killAt(staging, 'manifest.json') }), { instanceOf: Killed });
  const asked = requests('GetCostAndUsage').length;
  const outcome = await run();
  t.is(outcome.requests, 0);
  t.is(requests('GetCostAndUsage').length, asked);
  t.truthy((await manifest(outcome.extraction)).awsTotal);
});

test.serial(
  'only the manifest is missing: nothing is asked for, no source is opened',
  async (t) => {
    const { run, cloud, staging, manifest } = await bench(t);
    await t.throwsAsync(run({ staging: killAt(staging, 'manifest.json') }), { instanceOf: Killed });
    const asked = cloud.requests.length;
    const outcome = await run({
      source: () => {
        throw new Error('opened');
      },
    });
    t.is(cloud.requests.length, asked);
    t.like(outcome, { state: 'done', requests: 0, customers: 131 });
    const { requests, pages } = await manifest(outcome.extraction);
    t.is(requests.ListAccounts + requests.GetCostAndUsage, pages.length);
  },
);

test.serial(
  'accounts staged by half are listed anew, and no old page stays among them',
  async (t) => {
    const { run, staging, requests, manifest } = await bench(t, { accountsPerPage: 10 });
    await t.throwsAsync(run({ staging: killAt(staging, 'accounts-00009.json') }), {
      instanceOf: Killed,
    });
    const before = requests('ListAccounts').length;

    const larger = await bench(t, { accountsPerPage: 20 });
    const outcome = await larger.run({ staging });
    const listed = larger.requests('ListAccounts').length;
    t.true(listed < 9 && listed < before);
    const { pages, accounts, requests: asked } = await manifest(outcome.extraction);
    t.is(accounts, 131);
    t.is(asked.ListAccounts, listed);
    t.deepEqual(
      (await keysOf(staging)).filter((key) => key.includes('/accounts-')).length,
      pages.filter(({ file }) => file.startsWith('accounts')).length,
    );
  },
);

for (const code of [
  'InvalidNextTokenException',
  'RequestChangedException',
  'ValidationException',
]) {
  test.serial(`a token that AWS refuses with ${code} starts the query afresh`, async (t) => {
    const { run, staging, requests, cloud, lines } = await bench(t);
    await t.throwsAsync(run({ staging: killAt(staging, costFile(4)) }), { instanceOf: Killed });
    const [first] = (await keysOf(staging)).map((key) => FOLDER.exec(key)?.[1]);
    const refused = requests('GetCostAndUsage').length;
    cloud.faults.push({
      service: 'cost-explorer',
      kind: 'error',
      code,
      message: 'The pagination token is invalid.',
    });
    const outcome = await run();
    t.true(outcome.extraction > first!);
    t.is(requests('GetCostAndUsage').length, refused + 1 + outcome.requests);
    t.is(requests('GetCostAndUsage')[refused + 1]?.token, undefined);
    t.true(lines.some((line) => line.includes('no longer honours') && line.includes('afresh')));
    t.is((await run()).state, 'unchanged');
  });
}

test.serial('pages paid for before a token is refused are counted', async (t) => {
  const { run, staging, requests, cloud, manifest } = await bench(t);
  await t.throwsAsync(run({ staging: killAt(staging, costFile(3)) }), { instanceOf: Killed });
  cloud.faults.push({
    service: 'cost-explorer',
    kind: 'error',
    code: 'InvalidNextTokenException',
    afterRequests: 2,
  });
  const before = requests('GetCostAndUsage').length;
  const outcome = await run();
  t.is((await manifest(outcome.extraction)).requests.GetCostAndUsage, outcome.requests - 2);
  t.is(requests('GetCostAndUsage').length, before + outcome.requests + 1);
});

test.serial(
  'a token refused without a stopped run is a failure, and the next run starts afresh',
  async (t) => {
    const { run, requests, cloud, manifest } = await bench(t);
    const fault = {
      service: 'cost-explorer',
      kind: 'error',
      code: 'InvalidNextTokenException',
    } as const;
    cloud.faults.push({ ...fault, afterRequests: 2, times: 2 });
    await t.throwsAsync(run(), { instanceOf: TransientError, message: /continuation token/ });
    t.is(requests('GetCostAndUsage').length, 3);
    const outcome = await run();
    t.is((await manifest(outcome.extraction)).requests.GetCostAndUsage, outcome.requests);
  },
);

for (const [how, damage] of [
  ['truncated', (text: string) => text.slice(0, -100)],
  ['another shape', () => '{"ResultsByTime":7}'],
  ['a page without a token in the middle', () => '{"ResultsByTime":[]}'],
] as const) {
  test.serial(`a staged page that is damaged (${how}) starts the query afresh`, async (t) => {
    const { run, staging, lines } = await bench(t);
    await t.throwsAsync(run({ staging: killAt(staging, costFile(4)) }), { instanceOf: Killed });
    const key = (await keysOf(staging)).find((one) => one.endsWith(costFile(2)))!;
    await staging.write(key, Buffer.from(damage(await textOf(staging, key))));
    const outcome = await run();
    t.like(outcome, { state: 'done', customers: 131 });
    t.not(outcome.extraction, FOLDER.exec(key)?.[1]);
    t.true(lines.some((line) => line.includes('cannot be gone on with')));
  });
}

test.serial('a gap in the staged pages starts the query afresh', async (t) => {
  const { run, staging } = await bench(t);
  await t.throwsAsync(run({ staging: killAt(staging, costFile(4)) }), { instanceOf: Killed });
  const key = (await keysOf(staging)).find((one) => one.endsWith(costFile(2)))!;
  await staging.remove(key);
  const outcome = await run();
  t.not(outcome.extraction, FOLDER.exec(key)?.[1]);
});

test.serial('after more than a day an unfinished extraction is left alone', async (t) => {
  const { run, staging, lines } = await bench(t);
  const start = Date.parse('2026-11-05T00:00:00Z');
  const at = (hours: number) => () => new Date(start + hours * 3_600_000);
  const killed = killAt(staging, costFile(3));
  await t.throwsAsync(run({ staging: killed, now: at(0) }), { instanceOf: Killed });
  const outcome = await run({ now: at(25) });
  t.is(outcome.extraction, '20261106T010000Z');
  t.true(lines.some((line) => line.includes('too old')));
});

test.serial(
  'a forced run that was killed goes on only when forced again; its month stays good',
  async (t) => {
    const { run, staging, requests } = await bench(t);
    const first = await run();
    await t.throwsAsync(run({ staging: killAt(staging, costFile(3)), force: true }), {
      instanceOf: Killed,
    });
    const paid = requests('GetCostAndUsage').length;
    t.deepEqual(await run(), { ...first, state: 'unchanged', requests: 0 });
    t.is(requests('GetCostAndUsage').length, paid);
    const forced = await run({ force: true });
    t.is(forced.requests, first.requests - 2);
    t.true(forced.extraction > first.extraction);
    const again = await run({ force: true });
    t.is(again.requests, first.requests);
  },
);

test.serial(
  'another run in the same extraction is found out before anything is mixed',
  async (t) => {
    const { run, staging, manifest, requests } = await bench(t);
    await t.throwsAsync(run({ staging: killAt(staging, 'manifest.json') }), { instanceOf: Killed });
    for (const key of await keysOf(staging))
      if (key.includes('/cost-and-usage-') && !key.endsWith(costFile(1))) await staging.remove(key);
    const before = requests('GetCostAndUsage').length;
    let other: Awaited<ReturnType<typeof run>> | undefined;
    const late = beforeWrites(staging, async (key) => {
      if (key.endsWith(costFile(2))) other ??= await run();
    });
    await t.throwsAsync(run({ staging: late }), {
      instanceOf: TransientError,
      message: /another run works on the same month/,
    });
    t.is(requests('GetCostAndUsage').length, before + other!.requests + 1);
    t.like(await manifest(other!.extraction), { accounts: 131, groups: other!.rows });
  },
);

test.serial(
  'when the accounts fail, no cost is asked for; what follows goes on from there',
  async (t) => {
    const { run, requests, cloud, staging } = await bench(t);
    cloud.faults.push({
      service: 'organizations',
      kind: 'error',
      code: 'AWSOrganizationsNotInUseException',
    });
    const error = await t.throwsAsync(run(), {
      instanceOf: ConfigurationError,
      message: /belongs to no organization/,
    });
    t.regex(error.next!, /or set aws_oab_listAccounts in the Vault secret to false/);
    t.deepEqual(requests('GetCostAndUsage'), []);
    t.false((await keysOf(staging)).some((key) => key.includes('/cost-and-usage-')));
    const { requests: paid, customers } = await run();
    t.is(requests('GetCostAndUsage').length, paid);
    t.is(customers, 131);
  },
);
