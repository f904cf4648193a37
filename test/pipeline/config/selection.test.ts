import test from 'ava';
import type { SelectionFlags } from '../../../pipeline/config/selection.js';
import { select } from '../../../pipeline/config/selection.js';
import { UsageError } from '../../../pipeline/shared/errors.js';

const now = new Date('2026-11-23T12:00:00Z');

test('without flags: all stages, all organizations, the last complete month', (t) => {
  t.deepEqual(select({}, now), {
    months: ['2026-10'],
    organizations: undefined,
    stages: ['extract', 'transform', 'load'],
  } as unknown as ReturnType<typeof select>);
});

test('repeated flags are put in order, each once', (t) => {
  const selection = select(
    {
      month: ['2026-10', '2026-08', '2026-10'],
      stage: ['load', 'transform', 'load'],
      organization: ['b', 'a', 'b'],
    },
    now,
  );
  t.deepEqual([...selection.months] as string[], ['2026-08', '2026-10']);
  t.deepEqual([...selection.stages] as string[], ['transform', 'load']);
  t.deepEqual([...(selection.organizations ?? [])] as string[], ['b', 'a']);
});

test('values between commas are several', (t) => {
  const selection = select(
    { month: ['2026-10, 2026-08'], stage: ['transform,load'], organization: ['b,a', 'c'] },
    now,
  );
  t.deepEqual([...selection.months] as string[], ['2026-08', '2026-10']);
  t.deepEqual([...selection.stages] as string[], ['transform', 'load']);
  t.deepEqual([...(selection.organizations ?? [])] as string[], ['b', 'a', 'c']);
});

test('--from alone goes up to the last complete month, or names the running one', (t) => {
  t.deepEqual([...select({ from: '2026-08' }, now).months] as string[], [
    '2026-08',
    '2026-09',
    '2026-10',
  ]);
  t.deepEqual([...select({ from: '2026-11' }, now).months] as string[], ['2026-11']);
  t.throws(() => select({ from: '2026-12' }, now), { message: /lies in the future/ });
});

test('a near miss is answered by the right word', (t) => {
  for (const [flags, next] of [
    [{ stage: ['extrakt'] }, /did you mean extract\?/],
    [{ stage: ['fetch'] }, /did you mean extract\?/],
    [{ stage: ['Load'] }, /did you mean load\?/],
    [{ stage: ['all'] }, /choose among extract, transform, load/],
    [{ month: ['2026-07..2026-09'] }, /--from with its first month and --to with its last/],
    [{ month: ['10/2026'] }, /YYYY-MM, for example 2026-10/],
    [{ month: ['2026-9'] }, /YYYY-MM, for example 2026-09/],
    [{ month: ['202608'] }, /YYYY-MM, for example 2026-08/],
    [{ month: ['2026-07-31'] }, /YYYY-MM, for example 2026-07/],
    [{ month: ['last'] }, /YYYY-MM, for example 2026-10/],
  ] as const) {
    const error = t.throws(() => select(flags, now), { instanceOf: UsageError });
    t.regex(error.next ?? '', next);
  }
});

test('the running month may be chosen, the next may not', (t) => {
  t.deepEqual([...select({ month: ['2026-11'] }, now).months] as string[], ['2026-11']);
  t.throws(() => select({ month: ['2026-12'] }, now), {
    instanceOf: UsageError,
    message: /lies in the future/,
  });
});

const refused: [string, SelectionFlags, RegExp][] = [
  ['an unknown stage', { stage: ['extrakt'] }, /"extrakt" is not a stage/],
  [
    'a range the wrong way round',
    { from: '2026-10', to: '2026-09' },
    /--from 2026-10 lies after --to 2026-09/,
  ],
  ['half a range', { to: '2026-09' }, /--to needs --from/],
  ['another word for a stage', { stage: ['fetch'] }, /"fetch" is not a stage/],
  [
    'a month beside a range',
    { month: ['2026-09'], from: '2026-09', to: '2026-10' },
    /neither --from nor --to/,
  ],
  [
    'a name that would leave its folder',
    { organization: ['../x'] },
    /is not an organization's name/,
  ],
];
for (const [what, flags, message] of refused) {
  test(`${what} is refused`, (t) => {
    t.throws(() => select(flags, now), { instanceOf: UsageError, message });
  });
}
