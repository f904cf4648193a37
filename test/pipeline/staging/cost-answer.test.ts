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

/** The same with quantities. */
const withQuantities = costAnswer(
  ['000000000012', '000000000013'].map((account) => ({
    Keys: ['Tax', account],
    Metrics: {
      UnblendedCost: { Amount: '1', Unit: 'USD' },
      UsageQuantity: { Amount: '2', Unit: 'GB' },
    },
  })),
  { NextPageToken: 'x' },
);

/** A copy of a JSON value, a part of which is another one, or missing. */
function damage(json: unknown, [place, other, missing]: [number, unknown, boolean]): unknown {
  const copy: unknown = structuredClone(json);
  const spots: [Record<string, unknown>, string][] = [];
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const key of Object.keys(node)) {
      spots.push([node as Record<string, unknown>, key]);
      visit((node as Record<string, unknown>)[key]);
    }
  };
  visit(copy);
  const spot = spots[place % spots.length];
  if (spot === undefined) return copy;
  const [node, key] = spot;
  if (missing && !Array.isArray(node)) Reflect.deleteProperty(node, key);
  else node[key] = other;
  return copy;
}

/** The usual answer as JSON, a part of which is another JSON value. */
const damaged = fc
  .tuple(fc.nat(), fc.jsonValue({ maxDepth: 2 }), fc.boolean())
  .map((change) => damage(usual, change));

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

/** What an answer may hold instead of what belongs there: near misses, which random values seldom are. */
const hostile = fc.oneof(
  fc.constantFrom<unknown>(null, '', 0, '1', '1e400', [], {}, [null], { Amount: 1, Unit: 'USD' }),
  fc.constantFrom<unknown>(
    { Amount: '1' },
    JSON.parse('{"__proto__":{"Amount":"1","Unit":"USD"}}'),
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

/** The same with up to three such parts, of a question for quantities too. */
const mangled = fc
  .array(fc.tuple(fc.nat(), hostile, fc.boolean()), { minLength: 1, maxLength: 3 })
  .map((changes) => changes.reduce(damage, withQuantities));

/** The forms that pass without a second look, and the schemas that decide on all others. */
const forms = {
  'staged': { isUsual: isUsualCost, schema: stagedCost },
  'fresh': {
    isUsual: (json: unknown) => isUsualFreshCost(json, ['UnblendedCost']),
    schema: freshCost(['UnblendedCost']),
  },
  'fresh with quantities': {
    isUsual: (json: unknown) => isUsualFreshCost(json, ['UnblendedCost', 'UsageQuantity']),
    schema: freshCost(['UnblendedCost', 'UsageQuantity']),
  },
};

for (const [name, { isUsual, schema }] of Object.entries(forms)) {
  test(`what passes ${name} without a second look is what the schema accepts, and nothing that it fills in`, (t) => {
    let passed = 0;
    let refused = 0;
    fc.assert(
      fc.property(fc.oneof(damaged, mangled, fc.jsonValue()), (json) => {
        const { data, success } = schema.safeParse(json);
        if (!success) refused++;
        if (!isUsual(json)) return;
        passed++;
        t.true(success);
        t.true(isWithin(data, json));
      }),
      { numRuns: 3000 },
    );
    t.true(passed > 20);
    t.true(refused > 100);
  });
}

/** Whether all that the schema made of an answer stands in it so. */
function isWithin(part: unknown, whole: unknown): boolean {
  if (typeof part !== 'object' || part === null) return part === whole;
  if (typeof whole !== 'object' || whole === null) return false;
  return Object.entries(part).every(
    ([key, value]) =>
      value === undefined ||
      (Object.hasOwn(whole, key) && isWithin(value, (whole as Record<string, unknown>)[key])),
  );
}
