import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { world } from '../support/world.js';

const months = ['2026-08', '2026-09', '2026-10'].map(parseMonth);
const organizations = [
  { name: 'oab', accounts: 12 },
  { name: 'internal', accounts: 4 },
];
const data = demoData({ months, organizations });

interface Report {
  tasks: { month: string; organization: string; stage: string; state: string; requests: number }[];
}

test('a range runs month by month, the oldest first, and a month beyond the history fails alone, by name', async (t) => {
  const { run, cloud } = await world(t, { data });
  // The stand-in's present is in November 2026: it keeps 14 months, so September 2025 is too old.
  const result = await run('run', '--from', '2025-09', '--to', '2026-10', '--json');
  t.is(result.code, 1);
  const { tasks } = JSON.parse(result.stdout) as Report;
  const statesOf = (month: string): Set<string> =>
    new Set(tasks.filter((task) => task.month === month).map(({ state }) => state));
  t.deepEqual(statesOf('2025-09'), new Set(['failed', 'skipped']));
  for (const month of ['2025-10', ...months]) t.deepEqual(statesOf(month), new Set(['done']));
  t.deepEqual(
    tasks.map(({ month }) => month).toSorted(),
    tasks.map(({ month }) => month),
  );
  t.regex(result.stdout, /Cost Explorer refuses the month[^]*2025-09/);

  const asked = cloud.requests
    .filter(({ operation }) => operation === 'GetCostAndUsage')
    .map(({ input }) => (input as { TimePeriod: { Start: string } }).TimePeriod.Start);
  t.deepEqual(asked.toSorted(), asked, 'a month was begun before the one before it was done');

  const told = result.stderr.trim().split('\n');
  t.is(told.length, 28);
  t.regex(told[0] ?? '', /^2025-09 {2}(oab|internal) +extract failed; /);
  t.regex(told.at(-1) ?? '', /^2026-10 {2}(oab|internal) +extract, transform, load done;/);
});

test('a limit of requests completes the oldest months, and the next run goes on', async (t) => {
  const { run, charged } = await world(t, { data });
  const range = ['run', '--from', '2026-08', '--to', '2026-10', '--json'];
  const perMonth = async (): Promise<number> => {
    const plan = await run('plan', '--month', '2026-08', '--force', '--json');
    return (JSON.parse(plan.stdout) as { requests: number }).requests;
  };
  t.is((await run('run', '--month', '2026-08')).code, 0);
  const limit = String((await perMonth()) + 2);
  const states: string[][] = [];
  for (let runs = 0; runs < 5; runs++) {
    const before = charged();
    const { tasks } = JSON.parse((await run(...range, '--max-requests', limit)).stdout) as Report;
    t.true(charged() - before <= Number(limit));
    const done = months.filter((month) =>
      tasks.every((task) => task.month !== month || !['failed', 'skipped'].includes(task.state)),
    );
    states.push(done);
    if (done.length === months.length) break;
  }
  t.deepEqual(states[0], months.slice(0, 2));
  t.deepEqual(states.at(-1), months);
});

test('what befalls month after month is told once, with one command that resumes it', async (t) => {
  const { run, runWith } = await world(t, { data });
  const range = ['run', '--from', '2026-08', '--to', '2026-10'];
  const { stdout } = await run(...range, '--max-requests', '0');
  t.is(stdout.match(/limit of 0 Cost Explorer requests/g)?.length, 1);
  t.regex(
    stdout,
    /2026-08 … 2026-10 \(3 months\) internal, oab extract failed: the run's limit of 0[^\n]*; run again to go on/,
  );
  const [, resume = ''] = /resume with: node \S+ (.*)/.exec(stdout) ?? [];
  t.is(resume, 'run --month 2026-08,2026-09,2026-10 --organization internal,oab --max-requests 0');
  const resumed = await runWith({}, ...resume.replace(' --max-requests 0', '').split(' '));
  t.regex(resumed.stdout, /18 done;/);
});
