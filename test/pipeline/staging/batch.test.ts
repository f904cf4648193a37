import test from 'ava';
import type { CodedColumn, RowBatch } from '../../../pipeline/staging/batch.js';
import { coded, constant, sliceRows, valueAt } from '../../../pipeline/staging/batch.js';

const rows: RowBatch<CodedColumn> = {
  length: 4,
  columns: [
    { kind: 'coded', distinct: ['a', null, 'b'], codes: Uint32Array.of(2, 0, 1, 0) },
    constant('same'),
    constant(null),
  ],
};

function valuesOf({ length, columns }: RowBatch) {
  return columns.map((column) => Array.from({ length }, (_, row) => valueAt(column, row)));
}

test('codes stand for values, and a constant for all rows', (t) => {
  t.deepEqual(valuesOf(rows), [
    ['b', 'a', null, 'a'],
    ['same', 'same', 'same', 'same'],
    [null, null, null, null],
  ]);
});

test('a column of one code is a constant', (t) => {
  t.deepEqual(coded(['a', null], Uint32Array.of(1, 1)), constant(null));
  t.is(coded(['a', 'b'], Uint32Array.of(0, 1)).kind, 'coded');
  t.is(coded(['a'], Uint32Array.of()).kind, 'coded');
});

test('a slice of rows shares the values', (t) => {
  const slice = sliceRows(rows, 1, 3);
  t.deepEqual(valuesOf(slice), [
    ['a', null],
    ['same', 'same'],
    [null, null],
  ]);
  const [before, after] = [rows.columns[0], slice.columns[0]];
  t.true(before?.kind === 'coded' && after?.kind === 'coded' && before.distinct === after.distinct);
});
