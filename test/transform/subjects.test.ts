import test from 'ava';
import type { StagedExtraction } from '../../transform/pages.js';
import { usageTypeReadings } from '../../transform/subjects.js';
import type { UsageTypes } from '../../transform/usage-types.js';

test('a line break in a name does not make one subject of two', (t) => {
  const servicesOf = new Map([
    ['a\nb', new Set(['S'])],
    ['b', new Set(['S\na'])],
  ]);
  const extraction = {
    manifest: {
      queries: [{ name: 'usage-type-account', groupBy: ['USAGE_TYPE', 'LINKED_ACCOUNT'] }],
    },
  } as unknown as StagedExtraction;
  const usageTypes = {
    servicesOf: (type: string) => servicesOf.get(type),
  } as unknown as UsageTypes;
  const [reading] = usageTypeReadings(extraction, usageTypes);
  const subjectOf = (usageType: string) =>
    reading!.subjectOf(() => usageType, {}, { where: 'page', row: 1 });
  t.like(subjectOf('a\nb'), { index: 0, service: 'S', category: 'a\nb' });
  t.like(subjectOf('b'), { index: 1, service: 'S\na', category: 'b' });
  t.is(subjectOf('b'), subjectOf('b'));
});
