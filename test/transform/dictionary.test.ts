import test from 'ava';
import fc from 'fast-check';
import { createPairs, createDictionary } from '../../transform/columns.js';

const place = { where: 'file', row: 1 };

test('pairs are remembered as a set of strings would remember them', (t) => {
  const names = fc.integer({ min: 0, max: 200 }).map(String);
  t.notThrows(() => {
    fc.assert(
      fc.property(fc.array(fc.tuple(names, names), { maxLength: 500 }), (drawn) => {
        const firsts = createDictionary(() => undefined);
        const seconds = createDictionary(() => undefined);
        const isNew = createPairs();
        const model = new Set<string>();
        for (const [first, second] of drawn) {
          const expected = !model.has(`${first}/${second}`);
          model.add(`${first}/${second}`);
          if (isNew(firsts.of(first, place), seconds.of(second, place)) !== expected) return false;
        }
        return true;
      }),
    );
  });
});

test('a text is checked when it is met first, and kept in that order', (t) => {
  const checked: string[] = [];
  const dictionary = createDictionary((text) => checked.push(text));
  const indexes = ['b', 'a', 'b', 'c', 'a'].map((text) => dictionary.of(text, place).index);
  t.deepEqual(indexes, [0, 1, 0, 2, 1]);
  t.deepEqual(checked, ['b', 'a', 'c']);
  t.deepEqual(dictionary.texts, ['b', 'a', 'c']);
});
