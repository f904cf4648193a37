import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import { ConfigurationError, DataError, TransientError } from '../../pipeline/shared/errors.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { breakdownQueryName, pageFile } from '../../pipeline/staging/layout.js';
import { MONTH, beforeWrites, bench, keysOf, textOf } from '../support/extract.js';

const small = {
  data: demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 9 }] }),
  groupsPerPage: 40,
};
interface Answer {
  ResultsByTime: { Groups: { Keys: string[] }[] }[];
}
const answerOf = (text: string): Answer => JSON.parse(text) as Answer;

const now = () => new Date('2026-11-25T06:00:00Z');
const open = { ...plainScope, by: undefined };
const by = ['REGION', 'TAG:cost$center', 'TAG:team'] as const;

test.serial(
  'a run killed at any page of a breakdown goes on there, and pays for none twice',
  async (t) => {
    const scope = { ...plainScope, by };
    const whole = await bench(t, small);
    const { extraction, requests: total } = await whole.run({ scope, now });
    const reference = await whole.manifest(extraction);
    const files = reference.pages.map(({ file }) => file).filter((file) => file.startsWith('by-'));
    t.true(files.length > by.length);
    t.deepEqual(
      reference.breakdowns.map(({ dimension }) => dimension),
      [...by],
    );
    for (const file of files) {
      const { run, manifest, requests, staging } = await bench(t, small);
      const dying = beforeWrites(staging, (key) => {
        if (key.endsWith(file)) throw new TransientError('killed');
      });
      await t.throwsAsync(run({ scope, now, staging: dying }), { message: 'killed' });
      const paid = requests('GetCostAndUsage').length;
      const outcome = await run({ scope, now });
      // Only the page that was not staged is paid for again.
      t.is(paid + outcome.requests, total + 1, file);
      const found = await manifest(outcome.extraction);
      t.deepEqual(found.breakdowns, reference.breakdowns);
      t.deepEqual(found.pages.slice(-5), reference.pages.slice(-5));
    }
  },
);

test.serial(
  'a cost category that does not exist is told by name, costs nothing, and the rest goes on',
  async (t) => {
    const { run, manifest, requests, lines } = await bench(t, small);
    const wanted = ['COST_CATEGORY:Nope', 'COST_CATEGORY:Product', 'REGION'] as const;
    const first = await run({ scope: { ...open, by: wanted }, now });
    const found = await manifest(first.extraction);
    t.deepEqual(found.scope.by, [...wanted]);
    t.deepEqual(
      found.breakdowns.map(({ dimension }) => dimension),
      ['COST_CATEGORY:Product', 'REGION'],
    );
    t.is(found.refused.length, 1);
    t.like(found.refused[0], { part: 'COST_CATEGORY:Nope', error: 'ValidationException' });
    t.regex(
      lines.join(''),
      /AWS refused COST_CATEGORY:Nope: .*Nope.*\(ValidationException\); the rest goes on/,
    );
    t.is(requests('GetCostAndUsage').length, first.requests + 1);
    // It is asked for again neither where nothing is set nor where it is.
    for (const again of [open, { ...open, by: wanted }])
      t.like(await run({ scope: again, now }), { state: 'unchanged', requests: 0 });
    const forced = await run({ scope: open, now, force: true });
    t.is((await manifest(forced.extraction)).refused.length, 1);
    // Another wish takes its place, beside what the month has.
    const other = await run({ scope: { ...open, by: ['TAG:team'] }, now });
    const mended = await manifest(other.extraction);
    t.deepEqual(mended.scope.by, ['COST_CATEGORY:Product', 'REGION', 'TAG:team']);
    t.deepEqual(mended.refused, []);
  },
);

test.serial('a cost category that goes between two pages leaves none of them behind', async (t) => {
  const data = demoData({ months: [MONTH], organizations: [{ name: 'oab', accounts: 9 }] });
  const { run, manifest, staging } = await bench(t, { data, groupsPerPage: 5 });
  const [oab] = data.organizations;
  const categories = oab!.costCategories;
  const vanishing = beforeWrites(staging, (key) => {
    if (key.endsWith(pageFile(breakdownQueryName('COST_CATEGORY:Product'), 1)))
      oab!.costCategories = new Map();
  });
  const scope = { ...plainScope, by: ['COST_CATEGORY:Product', 'REGION'] as const };
  const { extraction } = await run({ scope, now, staging: vanishing });
  oab!.costCategories = categories;
  const found = await manifest(extraction);
  t.deepEqual(
    found.refused.map(({ part }) => part),
    ['COST_CATEGORY:Product'],
  );
  t.deepEqual(
    found.breakdowns.map(({ dimension }) => dimension),
    ['REGION'],
  );
  t.false(found.pages.some(({ file }) => file.startsWith('by-cost-category')));
});

test.serial(
  'throttling, a server in trouble and a denied right fail the stage as ever',
  async (t) => {
    const faults = [
      [{ kind: 'throttle' }, TransientError],
      [{ kind: 'status', status: 503 }, TransientError],
      [{ kind: 'error', code: 'AccessDeniedException' }, ConfigurationError],
    ] as const;
    for (const [fault, instanceOf] of faults) {
      const { run, cloud, staging } = await bench(t, small);
      cloud.faults.push({
        ...fault,
        service: 'cost-explorer',
        times: Infinity,
        matches: (input) => JSON.stringify(input).includes('REGION'),
      });
      await t.throwsAsync(run({ scope: { ...plainScope, by: ['REGION'] }, now }), { instanceOf });
      t.false((await keysOf(staging)).some((key) => key.endsWith('manifest.json')));
    }
  },
);

test.serial(
  'a month without breakdowns stays as it is until one is asked for, which comes to the others',
  async (t) => {
    const { run, manifest } = await bench(t, small);
    await run({ scope: open, now });
    t.like(await run({ scope: open, now }), { state: 'unchanged', requests: 0 });
    await run({ scope: { ...open, by: ['RECORD_TYPE'] }, now });
    t.like(await run({ scope: open, now }), { state: 'unchanged', requests: 0 });
    const added = await run({ scope: { ...open, by: ['TAG:team'] }, now });
    t.deepEqual((await manifest(added.extraction)).scope.by, ['RECORD_TYPE', 'TAG:team']);
    for (const some of [['TAG:team'], ['RECORD_TYPE']] as const)
      t.like(await run({ scope: { ...open, by: some }, now }), { state: 'unchanged', requests: 0 });
    const none = await run({ scope: { ...open, by: [] }, now, force: true });
    t.deepEqual((await manifest(none.extraction)).breakdowns, []);
  },
);

test.serial('a value that AWS gives an account twice is refused as it comes', async (t) => {
  const { run, cloud, manifest, staging } = await bench(t, { ...small, groupsPerPage: 10 });
  const scope = { ...plainScope, by: ['REGION'] } as const;
  const { extraction } = await run({ scope, now });
  const files = (await manifest(extraction)).pages.filter(({ file }) => file.startsWith('by-'));
  t.true(files.length > 1);
  const first = `raw/month=2026-10/oab/${extraction}/by-region-00001.json`;
  const [group] = answerOf(await textOf(staging, first)).ResultsByTime[0]!.Groups;
  cloud.faults.push({
    ...{ service: 'cost-explorer', kind: 'alter' },
    matches: (input) => /"REGION".*"NextPageToken"/.test(JSON.stringify(input)),
    alter: (body) => {
      const answer = answerOf(body);
      answer.ResultsByTime[0]!.Groups.unshift(group!);
      return JSON.stringify(answer);
    },
  });
  const error = await t.throwsAsync(run({ scope, now, force: true }), { instanceOf: DataError });
  const [value, account] = group!.Keys;
  t.is(
    error.message,
    `AWS gave REGION "${value}" of account ${account} a second time with group 1 (${value}, ${account})`,
  );
  t.regex(error.where ?? '', /by-region page 2$/);
  t.regex(error.next ?? '', /run the same command again; if it stays so, report it to AWS support/);
  // The page that was refused is asked for once more, and nothing before it.
  const again = await run({ scope, now, force: true });
  t.is(again.requests, files.length);
});
