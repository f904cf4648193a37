import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../support/cli.js';
import { bench, groups } from './bench.js';
import type { Row } from './table.js';
import { measure } from './measure.js';
import { otherNodes } from './nodes.js';
import { growthChart, growthTable } from './growth.js';
import { benchChart, benchTable, isReached, majorOf } from './table.js';

/** The whole bench on a month so small that its times say nothing: what counts are its comparisons. */
test('every row of the bench is measured, and its sides agree', async (t) => {
  const rows = await bench({
    size: { name: 'small', accounts: 20, services: 25 },
    tenfold: { name: 'tenfold', accounts: 50, services: 100 },
    detailAccounts: 200,
    extract: { size: { name: 'pages', accounts: 10, services: 8 }, pages: 4, latencyMs: 1 },
    queue: {
      payers: 4,
      size: { name: 'payers', accounts: 4, services: 3 },
      pages: 2,
      latencyMs: 1,
      concurrency: 1,
    },
    years: { months: 4, organizations: 2, accounts: 1 },
    report: { name: 'report', accounts: 10, services: 10 },
    mysqld: undefined,
    only: groups,
    rounds: 1,
    say: () => undefined,
  });
  t.is(rows.length, 27);
  for (const { work, ratio } of rows) t.true(ratio !== undefined && ratio > 0, work);
  const table = benchTable([{ node: process.versions.node, rows }]);
  t.is(table.split('\n').length, rows.length + 2);
  t.notRegex(table, /not measured|NaN|undefined/);
  const growth = growthTable([{ node: process.versions.node, rows }]);
  t.regex(growth, /^\| plan \| \d+ \| 2: [\d.]+ s, [^|]* \| 4: [^|]* \| 8: [^|]* \| [\d.]+ × \|$/m);
});

const row: Row = {
  stage: 'load',
  work: 'a < b',
  beside: '`peer`',
  bound: 'most',
  target: 2,
  ratio: 1.5,
  ours: '3.00 s',
  theirs: '2.00 s',
};

test('a target is reached up to its own value, from either side', (t) => {
  t.true(isReached({ ...row, ratio: 2 }));
  t.false(isReached({ ...row, ratio: 2.01 }));
  t.true(isReached({ ...row, bound: 'least', ratio: 2 }));
  t.false(isReached({ ...row, bound: 'least', ratio: 1.99 }));
  t.false(isReached({ ...row, ratio: undefined }));
});

test('table and chart show what was measured, and what was not', (t) => {
  const absent = { ...row, ratio: undefined, ours: 'there is no peer', theirs: '' };
  t.is(
    benchTable([
      { node: '20.20.2', rows: [row, absent] },
      { node: '24.1.0', rows: [{ ...row, ratio: 2.5 }, absent] },
    ])
      .split('\n')
      .slice(2)
      .join('\n'),
    `| load | a < b | \`peer\` | 20 | at most 2 × | 1.50 × | yes | 3.00 s | 2.00 s |
| load | a < b | \`peer\` | 24 | at most 2 × | 2.50 × | no | 3.00 s | 2.00 s |
| load | a < b | \`peer\` | 20 | at most 2 × | not measured | no | there is no peer |  |
| load | a < b | \`peer\` | 24 | at most 2 × | not measured | no | there is no peer |  |`,
  );
  const chart = benchChart([{ node: '20.20.2', rows: [row, absent] }]);
  t.regex(chart, /a &lt; b/);
  t.is(chart.match(/<rect /g)?.length, 1);
  // Half of the axis is the target: three quarters of the target are three eighths of it.
  t.regex(chart, /width="135\.0"/);
});

test('growth is shown beside growth in proportion', (t) => {
  const at = (slices: number, seconds: number) => ({
    slices,
    seconds,
    cpu: seconds,
    peak: 2 ** 20,
  });
  const points = [at(10, 2), at(20, 3), at(40, 6)];
  const grown: Row = { ...row, growth: { name: 'plan <all>', points } };
  const measured = [{ node: '20.20.2', rows: [row, grown] }];
  t.is(
    growthTable(measured),
    `| work | Node | a quarter | half | whole | whole beside a quarter |
| --- | --- | --- | --- | --- | --- |
| plan <all> | 20 | 10: 2.00 s, 2.00 s CPU, 1.0 MiB | 20: 3.00 s, 3.00 s CPU, 1.0 MiB | 40: 6.00 s, 6.00 s CPU, 1.0 MiB | 3.00 × |`,
  );
  const chart = growthChart(measured);
  t.regex(chart, /plan &lt;all&gt;/);
  // Half the months are half way to the right; half the seconds are half way up.
  t.regex(chart, /<polyline points="90\.0,173\.3 140\.0,140\.0 240\.0,40\.0"/);
});

test('the CPU of a process is its own, not that of the time it takes', async (t) => {
  const busy = 'while (process.cpuUsage().user < 500_000);';
  const idle = 'setTimeout(() => 0, 600)';
  const measured = async (program: string): Promise<{ cpu: number; seconds: number }> => {
    const { cpu = NaN, seconds } = await measure({
      program: process.execPath,
      args: ['-e', program],
    });
    return { cpu, seconds };
  };
  const waited = await measured(idle);
  // However slow the machine starts it: it waits for 0.6 s of its time.
  t.true(waited.cpu > 0 && waited.cpu < waited.seconds - 0.3, JSON.stringify(waited));
  t.true((await measured(busy)).cpu >= 0.5);
});

test('another Node is taken where it is one, and refused where it is named wrongly', async (t) => {
  const own = majorOf(process.versions.node);
  const other = own === '24' ? '20' : '24';
  const fake = join(await temporaryFolder(t), 'node');
  await writeFile(fake, `#!/bin/sh\necho v${other}.1.2\n`, { mode: 0o755 });
  t.true((await otherNodes({ [`NODE${other}`]: fake })).includes(fake));
  await t.throwsAsync(otherNodes({ [`NODE${other}`]: process.execPath }), {
    message: `NODE${other}=${process.execPath}: ${process.version}, which is no Node ${other}`,
  });
  await t.throwsAsync(otherNodes({ [`NODE${other}`]: '/nowhere' }), { message: /cannot be run/ });
});
