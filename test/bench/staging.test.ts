import test from 'ava';
import { measureStaging, stagingTable } from './staging.js';

test('the bench of folder and S3 runs, and its table has both', async (t) => {
  const figures = await measureStaging(1);
  t.is(figures[0]?.requests.size, 0);
  t.true((figures[1]?.requests.get('PutObject') ?? 0) > 30);
  t.regex(stagingTable(figures), /^\| folder \| \d+\.\d \| none \|\n\| S3 \| \d+\.\d \| \d+: /m);
});
