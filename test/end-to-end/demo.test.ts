import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { querySqlite } from '../support/sqlite.js';

test('the demo needs nothing, ends with where the files lie, and what it prints to open opens', async (t) => {
  const folder = await temporaryFolder(t);
  // Settings of a real cloud, and a proxy, which the demo must not touch.
  const env = {
    VAULT_ADDR: 'https://vault.invalid',
    AWS_ENDPOINT_URL_STS: 'https://sts.invalid',
    AWS_ACCESS_KEY_ID: 'AKIAREAL',
    PIPELINE_DATABASE: 'mysql://u:p@db.invalid/x',
    HTTP_PROXY: 'http://127.0.0.1:9',
  };
  const { code, stdout, stderr } = await pipeline(['demo'], { cwd: folder, env });
  t.is(code, 0, stderr);
  t.regex(stdout, /12 done; \d+ Cost Explorer requests/);
  for (const kind of ['raw', 'parquet', 'csv']) {
    const place = new RegExp(` (/\\S*/staging/${kind})$`, 'm').exec(stdout)?.[1];
    t.true((await readdir(place ?? '', { recursive: true })).length > 4, kind);
  }
  const [, database = '', sql = ''] = /sqlite3 (\S+) "(.*)"/.exec(stdout) ?? [];
  const answer = querySqlite(database, sql).map((row) => Object.values(row)[1] as number);
  t.true(answer.length > 5);
  // Each customer's exact sum, the largest first: what the query says it shows.
  const exact = new Map<string, bigint>();
  for (const { Reference, Currency, Amount } of querySqlite(
    database,
    'SELECT Reference, Currency, Amount FROM consumption',
  )) {
    const key = `${String(Reference)} ${String(Currency)}`;
    exact.set(key, (exact.get(key) ?? 0n) + parseAmount(String(Amount)).units);
  }
  const largest = [...exact.values()].sort((a, b) => (a > b ? -1 : 1)).slice(0, answer.length);
  const cents = (amount: number): number => Math.round(amount * 100);
  t.deepEqual(
    answer.map(cents),
    largest.map((units) => cents(Number(formatAmount(units)))),
  );
  t.deepEqual((await readdir(folder)).sort(), ['demo']);
  t.deepEqual((await readdir(join(folder, 'demo'))).sort(), [
    '.pipeline-demo',
    'billing.sqlite',
    'staging',
  ]);
});

test('with --json the demo prints one document', async (t) => {
  const folder = await temporaryFolder(t);
  const { code, stdout } = await pipeline(['demo', '--json', '--folder', 'elsewhere'], {
    cwd: folder,
  });
  t.is(code, 0);
  t.is((JSON.parse(stdout) as { tasks: unknown[] }).tasks.length, 12);
});
