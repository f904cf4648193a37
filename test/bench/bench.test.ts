import test from 'ava';
import { bench, groups } from './bench.js';
import type { Row } from './table.js';
import { benchChart, benchTable, isReached } from './table.js';

/** The whole bench on a month so small that its times say nothing: what counts are its comparisons. */
test('every row of the bench is measured, and its sides agree', async (t) => {
  const rows = await bench({
    size: { name: 'small', accounts: 20, services: 25 },
    tenfold: { name: 'tenfold', accounts: 50, services: 100 },
    extract: { size: { name: 'pages', accounts: 10, services: 8 }, pages: 4, latencyMs: 1 },
    only: groups,
    rounds: 1,
    say: () => undefined,
  });
  t.is(rows.length, 13);
  for (const { work, ratio } of rows) t.true(ratio !== undefined && ratio > 0, work);
  const table = benchTable(rows);
  t.is(table.split('\n').length, rows.length + 2);
  t.notRegex(table, /not measured|NaN|undefined/);
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
    benchTable([row, absent]).split('\n').slice(2).join('\n'),
    `| load | a < b | \`peer\` | at most 2 × | 1.50 × | yes | 3.00 s | 2.00 s |
| load | a < b | \`peer\` | at most 2 × | not measured | no | there is no peer |  |`,
  );
  const chart = benchChart([row, absent]);
  t.regex(chart, /a &lt; b/);
  t.is(chart.match(/<rect /g)?.length, 1);
  // Half of the axis is the target: three quarters of the target are three eighths of it.
  t.regex(chart, /width="135\.0"/);
});
