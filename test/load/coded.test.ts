import test from 'ava';
import type { CodedRows } from '../../load/driver.js';
import { decodeRows, sliceRows, valueAt } from '../../load/driver.js';

const rows: CodedRows = {
  length: 4,
  columns: [
    { values: ['a', null, 'b'], codes: Uint32Array.of(2, 0, 1, 0) },
    { values: ['same'], codes: undefined },
    { values: [null], codes: undefined },
  ],
};

test('codes stand for values, and without codes the first value for all rows', (t) => {
  const columns = [
    ['b', 'a', null, 'a'],
    ['same', 'same', 'same', 'same'],
    [null, null, null, null],
  ];
  t.deepEqual(decodeRows(rows), { length: 4, columns });
  t.deepEqual(
    rows.columns.map((column) => [0, 1, 2, 3].map((row) => valueAt(column, row))),
    columns,
  );
});

test('a slice of rows shares the values', (t) => {
  const slice = sliceRows(rows, 1, 3);
  t.deepEqual(decodeRows(slice), {
    length: 2,
    columns: [
      ['a', null],
      ['same', 'same'],
      [null, null],
    ],
  });
  t.is(slice.columns[0]?.values, rows.columns[0]?.values);
});
