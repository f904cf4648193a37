import test from 'ava';
import { month, world } from '../support/world.js';

test('a run stops before the request that would exceed its limit, and later ones pay for nothing twice', async (t) => {
  const { cloud, run, charged } = await world(t);
  const args = ['run', '--month', month, '--max-requests', '3'];
  const first = await run(...args);
  t.is(first.code, 4);
  t.is(charged(), 3);
  t.regex(
    first.stdout,
    /extract failed: the run's limit of 3 Cost Explorer requests is reached[^]*run again to go on/,
  );
  t.regex(first.stdout, /3 Cost Explorer requests, \$0\.03/);
  t.regex(first.stdout, /resume with: .*--max-requests 3/);
  let code = first.code;
  let runs = 1;
  while (code === 4 && runs < 20) {
    const before = charged();
    code = (await run(...args)).code;
    runs += 1;
    t.true(charged() - before <= 3);
  }
  t.is(code, 0);
  const paid = cloud.requests
    .filter((request) => request.charged)
    .map(({ organization, input }) => `${organization} ${JSON.stringify(input)}`);
  t.true(paid.length > 6);
  t.is(new Set(paid).size, paid.length, 'a page was paid for twice');
});

test('a limit of nought asks Cost Explorer for nothing', async (t) => {
  const { run, charged } = await world(t);
  const result = await run('run', '--month', month, '--max-requests', '0', '--json');
  t.is(result.code, 4);
  t.is(charged(), 0);
  const { requests, priceUsd } = JSON.parse(result.stdout) as Record<string, unknown>;
  t.deepEqual([requests, priceUsd], [0, '0.00']);
});

test('requests that fail are not counted', async (t) => {
  const { cloud, run, charged } = await world(t);
  cloud.faults.push({ service: 'cost-explorer', kind: 'throttle', times: 2 });
  const result = await run('run', '--month', month, '--organization', 'internal', '--json');
  t.is(result.code, 1);
  t.is(charged(), 0);
  t.is((JSON.parse(result.stdout) as { requests: number }).requests, 0);
});

test('a limit that is no number is wrong usage', async (t) => {
  const { run, asked } = await world(t);
  for (const limit of ['-1', '1.5', 'many']) {
    const result = await run('run', `--max-requests=${limit}`);
    t.is(result.code, 2);
    t.regex(result.stderr, /--max-requests/);
  }
  t.is(asked(), 0);
});
