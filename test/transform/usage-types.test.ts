import test from 'ava';
import { comparePairs } from '../../transform/usage-types.js';

const pair = {
  usageType: 'EUW3-DataTransfer-Out-Bytes',
  service: 'AWS Lambda',
  account: null,
  currency: 'USD',
};
/** The tenth fraction digit. */
const LAST = 10n ** 8n;

test('each group may be rounded in its tenth fraction digit, and no more', (t) => {
  const within = { ...pair, said: 10n * LAST, found: 6n * LAST, rows: 3 };
  t.deepEqual(comparePairs([within]), { compared: 1, largest: null });
  const beyond = { ...within, found: 6n * LAST - 1n };
  t.deepEqual(comparePairs([within, beyond]), {
    compared: 2,
    largest: { ...pair, difference: '0.000000000400000001' },
  });
});

test('the largest difference is told, to either side; a pair without rows is one', (t) => {
  const less = { ...pair, said: 0n, found: 5n * 10n ** 18n, rows: 1 };
  const gone = { ...pair, service: 'Tax', said: 3n * 10n ** 18n, found: 0n, rows: 0 };
  t.like(comparePairs([gone, less]), { largest: { service: 'AWS Lambda', difference: '-5' } });
  t.like(comparePairs([gone]), { largest: { service: 'Tax', difference: '3' } });
});
