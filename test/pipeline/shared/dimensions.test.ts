import { Dimension as SdkDimension } from '@aws-sdk/client-cost-explorer';
import test from 'ava';
import fc from 'fast-check';
import * as formats from '../../../pipeline/config/formats.js';
import type { Breakdown } from '../../../pipeline/shared/dimensions.js';
import {
  breakdownWords,
  definitionOf,
  isBreakdown,
  isDimension,
  keyPositions,
  parseBreakdown,
  plainDimensions,
  sortedBreakdowns,
  valueIn,
  writtenAs,
} from '../../../pipeline/shared/dimensions.js';
import {
  breakdownQueryName,
  isKey,
  isQueryName,
  pageFile,
  parsePageFile,
} from '../../../pipeline/staging/layout.js';

/** Of the SDK's model, what GetCostAndUsage refuses to group by: a filter's dimensions, and other operations'. */
const notGrouped = [
  'AGREEMENT_END_DATE_TIME_AFTER',
  'AGREEMENT_END_DATE_TIME_BEFORE',
  'ANOMALY_TOTAL_IMPACT_ABSOLUTE',
  'ANOMALY_TOTAL_IMPACT_PERCENTAGE',
  'LINKED_ACCOUNT_NAME',
  'PAYER_ACCOUNT',
  'PAYMENT_OPTION',
  'RESOURCE_ID',
  'RIGHTSIZING_TYPE',
  'SCOPE',
  'SERVICE_CODE',
  'SUBSCRIPTION_ID',
  'USAGE_TYPE_GROUP',
];

test("every dimension of the SDK's model is known: as one to group by, or as none", (t) => {
  t.deepEqual([...plainDimensions, ...notGrouped].sort(), Object.values(SdkDimension).sort());
});

const key = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((text) => text.length <= 128 && !/[\p{Cc}\p{Cs}]/u.test(text));
const breakdown = fc.oneof(
  fc.constantFrom(...plainDimensions.filter((one) => one !== 'LINKED_ACCOUNT')),
  fc
    .tuple(fc.constantFrom('TAG' as const, 'COST_CATEGORY' as const), key)
    .map(([type, name]): Breakdown => `${type}:${name}`),
);

test('what a setting writes is read back, and so is what the table shows', (t) => {
  fc.assert(
    fc.property(breakdown, (one) => {
      t.true(isBreakdown(one));
      t.is(parseBreakdown(writtenAs(one)), one);
      t.is(parseBreakdown(one), one);
    }),
  );
  t.is(parseBreakdown('legal-entity'), 'LEGAL_ENTITY_NAME');
  t.is(parseBreakdown('legal-entity-name'), 'LEGAL_ENTITY_NAME');
  t.is(parseBreakdown('tag:aws:createdBy'), 'TAG:aws:createdBy');
  for (const none of ['', 'tag', 'tag:', 'LINKED_ACCOUNT', 'region:x', 'TAG:a\nb', 'payer-account'])
    t.is(parseBreakdown(none), undefined, none);
  t.false(isDimension(7));
  t.false(isBreakdown(`TAG:${'x'.repeat(129)}`));
});

test("a tag's value is all that stands behind its key and the first dollar after it", (t) => {
  fc.assert(
    fc.property(breakdown, fc.string({ unit: 'grapheme' }), (one, value) => {
      const { Type, Key } = definitionOf(one);
      const given = Type === 'DIMENSION' ? value : `${Key}$${value}`;
      t.is(valueIn(one, given), value);
    }),
  );
  t.is(valueIn('TAG:cost$center', 'cost$center$$0815'), '$0815');
  t.is(valueIn('TAG:team', 'team$'), '');
  t.is(valueIn('TAG:team', 'Team$backend'), undefined);
  t.is(valueIn('TAG:team', 'team'), undefined);
});

test("a question's name is a file's, its own, and the same whatever else is asked for", (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(breakdown, { minLength: 1 }), (some) => {
      const names = some.map(breakdownQueryName);
      t.is(new Set(names).size, new Set(some).size);
      for (const name of names) {
        t.true(isQueryName(name));
        const file = pageFile(name, 3);
        t.true(isKey(file));
        t.deepEqual(parsePageFile(file), { operation: name, page: 3 });
        // Some file systems take capitals for small letters.
        t.is(name, name.toLowerCase() as typeof name);
      }
    }),
  );
  t.is(breakdownQueryName('RECORD_TYPE'), 'by-record-type');
  t.is(breakdownQueryName('TAG:team'), 'by-tag-ca8b22d0db83a22d');
});

test('each value is found by type and key, in whichever order the answer repeats them', (t) => {
  const asked = ['TAG:LINKED_ACCOUNT', 'LINKED_ACCOUNT'] as const;
  const tag = { Type: 'TAG', Key: 'LINKED_ACCOUNT' };
  const account = { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' };
  t.deepEqual(keyPositions([tag, account], asked), [0, 1]);
  t.deepEqual(keyPositions([account, tag], asked), [1, 0]);
  t.deepEqual(keyPositions([], asked), [0, 1]);
  // Every member is optional in AWS's model; what cannot be told apart is not guessed.
  t.deepEqual(keyPositions([{ Key: 'REGION' }, account], ['REGION', 'LINKED_ACCOUNT']), [0, 1]);
  t.is(keyPositions([{ Key: 'LINKED_ACCOUNT' }, account], asked), undefined);
  t.is(keyPositions([account, account], asked), undefined);
  t.is(keyPositions([tag], asked), undefined);
  t.is(
    keyPositions([{ Type: 'TAG', Key: 'REGION' }, account], ['REGION', 'LINKED_ACCOUNT']),
    undefined,
  );
});

test('breakdowns are each once, in one order; what is none is told with what was meant', (t) => {
  t.deepEqual(sortedBreakdowns(['TAG:b', 'REGION', 'TAG:B', 'TAG:b', 'REGION']), [
    'REGION',
    'TAG:B',
    'TAG:b',
  ]);
  const read = (...given: unknown[]) => formats.breakdowns.safeParse(given);
  t.deepEqual(read('tag:team', 'Region', 'REGION').data, ['REGION', 'TAG:team']);
  t.deepEqual(read('none').data, []);
  const said = (text: unknown): string => read('region', text).error?.issues[0]?.message ?? '';
  t.is(said('regoin'), 'is nothing to split by; did you mean region?');
  t.is(said('recordtype'), 'is nothing to split by; did you mean record-type?');
  for (const text of ['tag', 'tag:', 'TAG:', 'tags:team', `tag:${'x'.repeat(129)}`])
    t.regex(said(text), /^names no tag: write tag: and its key/, text);
  for (const text of ['cost-category', 'cost_category:'])
    t.regex(said(text), /^names no cost category: write cost-category: and its name/);
  t.is(said('customer'), `is none of ${breakdownWords.join(', ')}`);
  t.is(said('linked-account'), `is none of ${breakdownWords.join(', ')}`);
  t.is(said(7), 'is no text');
  t.true(breakdownWords.includes('record-type') && !breakdownWords.includes('linked-account'));
});
