import test from 'ava';
import type { SliceStatus } from '../../../pipeline/inspect/slice-status.js';
import { check, describeProblem, problemsOf } from '../../../pipeline/inspect/status-check.js';
import type { KnownOrganizations } from '../../../pipeline/run/known-organizations.js';
import { absentSlices } from '../../../pipeline/run/known-organizations.js';
import {
  ConfigurationError,
  DifferenceError,
  TransientError,
} from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import type { Slice } from '../../../pipeline/staging/layout.js';

const month = parseMonth('2026-10');
const now = new Date('2026-11-26T08:00:00Z');

/** A slice on which all is well; its manifests hold no more than is looked at. */
function well(organization: string, finished = '2026-11-25T06:00:00.000Z'): SliceStatus {
  const made = { extraction: '20261125T060000Z', finished };
  return {
    month,
    organization,
    extracted: made as SliceStatus['extracted'],
    unfinished: undefined,
    transformed: made as SliceStatus['transformed'],
    missing: [],
    loaded: { ...made, finished: new Date(finished) } as SliceStatus['loaded'],
    provisional: false,
    difference: undefined,
    stale: [],
    faults: [],
    apart: undefined,
  };
}

const nothing = { slices: [], by: '', untold: [], note: undefined };
const told = (...slices: SliceStatus[]): string[] =>
  problemsOf(slices, nothing, undefined, now).map((problem) =>
    describeProblem(problem).replace(/"[^"]* run /, '"run '),
  );

test('of each slice the first thing that is missing is told, several slices of one kind together', (t) => {
  const unmade = { transformed: undefined, loaded: undefined };
  t.deepEqual(told(well('a'), well('b')), []);
  t.deepEqual(
    told(
      { ...well('a'), ...unmade },
      { ...well('b'), ...unmade, extracted: undefined },
      { ...well('c'), ...unmade },
      { ...well('d'), stale: ['transform', 'load'] },
      { ...well('e'), stale: ['load'] },
      { ...well('f'), loaded: undefined },
      { ...well('g'), missing: ['csv/x'], stale: ['transform'] },
    ),
    [
      '2026-10 b: not extracted; run "run --month 2026-10 --organization b"',
      '2026-10 g: exports missing; run "run --stage transform,load --month 2026-10 --organization g"',
      '2026-10 a, c: not transformed; run "run --stage transform,load --month 2026-10 --organization a,c"',
      '2026-10 d: tables of an older extraction; run "run --stage transform,load --month 2026-10 --organization d"',
      '2026-10 f: not loaded; run "run --stage load --month 2026-10 --organization f"',
      '2026-10 e: loaded from older tables; run "run --stage load --month 2026-10 --organization e"',
    ],
  );
});

test('figures that AWS may still change are fresh for eight days, final ones for ever', (t) => {
  const of = (finished: string, provisional: boolean) =>
    check(
      [{ ...well('a', finished), provisional }],
      problemsOf([{ ...well('a', finished), provisional }], nothing, undefined, now),
      nothing,
      undefined,
    );
  t.like(of('2026-11-18T08:00:00.000Z', true), { fresh: true, verdict: 'provisional' });
  t.like(of('2026-11-18T07:59:59.999Z', true), { fresh: false, complete: true, verdict: 'failed' });
  t.like(of('2026-11-11T00:00:00.000Z', false), { fresh: true, figures: 'final', verdict: 'well' });
});

test('what cannot be told is not taken for complete', (t) => {
  const away = new TransientError('away');
  const problems = problemsOf([well('a')], nothing, away, now);
  t.deepEqual(problems, []);
  t.like(check([well('a')], problems, nothing, away), { complete: false, verdict: 'failed' });
  t.like(check([well('a')], [], { ...nothing, untold: [month] }, undefined), { verdict: 'failed' });
  t.like(check([], [], nothing, undefined), { complete: false, fresh: false, verdict: 'failed' });
  t.like(check([well('a')], [], nothing, undefined), { complete: true, verdict: 'well' });
});

test('a load that was refused for a difference is told apart, where nothing else is wrong', (t) => {
  const apart = new DifferenceError('29 USD apart');
  const of = (...slices: SliceStatus[]) => {
    const problems = problemsOf(slices, nothing, undefined, now);
    return check(slices, problems, nothing, undefined);
  };
  const refused = { ...well('a'), loaded: undefined, apart };
  t.deepEqual(told(refused), ['2026-10 a not loaded: 29 USD apart']);
  t.like(of(refused, well('b')), { complete: false, verdict: 'differs' });
  t.like(of({ ...well('a'), stale: ['load'], apart }), { verdict: 'differs' });
  // Anything else beside it is not told by that.
  t.like(of(refused, { ...well('b'), loaded: undefined }), { verdict: 'failed' });
  t.like(of({ ...refused, missing: ['csv/x'] }), { verdict: 'failed' });
  const problems = problemsOf([refused], nothing, undefined, now);
  t.like(check([refused], problems, { ...nothing, untold: [month] }, undefined), {
    verdict: 'failed',
  });
});

const known = (names: readonly string[], unasked = false): KnownOrganizations => ({
  entries: names.map((name) => ({ name, fault: new ConfigurationError('lacks something') })),
  unasked: unasked ? new ConfigurationError('it is not set up') : undefined,
});
const slices = (...places: string[]): Slice[] =>
  places.map((place) => {
    const [of = '', organization = ''] = place.split(' ');
    return { month: parseMonth(of), organization };
  });

test('absent is who is named and not staged: by the secret, or offline by the months around', (t) => {
  const staged = slices('2026-08 a', '2026-08 old', '2026-09 a', '2026-10 a', '2026-10 b');
  const months = (['2026-08', '2026-09', '2026-10'] as const).map(parseMonth);
  const absent = (of: KnownOrganizations, organizations?: string[]): string[] =>
    absentSlices(of, staged, months, organizations, now).slices.map(
      (slice) => `${slice.month} ${slice.organization}`,
    );
  t.deepEqual(absent(known(['a', 'b'])), ['2026-08 b', '2026-09 b']);
  t.deepEqual(absent(known(['a', 'b']), ['a']), []);
  t.deepEqual(absent(known([], true)), ['2026-09 b', '2026-09 old']);
  t.deepEqual(absent(known(['listed'], true), ['listed']), [
    '2026-08 listed',
    '2026-09 listed',
    '2026-10 listed',
  ]);
  t.is(absentSlices(known([], true), staged, months, undefined, now).untold.length, 0);
  const [alone] = [slices('2026-10 a')];
  t.deepEqual(absentSlices(known([], true), alone, [month], undefined, now).untold, [month]);
  // AWS tells 13 months before the current one: what is older cannot be fetched any more.
  const old = (['2025-09', '2025-10', '2025-11'] as const).map(parseMonth);
  t.deepEqual(
    absentSlices(known(['b']), staged, old, undefined, now).slices.map((slice) => slice.month),
    [...old.slice(1)],
  );
});
