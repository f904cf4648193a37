import test from 'ava';
import { usageTypeReadings } from '../../transform/consumption.js';
import type { StagedExtraction } from '../../transform/staged-pages.js';
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
  const { list } = usageTypeReadings(extraction, usageTypes, {
    of: () => 'N/A',
    several: new Map(),
  });
  const subjectOf = (usageType: string) =>
    list[0]!.subjects(() => () => usageType)({}, { where: 'page', row: 1 })!;
  const textsOf = ({ index, service, usage }: ReturnType<typeof subjectOf>) => [
    index,
    service.text,
    usage?.type.text,
  ];
  t.deepEqual(textsOf(subjectOf('a\nb')), [0, 'S', 'a\nb']);
  t.deepEqual(textsOf(subjectOf('b')), [1, 'S\na', 'b']);
  t.is(subjectOf('b'), subjectOf('b'));
});
