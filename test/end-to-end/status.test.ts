import { readdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import { expectedTotal } from '../../fixtures/demo/truth.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { openServer } from '../support/mariadb.js';
import { month, world } from '../support/world.js';

interface Status {
  databaseError?: { message: string };
  slices: {
    organization: string;
    extracted: { extraction: string } | null;
    unfinished: string | null;
    transformed: object | null;
    loaded: object | string | null;
    figures: string | null;
    rows: number | null;
    amount: Record<string, string> | null;
    stale: string[];
  }[];
}
const parse = (text: string): Status => JSON.parse(text) as Status;
const organizations = [
  { name: 'oab', accounts: 23 },
  { name: 'internal', accounts: 4 },
];

test('an empty staging area is a friendly line', async (t) => {
  const { folder, run } = await world(t);
  const result = await run('status');
  t.is(result.code, 0, result.stderr);
  t.regex(result.stdout, /nothing is staged/);
  t.deepEqual(await readdir(folder), []);
});

test('status follows the stages, with what is stale, from the staging area and the database alone', async (t) => {
  const data = demoData({ months: [month], organizations });
  const { cloud, folder, run } = await world(t, { data });
  t.is((await run('run', '--month', month, '--stage', 'extract')).code, 0);
  const requests = cloud.requests.length;
  const extracted = parse((await run('status', '--json', '--organization', 'oab')).stdout);
  t.is(extracted.slices.length, 1);
  t.like(extracted.slices[0], {
    organization: 'oab',
    transformed: null,
    loaded: null,
    stale: [],
    amount: { USD: formatAmount(expectedTotal(data, 'oab', month)) },
  });
  t.deepEqual(await readdir(folder), ['staging'], 'status made a database');

  const rest = ['--stage', 'transform', '--stage', 'load'];
  t.is((await run('run', '--month', month, ...rest)).code, 0);
  const text = await run('status');
  t.is(text.code, 0, text.stderr);
  t.regex(
    text.stdout,
    /2026-10 {2}oab( +\d{4}-\d\d-\d\d \d\d:\d\d){3} {2}service {2}(final|provisional) +\d+/,
  );
  t.is(cloud.requests.length, requests, 'status asked Vault or AWS');

  const again = ['run', '--month', month, '--organization', 'oab'];
  t.is((await run(...again, '--stage', 'extract', '--force')).code, 0);
  const staleOf = async (): Promise<string[][]> =>
    parse((await run('status', '--json')).stdout).slices.map(({ stale }) => stale);
  t.deepEqual(await staleOf(), [[], ['transform', 'load']]);
  t.is((await run(...again, '--stage', 'transform')).code, 0);
  t.deepEqual(await staleOf(), [[], ['load']]);
  t.is((await run(...again, '--stage', 'load')).code, 0);
  t.deepEqual(await staleOf(), [[], []]);

  t.is((await run(...again, '--force', '--max-requests', '1')).code, 1);
  const [, oab] = parse((await run('status', '--json')).stdout).slices;
  t.regex(oab?.unfinished ?? '', /^\d{8}T\d{6}Z$/);
  t.regex((await run('status')).stdout, /newer unfinished/);
  t.regex(
    (await run('status', '--month', '2025-01')).stdout,
    /nothing is staged in .* for the chosen months/,
  );
});

test('status reads MariaDB, and says when it cannot', async (t) => {
  const server = await openServer();
  t.teardown(() => server.stop());
  const PIPELINE_DATABASE = await server.createDatabase();
  const { runWith } = await world(t);
  const env = { PIPELINE_DATABASE };
  t.is((await runWith(env, 'run', '--month', month, '--stage', 'extract')).code, 0);
  const before = await runWith(env, 'status', '--json');
  t.is(before.code, 0, before.stderr);
  t.is(parse(before.stdout).slices[0]?.loaded, null);
  t.deepEqual(await server.query(PIPELINE_DATABASE, 'SHOW TABLES'), [], 'status made tables');
  t.is((await runWith(env, 'run', '--month', month)).code, 0);
  const loaded = parse((await runWith(env, 'status', '--json')).stdout);
  for (const slice of loaded.slices) {
    t.like(slice.loaded, { extraction: slice.extracted?.extraction });
    t.deepEqual(slice.stale, []);
  }
  const away = await runWith({ PIPELINE_DATABASE: 'mysql://u:pass-w0rd@127.0.0.1:9/x' }, 'status');
  t.is(away.code, 1);
  t.regex(away.stdout, / unknown /);
  t.regex(away.stderr, /database cannot be asked.*127\.0\.0\.1:9/);
  t.notRegex(away.stdout + away.stderr, /pass-w0rd/);
});

test('a damaged manifest is named, and the other slices are shown', async (t) => {
  const { folder, run } = await world(t);
  t.is((await run('run', '--month', month)).code, 0);
  await truncate(join(folder, `staging/manifests/month=${month}/oab.json`), 20);
  const result = await run('status');
  t.is(result.code, 1);
  t.regex(result.stdout, /2026-10 oab cannot be read: .*oab\.json/);
  t.regex(result.stdout, /2026-10 {2}internal .*USD/);
});
