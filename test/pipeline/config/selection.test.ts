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
  ['half a range', { from: '2026-09' }, /go together/],
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
