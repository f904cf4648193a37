import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { pipeline, temporaryFolder } from '../support/cli.js';

const month = parseMonth('2026-10');

test('old extractions go, the current one and what it made stay', async (t) => {
  const folder = await temporaryFolder(t);
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 4 }] });
  const cloud = await startCloud({ data });
  t.teardown(() => cloud.close());
  for (let turn = 0; turn < 3; turn += 1) {
    const args = ['run', '--month', month, '--force'];
    const { code, stderr } = await pipeline(args, { cwd: folder, env: cloud.environment });
    t.is(code, 0, stderr);
  }
  const raw = join(folder, 'staging/raw', `month=${month}`, 'oab');
  const names = (await readdir(raw)).sort();
  t.is(names.length, 3);
  const oldest = await readdir(join(raw, names[0]!));

  // Neither Vault nor a cloud is needed from here on.
  const prune = (...args: string[]) => pipeline(['prune', ...args], { cwd: folder });
  const dry = await prune('--keep', '2', '--dry-run', '--json');
  t.is(dry.code, 0, dry.stderr);
  const { extractions, ...sums } = JSON.parse(dry.stdout) as {
    extractions: { extraction: string; files: number; bytes: number }[];
    files: number;
  };
  t.deepEqual(
    extractions.map(({ extraction, files }) => [extraction, files]),
    [[names[0], oldest.length]],
  );
  t.like(sums, { dryRun: true, files: oldest.length, failures: [] });
  t.is((await readdir(raw)).length, 3);

  const done = await prune('--keep', '1', '--month', month, '--organization', 'oab');
  t.is(done.code, 0, done.stderr);
  t.regex(done.stdout, /^month +organization +extraction +files +bytes\n/);
  t.regex(done.stdout, new RegExp(`2026-10 +oab +${names[0]} +${oldest.length} +\\d+\n`));
  t.regex(done.stdout, new RegExp(`removed 2 extractions, ${oldest.length * 2} files, \\d+ bytes`));
  t.deepEqual(await readdir(raw), [names[2]], 'no empty folder is left');
  t.deepEqual((await readdir(join(folder, 'staging'))).sort(), [
    '.tmp',
    'csv',
    'manifests',
    'parquet',
    'raw',
  ]);

  const paid = cloud.requests.length;
  const after = await pipeline(['run', '--month', month, '--json'], {
    cwd: folder,
    env: cloud.environment,
  });
  t.is(after.code, 0, after.stderr);
  const { tasks } = JSON.parse(after.stdout) as { tasks: { state: string }[] };
  t.deepEqual(
    tasks.map(({ state }) => state),
    ['unchanged', 'unchanged', 'unchanged'],
  );
  t.true(cloud.requests.slice(paid).every(({ service }) => service === 'vault'));
});

test('what prune needs is said', async (t) => {
  const folder = await temporaryFolder(t);
  for (const args of [
    [],
    ['--keep', '0'],
    ['--keep', '-1'],
    ['--keep', 'all'],
    ['--keep', '1.5'],
  ]) {
    const { code, stderr } = await pipeline(['prune', ...args], { cwd: folder });
    t.is(code, 2, args.join(' '));
    t.regex(stderr, /keep/);
  }
  const nothing = await pipeline(['prune', '--keep', '1'], { cwd: folder });
  t.is(nothing.code, 1);
  t.regex(nothing.stderr, /nothing is staged/);
  t.deepEqual(await readdir(folder), []);
});
