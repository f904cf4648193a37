import test from 'ava';
import type { RunReport } from '../../../pipeline/run/runner.js';
import { formatReport, noNews } from '../../../pipeline/run/summary.js';
import type { RunRequest, TaskReport } from '../../../pipeline/run/task.js';
import { stages } from '../../../pipeline/config/selection.js';
import { DataError } from '../../../pipeline/shared/errors.js';
import { parseMonth, shiftMonth } from '../../../pipeline/shared/month.js';
import { noAbsence } from '../../../pipeline/run/known-organizations.js';

const first = parseMonth('2025-10');
const organizations = ['internal', 'oab'];

/** Tasks of so many months of two organizations, each unchanged unless `ends` says otherwise. */
function tasksOf(months: number, ends: Record<string, Partial<TaskReport>>): TaskReport[] {
  return Array.from({ length: months }, (_, index) => shiftMonth(first, index)).flatMap((month) =>
    organizations.flatMap((organization) =>
      stages.map((stage): TaskReport => {
        const outcome = {
          ...({ state: 'unchanged', extraction: '20261102T060000Z', provisional: false } as const),
          ...{ customers: 1, unlisted: 0, rows: 10, totals: { USD: '0.105' } },
        };
        const base = { month, organization, stage, state: 'unchanged', outcome } as const;
        const changes = ends[`${month} ${organization} ${stage}`];
        return { ...base, requests: 0, seconds: 0.1, ...changes };
      }),
    ),
  );
}

const failed = { state: 'failed', outcome: undefined } as unknown as Partial<TaskReport>;
const skipped = { state: 'skipped', outcome: undefined } as unknown as Partial<TaskReport>;

function failing(...slices: string[]): Record<string, Partial<TaskReport>> {
  return Object.fromEntries(
    slices.flatMap((slice) => [
      [`${slice} extract`, { ...failed, error: new DataError('broken', { where: slice }) }],
      [`${slice} transform`, skipped],
      [`${slice} load`, skipped],
    ]),
  );
}

function summaryOf(tasks: readonly TaskReport[]): string {
  const report: RunReport = {
    ...{ runId: '', version: '', started: new Date(0), seconds: 1, interrupted: false },
    ...{ tasks, absence: noAbsence },
  };
  const selection = { months: [], organizations: undefined, stages };
  // Of the request only the selection and what the command to resume with is made of are read.
  return formatReport(report, { selection, force: false } as unknown as RunRequest, noNews);
}

test('many months and organizations: failures first, each once, then equal ones as one line with their sums', (t) => {
  const provisional = tasksOf(1, {})[0]?.outcome;
  const done = { state: 'done', outcome: { ...provisional, state: 'done', provisional: true } };
  const news = Object.fromEntries(
    stages.map((stage) => [`2026-10 oab ${stage}`, { ...done, requests: 1 } as TaskReport]),
  );
  const ends = {
    ...failing('2026-02 oab', '2026-03 oab', '2026-03 internal', '2026-05 oab'),
    ...news,
  };
  const text = summaryOf(tasksOf(13, ends)).replaceAll(/(resume with:).*/g, '$1');
  t.is(
    text,
    `4 failed, 8 skipped, 3 done, 63 unchanged; 3 Cost Explorer requests, $0.03; 1.0 s

2026-02, 2026-05 oab extract failed: broken
  resume with:

2026-03 internal, oab extract failed: broken
  resume with:

months                organizations  stages          rows  amount USD  figures      price
2026-02, 2026-05      oab            extract failed
2026-03               internal, oab  extract failed
2026-10               oab            done              10        0.10  provisional  $0.03
9: 2025-10 … 2026-09  internal, oab  unchanged        180        1.89  final        $0.00
3: 2026-02 … 2026-10  internal       unchanged         30        0.32  final        $0.00`,
  );
});

test('up to 24 months and organizations have a line each, and failures stand last', (t) => {
  const lines = summaryOf(tasksOf(12, failing('2026-02 oab'))).split('\n');
  t.is(lines.filter((line) => /^20\d\d-\d\d {2}(internal|oab) /.test(line)).length, 24);
  t.regex(lines.at(-2) ?? '', /^2026-02 oab extract failed: broken/);
  t.is(summaryOf(tasksOf(13, {})).split('\n').length, 4);
});
