import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { EXIT, exitCodeAt, exitCodeOf } from '../../../pipeline/commands/journal.js';
import { select } from '../../../pipeline/config/selection.js';
import type { RunFacts } from '../../../pipeline/run/record.js';
import {
  appendRecord,
  checkSummaryFile,
  makeRecord,
  recordLine,
  runRecord,
} from '../../../pipeline/run/record.js';
import type { RunReport } from '../../../pipeline/run/runner.js';
import { noNews } from '../../../pipeline/run/summary.js';
import type { RunRequest, TaskReport } from '../../../pipeline/run/task.js';
import {
  BudgetError,
  ConfigurationError,
  DataError,
  DifferenceError,
  InterruptedError,
  TransientError,
  UsageError,
} from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import type { Outcome } from '../../../pipeline/shared/outcome.js';
import { keepSecret } from '../../../pipeline/shared/printable.js';
import { temporaryFolder } from '../../support/cli.js';

test('the exit code is the kind of failure that all share, and 1 where they share none', (t) => {
  const [differs, budget] = [new DifferenceError('29 USD'), new BudgetError('over')];
  t.is(exitCodeOf([differs, differs]), EXIT.differs);
  t.is(exitCodeOf([budget]), EXIT.budget);
  t.is(exitCodeOf([differs, budget]), EXIT.failed);
  t.is(exitCodeOf([differs, new DataError('broken')]), EXIT.failed);
  t.is(exitCodeOf([new TransientError('away'), budget]), EXIT.failed);
  t.is(exitCodeOf([new Error('bug')]), EXIT.failed);
  // A task that lacks a setting is one of several: something was done.
  t.is(exitCodeOf([new UsageError('no role')]), EXIT.failed);
  t.is(exitCodeAt(new UsageError('no such flag')), EXIT.usage);
  t.is(exitCodeAt(new InterruptedError()), EXIT.interrupted);
  t.is(exitCodeAt(budget), EXIT.budget);
  t.is(exitCodeAt(new ConfigurationError('no right')), EXIT.failed);
});

const month = parseMonth('2026-10');
const run = {
  runId: '00000000-0000-4000-8000-000000000000',
  started: new Date('2026-11-02T06:00:00Z'),
  ended: new Date('2026-11-02T06:00:12.345Z'),
  exitCode: 1,
  isInterrupted: false,
};

function outcome(changes: Partial<Outcome>): Outcome {
  const base = { state: 'done', extraction: '20261102T060000Z', provisional: true } as const;
  return { ...base, customers: 1, unlisted: 0, rows: 2, totals: { USD: '0.1' }, ...changes };
}

function task(organization: string, changes: Partial<TaskReport>): TaskReport {
  const base = { month, organization, stage: 'load', state: 'done', requests: 0 } as const;
  return { ...base, seconds: 0.25, ...changes };
}

function facts(tasks: readonly TaskReport[], changes: Partial<RunFacts> = {}): RunFacts {
  const selection = select({ month: ['2026-10'] }, new Date('2026-11-02T06:00:00Z'));
  const { runId, started } = run;
  const absence = {
    slices: [{ month, organization: 'away' }],
    by: '',
    untold: [],
    note: undefined,
  };
  const report: RunReport = {
    ...{ runId, started, version: '0.1.0', seconds: 12, interrupted: false },
    ...{ tasks, absence },
  };
  // Of the request only what the command to resume with is made of.
  const request = { selection, force: false } as RunRequest;
  return { ...run, selection, whole: { report, request, news: noNews }, ...changes };
}

test('a record adds up exactly, tells each slice by its last stage, and each failure once', (t) => {
  const failed = new DifferenceError('apart', { where: 'here', next: 'look' });
  const record = makeRecord(
    facts([
      task('oab', { stage: 'extract', requests: 3, outcome: outcome({ rows: 9, totals: {} }) }),
      task('oab', { outcome: outcome({ differences: { USD: '0' } }) }),
      task('spp', {
        stage: 'transform',
        outcome: outcome({ totals: { USD: '0.2', EUR: '-1' }, differences: { USD: '29' } }),
      }),
      task('spp', { state: 'failed', error: failed }),
      task('none', { stage: 'extract', state: 'failed', error: new InterruptedError() }),
      task('none', { stage: 'load', state: 'skipped' }),
      task('same', { state: 'unchanged', outcome: outcome({ state: 'unchanged', rows: 0 }) }),
    ]),
  );
  t.deepEqual(runRecord.parse(JSON.parse(recordLine(record))), record);
  t.deepEqual(record.amounts, { EUR: '-1', USD: '0.4' });
  t.is(record.rows, 4);
  t.is(record.seconds, 12.345);
  t.deepEqual([record.requests, record.priceUsd], [3, '0.03']);
  t.deepEqual(record.tasks, { done: 3, unchanged: 1, failed: 1, stopped: 1, skipped: 1 });
  t.deepEqual(
    record.slices.map(({ organization, state, rows, differences }) => [
      ...[organization, state, rows, differences],
    ]),
    [
      ['oab', 'done', 2, { USD: '0' }],
      ['spp', 'failed', 2, { USD: '29' }],
      ['none', 'stopped', undefined, undefined],
      ['same', 'unchanged', 0, undefined],
    ],
  );
  t.is(record.failures.length, 1);
  const [first] = record.failures;
  t.like(first, { month, organization: 'spp', stage: 'load', class: 'DifferenceError' });
  t.like(first, { message: 'apart', where: 'here', next: 'look' });
  t.regex(first?.resume ?? '', / run --stage load --month 2026-10 --organization spp$/);
  t.deepEqual(record.absent, [{ month, organization: 'away' }]);
  t.is(record.outcome, 'failed');
});

test('a run that could not begin has a record, and one that was stopped has its failure in no list', (t) => {
  const {
    months,
    slices,
    failures,
    outcome: ended,
  } = makeRecord({ ...run, error: new Error('x') });
  t.deepEqual([months, slices, ended], [[], [], 'failed']);
  t.deepEqual(failures, [{ class: 'Error', message: 'x' }]);
  const error = new InterruptedError();
  const stopped = makeRecord({ ...run, exitCode: 130, isInterrupted: true, error });
  t.deepEqual([stopped.outcome, stopped.failures], ['interrupted', []]);
  t.is(makeRecord(facts([], { exitCode: 0 })).outcome, 'ok');
});

test('the line is one line without secrets, whatever is in it, and the same when it is read', (t) => {
  // Secrets that are figures, keys and dates too.
  keepSecret('hunter7-of-the-record', '12.345', '2026', 'rows', '0.25');
  const message = 'a\nb \u202e \u0085 hunter7-of-the-record';
  const failed = {
    state: 'failed',
    error: new DataError(message, { where: 'at 12.345' }),
  } as const;
  const record = makeRecord(facts([task('oab', failed), task('spp', { outcome: outcome({}) })]));
  const line = recordLine(record);
  t.regex(line, /^[\x20-\x7e]+\n$/);
  const { failures, ...others } = runRecord.parse(JSON.parse(line));
  t.like(failures[0], { message: 'a\nb \u202e \u0085 ***', where: 'at ***' });
  t.like(others, { seconds: 12.345, started: '2026-11-02T06:00:00.000Z', months: ['2026-10'] });
  const [alone] = makeRecord({ ...run, error: new Error(message) }).failures;
  t.is(alone?.message, 'a\nb \u202e \u0085 ***');
});

test('lines are appended whole, by many at once, to a regular file alone', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'runs.jsonl');
  await checkSummaryFile(file);
  await writeFile(file, '{"was":"there"}\n');
  const records = Array.from({ length: 20 }, (_, code) =>
    makeRecord({ ...run, exitCode: code, error: new Error('x'.repeat(100_000)) }),
  );
  await Promise.all(records.map((record) => appendRecord(file, record)));
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  t.is(lines.shift(), '{"was":"there"}');
  const codes = lines.map((line) => (JSON.parse(line) as { exitCode: number }).exitCode);
  t.deepEqual(
    codes.sort((a, b) => a - b),
    records.map(({ exitCode }) => exitCode),
  );
  const refused = { instanceOf: UsageError, message: /summary file cannot be written/ };
  const database = join(folder, 'billing.sqlite');
  await writeFile(database, 'SQLite format 3\0');
  for (const other of [folder, join(folder, 'none/runs.jsonl'), '/dev/full', database])
    await t.throwsAsync(checkSummaryFile(other), refused, other);
  await symlink(file, join(folder, 'link'));
  await t.notThrowsAsync(checkSummaryFile(join(folder, 'link')));
});

test('a line that was left without its end spoils no other', async (t) => {
  const file = join(await temporaryFolder(t), 'runs.jsonl');
  await writeFile(file, '{"runId":"half');
  const record = makeRecord({ ...run, error: new Error('x') });
  await appendRecord(file, record);
  await appendRecord(file, record);
  t.is(await readFile(file, 'utf8'), `{"runId":"half\n${recordLine(record).repeat(2)}`);
});
