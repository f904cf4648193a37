import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { sharedQueries, smallestCover } from '../../extract/questions.js';
import { demoData, monthData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { root } from '../support/cli.js';

/** Usage type → services, few enough of both to be shared often. */
const services = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 7 })), {
    maxLength: 30,
  })
  .map((pairs) => {
    const found = new Map<string, Set<string>>();
    for (const [type, service] of pairs)
      found.set(`t${type}`, (found.get(`t${type}`) ?? new Set()).add(`s${service}`));
    return found;
  });

/** Size of a smallest cover, by trying every choice among the left vertices. */
function smallestBySearch(edges: ReadonlyMap<string, readonly string[]>): number {
  const left = [...edges.keys()];
  let least = Infinity;
  for (let choice = 0; choice < 1 << left.length; choice++) {
    const others = left.filter((_, index) => (choice & (1 << index)) === 0);
    const right = new Set(others.flatMap((vertex) => edges.get(vertex) ?? []));
    least = Math.min(least, left.length - others.length + right.size);
  }
  return least;
}

test('a cover touches every edge, and there is no smaller one', (t) => {
  t.notThrows(() => {
    fc.assert(
      fc.property(services, (found) => {
        const edges = new Map([...found].map(([type, of]) => [type, [...of]]));
        const { left, right } = smallestCover(edges);
        for (const [type, of] of edges)
          for (const service of of) if (!left.has(type) && !right.has(service)) return false;
        return left.size + right.size === smallestBySearch(edges);
      }),
    );
  });
});

test('each pair of a shared usage type is asked for exactly once, and nothing else is', (t) => {
  fc.assert(
    fc.property(services, (found) => {
      const queries = sharedQueries(found);
      const asked: string[] = [];
      for (const { groupBy, filter } of queries) {
        const types = filter?.USAGE_TYPE ?? [];
        if (groupBy.includes('SERVICE')) {
          for (const type of types)
            for (const service of found.get(type) ?? []) asked.push(`${type} ${service}`);
        } else {
          for (const type of types) asked.push(`${type} ${filter?.SERVICE?.[0] ?? ''}`);
        }
      }
      const shared = [...found].filter(([, of]) => of.size > 1);
      const wanted = shared.flatMap(([type, of]) => [...of].map((service) => `${type} ${service}`));
      t.deepEqual(asked.sort(), wanted.sort());
      t.true(queries.length <= shared.length);
      t.true(queries.length <= new Set(shared.flatMap(([, of]) => [...of])).size);
    }),
  );
});

test('many services that share one usage type take one question, many usage types of two services one too', (t) => {
  const one = new Map([['DataTransfer', new Set(['a', 'b', 'c', 'd'])]]);
  t.deepEqual(sharedQueries(one), [
    {
      name: 'usage-type-shared-001',
      groupBy: ['SERVICE', 'LINKED_ACCOUNT'],
      filter: { USAGE_TYPE: ['DataTransfer'] },
    },
  ]);
  const many = new Map(
    ['x', 'y', 'z'].map((type) => [type, new Set(type === 'z' ? ['a'] : ['a', 'b'])]),
  );
  t.is(sharedQueries(many).length, 2);
  t.deepEqual(sharedQueries(new Map([['alone', new Set(['a'])]])), []);
});

test('a usage type of which AWS names no service is asked for by service and account', (t) => {
  const found = new Map([
    ['a', new Set(['S'])],
    ['b', new Set<string>()],
  ]);
  t.deepEqual(sharedQueries(found), [
    {
      name: 'usage-type-shared-001',
      groupBy: ['SERVICE', 'LINKED_ACCOUNT'],
      filter: { USAGE_TYPE: ['b'] },
    },
  ]);
});

test("the documentation's figures of the tests' month are these", async (t) => {
  const month = parseMonth('2026-10');
  const found = new Map<string, Set<string>>();
  for (const { usageType, service } of monthData(demoData({ months: [month] }), 'oab', month).items)
    found.set(usageType, (found.get(usageType) ?? new Set()).add(service));
  const shared = [...found.values()].filter((of) => of.size > 1);
  const all = new Set(shared.flatMap((of) => [...of])).size;
  const questions = sharedQueries(found).length;
  for (const [file, text] of [
    [
      'usage-types.md',
      `${questions} for the ${shared.length} shared usage types, of ${all} services, that \`oab\` has`,
    ],
    [
      'decisions.md',
      `would take ${shared.length} questions for \`oab\`'s month of the tests, by service alone ${all}, the mix ${questions}.`,
    ],
  ] as const) {
    const told = (await readFile(join(root, 'docs', file), 'utf8')).replaceAll(/\s+/g, ' ');
    t.true(told.includes(text), text);
  }
});
