import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { demoData } from '../../fixtures/demo/data.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth, shiftMonth } from '../../pipeline/shared/month.js';
import { pipeline } from '../support/cli.js';
import { literal, query } from '../support/duckdb.js';
import { countSteps, killAtStep } from '../support/kill-at-step.js';
import type { World } from '../support/world.js';
import { world } from '../support/world.js';

const october = parseMonth('2026-10');
const september = shiftMonth(october, -1);

interface Block {
  currencies: {
    currency: string;
    total: string;
    organizations: [string, string][];
    services: [string, string][];
    customers: [string, string][];
    accounts: [string, string][];
    breakdowns: [string, [string, string][]][];
  }[];
}

function blockOf(page: string): Block {
  const [, json = ''] =
    /<script id="figures" type="application\/json">([^<]*)<\/script>/.exec(page) ?? [];
  return JSON.parse(json) as Block;
}

const sum = (pairs: readonly [string, string][]): string =>
  formatAmount(pairs.reduce((units, [, amount]) => units + parseAmount(amount).units, 0n));

/** Sums of the Parquet files by a column, as DuckDB reads them. */
async function parquetSums({ folder }: World, column: string): Promise<Map<string, string>> {
  const files = literal(join(folder, 'staging/parquet/consumption/month=2026-10/*.parquet'));
  const rows = await query(
    `SELECT ${column} AS name, sum(Amount)::VARCHAR AS amount FROM ${files} GROUP BY ALL`,
  );
  return new Map(
    rows.map(({ name, amount }) => [String(name), formatAmount(parseAmount(String(amount)).units)]),
  );
}

interface BrokenRow {
  account: string;
  dimension: string;
  value: string;
  amount: string;
}

/** The rows of the table of breakdowns, as DuckDB reads them. */
async function brokenDown({ folder }: World): Promise<BrokenRow[]> {
  const files = literal(join(folder, 'staging/parquet/breakdowns/month=2026-10/*.parquet'));
  return (await query(
    `SELECT Reference AS account, Dimension AS dimension, Value AS value, Amount::VARCHAR AS amount FROM ${files}`,
  )) as unknown as BrokenRow[];
}

const sumOf = (rows: readonly BrokenRow[]): string => sum(rows.map(({ amount }) => ['', amount]));

test('after a run the pages hold, to the last digit, what the Parquet files hold', async (t) => {
  const organizations = [
    { name: 'oab', accounts: 23 },
    { name: 'internal', accounts: 4 },
  ];
  const place = await world(t, { data: demoData({ months: [september, october], organizations }) });
  const { run, folder, asked } = place;
  const months = ['--from', september, '--to', october];
  const made = await run(
    ...['run', ...months, '--detail', 'usage-type', '--report', '--json'],
    ...['record-type', 'region', 'tag:team', 'tag:owner', 'cost-category:None'].flatMap((by) => [
      '--by',
      by,
    ]),
  );
  t.is(made.code, 0, made.stderr);
  const document = JSON.parse(made.stdout) as {
    tasks: unknown[];
    report: { months: { month: string; files: string[] }[] };
  };
  t.is(document.tasks.length, 12);
  t.deepEqual(
    document.report.months.map(({ month }) => month),
    [september, october],
  );
  const before = asked();
  const page = await readFile(join(folder, 'report/2026-10/index.html'), 'utf8');
  const [usd, ...others] = blockOf(page).currencies;
  t.is(others.length, 0);
  if (usd === undefined) throw new Error('the page has no figures');
  for (const [column, pairs] of [
    ['Organization', usd.organizations],
    ['Service', usd.services],
    ['Reference', usd.customers],
  ] as const) {
    const expected = await parquetSums(place, column);
    t.is(sum(pairs), usd.total, column);
    for (const [name, amount] of pairs) t.is(amount, expected.get(name) ?? '0', name);
    for (const name of expected.keys())
      t.true(
        pairs.some(([one]) => one === name),
        name,
      );
  }
  t.is((await parquetSums(place, "'all'")).get('all'), usd.total);
  const broken = await brokenDown(place);
  t.deepEqual(
    usd.breakdowns.map(([dimension]) => dimension),
    ['RECORD_TYPE', 'COST_CATEGORY:None', 'TAG:owner', 'TAG:team', 'REGION'],
  );
  for (const [dimension, pairs] of usd.breakdowns) {
    if (dimension !== 'COST_CATEGORY:None') t.is(sum(pairs), usd.total, dimension);
    for (const [value, amount] of pairs)
      t.is(
        amount,
        sumOf(broken.filter((row) => row.dimension === dimension && row.value === value)),
      );
    t.is(
      pairs.length,
      new Set(broken.filter((row) => row.dimension === dimension).map(({ value }) => value)).size,
    );
  }
  t.regex(page, /AWS refused it of oab: <bdi>[^<]*None/);
  t.is(page.match(/activated as a cost allocation tag/g)?.length, 1);
  const statements = await readdir(join(folder, 'report/2026-10/customers'));
  t.deepEqual(statements.sort(), usd.customers.map(([id]) => `${id}.html`).sort());
  for (const [id, amount] of usd.customers) {
    const statement = await readFile(join(folder, `report/2026-10/customers/${id}.html`), 'utf8');
    const [own] = blockOf(statement).currencies;
    t.is(own?.total, amount);
    t.is(sum(own?.services ?? []), amount);
    for (const [dimension, pairs] of own?.breakdowns ?? []) {
      t.is(sum(pairs), amount, dimension);
      const rows = broken.filter((row) => row.account === id && row.dimension === dimension);
      for (const [value, part] of pairs)
        t.is(part, sumOf(rows.filter((row) => row.value === value)));
    }
    const told = [...(own?.breakdowns ?? [])].map(([dimension]) => dimension);
    if (amount !== '0') t.deepEqual(told, ['RECORD_TYPE', 'TAG:owner', 'TAG:team', 'REGION']);
    // The management accounts have their organizations' names in their own.
    const rest = statement.replaceAll('oab management', '');
    t.false(rest.includes('oab') || rest.includes(folder), id);
    for (const [other] of usd.customers)
      if (other !== id) t.false(statement.includes(other), `${id} tells of ${other}`);
  }
  // Again from what is staged, without AWS, Vault or a database.
  const again = await pipeline(['report'], { cwd: folder });
  t.is(again.code, 0, again.stderr);
  t.regex(again.stdout, /open file:\/\/.*\/report\/2026-10\/index\.html\n$/);
  t.is(asked(), before);
  await checkSettings(
    t,
    folder,
    usd.customers.map(([id]) => id),
  );
  await checkKills(t, folder);
});

test('a run without exports says that there is no report, after all that it did', async (t) => {
  const { run, folder } = await world(t);
  const args = ['run', '--stage', 'extract', '--organization', 'internal', '--month', '2026-10'];
  const { code, stdout } = await run(...args, '--report', '--log-file', 'run.log');
  t.is(code, 1);
  t.regex(stdout, /1 done;[^]*\nno report: there are no exports of 2026-10/);
  const log = (await readFile(join(folder, 'run.log'), 'utf8')).trimEnd().split('\n');
  const lines = log.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.like(lines.at(-2), { level: 50, msg: 'no report: there are no exports of 2026-10' });
  t.regex(String(lines.at(-2)?.['next']), /run --month 2026-10/);
  t.like(lines.at(-1), { msg: 'run ends', done: 1, exitCode: 1 });
  t.regex(String(lines.at(-1)?.['priceUsd']), /^0\.0[1-9]$/);
  const again = await run(...args, '--report', '--json');
  t.is(again.code, 1);
  const document = JSON.parse(again.stdout) as { tasks: unknown[]; report: { error: object } };
  t.is(document.tasks.length, 1);
  t.like(document.report.error, { message: 'there are no exports of 2026-10' });
});

/** The customers of the file, by name where they are wrong; the look. */
async function checkSettings(
  t: ExecutionContext,
  folder: string,
  ids: readonly string[],
): Promise<void> {
  const config = join(folder, 'wanted.yaml');
  const report = async (yaml: string, ...args: string[]) => {
    await writeFile(config, yaml);
    return pipeline(['report', '--config', config, ...args], { cwd: folder });
  };
  const [one = '', two = ''] = ids;
  const groups = (...accounts: string[]): string =>
    `customers:\n  - name: Acme\n    accounts: [${accounts.map((id) => `'${id}'`).join(', ')}]\n`;
  const svg = join(folder, 'logo.svg');
  await writeFile(svg, '<svg xmlns="http://www.w3.org/2000/svg"/>');
  const look = `report:\n  title: House\n  logo: ${svg}\n  footer: Call us\n  locale: de\n`;
  const made = await report(groups(one, two) + look, '--customer', 'Acme', '--json');
  t.is(made.code, 0, made.stderr);
  const { months } = JSON.parse(made.stdout) as { months: { files: string[] }[] };
  t.deepEqual(months[0]?.files, [`customers/acme-${one}.html`]);
  const statement = await readFile(
    join(folder, `report/2026-10/customers/acme-${one}.html`),
    'utf8',
  );
  for (const text of [one, two, 'House', 'Call us', 'data:image/svg+xml;base64,'])
    t.true(statement.includes(text), text);
  const refused: readonly [yaml: string, message: RegExp][] = [
    [groups('999999999999'), /accounts that no organization has: 999999999999 of "Acme"/],
    [`report:\n  logo: ${config}\n`, /the logo is neither PNG nor SVG/],
  ];
  for (const [yaml, message] of refused) {
    const { code, stderr } = await report(yaml);
    t.regex(stderr, message);
    t.is(code, 2, yaml);
  }
  const both = await report('', '--customer', one, '--format', 'xlsx');
  t.is(both.code, 2);
  t.regex(both.stderr, /--customer goes with the formats/);
  const none = await report('', '--month', '2026-01');
  t.is(none.code, 1);
  t.regex(none.stderr, /there are no exports of 2026-01.* run --month 2026-01/);
  const env = { CHROMIUM_PATH: join(folder, 'nowhere') };
  const pdf = await pipeline(['report', '--format', 'pdf'], { cwd: folder, env });
  t.is(pdf.code, 2);
  t.regex(pdf.stderr, /PDF needs the browser that CHROMIUM_PATH names/);
}

/** Killed anywhere, a report leaves the former files or whole new ones, and the next one clears up. */
async function checkKills(t: ExecutionContext, folder: string): Promise<void> {
  const out = join(folder, 'killed');
  const args = ['report', '--out', out, '--format', 'html'];
  const steps = join(folder, 'steps');
  // The first one makes the folders too.
  for (const env of [{}, countSteps(steps)]) {
    const { code, stderr } = await pipeline(args, { cwd: folder, env });
    t.is(code, 0, stderr);
  }
  const all = Number(await readFile(steps, 'utf8'));
  t.true(all > 20, String(all));
  for (const at of [0.1, 0.6, 0.97].map((part) => Math.ceil(part * all))) {
    const killed = await pipeline(args, { cwd: folder, env: killAtStep(at) });
    t.is(killed.signal, 'SIGKILL', String(at));
    for (const file of await readdir(join(out, '2026-10'), { recursive: true })) {
      if (file.startsWith('.') || !file.endsWith('.html')) continue;
      const page = await readFile(join(out, '2026-10', file), 'utf8');
      t.true(page.trimEnd().endsWith('</html>'), `${file} at ${at}`);
      t.is(blockOf(page).currencies.length, 1, file);
    }
  }
  const last = await pipeline(args, { cwd: folder });
  t.is(last.code, 0, last.stderr);
  const names = await readdir(join(out, '2026-10'));
  t.deepEqual(names.sort(), ['customers', 'index.html', 'reported.json']);
}
