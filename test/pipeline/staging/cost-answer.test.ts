import test from 'ava';
import fc from 'fast-check';
import {
  freshCost,
  isUsualCost,
  isUsualFreshCost,
  parseFreshCost,
  stagedCost,
} from '../../../pipeline/staging/answers.js';
import { costAnswer, group } from '../../support/extraction.js';

const usual = costAnswer([group('Tax', '000000000012', '1'), group('EC2', '000000000012', '-2')], {
  NextPageToken: 'x',
  DimensionValueAttributes: [{ Value: '000000000012', Attributes: { description: 'one' } }],
});

/** The usual answer as JSON, a part of which is another JSON value. */
const damaged = fc
  .tuple(fc.nat(), fc.jsonValue({ maxDepth: 2 }), fc.boolean())
  .map(([place, other, missing]) => {
    const copy: unknown = structuredClone(usual);
    const spots: [Record<string, unknown>, string][] = [];
    const visit = (node: unknown): void => {
      if (typeof node !== 'object' || node === null) return;
      for (const key of Object.keys(node)) {
        spots.push([node as Record<string, unknown>, key]);
        visit((node as Record<string, unknown>)[key]);
      }
    };
    visit(copy);
    const [node, key] = spots[place % spots.length]!;
    if (missing && !Array.isArray(node)) Reflect.deleteProperty(node, key);
    else node[key] = other;
    return copy;
  });

test('the usual answer needs no second look', (t) => {
  t.true(isUsualCost(usual));
  t.false(isUsualCost({}));
  t.true(isUsualCost({ ResultsByTime: [] }));
  t.false(isUsualCost({ ResultsByTime: [{}] }));
  t.true(isUsualCost(costAnswer([{}])));
});

test('the usual fresh answer needs none either, and what it lacks but may lack the schema fills in', (t) => {
  t.true(isUsualFreshCost(usual, ['UnblendedCost']));
  t.false(isUsualFreshCost(usual, ['UnblendedCost', 'UsageQuantity']));
  t.false(isUsualFreshCost(costAnswer([{}]), ['UnblendedCost']));
  const last = { ...usual, NextPageToken: '' };
  t.false(isUsualFreshCost(last, ['UnblendedCost']));
  t.is(parseFreshCost(last, ['UnblendedCost']).data?.NextPageToken, undefined);
  const unitless = costAnswer([
    { Keys: ['Tax', '000000000012'], Metrics: { UsageQuantity: { Amount: '1' } } },
  ]);
  const [result] = parseFreshCost(unitless, ['UsageQuantity']).data?.ResultsByTime ?? [];
  t.deepEqual(result?.Groups?.[0]?.Metrics['UsageQuantity'], { Amount: '1', Unit: 'N/A' });
});

/** The forms that pass without a second look, and the schemas that decide on all others. */
const forms = {
  staged: { isUsual: isUsualCost, schema: stagedCost },
  fresh: {
    isUsual: (json: unknown) => isUsualFreshCost(json, ['UnblendedCost']),
    schema: freshCost(['UnblendedCost']),
  },
};

for (const [name, { isUsual, schema }] of Object.entries(forms)) {
  test(`what passes ${name} without a second look is what the schema accepts`, (t) => {
    let passed = 0;
    fc.assert(
      fc.property(fc.oneof(damaged, fc.jsonValue()), (json) => {
        if (!isUsual(json)) return;
        passed++;
        t.true(schema.safeParse(json).success);
      }),
      { numRuns: 3000 },
    );
    t.true(passed > 100);
  });
}
