import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, readdir, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import test from 'ava';
import { stringify } from 'yaml';
import { select } from '../../../pipeline/config/selection.js';
import { checkMetricsFile, exportMetrics, metrics } from '../../../pipeline/run/metrics.js';
import type { RunRecord } from '../../../pipeline/run/record.js';
import { ConfigurationError, UsageError } from '../../../pipeline/shared/errors.js';
import { ownName } from '../../../pipeline/staging/aside.js';
import { finished, root, temporaryFolder } from '../../support/cli.js';
import { providePromtool } from '../../support/promtool.js';

const run = promisify(execFile);
const now = new Date('2026-11-26T08:00:00Z');
const PREFIX = 'aws_billing_pipeline_';
type SliceRecord = RunRecord['slices'][number];

function slice(organization: string, changes: Partial<SliceRecord> = {}): SliceRecord {
  return {
    ...{ month: '2026-10', organization, state: 'done', rows: 3, amounts: { USD: '10.5' } },
    ...{ provisional: false, differences: { USD: '0' }, requests: 2, seconds: 1.5 },
    ...changes,
  };
}

/** The record of a run that ended at an hour of November 26. */
function record(hour: number, slices: SliceRecord[], changes: Partial<RunRecord> = {}): RunRecord {
  const at = `2026-11-26T${String(hour).padStart(2, '0')}:00:00.000Z`;
  return {
    ...{ runId: '00000000-0000-4000-8000-000000000000', version: '0.1.0', started: at, ended: at },
    ...{ seconds: 4, outcome: 'ok', exitCode: 0, months: ['2026-10'], stages: ['load'] },
    ...{ organizations: [], rows: 0, amounts: {}, requests: 7, priceUsd: '0.07', slices },
    tasks: { done: 3, unchanged: 0, failed: 1, stopped: 0, skipped: 2 },
    ...{ restated: [], finalized: [], failures: [], absent: [] },
    ...changes,
  };
}

const all = select({}, now);
const some = select({ organization: ['oab'] }, now);

/** What the file says, without prefix and comments. */
async function samples(file: string): Promise<string[]> {
  const lines = (await readFile(file, 'utf8')).split('\n');
  return lines.filter((line) => line.startsWith(PREFIX)).map((line) => line.slice(PREFIX.length));
}

const secondsAt = (hour: number): number => Date.UTC(2026, 10, 26, hour) / 1000;

test('promtool finds nothing to say of the file, whatever an organization is called', async (t) => {
  const file = join(await temporaryFolder(t), 'billing.prom');
  const hostile = 'a"b\\n}\\ 1\nup 0';
  const slices = [slice('oab', { amounts: { USD: '-1.25', EUR: '3' } }), slice(hostile)];
  await exportMetrics(file, record(6, slices), all);
  // Read back, too: as it was.
  await exportMetrics(file, record(7, [slice('oab')]), some);
  const success = `last_success_timestamp_seconds{organization="a\\"b\\\\n}\\\\ 1\\nup 0"}`;
  t.true((await samples(file)).includes(`${success} ${secondsAt(6)}`));
  const promtool = spawn(await providePromtool(), ['check', 'metrics'], { stdio: 'pipe' });
  promtool.stdin.end(await readFile(file));
  const { code, stdout, stderr } = await finished(promtool);
  t.deepEqual([code, stdout, stderr], [0, '', '']);
  const text = await readFile(file, 'utf8');
  for (const name of Object.keys(metrics)) t.regex(text, new RegExp(`^${PREFIX}${name}[ {]`, 'm'));
});

test('what a run tells nothing of stays: the last success of who failed, the newest month, other organizations', async (t) => {
  const file = join(await temporaryFolder(t), 'billing.prom');
  await exportMetrics(file, record(6, [slice('oab'), slice('spp')]), all);
  const failed = slice('oab', { state: 'failed', differences: { USD: '29' } });
  const failures = [{ month: '2026-10', organization: 'oab', class: 'DataError', message: 'no' }];
  const changes = { exitCode: 3, requests: 0, failures };
  await exportMetrics(file, record(7, [failed], changes), some);
  const of = async (name: string): Promise<string[]> =>
    (await samples(file)).filter((line) => line.startsWith(name));
  t.deepEqual(await of('run_'), [
    `run_end_timestamp_seconds ${secondsAt(7)}`,
    'run_duration_seconds 4',
    'run_exit_code 3',
    'run_requests 0',
    'run_tasks{state="done"} 3',
    'run_tasks{state="unchanged"} 0',
    'run_tasks{state="failed"} 1',
    'run_tasks{state="stopped"} 0',
    'run_tasks{state="skipped"} 2',
  ]);
  t.deepEqual(await of('last_success'), [
    `last_success_timestamp_seconds{organization="oab"} ${secondsAt(6)}`,
    `last_success_timestamp_seconds{organization="spp"} ${secondsAt(6)}`,
  ]);
  t.deepEqual(await of('failed_tasks'), [
    'failed_tasks{organization="oab"} 1',
    'failed_tasks{organization="spp"} 0',
  ]);
  t.deepEqual(await of('difference'), [
    'difference{organization="oab",currency="USD"} 29',
    'difference{organization="spp",currency="USD"} 0',
  ]);

  // An older month is a success, and tells nothing of the newest one's figures.
  await exportMetrics(file, record(8, [slice('oab', { month: '2026-09', rows: 99 })]), some);
  t.deepEqual(await of('rows'), ['rows{organization="oab"} 3', 'rows{organization="spp"} 3']);
  t.is((await of('last_success'))[0]?.split(' ')[1], String(secondsAt(8)));
  // Of several months the newest; of a month that came to no rows, what was said before.
  const months = [slice('oab', { month: '2026-11', rows: 5 }), slice('oab', { rows: 4 })];
  const { month, organization } = slice('spp');
  const none: SliceRecord = { month, organization, state: 'stopped', requests: 0, seconds: 0 };
  await exportMetrics(file, record(9, [...months, none]), all);
  t.deepEqual(await of('rows'), ['rows{organization="oab"} 5', 'rows{organization="spp"} 3']);
  t.is((await of('last_success'))[1]?.split(' ')[1], String(secondsAt(6)));

  // One that could not begin says so, and forgets nothing; one of all organizations forgets those that are no more.
  await exportMetrics(file, record(10, [], { exitCode: 1 }), undefined);
  t.is((await of('rows')).length, 2);
  await exportMetrics(file, record(11, [slice('spp')]), all);
  t.deepEqual(await of('rows'), ['rows{organization="spp"} 3']);
});

test('while another run writes the file its figures are waited for, and kept', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'billing.prom');
  await exportMetrics(file, record(6, [slice('oab'), slice('spp')]), all);
  const turn = join(folder, '.billing.prom.turn');
  const [machine = '', , token = ''] = ownName.split('.');
  const other = join(turn, [machine, process.ppid, token].join('.'));
  await mkdir(turn);
  await writeFile(other, '');
  const progress = { isOver: false };
  const exported = exportMetrics(file, record(7, [slice('oab', { rows: 5 })]), some).finally(() => {
    progress.isOver = true;
  });
  // It waits as soon as it has found the turn taken: what it had made for its own is still there.
  while (!progress.isOver && !(await readdir(folder)).some((name) => name.endsWith('.tmp')))
    await setImmediate();
  t.false(progress.isOver);
  const former = await readFile(file, 'utf8');
  await writeFile(file, former.replace('{organization="spp"} 3', '{organization="spp"} 4'));
  await rm(other);
  await exported;
  const rows = (await samples(file)).filter((line) => line.startsWith('rows'));
  t.deepEqual(rows, ['rows{organization="oab"} 5', 'rows{organization="spp"} 4']);
});

test("a file that is another's, or that node_exporter would not read, is refused and stays as it is", async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'other.prom');
  const text = '# HELP up x\nup 1\n';
  await writeFile(file, text);
  const refused = { instanceOf: UsageError, message: /not of this pipeline|has to end in \.prom/ };
  await t.throwsAsync(checkMetricsFile(file), refused);
  await t.throwsAsync(checkMetricsFile(join(folder, 'AmortizedCost')), {
    ...refused,
    message: /end in \.prom/,
  });
  await t.throwsAsync(exportMetrics(file, record(6, []), all), { instanceOf: ConfigurationError });
  t.is(await readFile(file, 'utf8'), text);
  for (const broken of [`${PREFIX}rows{organization="a"`, `${PREFIX}rows{x="a"} 1`, 'torn']) {
    await writeFile(file, broken);
    await t.throwsAsync(checkMetricsFile(file), refused);
  }
  await symlink(file, join(folder, 'link.prom'));
  await writeFile(file, '');
  await t.throwsAsync(checkMetricsFile(join(folder, 'link.prom')), { instanceOf: UsageError });
  await t.throwsAsync(checkMetricsFile(join(folder, 'none/a.prom')), { instanceOf: UsageError });
  // What nobody writes to is not waited for, and what has no end is not read.
  await run('mkfifo', [join(folder, 'fifo.prom')]);
  await symlink('/dev/zero', join(folder, 'zero.prom'));
  await writeFile(join(folder, 'long.prom'), '');
  await truncate(join(folder, 'long.prom'), 2 ** 34);
  for (const name of ['fifo', 'zero', 'long']) {
    const odd = join(folder, `${name}.prom`);
    await t.throwsAsync(checkMetricsFile(odd), { instanceOf: UsageError }, name);
    await t.throwsAsync(exportMetrics(odd, record(6, []), all), undefined, name);
    await rm(odd);
  }
  await t.notThrowsAsync(checkMetricsFile(join(folder, 'new.prom')));
  t.deepEqual((await readdir(folder)).sort(), ['link.prom', 'new.prom', 'other.prom']);
  t.is((await stat(join(folder, 'new.prom'))).size, 0);
});

const DAY = 86_400;
const alertsFile = join(root, 'docs/operations/alerts.yml');

test('each alert is raised by what it is for, by that alone, and promtool takes the rules', async (t) => {
  const folder = await temporaryFolder(t);
  const promtool = await providePromtool();
  await t.notThrowsAsync(run(promtool, ['check', 'rules', alertsFile]));
  // promtool's clock begins in 1970: the run is seventy days after that.
  const at = 70 * DAY;
  const well = {
    'run_end_timestamp_seconds': at - 3600,
    'run_exit_code': 0,
    'last_success_timestamp_seconds{organization="oab"}': at - 20 * DAY,
    'failed_tasks{organization="oab"}': 0,
    'month_timestamp_seconds{organization="oab"}': at - 65 * DAY,
    'difference{organization="oab",currency="USD"}': -0.01,
    'provisional{organization="oab"}': 0,
  };
  const isLate = { 'month_timestamp_seconds{organization="oab"}': at - 50 * DAY };
  const cases: [Record<string, number | undefined>, string[]][] = [
    [{}, []],
    [{ run_exit_code: 1 }, ['BillingRunFailed']],
    [{ run_exit_code: 2 }, ['BillingRunFailed']],
    [{ run_exit_code: 130 }, ['BillingRunFailed']],
    [{ run_exit_code: 4 }, ['BillingBudgetUsedUp']],
    [{ 'failed_tasks{organization="oab"}': 2 }, ['BillingOrganizationFailed']],
    [{ 'difference{organization="oab",currency="USD"}': -29 }, ['BillingDifference']],
    [
      { 'last_success_timestamp_seconds{organization="oab"}': at - 20 * DAY - 60 },
      ['BillingStale'],
    ],
    [
      { 'month_timestamp_seconds{organization="oab"}': at - 65 * DAY - 60 },
      ['BillingMonthMissing'],
    ],
    [{ 'provisional{organization="oab"}': 1, ...isLate }, ['BillingStillProvisional']],
    [isLate, []],
    [{ run_end_timestamp_seconds: undefined }, ['BillingMetricsMissing']],
  ];
  const alerts = [
    ...(await readFile(alertsFile, 'utf8')).matchAll(/- alert: (\w+)\n[^]*?severity: (\w+)/g),
  ].map(([, name = '', severity = '']) => ({ name, severity }));
  t.deepEqual(
    [...new Set(cases.flatMap(([, raised]) => raised))].sort(),
    alerts.map(({ name }) => name).sort(),
  );
  const labelsOf = (name: string): string =>
    [
      ...(/Run|Budget|Metrics/.test(name) ? [] : ['organization="oab"']),
      ...(name === 'BillingDifference' ? ['currency="USD"'] : []),
    ].join();
  const tests = cases.map(([changes, raised]) => {
    const values: Record<string, number | undefined> = { ...well, ...changes };
    return {
      interval: '6h',
      input_series: Object.entries(values)
        .filter(([, value]) => value !== undefined)
        .map(([series, value]) => ({ series: PREFIX + series, values: `${value ?? 0}x280` })),
      // As Prometheus holds them; their words are the file's.
      promql_expr_test: alerts.map(({ name, severity }) => ({
        expr: `ALERTS{alertname="${name}",alertstate="firing"}`,
        eval_time: `${at / 3600}h`,
        exp_samples: [name]
          .filter((one) => raised.includes(one))
          .map(() => ({
            labels: `ALERTS{alertname="${name}",alertstate="firing",severity="${severity}",${labelsOf(name)}}`,
            value: 1,
          })),
      })),
    };
  });
  const file = join(folder, 'tests.yml');
  await writeFile(file, stringify({ rule_files: [alertsFile], evaluation_interval: '6h', tests }));
  const told = spawn(promtool, ['test', 'rules', file]);
  const { code, stdout, stderr } = await finished(told);
  t.is(code, 0, stdout + stderr);
});

test('docs/operations.md has every metric with its labels', async (t) => {
  const text = await readFile(join(root, 'docs/operations.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` +\| ([^|]*)\| [^|]+\|$/gm)].map(
    ([, name = '', labels = '']) => [name, labels.trim().replaceAll('`', '')],
  );
  const declared = Object.entries(metrics).map(([name, { labels }]) => [name, labels.join(', ')]);
  t.deepEqual(
    rows.filter(([name = '']) => name in metrics),
    declared,
  );
});
