import test from 'ava';
import { billedByUsageType } from '../../transform/consumption.js';

test('a line break in a name does not make one item of two', (t) => {
  const services = new Map([
    ['a\nb', new Set(['S'])],
    ['b', new Set(['S\na'])],
  ]);
  const { questions } = billedByUsageType(
    { queries: [{ name: 'usage-type-account', groupBy: ['USAGE_TYPE', 'LINKED_ACCOUNT'] }] },
    {
      servicesOf: (type) => services.get(type) ?? new Set(),
      regions: { of: () => 'N/A', several: new Map() },
      addAccount: () => undefined,
    },
  );
  const itemOf = (usageType: string) =>
    questions[0]!.itemReader({ keyOf: () => () => usageType })({}, { where: 'page', row: 1 })!;
  const textsOf = ({ index, service, usageType }: ReturnType<typeof itemOf>) => [
    index,
    service.text,
    usageType.text,
  ];
  t.deepEqual(textsOf(itemOf('a\nb')), [0, 'S', 'a\nb']);
  t.deepEqual(textsOf(itemOf('b')), [1, 'S\na', 'b']);
  t.is(itemOf('b'), itemOf('b'));
});
