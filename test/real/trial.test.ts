import { access } from 'node:fs/promises';
import test from 'ava';
import { NotRun, runTrial, trial, triedTable } from './trial.js';

/** A line's cells, without the blanks around them. */
const cells = (line = ''): string[] =>
  line
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim())
    .slice(1, -1);

test('a trial goes on past what fails and what cannot be run, and ends what it began', async (t) => {
  const ended: string[] = [];
  const told: unknown[] = [];
  const tell = (said: unknown): void => void told.push(said);
  let place = '';
  const tried = await runTrial(
    trial('Server', async (attempt) => {
      place = attempt.folder;
      attempt.teardown(() => ended.push('first'));
      attempt.teardown(() => Promise.resolve().then(() => ended.push('second')));
      attempt.version('1.2');
      await attempt.holds('a', () => Promise.resolve());
      await attempt.holds('b', () => Promise.reject(new Error('this is told on the screen')));
      await attempt.holds('c', () => Promise.reject(new NotRun('no such engine')));
      await attempt.holds('d', () => Promise.resolve());
      throw new Error('so is this');
    }),
    tell,
  );
  t.like(tried, { server: 'Server', version: '1.2', held: ['a', 'd'] });
  t.deepEqual(tried.failed, ['b', 'the trial itself']);
  t.deepEqual(tried.notRun, ['c: no such engine']);
  t.deepEqual(
    told.map(String).map((line) => line.replace(/ +\([\d.]+ s\)$/, '')),
    [
      ...['ok       Server 1.2: a', 'FAILED   Server 1.2: b', 'Error: this is told on the screen'],
      ...['not run  Server 1.2: c', '         no such engine', 'ok       Server 1.2: d'],
      ...['FAILED   Server 1.2', 'Error: so is this'],
    ],
  );
  t.deepEqual(ended, ['second', 'first']);
  await t.throwsAsync(access(place), { code: 'ENOENT' });

  const absent = await runTrial(
    trial('Other', () => Promise.reject(new NotRun('no package'))),
    tell,
  );
  t.like(absent, { version: undefined, held: [], failed: [], notRun: ['no package'] });
});

test('the table keeps the lines of what was not tried this time, and loses those of what is gone', (t) => {
  const one = { version: '1', date: '2026-11-26', held: ['x'], failed: [], notRun: [] };
  const servers = ['A', 'B', 'C'];
  const first = triedTable(
    '',
    [
      { ...one, server: 'B' },
      { ...one, server: 'gone' },
    ],
    servers,
  );
  t.deepEqual(first.split('\n').slice(2).map(cells), [['B', '1', '2026-11-26', 'x', '']]);
  const padded = first.replace('| B |', '| B      |');
  const next = {
    ...{ server: 'A', version: undefined, date: '2026-11-27', held: [] },
    ...{ failed: ['p|q'], notRun: ['two\nlines'] },
  };
  const second = triedTable(padded, [next], servers).split('\n').slice(2).map(cells);
  t.deepEqual(second, [
    ['A', '', '2026-11-27', '', '**did not hold**: p\\|q; not run: two lines'],
    ['B', '1', '2026-11-26', 'x', ''],
  ]);
});
