import test from 'ava';
import { alignedLines } from '../../../pipeline/inspect/restatements.js';

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
