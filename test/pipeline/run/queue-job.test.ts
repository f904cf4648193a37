import { randomUUID } from 'node:crypto';
import test from 'ava';
import { RefusedTokenError } from '../../../extract/aws-errors.js';
import { ShiftedListError } from '../../../extract/draft.js';
import { resolveConfig } from '../../../pipeline/config/config.js';
import type { Config } from '../../../pipeline/config/config.js';
import {
  askedSettings,
  errorFromWire,
  errorToWire,
  jobId,
  jobName,
  parseJob,
  parseResult,
  priorityOf,
  refuseOthers,
  resultToWire,
} from '../../../pipeline/run/queue-job.js';
import type { JobData } from '../../../pipeline/run/queue-job.js';
import { commandText, nextRun } from '../../../pipeline/shared/commands.js';
import {
  BudgetError,
  ConfigurationError,
  DataError,
  DifferenceError,
  InterruptedError,
  TransientError,
  UsageError,
  describeError,
} from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { printable } from '../../../pipeline/shared/printable.js';
import { version } from '../../../pipeline/shared/version.js';

const slice = { month: parseMonth('2026-10'), organization: 'oab' };
const stages = ['extract', 'transform', 'load'] as const;

function configOf(flags: Record<string, unknown> = {}, file: Record<string, unknown> = {}): Config {
  return resolveConfig(flags, {}, file, { organizations: false, database: false });
}

function jobOf(config: Config, changes: Partial<JobData> = {}): JobData {
  return {
    version,
    run: randomUUID(),
    ...slice,
    stages: ['extract', 'transform'],
    chain: [...stages],
    settings: askedSettings(config, 'oab', stages),
    ...changes,
  };
}

test('a job has a name of month and organization, an id without colon, and a turn by its month', (t) => {
  t.is(jobName(slice), '2026-10.oab');
  const id = jobId(randomUUID(), slice);
  t.true(id.endsWith('.2026-10.oab'));
  t.false(id.includes(':'));
  const older = { ...slice, month: parseMonth('2025-12') };
  t.true(priorityOf(older) < priorityOf(slice));
  t.true(priorityOf({ ...slice, month: parseMonth('1999-01') }) >= 1);
});

test('a job is a few hundred bytes, goes through JSON, and is believed as it is alone', (t) => {
  const job = jobOf(configOf());
  const text = JSON.stringify(job);
  t.true(text.length < 700, text);
  t.deepEqual(parseJob(JSON.parse(text)), job);
  const hostile: unknown[] = [
    undefined,
    'x',
    {},
    { ...job, organization: '../oab' },
    { ...job, month: '2026-13' },
    { ...job, stages: [] },
    { ...job, stages: ['drop'] },
    { ...job, run: 'pipeline:run' },
    { ...job, more: true },
    { ...job, maxRequests: -1 },
  ];
  for (const data of hostile) {
    const error = t.throws(() => parseJob(data), undefined, JSON.stringify(data));
    t.true(error instanceof DataError || error instanceof UsageError);
  }
});

test('a job of another release is refused by its version, whatever else stands in it', (t) => {
  const [major = '0', minor = '0'] = version.split('.');
  const patch = jobOf(configOf(), { version: `${major}.${minor}.999` });
  t.notThrows(() => parseJob(patch));
  for (const other of ['7.0.0', `${major}.${Number(minor) + 1}.0`])
    t.throws(() => parseJob({ version: other, of: 'the future' }), {
      instanceOf: ConfigurationError,
      message: new RegExp(`version ${other}, and this worker is version ${version}`),
    });
});

test('a worker refuses a job by the name of each setting that it has not', (t) => {
  const run = configOf({ staging: '/srv/a', detail: 'service' });
  const job = jobOf(run);
  t.notThrows(() => {
    refuseOthers(job, run);
  });
  const others: [Record<string, unknown>, RegExp][] = [
    [{ staging: '/srv/b', detail: 'service' }, /--staging.* is \/srv\/a for the run and \/srv\/b/],
    [{ staging: '/srv/a' }, /--detail.* is service for the run and none for this worker/],
    [{ staging: '/srv/a', detail: 'service', parquet: 'basic' }, /--parquet/],
    [{ staging: '/srv/a', detail: 'service', tolerance: '0.5' }, /--tolerance.* is 0\.01 .* 0\.5 /],
    [{ staging: '/srv/a', detail: 'service', database: 'sqlite:/srv/x' }, /--database/],
    [{ staging: '/srv/a', detail: 'service', metric: ['BlendedCost'] }, /--metric/],
  ];
  for (const [flags, message] of others) {
    t.throws(
      () => {
        refuseOthers(job, configOf(flags));
      },
      { instanceOf: ConfigurationError, message },
    );
  }
  const tagged = configOf({ staging: '/srv/a', detail: 'service' }, { tags: { oab: 'other' } });
  t.throws(
    () => {
      refuseOthers(job, tagged);
    },
    { message: /"tags"/ },
  );
  // What only another organization has does not matter.
  const elsewhere = configOf({ staging: '/srv/a', detail: 'service' }, { tags: { spp: 'other' } });
  t.notThrows(() => {
    refuseOthers(job, elsewhere);
  });
});

test('what a run does not do is not asked for', (t) => {
  const run = configOf({ staging: '/srv/a' });
  const settings = askedSettings(run, 'oab', ['load']);
  const job = jobOf(run, { stages: ['load'], chain: ['load'], settings });
  t.notThrows(() => {
    refuseOthers(job, configOf({ staging: '/srv/a', parquet: 'basic' }));
  });
});

test('neither user nor password of a database is asked for, and a long value is a digest', (t) => {
  const config = resolveConfig(
    {},
    { PIPELINE_DATABASE: 'mysql://billing:Pa55-word@db.example:3307/cost' },
    { staging: `/srv/${'long/'.repeat(40)}` },
    { organizations: false, database: false },
  );
  const settings = askedSettings(config, 'oab', stages);
  t.is(settings['database'], 'mysql://db.example:3307/cost');
  t.regex(settings['staging'] ?? '', /^sha256 [0-9a-f]{16}$/);
});

test('an error comes back as it was, its command too, so that whoever follows adds flags of his own', (t) => {
  const command = nextRun(['extract'], slice, '--force');
  const next = `fetch it again with "${commandText(command)}"`;
  const errors = [
    new TransientError('later', { where: 'there', next, command }),
    new ConfigurationError('wrong'),
    new UsageError('usage', { next: 'do' }),
    new DataError('broken', { where: 'file' }),
    new DifferenceError('29 USD apart'),
    new BudgetError('used up'),
  ];
  for (const error of errors) {
    const back = errorFromWire(
      JSON.parse(JSON.stringify(errorToWire(error))) as Parameters<typeof errorFromWire>[0],
    );
    t.is(back.constructor, error.constructor);
    t.deepEqual(errorToWire(back), errorToWire(error));
  }
  t.true(errorFromWire(errorToWire(new InterruptedError())) instanceof InterruptedError);
  // Classes that only some part of the pipeline knows come as those that everybody knows, with all that they say.
  const told = { where: 'page 2', next: 'look' };
  const own = [new ShiftedListError('x', told), new RefusedTokenError('x', told)];
  const came = own.map((error) => errorFromWire(errorToWire(error)));
  t.true(came[0] instanceof DataError && came[1] instanceof TransientError);
  for (const error of came) t.like(error, told);
  t.false(errorFromWire({ class: 'constructor', message: 'x' }) instanceof TransientError);
});

test('a result is taken for one only where it is', (t) => {
  const error = new DataError('broken');
  const outcome = {
    state: 'done',
    ...{ extraction: '20261102T060000Z', provisional: false },
    ...{ customers: 1, unlisted: 0, rows: 2, totals: { USD: '0.1' }, differences: { USD: '29' } },
  } as const;
  const loaded = {
    ...slice,
    stage: 'load',
    state: 'done',
    outcome,
    requests: 0,
    seconds: 1,
  } as const;
  const back = parseResult(JSON.parse(JSON.stringify(resultToWire([loaded], []))), slice, ['load']);
  t.deepEqual(back?.reports, [loaded]);
  const reports = [
    { ...slice, stage: 'extract', state: 'failed', error, requests: 3, seconds: 1.5 },
    { ...slice, stage: 'transform', state: 'skipped', requests: 0, seconds: 0 },
  ] as const;
  const wire: unknown = JSON.parse(
    JSON.stringify(resultToWire(reports, [{ msg: 'mind', ...slice }])),
  );
  const asked = ['extract', 'transform'] as const;
  const result = parseResult(wire, slice, asked);
  t.is(result?.reports.length, 2);
  t.true(result?.reports[0]?.error instanceof DataError);
  t.is(result?.warnings[0]?.msg, 'mind');
  const [first, second] = (wire as { reports: object[] }).reports;
  const others: unknown[] = [
    'ok',
    { reports: [], warnings: [] },
    { reports: [first], warnings: [] },
    { reports: [second, first], warnings: [] },
    { reports: [first, second, second], warnings: [] },
    { reports: [first, { ...second, month: '2026-09' }], warnings: [] },
    { reports: [first, { ...second, organization: 'spp' }], warnings: [] },
    { reports: [first, { ...second, organization: '../oab' }], warnings: [] },
  ];
  for (const other of others)
    t.is(parseResult(other, slice, asked), undefined, JSON.stringify(other));
});

test('what a result says to people moves no cursor, and is not endless, whoever wrote it', (t) => {
  const hostile = `\u001b[2J\u202e${'x'.repeat(100_000)}`;
  const report = { ...slice, stage: 'load', state: 'failed', requests: 0, seconds: 1 };
  const error = { class: 'DataError', message: hostile, where: hostile, next: hostile };
  const warnings = [{ msg: hostile, where: hostile, level: 60, time: 'never' }];
  const result = parseResult({ reports: [{ ...report, error }], warnings }, slice, ['load']);
  const shown = describeError(result?.reports[0]?.error);
  t.is(printable(shown), shown);
  t.true(shown.length < 20_000);
  t.deepEqual(Object.keys(result?.warnings[0] ?? {}).sort(), ['msg', 'where']);
  const warned = result?.warnings[0]?.msg ?? hostile;
  t.is(printable(warned), warned);
});

test('names of JavaScript are settings as any other, and refused', (t) => {
  const job = jobOf(configOf());
  for (const name of ['constructor', 'toString']) {
    const settings = { ...job.settings, [name]: 'x' };
    t.throws(
      () => {
        refuseOthers(parseJob({ ...job, settings }), configOf());
      },
      {
        instanceOf: ConfigurationError,
        message: new RegExp(`${name}.* is x for the run and none`),
      },
    );
  }
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [index, '']));
  t.throws(() => parseJob({ ...job, settings: many }), { instanceOf: DataError });
  const long = { ...job.settings, staging: 'x'.repeat(10_000) };
  t.throws(() => parseJob({ ...job, settings: long }), { instanceOf: DataError });
});

test("an organization's own part of what is fetched has to be the worker's too, where a job fetches", (t) => {
  const config = configOf();
  const view = {
    billingViewArn: null,
    costViewArn: 'arn:aws:billing::1:billingview/a',
    listAccounts: true,
  };
  const settings = askedSettings(config, 'oab', stages, view);
  const job = jobOf(config, { settings });
  t.notThrows(() => {
    refuseOthers(job, config, view);
  });
  const others = [
    { ...view, costViewArn: null },
    { ...view, listAccounts: false },
    { ...view, billingViewArn: 'arn:aws:billing::1:billingview/b' },
  ];
  for (const other of others)
    t.throws(
      () => {
        refuseOthers(job, config, other);
      },
      { instanceOf: ConfigurationError, message: /organizations\.oab\.\w+/ },
    );
});

test('every setting that a result depends on is asked for, the newest too', (t) => {
  const job = jobOf(configOf());
  const others: [Config, RegExp][] = [
    [configOf({ by: ['record-type'] }), /--by/],
    [configOf({ invoices: true }), /--invoices/],
    [configOf({}, { provisionalDays: 3 }), /"provisionalDays"/],
  ];
  for (const [other, message] of others)
    t.throws(
      () => {
        refuseOthers(job, other);
      },
      { instanceOf: ConfigurationError, message },
    );
});
