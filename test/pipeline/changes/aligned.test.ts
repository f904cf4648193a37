import test from 'ava';
import { alignedLines, printable } from '../../../pipeline/changes/aligned.js';

test('what would move a cursor, break a line or turn its direction is written as an escape', (t) => {
  t.is(
    printable('a\u001b[2Jb\nc\u009b\u202ed\u2028\ud800'),
    'a\\u001b[2Jb\\u000ac\\u009b\\u202ed\\u2028\\ud800',
  );
  t.is(printable('Bäckerei „日本“ 🚀'), 'Bäckerei „日本“ 🚀');
});

test('columns stand in line, also after wide characters and marks', (t) => {
  const rows = [
    ['日本', '1', 'x'],
    ['e\u0301', '-12.5', 'y'],
    ['', '', ''],
  ];
  t.deepEqual(
    [...alignedLines(['name', 'amount', 'z'], rows, ['amount'])],
    ['name  amount  z', '日本       1  x', 'e\u0301      -12.5  y', ''],
  );
});

test('a table of 100,000 rows takes no more than its rows', (t) => {
  const rows = Array.from({ length: 100_000 }, (_, index) => [String(index), 'b']);
  t.is([...alignedLines(['a', 'b'], rows, ['a'])].length, 100_001);
});
