import { execFile } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { lastCompleteMonth, shiftMonth } from '../../pipeline/shared/month.js';
import { bareEnvironment, pipeline, root, temporaryFolder } from '../support/cli.js';
import { querySqlite } from '../support/sqlite.js';

const execute = promisify(execFile);

interface DemoAnswer {
  runs: { requests: number; tasks: { state: string; month: string }[] }[];
  report: { months: { month: string; page: string; workbook: string; statements: number }[] };
}

test('the demo needs nothing, ends with the page to open, and what it prints to open opens', async (t) => {
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
  t.regex(stdout, /^12 done; \d+ Cost Explorer requests/m);
  for (const kind of ['raw', 'parquet', 'csv']) {
    const place = new RegExp(` (/\\S*/staging/${kind})$`, 'm').exec(stdout)?.[1];
    t.true((await readdir(place ?? '', { recursive: true })).length > 28, kind);
  }
  const [, database = '', sql = ''] = /sqlite3 -header (\S+) "(.*)"/.exec(stdout) ?? [];
  const answer = querySqlite(database, sql).map((row) => Object.values(row)[1] as number);
  t.true(answer.length > 5);
  // Each customer's exact sum of the last month, the largest first: what the query says it shows.
  const exact = new Map<string, bigint>();
  const months = new Set<unknown>();
  const rows = querySqlite(
    database,
    'SELECT Reference, Currency, Amount, BillingPeriod FROM consumption ORDER BY BillingPeriod',
  );
  for (const { Reference, Currency, Amount, BillingPeriod } of rows) {
    months.add(BillingPeriod);
    if (BillingPeriod !== rows.at(-1)?.['BillingPeriod']) continue;
    const key = `${String(Reference)} ${String(Currency)}`;
    exact.set(key, (exact.get(key) ?? 0n) + parseAmount(String(Amount)).units);
  }
  const largest = [...exact.values()].sort((a, b) => (a > b ? -1 : 1)).slice(0, answer.length);
  const cents = (amount: number): number => Math.round(amount * 100);
  t.deepEqual(
    answer.map(cents),
    largest.map((units) => cents(Number(formatAmount(units)))),
  );
  t.true(months.size >= 6);
  t.deepEqual((await readdir(folder)).sort(), ['demo']);
  t.deepEqual((await readdir(join(folder, 'demo'))).sort(), [
    ...['.pipeline-demo', 'billing.sqlite', 'report', 'staging'],
  ]);

  const [, address = ''] = /\nopen (file:\S+)\n?$/.exec(stdout) ?? [];
  const page = await readFile(fileURLToPath(address), 'utf8');
  for (const words of ['New: 1 customer', 'Gone: 1 customer', 'restated', 'untagged', 'backend'])
    t.true(page.includes(words), words);
  const customers = fileURLToPath(new URL('customers/', address));
  const statements = await Promise.all(
    (await readdir(customers)).map((name) => readFile(join(customers, name), 'utf8')),
  );
  t.true(statements.length > 100);
  t.true(statements.some((text) => text.includes('Corrected since the last statement')));

  // Run again as the README says: AWS is asked for nothing, and every layer of the last month agrees.
  const words = ['run', '--silent', 'demo', '--', '--json', '--folder', join(folder, 'demo')];
  const again = await execute('npm', words, { cwd: root, env: bareEnvironment() });
  const { runs, report } = JSON.parse(again.stdout) as DemoAnswer;
  t.deepEqual(
    new Set(runs.flatMap(({ tasks }) => tasks).map(({ state }) => state)),
    new Set(['unchanged']),
  );
  t.is(runs.at(-1)?.tasks.length, 12);
  t.true(runs.every(({ requests }) => requests === 0));
  const last = lastCompleteMonth(new Date());
  t.deepEqual(
    report.months.map(({ month, statements: count }) => [month, count]),
    [[last, statements.length]],
  );
  const layers = await pipeline(
    [
      'reconcile',
      '--staging',
      join(folder, 'demo/staging'),
      '--database',
      `sqlite:${database}`,
    ].concat(['--month', last, '--tolerance', '0']),
    { cwd: folder },
  );
  t.regex(layers.stdout, /every layer agrees with what AWS said on [\d-]+; 4 checked/);
  // What AWS corrected late of the month before.
  const changes = await pipeline(
    ['changes', '--staging', join(folder, 'demo/staging'), '--month', shiftMonth(last, -1)],
    { cwd: folder },
  );
  t.regex(changes.stdout, /^spp_ecm: \d+ amounts? differs?$/m);
});
