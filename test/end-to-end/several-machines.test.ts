import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { s3Staging } from '../../pipeline/staging/s3.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { copyFiles, exportsOf } from '../support/exports.js';
import { querySqlite } from '../support/sqlite.js';

const month = parseMonth('2026-10');
const rows = 'SELECT * FROM consumption ORDER BY Organization, Line';

test('three machines on one bucket, or a folder for a part of the way, make what one folder makes', async (t) => {
  const data = demoData({ months: [month] });
  const [cloud, s3] = await Promise.all([
    startCloud({ data, groupsPerPage: 100 }),
    startS3({ buckets: ['billing', 'mixed'] }),
  ]);
  t.teardown(() => Promise.all([cloud.close(), s3.close()]));
  Object.assign(process.env, s3.environment);
  const run = async (folder: string, args: string[], env: Record<string, string> = {}) => {
    const { code, stderr } = await pipeline(['run', '--month', month, ...args], {
      cwd: folder,
      env,
    });
    t.is(code, 0, stderr);
  };

  const alone = await temporaryFolder(t);
  await run(alone, [], cloud.environment);
  const reference = await exportsOf(localStaging(join(alone, 'staging')));
  t.is(Object.keys(reference).length, 16);
  const truth = querySqlite(join(alone, 'billing.sqlite'), rows);
  t.true(truth.length > 2000);

  const [extracts, transforms, loads] = await Promise.all([1, 2, 3].map(() => temporaryFolder(t)));
  const bucket = ['--staging', 's3://billing/cost/2026'];
  await run(extracts!, [...bucket, '--stage', 'extract'], {
    ...cloud.environment,
    ...s3.environment,
  });
  const asked = cloud.requests.length;
  await run(transforms!, [...bucket, '--stage', 'transform'], { ...s3.environment });
  await run(loads!, [...bucket, '--stage', 'load'], { ...s3.environment });
  const staging = s3Staging('billing', 'cost/2026');
  t.deepEqual(await exportsOf(staging), reference);
  t.deepEqual(querySqlite(join(loads!, 'billing.sqlite'), rows), truth);
  t.deepEqual(await readdir(extracts!), [], 'nothing lies on the extracting machine');
  t.deepEqual(await readdir(transforms!), []);

  // The bucket's answers transformed in a folder, whose tables are loaded from another bucket.
  const copy = await temporaryFolder(t);
  const local = localStaging(join(copy, 'staging'));
  t.true((await copyFiles(staging, local, 'raw/')) > 8);
  await run(copy, ['--stage', 'transform']);
  t.deepEqual(await exportsOf(local), reference);
  await copyFiles(local, s3Staging('mixed', ''), '');
  await run(copy, ['--staging', 's3://mixed', '--stage', 'load'], { ...s3.environment });
  t.deepEqual(querySqlite(join(copy, 'billing.sqlite'), rows), truth);
  t.is(cloud.requests.length, asked, 'only the extracting machine asks Vault and AWS');
});
